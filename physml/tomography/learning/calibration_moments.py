"""Moments of experiments to calibrate with: inputs of the quantiles, truth, and its kind.

The experiments are those of the split `calibrate`, which trained nothing. Rows are numbered by
experiment, so that the moments of one can be kept together: they share the truth and most of the
counts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..inference.neural.corrector import Correction, Corrector, CovarianceSummary, root_fidelity
from ..inference.neural.moments import inputs_from, log_expected
from .histories import SUMMARY, apply
from .replay import Arrays

#: Rows that are worked on together.
CHUNK = 20_000
SMALLEST_INFIDELITY = 1e-15
#: Ends of the classes of the second, third and further eigenvalues, as powers of ten: states of
#: one class and one kind of design are to be covered as any other.
EDGES = ((-4.0, -3.0, -2.0, -1.0), (-3.0, -2.0, -1.0), (-3.0, -2.0))
#: Designs that make classes of their own; all others make one.
KINDS = 3
#: Marks a decade of copies, from ten on, over which shares are counted.
PER_DECADE, DECADES = 4, 6


@dataclass(frozen=True)
class Moments:
    """Moments of experiments, a row each.

    Attributes
    ----------
    inputs : ndarray (n, f), float32
        See `moments.inputs_of`.
    log_expected : ndarray (n,)
        Logarithm of the infidelity that the network expects.
    log_infidelity : ndarray (n,)
        Of the true one.
    copies : ndarray (n,)
    experiment : ndarray (n,), int64
        Number of the experiment.
    design : ndarray (n,), int64
        Place in `experiments.DESIGNS`.
    spectrum : ndarray (n, d)
        True eigenvalues, falling.
    row : ndarray (n,), int64
        Row of the arrays that it was made from.
    """

    inputs: NDArray[np.float32]
    log_expected: NDArray[np.float64]
    log_infidelity: NDArray[np.float64]
    copies: NDArray[np.float64]
    experiment: NDArray[np.int64]
    design: NDArray[np.int64]
    spectrum: NDArray[np.float64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of moments."""
        return len(self.inputs)

    @property
    def log_ratio(self) -> NDArray[np.float64]:
        """Logarithm of the infidelity over its expectation."""
        return self.log_infidelity - self.log_expected

    @property
    def kind(self) -> NDArray[np.int64]:
        """Number of the class of the spectrum and of the design, (n,)."""
        return classes(self.spectrum) * (KINDS + 1) + np.minimum(self.design, KINDS)

    @property
    def mark(self) -> NDArray[np.int64]:
        """Number of the place on the axis of the copies, (n,)."""
        at = np.log10(np.maximum(self.copies, 10)) - 1
        return np.minimum((at * PER_DECADE).astype(np.int64), PER_DECADE * DECADES - 1)

    @property
    def weight(self) -> NDArray[np.float64]:
        """Weight of each row, (n,), so that all experiments weigh the same."""
        _, inverse, count = np.unique(self.experiment, return_inverse=True, return_counts=True)
        return np.asarray(1 / count[inverse])

    def rows(self, chosen: NDArray) -> Moments:
        """Some of the rows."""
        return Moments(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    @classmethod
    def of(cls, network: Corrector, arrays: Arrays) -> Self:
        """Moments of prepared arrays, with what a trained corrector makes of them."""
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for start in range(0, len(arrays["copies"]), CHUNK):
            made, root, inputs = corrections(network, arrays, slice(start, start + CHUNK))
            wrong = (1 - root_fidelity(made.root, root).square()).clamp(min=SMALLEST_INFIDELITY)
            found.append((inputs, log_expected(made), wrong.log()))
        x, expected, infidelity = (torch.cat(part).numpy() for part in zip(*found, strict=True))
        return cls(
            x,
            expected,
            infidelity,
            arrays["copies"].astype(np.float64),
            arrays["experiment"],
            arrays["design"].astype(np.int64),
            arrays["spectrum"],
            np.arange(len(x)),
        )


def corrections(
    network: Corrector, arrays: Arrays, rows: slice | NDArray
) -> tuple[Correction, Tensor, Tensor]:
    """Corrections of some rows, roots of their true states, and inputs of the quantiles."""
    batch = {k: torch.from_numpy(arrays[k][rows]) for k in ("feature", *SUMMARY, "truth")}
    with torch.no_grad():
        made, root = apply(network, batch)
        summary = CovarianceSummary(*(batch[k].double() for k in SUMMARY))
        copies = torch.from_numpy(arrays["copies"][rows]).double()
        return made, root, inputs_from(batch["feature"], summary, copies, made)


def classes(spectrum: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number of the class of each spectrum (n, d): the decades of its eigenvalues but the first."""
    logs = np.log10(np.maximum(spectrum, 1e-12))
    out = np.zeros(len(spectrum), np.int64)
    for place, edges in enumerate(EDGES, start=1):
        if place < spectrum.shape[1]:
            out = out * (len(edges) + 1) + np.digitize(logs[:, place], edges)
    return out
