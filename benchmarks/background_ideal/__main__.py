"""`python benchmarks/background_ideal`; see the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from background_ideal import main

main()
