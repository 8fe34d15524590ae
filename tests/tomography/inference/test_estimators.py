"""The common interface of the estimators, and the loop that runs them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography.core.basis import Basis
from physml.tomography.core.born import probabilities, sample_counts
from physml.tomography.core.estimator import Estimator, batched
from physml.tomography.core.measurements import pauli_effects
from physml.tomography.core.operators import infidelity, random_unitary
from physml.tomography.core.schedule import decades
from physml.tomography.core.states import draw
from physml.tomography.inference.classical.likelihood import MaximumLikelihood
from physml.tomography.inference.classical.linear import LinearInversion
from physml.tomography.inference.classical.particle_filter import ParticleFilter
from physml.tomography.inference.classical.two_stage import TwoStage
from physml.tomography.simulator.experiment import experiment, level

ALL: list[Callable[[], Estimator]] = [
    LinearInversion,
    MaximumLikelihood,
    lambda: TwoStage(300),
    lambda: ParticleFilter(40, moves=1),
    lambda: ParticleFilter(40, prior="hs", moves=1),
]


def is_state(rho: torch.Tensor) -> bool:
    values = torch.linalg.eigvalsh(rho)
    trace = rho.diagonal(dim1=-2, dim2=-1).sum(-1)
    return bool((values > -1e-12).all()) and bool(((trace - 1).abs() < 1e-10).all())


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("design", ["global", "product", "pauli"])
def test_every_estimator_gives_states(make: Callable[[], Estimator], design: str) -> None:
    rho = draw("rank_adaptive", 4, 4, stream(1, "test", 0))
    estimator = make()
    estimator.start(4, 4, stream(1, "test", 1))
    assert is_state(estimator.estimate())  # of no data at all
    blocks = [30] * 10
    result = experiment(estimator, rho, design, blocks, stream(1, "test", 2), marks=[30, 300])
    assert result.marks.tolist() == [30, 300]
    assert is_state(result.estimates)
    torch.testing.assert_close(
        torch.as_tensor(result.infidelity), infidelity(rho[:, None], result.estimates)
    )
    assert result.infidelity[:, 1].mean() < 0.3
    again = experiment(make(), rho, design, blocks, stream(1, "test", 2), marks=[30, 300])
    np.testing.assert_array_equal(result.infidelity, again.infidelity)


@pytest.mark.parametrize("make", ALL[:3])
def test_order_and_grouping_do_not_matter(make: Callable[[], Estimator]) -> None:
    rho = draw("hs", 3, 4, stream(2, "test", 0))
    rng = stream(2, "test", 1)
    data = []
    for effects in pauli_effects(2):
        for _ in range(2):
            data.append((effects, sample_counts(probabilities(effects, rho), 40, rng)))
    own = Basis(random_unitary(3, 4, rng)).effects
    data.append((own, sample_counts(probabilities(own, rho), 40, rng)))
    one, other = make(), make()
    one.start(3, 4, stream(2, "test", 2))
    other.start(3, 4, stream(2, "test", 2))
    for effects, counts in data:
        one.update(effects, counts)
    for effects, counts in reversed(data):
        other.update(effects, counts // 4)
        other.update(effects.clone(), counts - counts // 4)
    torch.testing.assert_close(one.estimate(), other.estimate(), rtol=0, atol=2e-3)
    if isinstance(one, LinearInversion):
        torch.testing.assert_close(one.estimate(), other.estimate(), rtol=0, atol=1e-12)


def test_particle_filter_does_not_depend_on_order_much() -> None:
    rho = draw("hs", 40, 2, stream(3, "test", 0))
    rng = stream(3, "test", 1)
    data = [(e, sample_counts(probabilities(e, rho), 30, rng)) for e in pauli_effects(1)]
    found = []
    for order in (data, data[::-1]):
        estimator = ParticleFilter(300, prior="hs")
        estimator.start(40, 2, stream(3, "test", 2))
        for effects, counts in order:
            estimator.update(effects, counts)
        found.append(estimator.estimate())
    spread = estimator.spread()
    # Both are the same posterior mean, up to the noise of 300 particles.
    assert float((infidelity(*found) / spread).mean()) < 0.1
    # And the spread says how far off they are.
    actual = float(infidelity(rho, found[0]).mean())
    assert 0.5 < actual / float(spread.mean()) < 2


@pytest.mark.parametrize("make", ALL)
def test_bad_counts_are_refused(make: Callable[[], Estimator]) -> None:
    estimator = make()
    estimator.start(2, 2, stream(4, "test", 0))
    effects = pauli_effects(1)[0]
    for counts in (
        torch.tensor([[1.0, -1.0], [1.0, 1.0]]),
        torch.tensor([[1.0, torch.nan], [1.0, 1.0]]),
        torch.ones(2, 3),
        torch.ones(3, 2),
    ):
        with pytest.raises(InputError):
            estimator.update(effects, counts)
    with pytest.raises(InputError):
        estimator.update(pauli_effects(1), torch.ones(2, 2))
    assert is_state(estimator.estimate())


def test_batched_gives_every_experiment_its_effects() -> None:
    effects = pauli_effects(1)[0]
    wide, counts = batched(effects, torch.tensor([[3, 4]]), 1)
    assert wide.shape == (1, 2, 2, 2)
    assert counts.dtype == torch.float64
    with pytest.raises(InputError):
        batched(wide, counts, 2)


def test_basis_of_local_ones() -> None:
    local = random_unitary(6, 2, stream(5, "test", 0)).reshape(2, 3, 2, 2)
    basis = Basis.product(local)
    expected = torch.stack([torch.kron(torch.kron(*u[:2]), u[2]) for u in local])
    torch.testing.assert_close(basis.unitary, expected)
    one = torch.eye(8, dtype=torch.complex128).expand(2, 8, 8)
    torch.testing.assert_close(basis.effects.sum(1), one)


def test_copies_are_spread_evenly() -> None:
    rng = stream(6, "test", 0)
    spent = np.zeros(9, dtype=np.int64)
    for size in rng.integers(1, 50, 40):
        before = spent.copy()
        spent = level(spent, int(size))
        assert spent.sum() == before.sum() + size
        assert (spent >= before).all()
        assert spent.max() - spent.min() <= 1
    uneven = level(np.array([10, 0, 4]), 5)
    assert uneven.tolist() == [10, 5, 4]


def test_marks_have_to_be_ends_of_blocks() -> None:
    rho = draw("hs", 1, 2, stream(7, "test", 0))
    assert decades([50, 50, 900, 7]) == [100, 1000]
    assert decades([3, 4]) == [7]
    with pytest.raises(InputError, match="marks"):
        experiment(LinearInversion(), rho, "pauli", [5, 5], stream(7, "test", 1), marks=[7])
    with pytest.raises(InputError, match="design"):
        experiment(LinearInversion(), rho, "plaid", [5, 5], stream(7, "test", 1))


@pytest.mark.parametrize("design", ["mub", "sic", "pairwise", "random_global", "random_product"])
def test_other_designs_inform(design: str) -> None:
    rho = draw("hs", 8, 4, stream(8, "test", 0))
    blocks = [2000] * 50
    result = experiment(LinearInversion(), rho, design, blocks, stream(8, "test", 1))
    assert result.infidelity[:, -1].mean() < 5e-3


def test_readout_errors_known_are_undone() -> None:
    rho = draw("hs", 6, 2, stream(9, "test", 0))

    def noisy(effects: torch.Tensor) -> torch.Tensor:
        mixing = torch.tensor([[0.9, 0.2], [0.1, 0.8]], dtype=torch.complex128)
        return torch.einsum("jk,...kab->...jab", mixing, effects)

    result = experiment(
        MaximumLikelihood(), rho, "pauli", [300_000], stream(9, "test", 1), readout=noisy
    )
    assert result.infidelity.max() < 1e-3


def test_two_stage_spends_what_it_was_given() -> None:
    for total in (7, 100, 12345):
        for kind in ("global", "product"):
            blocks = TwoStage(total).schedule(kind, 4)  # type: ignore[arg-type]
            assert sum(blocks) == total
            assert min(blocks) > 0
    with pytest.raises(InputError):
        TwoStage(100, share=1.0)
    with pytest.raises(InputError):
        ParticleFilter(prior="flat")  # type: ignore[arg-type]
