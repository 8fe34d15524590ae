"""A single experiment: the filter's data and steps in numpy and LAPACK.

A laboratory that waits for the next basis has one experiment, and matrices of 4 x 4 and 16 x 16.
There a call of torch costs more than what it computes. The formulas are those of
`information_filter` and `eigenframe` without the axis of the experiments; tests compare the two.

Newton steps go without eigenvectors here: a scaled increment Y may be taken to any factor A of the
state A A^+, not only to the one of the eigenframe, and the next factor is A chol(1 + Y).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack
from torch import Tensor

#: Longest step in scaled coordinates: no probability then changes by more than this share.
LONGEST = 0.7
#: Eigenvalues are kept above this share of the trace: far below what 1e12 copies could tell.
SMALLEST = 1e-15


@dataclass(frozen=True)
class Layout:
    """Places of the coordinates in matrices of one dimension, m = d (d - 1) / 2 above the diagonal.

    Attributes
    ----------
    place, factor : ndarray (d * d,)
        Coordinates of a matrix are ``factor`` times these reals of its (re, im) pairs in a row.
    back : ndarray (d * d, 2 d * d)
        From coordinates to the pairs.
    units : ndarray (d * d, d * d), complex128
        Matrix of each coordinate, flat, in rows.
    j, k : ndarray (m,)
        Rows and columns above the diagonal.
    real, imaginary : ndarray (m,)
        Coordinates of the real and of the imaginary parts above the diagonal.
    eye : ndarray (d, d)
    """

    d: int
    place: NDArray
    factor: NDArray
    back: NDArray
    units: NDArray
    j: NDArray
    k: NDArray
    real: NDArray
    imaginary: NDArray
    eye: NDArray


@lru_cache(maxsize=16)
def layout(d: int) -> Layout:
    """Places for dimension d."""
    j, k = np.triu_indices(d, 1)
    m = len(j)
    one, above = np.arange(d) * (d + 1), j * d + k
    place = np.concatenate([2 * one, 2 * above, 2 * above + 1])
    factor = np.concatenate([np.ones(d), np.full(2 * m, math.sqrt(2))])
    units = np.zeros((d * d, d, d), complex)
    units[np.arange(d), np.arange(d), np.arange(d)] = 1
    real = d + np.arange(m)
    half = math.sqrt(0.5)
    units[real, j, k] = units[real, k, j] = half
    units[real + m, j, k], units[real + m, k, j] = 1j * half, -1j * half
    flat = units.reshape(d * d, d * d)
    return Layout(d, place, factor, flat.view(float), flat, j, k, real, real + m, np.eye(d))


def vec(matrix: NDArray) -> NDArray:
    """Coordinates (n, d * d) of Hermitian matrices (n, d, d)."""
    d = matrix.shape[-1]
    at = layout(d)
    flat = np.ascontiguousarray(matrix, complex).reshape(-1, d * d).view(float)
    return flat.take(at.place, 1) * at.factor


def unvec(x: NDArray) -> NDArray:
    """Hermitian matrix (d, d) of coordinates (d * d,)."""
    d = math.isqrt(len(x))
    return (x @ layout(d).back).view(complex).reshape(d, d)


def congruence(a: NDArray) -> NDArray:
    """Q (d * d, d * d) with vec(A H A^+) = Q vec(H); A is any (d, d) matrix."""
    d = len(a)
    at = layout(d)
    column = a.T
    kron = (column[:, None, :, None] * column.conj()[None, :, None, :]).reshape(d * d, d * d)
    # Row by row, A H A^+ of each unit H.
    turned = (at.units @ kron).view(float)
    return (turned.take(at.place, 1) * at.factor).T


@dataclass(frozen=True)
class Data:
    """Data of one experiment.

    Attributes
    ----------
    rows, counts : ndarray (n, d * d), (n,)
        Coordinates of effects and their counts.
    folded_score, folded : ndarray (d * d,), (d * d, d * d)
        Gradient at zero and information of data that are not kept in full; None: all are.
    copies : float
    beta : float
        Strength of the hedge.
    """

    rows: NDArray
    counts: NDArray
    folded_score: NDArray | None
    folded: NDArray | None
    copies: float
    beta: float

    def expansion(self, x: NDArray) -> tuple[NDArray, NDArray]:
        """Gradient and information at coordinates x."""
        rows = self.rows
        p = rows @ x
        information = rows.T @ (rows * (self.counts / (p * p))[:, None])
        # As p is linear in x.
        score = information @ x
        if self.folded is not None:
            information += self.folded
            score += self.folded_score - self.folded @ x
        return score, information


def checked(effects: Tensor, counts: Tensor) -> tuple[Tensor, Tensor] | None:
    """Result of `estimator.batched` if the types are right and nothing is wrong; else None."""
    if effects.ndim == 3:
        effects = effects[None]
    if counts.ndim == 1:
        counts = counts[None]
    if effects.dtype is not torch.complex128 or effects.ndim != 4 or len(effects) != 1:
        return None
    counts = counts.to(torch.float64)
    if counts.shape != effects.shape[:2]:
        return None
    n = counts.numpy()
    if n.size == 0 or not (n.min() >= 0 and n.max() < np.inf):
        return None
    return effects, counts


class Record:
    """Counts of one experiment; those of a measurement that comes again are added up.

    Parameters
    ----------
    d : int
        Dimension of the Hilbert space.
    """

    def __init__(self, d: int) -> None:
        self._rows, self._counts = np.zeros((64, d * d)), np.zeros(64)
        self._places: dict[bytes, slice] = {}
        self.size, self.copies = 0, 0.0

    @property
    def rows(self) -> NDArray:
        """Coordinates of the outcomes, (size, d * d)."""
        return self._rows[: self.size]

    @property
    def counts(self) -> NDArray:
        """Their counts, (size,)."""
        return self._counts[: self.size]

    def add(self, rows: NDArray, counts: NDArray) -> None:
        """Take in a measurement."""
        self.copies += float(counts.sum())
        key = rows.tobytes()
        place = self._places.get(key)
        if place is None:
            first, self.size = self.size, self.size + len(rows)
            if self.size > len(self._rows):
                more = max(self.size, 2 * len(self._rows)) - len(self._rows)
                self._rows = np.pad(self._rows, ((0, more), (0, 0)))
                self._counts = np.pad(self._counts, (0, more))
            self._places[key] = place = slice(first, self.size)
            self._rows[place] = rows
            self._counts[place] = 0
        self._counts[place] += counts

    def clear(self) -> None:
        """Forget all but the number of copies."""
        self._places.clear()
        self.size = 0


@dataclass
class State:
    """Maximum of the hedged likelihood of one experiment, and its curvature.

    Attributes
    ----------
    values, vectors : ndarray (d,), (d, d)
        Eigenframe of the estimate.
    information : ndarray (d * d, d * d)
        At the estimate before the last step, in fixed coordinates.
    left : ndarray (1,)
        Bound of the decrement.
    """

    values: NDArray
    vectors: NDArray
    information: NDArray
    left: NDArray

    @cached_property
    def frame(self) -> NDArray:
        """Rotation (d * d, d * d) from the eigenframe to fixed coordinates."""
        return congruence(self.vectors)

    def covariance(self, hedge: float) -> NDArray:
        """Inverse (d * d, d * d) of the scaled information with its hedge, in the eigenframe."""
        return covariance(self.values, self.frame, self.information, hedge)


def follow(data: Data, values: NDArray, vectors: NDArray, steps: int, tolerance: float) -> State:
    """Newton steps until the decrement is within the tolerance, or so many.

    Parameters
    ----------
    data : Data
        All data.
    values, vectors : ndarray (d,), (d, d)
        Eigenframe of the estimate to start from.
    steps : int
        Most steps, at least one.
    tolerance : float
        Newton decrement that will do.

    Raises
    ------
    numpy.linalg.LinAlgError
        The curvature is not positive: the data are no counts of effects.
    """
    d, beta = len(values), data.beta
    root = np.sqrt(values)
    # The state is U B B^+ U^+ with the eigenvectors U of the start, and B graded by its roots.
    inner = np.diag(root).astype(complex)
    for _ in range(steps):
        q = congruence(vectors @ inner)
        # The coordinates of one are d ones.
        score, information = data.expansion(q[:, :d].sum(1))
        score[:d] -= data.copies + beta * d
        gradient = score @ q
        gradient[:d] += beta
        hessian = q.T @ information @ q
        hessian.ravel()[:: d * d + 1] += beta
        _, step, bad = lapack.dposv(hessian, gradient)
        if bad:
            raise np.linalg.LinAlgError
        decrement = math.sqrt(max(float(step @ gradient), 0) / min(1.0, beta))
        length = math.sqrt(float(step @ step))
        size = min(1.0, LONGEST / length) if length > 0 else 1.0
        # A Newton step leaves of the decrement what the relative change of curvature amounts to.
        left = decrement * min(1.0, 1 - size + size * length)
        factor, _ = lapack.zpotrf(layout(d).eye + unvec(step * size), lower=1)
        inner = inner @ factor
        inner /= math.sqrt(np.vdot(inner, inner).real)
        if left <= tolerance:
            break
    new, turn, _ = lapack.zheevd(inner @ inner.conj().T)
    new = np.maximum(new[::-1], SMALLEST)
    new /= new.sum()
    return State(new, vectors @ turn[:, ::-1], information, np.array([left]))


def covariance(values: NDArray, frame: NDArray, information: NDArray, hedge: float) -> NDArray:
    """Inverse (d * d, d * d) of the scaled information with its hedge, in the eigenframe."""
    at, size = layout(len(values)), len(frame)
    above = np.sqrt(values[at.j] * values[at.k])
    q = frame * np.concatenate([values, above, above])
    out = q.T @ information @ q
    out.ravel()[:: size + 1] += hedge
    # Not dpotri, which shares even this size among threads: on a busy machine they wait for long.
    _, found, bad = lapack.dposv(out, np.eye(size), lower=1)
    if bad:
        raise np.linalg.LinAlgError
    # Symmetric to the last digit, and with rows that follow each other.
    return np.ascontiguousarray(0.5 * (found + found.T))
