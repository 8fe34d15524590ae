"""The particle cell: symmetries, moves that keep the best, gradients, estimator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography.core.basis import basis_effects
from physml.tomography.core.basis_choice import gains
from physml.tomography.core.born import probabilities, sample_counts
from physml.tomography.core.measurements import pauli_effects
from physml.tomography.core.operators import from_coordinates, random_unitary, to_coordinates
from physml.tomography.core.schedule import schedule
from physml.tomography.core.states import draw
from physml.tomography.inference.cell.cell import (
    Bank,
    Cell,
    Midst,
    compare,
    keep_best,
    likelihood,
    slope,
    square,
    square_root,
    symmetric,
)
from physml.tomography.inference.cell.estimator import (
    CellEstimator,
    Turned,
    arm,
    turning_gains,
    whole_measurement,
)
from physml.tomography.inference.classical.likelihood import MaximumLikelihood
from physml.tomography.inference.classical.tally import Tally
from physml.tomography.learning.cell_training import loss, make_cell
from physml.tomography.settings import CellSettings
from physml.tomography.simulator.experiment import experiment

TINY = CellSettings(width=8, n_particles=5)


def some_cell(seed: int = 0) -> Cell:
    """A cell whose last layers are not close to nothing, as they are before training."""
    cell = make_cell(TINY, seed, 4)
    with torch.no_grad():
        for p in cell.parameters():
            p += 0.2 * torch.from_numpy(stream(seed, "test", 1).standard_normal(p.shape))
    return cell.eval().requires_grad_(False)


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


def weighed(bank: Bank, value: torch.Tensor) -> Bank:
    return Bank(bank.roots, torch.log_softmax(value, -1), bank.d)


@pytest.mark.parametrize("d", [2, 4, 8])
def test_roots_and_their_squares(d: int) -> None:
    rho = draw("hs", 6, d, stream(0, "test", 20))
    x = to_coordinates(rho)
    root = square_root(x)
    torch.testing.assert_close(square(root), x)
    torch.testing.assert_close(root.norm(dim=-1), torch.ones(6).double())
    found = torch.func.vmap(torch.func.jacrev(square))(root)
    torch.testing.assert_close(found, slope(root, d))
    values = torch.linalg.eigvalsh(rho)
    second, third = symmetric(x)
    pairs = torch.combinations(torch.arange(d), 2)
    torch.testing.assert_close(second, values[:, pairs].prod(-1).sum(-1))
    if d > 2:
        triples = torch.combinations(torch.arange(d), 3)
        torch.testing.assert_close(third, values[:, triples].prod(-1).sum(-1))


def test_particles_of_a_bank_are_states_and_weights_sum_to_one() -> None:
    tally, _ = data()
    bank = Bank.draw(3, 20, 4, stream(0, "test", 4))
    for made in (bank, some_cell()(bank, tally, block_of(tally), stream(0, "test", 5))):
        rho = from_coordinates(made.coordinates())
        trace = torch.diagonal(rho, dim1=-2, dim2=-1).real.sum(-1)
        torch.testing.assert_close(trace, torch.ones_like(trace))
        assert float(torch.linalg.eigvalsh(rho).min()) > -1e-12
        total = made.log_weight.exp().sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total))


def test_order_of_particles_and_of_outcomes_does_not_matter() -> None:
    tally, _ = data()
    cell, block = some_cell(), block_of(tally)
    bank = Bank.draw(3, 20, 4, stream(0, "test", 4))
    value = likelihood(tally, bank.coordinates())
    bank = weighed(bank, 0.1 * value)
    order = torch.from_numpy(stream(0, "test", 6).permutation(20))
    turned = Bank(bank.roots[:, order], bank.log_weight[:, order], 4)
    g, counts = block
    around = Midst.of(bank, tally)
    plain = cell.particle(*compare(bank, around, tally, block, value))
    flipped = (g.flip(1), counts.flip(1))
    other = cell.particle(
        *compare(turned, Midst.of(turned, tally), tally, flipped, value[:, order])
    )
    for a, b in zip(plain, other, strict=True):
        torch.testing.assert_close(a[:, order], b)
    assert float(plain[1].std()) > 0.01  # the network does tell particles apart
    first, second = cell.estimate(bank, tally), cell.estimate(turned, tally)
    torch.testing.assert_close(first.state, second.state)
    torch.testing.assert_close(first.log_infidelity, second.log_infidelity)


@given(seed=st.integers(0, 1_000))
def test_weights_and_estimate_turn_with_everything(seed: int) -> None:
    """A unitary turn of states, effects and particles turns the estimate, and nothing else."""
    cell = some_cell()
    u = torch.as_tensor(random_unitary(1, 4, stream(seed, "test", 21)))
    rho = draw("hs", 2, 4, stream(seed, "test", 22))
    tallies = Tally(2, 4), Tally(2, 4)
    for effects in pauli_effects(2)[:4]:
        counts = sample_counts(probabilities(effects, rho), 50, stream(seed, "test", 23))
        tallies[0].add(effects, counts)
        block = tallies[1].add(u @ effects @ u.mH, counts)
    bank = Bank.draw(2, 10, 4, stream(seed, "test", 24))
    moved = to_coordinates(u @ from_coordinates(bank.roots) @ u.mH)
    banks = bank, Bank(moved, bank.log_weight, 4)
    blocks = block_of(tallies[0]), block
    found = []
    for b, tally, part in zip(banks, tallies, blocks, strict=True):
        value = likelihood(tally, b.coordinates())
        around = Midst.of(weighed(b, value), tally)
        log_weight, size = cell.particle(*compare(b, around, tally, part, value))
        made = Bank(b.roots, log_weight, 4)
        found.append((log_weight, size, cell.estimate(made, tally)))
    for a, b in zip(found[0][:2], found[1][:2], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    plain, turned = found[0][2], found[1][2]
    torch.testing.assert_close(u @ plain.state @ u.mH, turned.state, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(plain.log_infidelity, turned.log_infidelity, rtol=1e-5, atol=1e-7)


def test_a_particle_keeps_the_best() -> None:
    tally, _ = data()
    bank = Bank.draw(3, 20, 4, stream(0, "test", 4))
    before = likelihood(tally, bank.coordinates())
    rng, value, size = stream(0, "test", 7), before, torch.full_like(before, 0.5)
    for _ in range(5):
        around = Midst.of(weighed(bank, value), tally)
        new, after = keep_best(bank.roots, value, size, around, tally, 3, rng)
        assert bool((after >= value).all())
        # What is said of the particles that are kept is true of them.
        torch.testing.assert_close(likelihood(tally, square(new)), after)
        stayed = after == value
        assert torch.equal(new[stayed], bank.roots[stayed])
        bank, value = Bank(new, bank.log_weight, 4), after
    assert bool((value.mean(1) > before.mean(1) + 10).all())


def test_a_move_of_size_zero_stays_and_of_size_one_forgets() -> None:
    tally, _ = data()
    bank = weighed(b := Bank.draw(3, 20, 4, stream(0, "test", 4)), torch.zeros(3, 20).double())
    around, low = Midst.of(bank, tally), torch.full((3, 20), -torch.inf).double()
    size = torch.zeros_like(low)
    kept, _ = keep_best(b.roots, low, size, around, tally, 1, stream(0, "test", 8))
    torch.testing.assert_close(kept, b.roots)
    fresh = [
        keep_best(roots, low, size + 1, around, tally, 1, stream(0, "test", 8))[0]
        for roots in (b.roots, b.roots.flip(1))
    ]
    torch.testing.assert_close(fresh[0], fresh[1])
    assert float((fresh[0] - b.roots).norm(dim=-1).min()) > 0.01


def test_particles_without_rank_can_get_it() -> None:
    tally, rho = data(shots=300)
    psi = draw("pure", 60, 4, stream(0, "test", 4)).reshape(3, 20, 4, 4)
    bank = Bank(square_root(to_coordinates(psi)), -torch.full((3, 20), 20.0).double().log(), 4)
    cell, rng = make_cell(TINY, 0, 4).requires_grad_(False), stream(0, "test", 8)
    for _ in range(20):
        bank = cell(bank, tally, block_of(tally), rng)
    found = torch.linalg.eigvalsh(from_coordinates(bank.mean()))[:, 1]
    assert bool((found > 0.3 * torch.linalg.eigvalsh(rho)[:, 1]).all())


@pytest.mark.parametrize("name", ["hs", "pure"])
def test_the_bank_does_not_get_stuck(name: str) -> None:
    """Under fixed measurements too it gets about as far as the largest likelihood."""
    rho = draw(name, 6, 4, stream(0, "test", 25))
    cell = make_cell(TINY, 0, 4).requires_grad_(False)
    marks = [1_000]
    blocks = [100] * 10
    ours = CellEstimator(cell, 40)
    experiment(ours, rho, "mub", blocks, stream(0, "test", 26), marks=marks)
    best = MaximumLikelihood()
    experiment(best, rho, "mub", blocks, stream(0, "test", 26), marks=marks)
    x = to_coordinates(best.estimate())[:, None]
    gap = likelihood(ours.tally, x)[:, 0] - likelihood(ours.tally, ours.bank.coordinates()).amax(1)
    # A posterior of 15 dimensions is about 7.5 below its maximum.
    assert float(gap.max()) < 8


@pytest.mark.parametrize("name", ["pure", "hs"])
def test_gradients_reach_all_weights_and_are_finite(name: str) -> None:
    rho = draw(name, 3, 4, stream(0, "test", 10))
    made = CellEstimator(make_cell(TINY, 0, 4), 10, learning=True)
    made.start(3, 4, stream(0, "test", 11))
    luck = stream(0, "test", 12)
    for effects in pauli_effects(2)[:4]:
        made.update(effects, sample_counts(probabilities(effects, rho), 50, luck))
    loss(rho, made.latest(), made.bank, made.tally.copies()).backward()
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
@pytest.mark.parametrize("how", ["fixed", "random", "adaptive"])
def test_turned_measurements_are_measurements(name: str, how: str) -> None:
    made, design = arm(make_cell(TINY, 0, 4), 10, name, how, 2)
    first = whole_measurement(name, 2)
    if how == "fixed":
        assert isinstance(design, torch.Tensor)
        assert torch.equal(design, first)
        return
    assert design == "global"
    made.start(2, 4, stream(0, "test", 14))
    made.update(first, torch.ones(2, len(first)))
    turned = made.next_basis("global", stream(0, "test", 15), 10)
    assert isinstance(turned, Turned)
    total = turned.effects.sum(1)
    torch.testing.assert_close(total, torch.eye(4, dtype=total.dtype).expand(2, 4, 4))
    assert float((turned.effects - first).abs().max()) > 0.01


def test_unknown_measurements() -> None:
    with pytest.raises(InputError, match="sic, mub or pairwise"):
        whole_measurement("basis", 2)
    with pytest.raises(InputError, match="fixed, random or adaptive"):
        arm(make_cell(TINY, 0, 4), 10, "sic", "clever", 2)
    with pytest.raises(InputError, match="at least 2"):
        CellEstimator(make_cell(TINY, 0, 4), 1)


def test_an_experiment_converges_and_is_the_same_again() -> None:
    rho = draw("hs", 4, 2, stream(0, "test", 16))
    made = CellEstimator(make_cell(TINY, 0, 2), 20)
    run = experiment(made, rho, "global", schedule(1_000), stream(0, "test", 17))
    assert run.infidelity[:, -1].mean() < 0.01  # the limit is 0.00225
    assert np.isfinite(run.spread).all()
    assert not made.bank.roots.requires_grad  # else all of the experiment would stay in memory
    short = [
        experiment(made, rho, "product", schedule(30), stream(0, "test", 17)) for _ in range(2)
    ]
    assert np.array_equal(short[0].infidelity, short[1].infidelity)
