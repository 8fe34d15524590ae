"""`python benchmarks/tomography_three_qubits`; see the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tomography_three_qubits import main

main()
