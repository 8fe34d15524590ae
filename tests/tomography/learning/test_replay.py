"""Recorded experiments and what an estimator sees of them: the same as if it had been there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physml.random import stream
from physml.tomography.core import states
from physml.tomography.core.basis import basis_effects
from physml.tomography.core.operators import infidelity, random_unitary
from physml.tomography.core.readout import Readout, flips
from physml.tomography.core.schedule import schedule
from physml.tomography.inference.neural.corrector import Corrector, root_fidelity
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.learning.histories import NEEDED, CorrectorLoss, Histories, apply
from physml.tomography.learning.replay import replay
from physml.tomography.simulator.experiment import menu
from physml.tomography.simulator.experiments import DESIGNS
from physml.tomography.simulator.histories import measure
from physml.tomography.simulator.laboratory_noise import LaboratoryNoise
from physml.tomography.simulator.recorded_bases import pack, unpack

COPIES = 300


class Told(NeuralEstimator):
    """Notes all that it is told."""

    def start(self, n_states: int, d: int, rng: np.random.Generator) -> None:
        super().start(n_states, d, rng)
        self.told: list[torch.Tensor] = []

    def update(self, effects: torch.Tensor, counts: torch.Tensor) -> None:
        super().update(effects, counts)
        self.told.append(effects)


def network_of(d: int) -> Corrector:
    torch.manual_seed(0)
    network = Corrector(d, 8, 1)
    torch.nn.init.normal_(network.leave.weight, std=0.1)
    return network.eval().requires_grad_(False)


def misread(n_states: int, n: int) -> LaboratoryNoise:
    rng = stream(0, "test", 40)
    each = [flips(*rng.uniform(0.01, 0.1, (2, n))) for _ in range(n_states)]
    return LaboratoryNoise(torch.from_numpy(np.stack(each)))


@pytest.mark.parametrize("d", [2, 4, 8])
def test_recorded_bases_are_orthonormal_and_the_same_in_any_company(d: int) -> None:
    unitary = torch.as_tensor(random_unitary(50, d, stream(0, "test", 41)))
    pairs = pack(unitary)
    found = unpack(pairs)
    one = torch.eye(d, dtype=torch.complex128).expand(50, -1, -1)
    assert float((found.mH @ found - one).abs().max()) < 1e-14
    assert float((found - unitary).abs().max()) < 3e-7
    assert torch.equal(torch.cat([unpack(pairs[:1]), unpack(pairs[1:])]), found)


@pytest.mark.parametrize("design", ["global", "product"])
def test_a_replay_is_told_what_the_laboratory_was(design: str) -> None:
    """To the last bit: bases were rounded before anything was measured in them."""
    rho = states.draw("mixture", 5, 4, stream(0, "test", 42))
    noise, blocks = misread(5, 2), schedule(COPIES)
    estimator = Told({4: network_of(4)})
    bases, _ = measure(estimator, rho, design, blocks, noise, stream(0, "test", 43))
    assert bases is not None
    for k, told in enumerate(estimator.told):
        some = slice(1, 4)
        alone = LaboratoryNoise(noise.confusion[some])  # type: ignore[index]
        again = alone.known(basis_effects(unpack(torch.from_numpy(bases[some, k].copy()))))
        assert torch.equal(again, told[some])
    assert len(estimator.told) == len(blocks)
    if design == "product":
        # Each column is a product: as a matrix over the two qubits it has rank one.
        columns = unpack(torch.from_numpy(bases[:, -1])).mT.reshape(5, 4, 2, 2)
        assert float(torch.linalg.svdvals(columns)[..., 1].max()) < 1e-6


def exact(design: str, rho: torch.Tensor, how, counts, noise: LaboratoryNoise, row: int):
    """Estimator of one experiment that is told everything, one setting after the other."""
    d = rho.shape[-1]
    made = NeuralEstimator({d: network_of(d)})
    made.start(1, d, stream(0, "test", 44))
    readout = None if noise.confusion is None else Readout(noise.confusion[row].numpy())
    for block in range(counts.shape[1]):
        if how is None:
            first = 0
            for effects in menu(design, d):
                last = first + len(effects)
                seen = torch.from_numpy(counts[row : row + 1, block, first:last]).double()
                if seen.sum():
                    made.update(effects if readout is None else readout(effects), seen)
                first = last
        else:
            basis = basis_effects(unpack(torch.from_numpy(how[row : row + 1, block])))
            seen = torch.from_numpy(counts[row : row + 1, block]).double()
            made.update(basis if readout is None else readout(basis), seen)
    return made


@pytest.mark.parametrize(
    ("design", "readout"),
    # No qubit of a joint measurement is read by itself.
    [(name, how) for name in DESIGNS for how in (False, True) if (name, how) != ("sic", True)],
)
def test_moments_hold_what_the_estimator_would_say(design: str, readout: bool) -> None:
    """At the end of an experiment, beside an estimator that follows it alone."""
    d, n = 4, 6
    rho = states.draw("mixture", n, d, stream(0, "test", 45))
    noise = misread(n, 2) if readout else LaboratoryNoise()
    blocks = schedule(COPIES)
    network = network_of(d)
    how, counts = measure(
        NeuralEstimator({d: network}), rho, design, blocks, noise, stream(0, "test", 46)
    )
    keep = np.zeros((n, len(blocks)), bool)
    keep[:, -1] = True
    bases = np.zeros((n, len(blocks), d, d, 2), np.float32) if how is None else how
    found, row = replay(design, rho, bases, counts, noise, keep)
    assert row.tolist() == list(range(n))
    assert found["copies"].tolist() == [COPIES] * n
    histories = Histories({k: found[k] for k in NEEDED})
    batch = histories.batch(np.arange(n), stream(0, "test", 0), augment=False)
    made, truth = apply(network, batch)
    wrong = 1 - root_fidelity(made.root, truth).square()
    for k in range(n):
        alone = exact(design, rho, how, counts, noise, k)
        # What leaves the window of the batch is kept in full by a single one.
        found_alone = float(infidelity(alone.estimate(), rho[k : k + 1]))
        assert float(wrong[k]) == pytest.approx(found_alone, rel=0.01, abs=1e-5)
        spread = float(made.log_infidelity[k].exp())
        assert spread == pytest.approx(float(alone.spread()), rel=0.01)
    # One alone is as one among others.
    one, at = replay(
        design,
        rho[2:3],
        bases[2:3],
        counts[2:3],
        LaboratoryNoise(noise.confusion[2:3] if readout else None),  # type: ignore[index]
        keep[2:3],
    )
    assert at.tolist() == [0]
    np.testing.assert_allclose(one["feature"][0], found["feature"][2], rtol=1e-4, atol=1e-5)


def test_the_loss_of_moments_is_finite_and_has_a_gradient() -> None:
    d, n = 2, 5
    rho = states.draw("mixture", n, d, stream(0, "test", 47))
    blocks, noise = schedule(COPIES), LaboratoryNoise()
    network = network_of(d).requires_grad_(True)
    how, counts = measure(
        NeuralEstimator({d: network}), rho, "global", blocks, noise, stream(0, "test", 48)
    )
    assert how is not None
    keep = np.ones((n, len(blocks)), bool)
    found, row = replay("global", rho, how, counts, noise, keep)
    assert len(row) == n * len(blocks)
    histories = Histories({k: found[k] for k in NEEDED})
    batch = histories.batch(np.arange(len(histories)), stream(0, "test", 0), augment=False)
    CorrectorLoss()(network, batch)["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
