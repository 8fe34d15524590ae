"""`python benchmarks/cavities_other_simulator`; see the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cavities_other_simulator import main

main()
