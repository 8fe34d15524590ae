"""Errors of the readout: a detector that sometimes names the wrong outcome.

The confusion matrix of a qubit has P(read | true) in row `read` and column `true`; columns sum to
1. Where the qubits err together there is one matrix (2^n, 2^n) of all. What is then measured are
the noisy effects sum_t P(m | t) E_t, which are again a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from physml.exceptions import InputError

from .calibration import by_qubit, factorisation, product_of, reversed_bits
from .measurements import Setting
from .operators import kron_all

_TOLERANCE = 1e-8

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Readout:
    """Confusion of the qubits, alike in all bases.

    Attributes
    ----------
    confusion : ndarray (n, 2, 2)
        P(read | true) of each qubit; given as one matrix (2^n, 2^n) it becomes the `joint` one,
        and here stands what that says of each qubit.
    known : bool
        Whether it was measured. If not, it is a guess, and who estimates a state says so.
    error : ndarray, optional
        Standard errors, of the shape of `confusion`, or of `joint` where there is one.
    joint : ndarray (d, d), optional
        P(read | true) of all qubits together, where they do not err by themselves.
    counts : ndarray (d, d), optional
        Calibration counts behind it, a row for each prepared state.
    notes : tuple of str
        What the user should know of how it was made.
    """

    confusion: Floats
    known: bool = True
    error: Floats | None = None
    joint: Floats | None = None
    counts: Floats | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given, joint = _numbers(self.confusion), self.joint
        if given.ndim == 2 and given.shape == (2, 2):
            given = given[None]
        elif given.ndim == 2:
            joint, given = given, None  # type: ignore[assignment]
        if joint is not None:
            joint = check_joint(joint)
            given = _by_qubit_of(joint)
        object.__setattr__(self, "joint", joint)
        object.__setattr__(self, "confusion", check_confusion(given))

    @property
    def n_qubits(self) -> int:
        """Number of qubits."""
        return len(self.confusion)

    @property
    def matrix(self) -> Floats:
        """P(read | true) of all outcomes, (d, d)."""
        return product_of(self.confusion) if self.joint is None else self.joint

    @property
    def uncertain(self) -> bool:
        """Whether it is known with errors that `draw` can draw."""
        return self.counts is not None or (self.error is not None and bool(self.error.max() > 0))

    def draw(self, rng: Generator) -> Readout:
        """Readout as it may be as well: a draw from its Dirichlet posterior.

        Parameters
        ----------
        rng : Generator

        Returns
        -------
        Readout
            From the calibration counts under the prior of `estimate_confusion`, or, without
            them, of the Dirichlet law that has the mean and the standard errors. Itself where
            nothing is said of its error.
        """
        if self.counts is not None and self.joint is not None:
            return Readout(_dirichlet(_joint_weights(self.counts), rng))
        if self.counts is not None:
            return Readout(_dirichlet(by_qubit(self.counts) + 0.5, rng))
        if not self.uncertain or self.error is None:
            return self
        mean = self.confusion if self.joint is None else self.joint
        # Of each column: mean m (1 - m) / (weight + 1) is the mean variance.
        variance = np.maximum(np.square(self.error).sum(-2, keepdims=True), 1e-300)
        weight = np.maximum((mean * (1 - mean)).sum(-2, keepdims=True) / variance - 1, 1e-3)
        fixed = np.broadcast_to(self.error.max(-2, keepdims=True) == 0, mean.shape)
        drawn = _dirichlet(np.maximum(weight * mean, 1e-9), rng)
        return Readout(np.where(fixed, mean, drawn))

    def reversed(self) -> Readout:
        """The same with the qubits in the other order, as qiskit counts them."""
        places = reversed_bits(self.n_qubits)

        def turned(x: Floats | None, joint: bool) -> Floats | None:
            if x is None:
                return None
            return x[np.ix_(places, places)] if joint else x[::-1].copy()

        whole = self.joint is not None
        return Readout(
            self.confusion[::-1].copy(),
            self.known,
            turned(self.error, whole),
            turned(self.joint, True),
            turned(self.counts, True),
            self.notes,
        )

    def __call__(self, effects: Tensor) -> Tensor:
        """Noisy effects of a basis measurement, (k, d, d) or (S, k, d, d)."""
        return noisy_effects(effects, torch.from_numpy(self.matrix))

    def apply(self, setting: Setting) -> Setting:
        """Setting with readout errors applied: the measurement that is really made.

        Raises
        ------
        InputError
            Where the setting is no basis of as many qubits: then nobody knows which qubit was
            misread.
        """
        k, d = setting.effects.shape[:2]
        if k != d or d != 1 << len(self.confusion) or setting.basis is None:
            raise InputError.expected(
                f"setting {setting.id!r}",
                f"a basis of {len(self.confusion)} qubits, as the readout has",
                f"{k} outcomes in dimension {d}",
            )
        effects = self(torch.from_numpy(setting.effects)).numpy()
        return replace(setting, effects=effects, basis=None, local=None)

    def to_dict(self) -> dict[str, Any]:
        """Readout as JSON can hold it."""
        whole = self.confusion if self.joint is None else self.joint
        out: dict[str, Any] = {"confusion": whole.tolist(), "known": self.known}
        if self.error is not None:
            out["error"] = self.error.tolist()
        if self.counts is not None:
            out["counts"] = self.counts.astype(np.int64).tolist()
        if self.notes:
            out["notes"] = list(self.notes)
        return out

    @classmethod
    def from_dict(cls, data: Any) -> Readout:
        """The readout of `to_dict`, checked; InputError for anything else."""
        if not isinstance(data, dict) or "confusion" not in data:
            raise InputError.expected("readout", "an object with confusion", repr(data)[:80])
        known, notes = data.get("known", True), data.get("notes", [])
        if not isinstance(known, bool):
            raise InputError.expected("readout", "known to be true or false", repr(known))
        if not isinstance(notes, list) or not all(isinstance(text, str) for text in notes):
            raise InputError.expected("readout", "notes, a list of texts", repr(notes)[:80])
        made = cls(_numbers(data["confusion"]), known, notes=tuple(notes))
        error, counts = data.get("error"), data.get("counts")
        if error is not None:
            error = _numbers(error)
            shape = made.confusion.shape if made.joint is None else made.joint.shape
            if error.shape != shape or error.min() < 0:
                raise InputError.expected("readout", "an error >= 0 for each number", "others")
        if counts is not None:
            counts = check_calibration_counts(counts)
            if len(counts) != 1 << made.n_qubits:
                raise InputError.expected("readout", "counts of all its states", "of others")
        return replace(made, error=error, counts=counts)


def flips(p10: ArrayLike, p01: ArrayLike | None = None) -> Floats:
    """Confusion (n, 2, 2) of the chances to read 1 where 0 is true, and 0 where 1 is.

    Where the second is not given it is as the first.
    """
    a = np.atleast_1d(np.asarray(p10, np.float64))
    b = a if p01 is None else np.atleast_1d(np.asarray(p01, np.float64))
    a, b = np.broadcast_arrays(a, b)
    return check_confusion(np.stack([np.stack([1 - a, b], -1), np.stack([a, 1 - b], -1)], -2))


def check_confusion(confusion: ArrayLike) -> Floats:
    """Confusion matrices (n, 2, 2) as an array, made sure to hold probabilities.

    Raises
    ------
    InputError
        For another shape, NaN, negative numbers, or columns that do not sum to 1.
    """
    array = _numbers(confusion)
    if array.ndim != 3 or array.shape[1:] != (2, 2) or not len(array):
        raise InputError.expected(
            "confusion",
            "matrices of shape (n, 2, 2), or one of (2^n, 2^n) of all qubits",
            f"{array.shape}",
        )
    _check_columns(array)
    return array


def check_joint(joint: ArrayLike) -> Floats:
    """Confusion matrix (2^n, 2^n) of all qubits as an array; InputError as `check_confusion`."""
    array = _numbers(joint)
    d = array.shape[0] if array.ndim else 0
    if array.ndim != 2 or array.shape != (d, d) or d < 2 or d & (d - 1):
        raise InputError.expected(
            "confusion",
            "one matrix of shape (2^n, 2^n), or matrices of shape (n, 2, 2)",
            f"{array.shape}",
        )
    _check_columns(array)
    return array


def _check_columns(array: Floats) -> None:
    # Probabilities: sums of anything larger may overflow.
    if array.max() > 2 or array.min() < 0 or np.abs(array.sum(-2) - 1).max() > _TOLERANCE:
        array = np.clip(array, -1e6, 1e6)
        rows = array.min() >= 0 and np.abs(array.sum(-1) - 1).max() <= _TOLERANCE
        raise InputError.expected(
            "confusion",
            "probabilities P(read | true) whose columns sum to 1",
            f"sums {np.round(array.sum(-2), 4).tolist()} and a smallest number of "
            f"{array.min():.3g}",
            "Its rows sum to 1: give it transposed, a column for each true state."
            if rows
            else None,
        )


def joint_confusion(confusion: Tensor) -> Tensor:
    """Confusion of all qubits from that of each: (..., n, 2, 2) to (..., d, d)."""
    return kron_all(confusion)


def noisy_effects(effects: Tensor, confusion: Tensor) -> Tensor:
    """Effects of the outcomes as they are read.

    Parameters
    ----------
    effects : Tensor (..., k, d, d)
        Of the true outcomes.
    confusion : Tensor (m, k)
        P(read | true).

    Returns
    -------
    Tensor (..., m, d, d)
    """
    return torch.einsum("mt,...tij->...mij", confusion.to(effects), effects)


def check_calibration_counts(counts: ArrayLike) -> Floats:
    """Calibration counts (d, d), a row for each prepared state, as an array.

    Raises
    ------
    InputError
        For counts that are negative, not whole or of another shape, where some qubit was never
        prepared in 0 or in 1, or where prepared and read states are in opposite bit orders.
    """
    array = _numbers(counts)
    d = array.shape[0] if array.ndim == 2 else 0
    if array.ndim != 2 or array.shape[1] != d or d < 2 or d & (d - 1):
        raise InputError.expected("calibration", "counts of shape (2^n, 2^n)", f"{array.shape}")
    if array.min() < 0 or (array != np.floor(array)).any():
        raise InputError.expected("calibration", "whole numbers >= 0", "others")
    shots = by_qubit(array).sum(-2)
    if shots.min() < 1:
        raise InputError.expected(
            "calibration", "each qubit prepared in 0 and in 1", f"shots {shots.tolist()}"
        )
    places = reversed_bits(d.bit_length() - 1)
    told = places != np.arange(d)  # states that are others when read backwards
    plain, turned = (float(array[told, at[told]].sum()) for at in (np.arange(d), places))
    if turned > 2 * plain + 10:
        raise InputError.expected(
            "calibration",
            "prepared and read states in one bit order",
            f"{plain:.0f} shots read as prepared, {turned:.0f} read backwards",
            "Turn the bits of the prepared states or of the read ones round.",
        )
    return array


def estimate_confusion(counts: ArrayLike, joint: bool | None = None) -> Readout:
    """Confusion from calibration runs.

    Parameters
    ----------
    counts : array (d, d), integers
        Row t: how often each outcome was read after the basis state t was prepared.
    joint : bool, optional
        Whether to estimate one matrix of all qubits; by default where a likelihood-ratio test of
        factorisation (`calibration.factorisation`) excludes independent qubits and every basis
        state was prepared.

    Returns
    -------
    Readout
        Posterior means and standard deviations, so that an error that was never seen in a finite
        calibration is not taken for impossible: of each qubit under Jeffreys' prior, of all
        together under a Dirichlet prior of weight 1 about the product of the qubits' own. What
        the test said is among its notes.

    Raises
    ------
    InputError
        As `check_calibration_counts`; or a joint matrix of states that were not all prepared.
    """
    array = check_calibration_counts(counts)
    n = len(array).bit_length() - 1
    prepared = bool((array.sum(1) > 0).all())
    notes: tuple[str, ...] = ()
    if joint and not prepared:
        raise InputError.expected("calibration", "each basis state prepared", "some never")
    if joint is None and n > 1:
        found = factorisation(array)
        joint = found.correlated and prepared
        if found.correlated:
            a, b = found.pair
            p = f"p = {found.p_value:.1g}" if found.p_value > 1e-300 else "p < 1e-300"
            text = (
                f"the readout errors of the qubits are correlated (likelihood-ratio G-test of "
                f"factorisation: G = {found.statistic:.0f} where {found.expected:.1f} is expected, "
                f"{p}; qubits {a} and {b} at {found.sigma:.0f} sigma): "
            )
            text += (
                f"one {1 << n} x {1 << n} confusion matrix of all qubits is used"
                if prepared
                else "not all basis states were prepared, so that the qubits are taken to err by "
                "themselves all the same, and the region does not include this"
            )
            notes = (text,)
    if joint:
        weights = _joint_weights(array)
        total = weights.sum(0, keepdims=True)
        mean = weights / total
        error = np.sqrt(mean * (1 - mean) / (total + 1))
        return Readout(mean, True, error, None, array, notes)
    each = by_qubit(array)
    shots = each.sum(1, keepdims=True)
    mean = (each + 0.5) / (shots + 1)
    return Readout(mean, True, np.sqrt(mean * (1 - mean) / (shots + 2)), None, array, notes)


def _joint_weights(counts: Floats) -> Floats:
    """Weights (read, prepared) of the Dirichlet posterior of all qubits together."""
    each = by_qubit(counts) + 0.5
    return counts.T + product_of(each / each.sum(-2, keepdims=True))


def _by_qubit_of(joint: Floats) -> Floats:
    """What a joint confusion says of each qubit, the others prepared in 0 and 1 alike."""
    each = by_qubit(joint.T)
    out: Floats = each / each.sum(-2, keepdims=True)
    return out


def _dirichlet(weights: Floats, rng: Generator) -> Floats:
    """Columns drawn from Dirichlet laws of these weights, (..., m, t)."""
    drawn = np.maximum(rng.standard_gamma(weights), 1e-300)
    out: Floats = drawn / drawn.sum(-2, keepdims=True)
    return out


def _numbers(x: ArrayLike) -> Floats:
    try:
        array = np.asarray(x, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError.expected("confusion", "numbers", str(error)) from error
    if not array.size or not np.isfinite(array).all():
        raise InputError.expected("confusion", "finite numbers", "none, NaN or infinity")
    return array
