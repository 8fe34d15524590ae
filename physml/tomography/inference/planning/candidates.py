"""Settings that a plan may choose from, by design."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ...core.basis_choice import global_candidates, product_candidates
from ...core.fixed_measurements import mub_bases
from ...core.measurements import Setting, global_setting, pauli_settings, product_setting
from ..neural.eigenframe_choice import fixed_bases, flat_bases

#: Unbiased bases with random phases among the candidates.
FLAT = 8
#: Copies below which bases that are unbiased whatever the state is are among the candidates.
EARLY = 200


def candidates(
    design: str, rho: Tensor, copies: int, rng: np.random.Generator, settings: int
) -> list[Setting]:
    """Candidates of one experiment, none of them with shots or an id.

    Parameters
    ----------
    design : {"global", "product", "pauli_adaptive"}
        What the laboratory can measure.
    rho : Tensor (d, d)
        Estimate.
    copies : int
        So far.
    rng : Generator
        Of random bases.
    settings : int
        That are wanted: before any data, as many unbiased bases are all there is to choose.
    """
    d = rho.shape[-1]
    n = d.bit_length() - 1
    if design == "pauli_adaptive":
        return [replace(s, id="") for s in pauli_settings(n)]
    if design == "product":
        local = product_candidates(rho[None], rng)[0]
        return [product_setting(part, 0) for part in local]
    unbiased = mub_bases(n) if n <= 2 else torch.zeros(0, d, d, dtype=torch.complex128)
    if copies == 0 and settings <= len(unbiased):
        return [global_setting(u, 0) for u in unbiased]
    if d <= 4:
        vectors = torch.linalg.eigh(rho).eigenvectors.flip(-1)
        bases = vectors @ torch.cat([fixed_bases(d), flat_bases(FLAT, d, rng)])
    else:
        bases = global_candidates(rho[None], rng)[0]
    if copies < EARLY:
        bases = torch.cat([unbiased, bases])
    return [global_setting(u, 0) for u in bases]
