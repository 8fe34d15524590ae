"""Families of three-qubit states that weights for three qubits are judged on.

Frozen lists, drawn by a seed of their own. Hilbert-Schmidt and pure states are those of
`sets.evaluation_list`; the families here are none of the ensembles of the training mixture,
whatever its shares, and were written down with all their numbers before any score of such weights
was computed. ``pipelines/tomography/SEALED.md`` says who looked at which since.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from physml.random import stream

from ..core.operators import kron_all, random_unitary
from ..core.states import Draw, named_state, with_white_noise
from .sealed_sets import rank_2
from .sets import evaluation_list

#: Seed of all lists, unlike any of a training or of other lists.
SEED_THREE = 30_715_991
#: States of a list; shorter lists are the first of it.
SIZE = 1_000
#: White noise of mixtures of GHZ and W, and probability of a phase flip; uniform.
NOISE, FLIP = (0.0, 0.3), (0.01, 0.5)
#: Lists of `sets.evaluation_list` that are judged on as well.
COMMON = ("hs", "pure")


def ghz_w(n: int, d: int, rng: Generator) -> Tensor:
    """Mixtures of GHZ and W of any weights, with white noise, under random local unitaries."""
    weight = _uniform(n, (0.0, 1.0), rng)[:, None, None]
    rho = weight * named_state("ghz", 3) + (1 - weight) * named_state("w", 3)
    return _locally(with_white_noise(rho, _uniform(n, NOISE, rng)), rng)


def dephased_ghz(n: int, d: int, rng: Generator) -> Tensor:
    """GHZ after a phase flip of some probability, under random local unitaries."""
    ghz = named_state("ghz", 3)
    flip = torch.ones(8, dtype=torch.complex128)
    flip[-1] = -1
    p = _uniform(n, FLIP, rng)[:, None, None]
    return _locally((1 - p) * ghz + p * flip[:, None] * ghz * flip, rng)


#: Families by their place among the random streams, which is part of the data.
FAMILIES: Mapping[str, Draw] = MappingProxyType(
    {"rank_2": rank_2, "ghz_w": ghz_w, "dephased_ghz": dephased_ghz}
)
#: All lists by name.
LISTS = (*COMMON, *FAMILIES)


def three_qubit_list(name: str, n: int) -> Tensor:
    """First states of a frozen list.

    Parameters
    ----------
    name : str
        One of `LISTS`.
    n : int
        At most `SIZE`, and `sets.LIST_SIZE` of those in `COMMON`.

    Returns
    -------
    Tensor (n, 8, 8), complex128

    Raises
    ------
    ValueError
        No such list, or more states than it has.
    """
    if name in COMMON:
        return evaluation_list(name, 3, n)
    if name not in FAMILIES:
        raise ValueError(f"unknown list {name!r}: expected one of {', '.join(LISTS)}")
    if not 1 <= n <= SIZE:
        raise ValueError(f"a list has {SIZE} states, asked for {n}")
    rng = stream(SEED_THREE, "evaluate", list(FAMILIES).index(name))
    return FAMILIES[name](SIZE, 8, rng)[:n]


def _locally(rho: Tensor, rng: Generator) -> Tensor:
    """States (n, 8, 8) under random unitaries of each qubit, Hermitian to the last bit."""
    n = len(rho)
    local = kron_all(random_unitary(3 * n, 2, rng).reshape(n, 3, 2, 2))
    out = local @ rho @ local.mH
    return 0.5 * (out + out.mH)


def _uniform(n: int, ends: tuple[float, float], rng: Generator) -> Tensor:
    return torch.as_tensor(np.asarray(rng.uniform(*ends, n)))
