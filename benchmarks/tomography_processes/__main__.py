"""`python benchmarks/tomography_processes`; see the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tomography_processes import main

main()
