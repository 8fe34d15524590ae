"""The particle cell: symmetries, moves that keep the best, gradients, estimator, weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography import cell as cell_module
from physml.tomography.cell import Bank, Cell, Surroundings, compare, keep_best, likelihood
from physml.tomography.cell_estimator import (
    CellEstimator,
    Turned,
    turning_gains,
    whole_measurement,
)
from physml.tomography.cell_training import (
    estimator_for,
    load_cell,
    loss,
    make_cell,
    save_cell,
    smooth_infidelity,
    train_cell,
)
from physml.tomography.design import gains
from physml.tomography.learning_settings import CellSettings
from physml.tomography.measure import probabilities, sample_counts
from physml.tomography.operators import infidelity, random_unitary
from physml.tomography.povm import basis_effects, pauli_effects
from physml.tomography.run import experiment
from physml.tomography.sets import schedule
from physml.tomography.states import draw
from physml.tomography.tally import Tally

TINY = CellSettings(
    width=8, n_particles=5, experiments=2, runs=2, copies=100, window=8, valid=2, validate_every=1
)


def some_cell(seed: int = 0) -> Cell:
    """A cell whose last layers are not close to nothing, as they are before training."""
    cell = make_cell(TINY, seed, 4)
    with torch.no_grad():
        for p in cell.parameters():
            p += 0.3 * torch.from_numpy(stream(seed, "test", 1).standard_normal(p.shape))
    return cell


def data(n_states: int = 3, d: int = 4, shots: int = 30) -> tuple[Tally, torch.Tensor]:
    """Tally of all Pauli bases, and the true states."""
    rho = draw("hs", n_states, d, stream(0, "test", 2))
    tally, luck = Tally(n_states, d), stream(0, "test", 3)
    for effects in pauli_effects(d.bit_length() - 1):
        tally.add(effects, sample_counts(probabilities(effects, rho), shots, luck))
    return tally, rho


def block_of(tally: Tally, k: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    g, counts, _ = tally.stacked()
    return g[:, -k:], counts[:, -k:]


def test_particles_of_a_bank_are_states_and_weights_sum_to_one() -> None:
    tally, _ = data()
    bank = Bank.draw(3, 20, 4, stream(0, "test", 4))
    for made in (bank, some_cell()(bank, tally, block_of(tally), stream(0, "test", 5))):
        rho = made.roots @ made.roots.mH
        trace = torch.diagonal(rho, dim1=-2, dim2=-1).real.sum(-1)
        torch.testing.assert_close(trace, torch.ones_like(trace))
        total = made.log_weight.exp().sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total))


def test_order_of_particles_and_of_outcomes_does_not_matter() -> None:
    tally, _ = data()
    bank = Bank.draw(3, 20, 4, stream(0, "test", 4))
    cell, block = some_cell(), block_of(tally)
    order = torch.from_numpy(stream(0, "test", 6).permutation(20))
    turned = Bank(bank.roots[:, order], bank.log_weight[:, order])
    flipped = tuple(part.flip(1) for part in block)
    value = likelihood(tally, bank.coordinates())
    plain = cell.particle(*compare(bank, tally, block, value))
    other = cell.particle(*compare(turned, tally, flipped, value[:, order]))  # type: ignore[arg-type]
    for a, b in zip(plain, other, strict=True):
        torch.testing.assert_close(a[:, order], b)
    assert float(plain[1].detach().std()) > 0.01  # the network does tell particles apart
    first, second = cell.outlook(bank, tally), cell.outlook(turned, tally)
    torch.testing.assert_close(first.state, second.state)
    torch.testing.assert_close(first.log_infidelity, second.log_infidelity)


def test_a_particle_keeps_the_best() -> None:
    tally, _ = data()
    bank = Bank.draw(3, 20, 4, stream(0, "test", 4))
    before = likelihood(tally, bank.coordinates())
    b, value, rng = bank.roots, before, stream(0, "test", 7)
    size = torch.ones_like(before)
    around = Surroundings.of(bank, tally)
    for _ in range(5):
        new, after = keep_best(b, value, size, around, tally, 3, rng)
        assert bool((after >= value).all())
        # What is said of the particles that are kept is true of them.
        found = likelihood(tally, Bank(new, bank.log_weight).coordinates())
        torch.testing.assert_close(found, after)
        stayed = after == value
        assert torch.equal(new[stayed], b[stayed])
        b, value = new, after
    assert bool((value.mean(1) > before.mean(1) + 10).all())


def test_particles_without_rank_can_get_it() -> None:
    tally, rho = data(shots=300)
    pure = Bank.draw(3, 20, 4, stream(0, "test", 4)).roots[..., :1]
    b = cell_module.unit(torch.cat([pure, 1e-6 * pure.expand(-1, -1, -1, 3)], -1))
    bank = Bank(b, -torch.full((3, 20), 20.0).double().log())
    rng, value = stream(0, "test", 8), likelihood(tally, bank.coordinates())
    around = Surroundings.of(bank, tally)
    for _ in range(40):
        b, value = keep_best(b, value, torch.ones_like(value), around, tally, 3, rng)
    smallest = torch.linalg.eigvalsh(b @ b.mH)[..., 1].amax(1)
    assert bool((smallest > 0.1 * torch.linalg.eigvalsh(rho)[:, 1]).all())


@pytest.mark.parametrize("name", ["hs", "pure"])
def test_infidelity_and_its_gradient(name: str) -> None:
    rng = stream(0, "test", 9)
    rho, sigma = draw(name, 5, 4, rng), draw("hs", 5, 4, rng).requires_grad_()
    value = smooth_infidelity(rho, sigma)
    torch.testing.assert_close(value.detach(), infidelity(rho, sigma.detach()))
    (gradient,) = torch.autograd.grad(value.sum(), sigma)
    change = draw("hs", 5, 4, rng) - draw("hs", 5, 4, rng)
    along = (gradient.conj() * change).sum((-2, -1)).real
    step = 1e-5
    found = infidelity(rho, sigma.detach() + step * change)
    numeric = (found - infidelity(rho, sigma.detach() - step * change)) / (2 * step)
    torch.testing.assert_close(along, numeric, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["pure", "hs"])
def test_gradients_reach_all_weights_and_are_finite(name: str) -> None:
    rho = draw(name, 3, 4, stream(0, "test", 10))
    made = CellEstimator(make_cell(TINY, 0, 4), 10, learning=True)
    made.start(3, 4, stream(0, "test", 11))
    luck = stream(0, "test", 12)
    for effects in pauli_effects(2)[:4]:
        made.update(effects, sample_counts(probabilities(effects, rho), 50, luck))
    loss(rho, made.outlook(), made.tally.copies()).backward()
    for label, p in made.cell.named_parameters():
        assert p.grad is not None, label
        assert bool(torch.isfinite(p.grad).all()), label
        assert float(p.grad.abs().sum()) > 0, label


def test_gain_of_a_turned_basis_is_that_of_the_basis() -> None:
    rng = stream(0, "test", 13)
    rho = draw("hs", 2, 4, rng)
    root = torch.as_tensor(rng.standard_normal((2, 15, 15))) * 0.02
    covariance = root @ root.mT + 1e-4 * torch.eye(15)
    u = random_unitary(6, 4, rng).reshape(2, 3, 4, 4)
    plain = basis_effects(torch.eye(4, dtype=torch.complex128)[None])[0]
    torch.testing.assert_close(
        turning_gains(u, plain, rho, covariance, 50), gains(u, rho, covariance, 50)
    )


@pytest.mark.parametrize("name", ["sic", "mub", "pairwise"])
def test_turned_measurements_are_measurements(name: str) -> None:
    made = estimator_for(make_cell(TINY, 0, 4), name, 4, 10)
    made.start(2, 4, stream(0, "test", 14))
    first = whole_measurement(name, 2)
    made.update(first, torch.ones(2, len(first)))
    turned = made.next_basis("global", stream(0, "test", 15), 10)
    assert isinstance(turned, Turned)
    total = turned.effects.sum(1)
    torch.testing.assert_close(total, torch.eye(4, dtype=total.dtype).expand(2, 4, 4))
    with pytest.raises(InputError, match="sic, mub or pairwise"):
        whole_measurement("basis", 2)


def test_an_experiment_converges_and_is_the_same_again() -> None:
    rho = draw("hs", 4, 2, stream(0, "test", 16))
    made = CellEstimator(make_cell(TINY, 0, 2), 20)
    run = experiment(made, rho, "global", schedule(1_000), stream(0, "test", 17))
    assert run.infidelity[:, -1].mean() < 0.02  # the limit is 0.00225
    assert np.isfinite(run.spread).all()
    assert not made.bank.roots.requires_grad  # else all of the experiment would stay in memory
    short = [
        experiment(made, rho, "product", schedule(30), stream(0, "test", 17)) for _ in range(2)
    ]
    assert np.array_equal(short[0].infidelity, short[1].infidelity)


def test_training_keeps_what_validates_best_and_weights_come_back(tmp_path: Path) -> None:
    states = draw("mixture", 20, 2, stream(0, "test", 18))
    cell, history = train_cell(TINY, states, states[:4], 3)
    again, _ = train_cell(TINY, states, states[:4], 3)
    for name, value in cell.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert [row["run"] for row in history] == [0, 1, 2]
    assert all(np.isfinite(list(row.values())).all() for row in history)
    path = tmp_path / "cell.safetensors"
    save_cell(path, {2: cell}, TINY, {"history": history})
    loaded, card = load_cell(path, 2)
    assert card["history"] == history
    for name, value in cell.state_dict().items():
        # Stored in single precision.
        torch.testing.assert_close(value, loaded.state_dict()[name], rtol=1e-6, atol=1e-7)
    with pytest.raises(InputError, match="dimension 4"):
        load_cell(path, 4)


def test_training_ends_in_time() -> None:
    states = draw("mixture", 8, 2, stream(0, "test", 19))
    _, history = train_cell(TINY, states, states[:4], 3, left=lambda: 0.0)
    assert [row["run"] for row in history] == [0, 1]
