"""The learned estimator: information filter, eigenframe corrector, adaptive design."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physml.exceptions import InputError

from ...core.basis import Basis, BasisKind
from ...core.estimator import Estimator
from . import eigenframe_choice, single_corrector
from .calibrated import Calibrated
from .corrector import Correction, Corrector, CovarianceSummary, correct, features
from .information_filter import InformationFilter
from .loading import load
from .moments import inputs_of, log_expected
from .refuted import is_refuted, most_likely

#: Newton decrement at which a single experiment counts as converged: its estimate is then a
#: function of the data, whatever their order and grouping.
EXACT = 1e-5
EXACT_STEPS = 40


class NeuralEstimator(Estimator):
    """Information filter with a learned correction in the eigenframe of its estimate.

    Parameters
    ----------
    networks : mapping, optional
        Corrector of each dimension; None: the shipped ones.
    window, tolerance, steps : int
        See `InformationFilter`. A batch of one is followed to the maximum after each update, and
        all of its measurements are kept.
    card : mapping, optional
        Metadata of the weights.
    cards : mapping, optional
        Metadata of the weights of dimensions whose networks are of another file.
    calibrated : mapping, optional
        Calibrated quantiles of each dimension.
    """

    name: ClassVar[str] = "neural"

    def __init__(
        self,
        networks: Mapping[int, Corrector] | None = None,
        *,
        card: Mapping[str, Any] | None = None,
        cards: Mapping[int, Mapping[str, Any]] | None = None,
        calibrated: Mapping[int, Calibrated] | None = None,
        window: int = 96,
        tolerance: float = 0.5,
        steps: int = 1,
    ) -> None:
        if networks is None:
            networks, card, calibrated, cards = load()
        self.networks, self.card = dict(networks), dict(card or {})
        self._cards, self._first_card = dict(cards or {}), self.card
        self.calibrated = dict(calibrated or {})
        self.window, self.tolerance, self.steps = window, tolerance, steps

    @classmethod
    def load(cls, path: str | PathLike[str] | None = None, **arguments: Any) -> NeuralEstimator:
        """Estimator with the weights of a file, or with the shipped ones.

        Raises
        ------
        InputError
            Not weights of this pipeline.
        """
        networks, card, calibrated, cards = load(path)
        return cls(networks, card=card, cards=cards, calibrated=calibrated, **arguments)

    def start(self, n_states: int, d: int, rng: np.random.Generator) -> None:
        """Forget everything. See `Estimator.start`.

        Raises
        ------
        InputError
            There is no network for this dimension.
        """
        if d not in self.networks:
            known = ", ".join(str(k.bit_length() - 1) for k in sorted(self.networks))
            raise InputError.expected(
                "n_qubits=",
                f"a number of qubits that there are weights for ({known})",
                str(d.bit_length() - 1),
                "Train others with `physml tomography train`, or choose another estimator.",
            )
        self.n_states, self.d = n_states, d
        self.card = dict(self._cards.get(d, self._first_card))
        self._network = self.networks[d]
        single = n_states == 1
        self._small = single_corrector.Network(self._network)
        self.filter = InformationFilter(
            n_states,
            d,
            window=self.window,
            tolerance=EXACT if single else self.tolerance,
            steps=EXACT_STEPS if single else self.steps,
        )
        self._state: tuple[Tensor, Correction] | None = None
        self._refuted: bool | None = None

    def update(self, effects: Tensor, counts: Tensor) -> None:
        """Take in counts. See `Estimator.update`."""
        self.filter.add(effects, counts)
        self._state = self._refuted = None

    def correction(self) -> tuple[Tensor, Correction]:
        """Scaled covariance (S, d * d, d * d), and what the network makes of it."""
        if self._state is None:
            covariance = self.filter.covariance()
            now = self.filter.now
            # Numpy for one experiment, torch for several.
            made = self._batch(covariance) if now is None else self._single(now.values, covariance)
            self._state = covariance, made
        return self._state

    def _batch(self, covariance: Tensor) -> Correction:
        f = self.filter
        with torch.no_grad():
            inputs = features(f.values, covariance, f.copies)
            # The filter is on the CPU, wherever the network is.
            raw = self._network(inputs.to(self._network.shift.device)).to(inputs.device)
            return correct(raw, CovarianceSummary.of(f.values, covariance))

    def _single(self, values: NDArray, covariance: Tensor) -> Correction:
        inside = covariance.numpy()[0]
        raw = self._small(single_corrector.features(values, inside, float(self.filter.copies)))
        new, root, level, parts = single_corrector.correct(raw, values, inside)
        return Correction(
            torch.from_numpy(new[None]),
            torch.from_numpy(root[None]),
            torch.from_numpy(np.array([level])),
            torch.from_numpy(parts[None]),
        )

    @property
    def refuted(self) -> bool:
        """Whether the likelihood of the data rules the learned estimate out.

        The estimate is then the maximum of the likelihood, and no calibration holds. Asked of
        single experiments only: False for batches.
        """
        if self._refuted is None:
            one = self.n_states == 1 and self.filter.now is not None
            self._refuted = one and is_refuted(self.filter, self._learned()[0].numpy())
        return self._refuted

    def estimate(self) -> Tensor:
        """Density matrices (S, d, d). See `Estimator.estimate`."""
        return most_likely(self.filter) if self.refuted else self._learned()

    def _learned(self) -> Tensor:
        made = self.correction()[1]
        now = self.filter.now
        if now is not None:
            half = now.vectors @ made.root.numpy()[0]
            rho = half @ half.conj().T
            return torch.from_numpy(rho[None] / np.trace(rho).real)
        return self.filter.vectors @ made.estimate() @ self.filter.vectors.mH

    def spread(self) -> Tensor:
        """Expected infidelity (S,)."""
        return self.correction()[1].log_infidelity.exp().clamp(max=1.0)

    def inputs(self) -> tuple[Tensor, Tensor]:
        """Inputs of the quantiles (S, f), and logarithms of the expected infidelity (S,)."""
        covariance, made = self.correction()
        f = self.filter
        return inputs_of(f.values, covariance, f.copies, made), log_expected(made)

    @property
    def quantiles(self) -> Calibrated:
        """Calibrated quantiles of this dimension.

        Raises
        ------
        InputError
            The weights were not calibrated.
        """
        if self.d not in self.calibrated:
            raise InputError.expected("weights", "a calibration of regions", "none")
        return self.calibrated[self.d]

    def radius(self, level: float, stop: bool = False) -> Tensor:
        """Infidelity (S,) from the estimate that truth does not exceed with this probability.

        The expectation of the network times a learned quantile; see `radii` and `calibrate`.

        Parameters
        ----------
        level : float
        stop : bool
            Of an experiment that would stop now: where a radius is looked at again and again.

        Raises
        ------
        InputError
            The weights were not calibrated.
        """
        inputs = self.inputs()
        radius = self.quantiles.regions.radius(level, *inputs)
        if stop:
            # Nobody stops at a radius that the region itself does not have.
            radius = np.maximum(radius, self.quantiles.stops.radius(level, *inputs))
        return torch.from_numpy(radius)

    def next_basis(self, kind: BasisKind, rng: np.random.Generator, shots: float = 1.0) -> Basis:
        """Basis to measure next. See `Estimator.next_basis`."""
        covariance, made = self.correction()
        return eigenframe_choice.choose(kind, self.filter, covariance, made, rng, shots)
