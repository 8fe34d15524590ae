"""Types of arrays, by what is in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
#: Structured, with the columns of the dtype that the text names.
Rows = NDArray[Any]
