"""The evaluation lists, frozen by seed.

Nothing is ever chosen by what these lists say: designs, networks and thresholds come from
`validation_list`, whose states are others.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from torch import Tensor

from physml.random import stream

from ..core.states import ENSEMBLES, Draw, bloch_length, mixture
from ..inference.classical.particle_priors import KNOWN_MIXTURE

#: Seeds, unlike any of a training: of the evaluation, of lists that things may be chosen by, and of
#: lists that shares inside regions are counted on.
SEED_EVAL, SEED_VALID, SEED_COVERAGE = 18_120_669, 66_930_812, 40_291_873
#: States of a list.
LIST_SIZE = 160
#: A share of 90 % is known to a hundredth from 1,000 states; longer lists begin with shorter ones.
COVERAGE_SIZE = 4_000

#: Lengths of the Bloch vector of the one-qubit lists.
BLOCH: Mapping[str, float] = MappingProxyType(
    {"r_0.5": 0.5, "r_0.9": 0.9, "r_0.99": 0.99, "r_1": 1.0}
)
#: Lists of each number of qubits that tables are made of.
LISTS: Mapping[int, tuple[str, ...]] = MappingProxyType(
    {1: tuple(BLOCH), **dict.fromkeys((2, 3), ("hs", "pure", "pure_white_5"))}
)
#: Lists by their place among the random streams, which is part of the data: only appended to.
_NAMES = (
    *("hs", "pure", "pure_white_5", "bures", "rank_adaptive", "pure_white_1", "pure_white"),
    *("thermal", "w", "ghz", "bell", "mixture", *BLOCH),
)
#: Numbers of lists set apart for each number of qubits.
_STRIDE = 1_000


def evaluation_list(name: str, n_qubits: int, n: int = LIST_SIZE) -> Tensor:
    """First states of a frozen list.

    Parameters
    ----------
    name : str
        An ensemble of `states.ENSEMBLES` or, for one qubit, one of `BLOCH`.
    n_qubits : int
    n : int
        At most `LIST_SIZE`; those of a shorter list are the first of a longer one.

    Returns
    -------
    Tensor (n, d, d), complex128

    Raises
    ------
    ValueError
        No such list, or more states than it has.
    """
    return _list(name, n_qubits, n, SEED_EVAL, 0)


def validation_list(name: str, n_qubits: int, n: int = LIST_SIZE, page: int = 0) -> Tensor:
    """States of the same ensembles to choose by; each page holds others."""
    return _list(name, n_qubits, n, SEED_VALID, page)


def coverage_list(name: str, n_qubits: int, n: int = 1_000) -> Tensor:
    """First states of a longer frozen list of the same ensemble, to count how many regions hold.

    Nothing is chosen by these lists, as by those of the evaluation. At most `COVERAGE_SIZE` states.
    """
    return _list(name, n_qubits, n, SEED_COVERAGE, 0, COVERAGE_SIZE)


def _list(name: str, n_qubits: int, n: int, seed: int, page: int, size: int = LIST_SIZE) -> Tensor:
    if name not in _NAMES:
        raise ValueError(f"unknown list {name!r}: expected one of {', '.join(_NAMES)}")
    if not 1 <= n <= size:
        raise ValueError(f"a list has {size} states, asked for {n}")
    if n_qubits < 1 or page < 0:
        raise ValueError(f"expected n_qubits >= 1 and page >= 0, got {n_qubits} and {page}")
    if name in BLOCH:
        draw: Draw = partial(bloch_length, length=BLOCH[name])
    elif name == "mixture":  # the one that the list was frozen with
        draw = partial(mixture, parts=KNOWN_MIXTURE)
    else:
        draw = ENSEMBLES[name]
    index = (page * 100 + n_qubits) * _STRIDE + _NAMES.index(name)
    return draw(size, 1 << n_qubits, stream(seed, "evaluate", index))[:n]
