"""Learned quantiles, regions and intervals that they give, their check by the likelihood."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.exceptions import InputError
from physml.io.weights import save_weights
from physml.random import stream
from physml.tomography.core import states
from physml.tomography.core.born import probabilities, sample_counts
from physml.tomography.core.measurements import pauli_effects
from physml.tomography.core.operators import (
    concurrence,
    entropy,
    fidelity,
    infidelity,
    purity,
)
from physml.tomography.core.schedule import schedule
from physml.tomography.evaluation.sealed_sets import separable_rank_2
from physml.tomography.inference.answers import expectation, functional
from physml.tomography.inference.classical.likelihood import MaximumLikelihood
from physml.tomography.inference.neural.calibrated import Calibrated
from physml.tomography.inference.neural.corrector import Corrector, n_outputs
from physml.tomography.inference.neural.draws import Draws
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.inference.neural.intervals import (
    KINDS,
    Intervals,
    extra_inputs,
    may_be_separable,
)
from physml.tomography.inference.neural.loading import load
from physml.tomography.inference.neural.quantiles import Quantiles
from physml.tomography.inference.neural.radii import Regions, Stops
from physml.tomography.inference.posterior import Posterior, is_calibrated, posterior
from physml.tomography.inference.tomographer import Tomographer
from physml.tomography.inference.weights import named
from physml.tomography.settings import CalibrateSettings
from physml.tomography.simulator.experiment import experiment

LEVELS = (0.1, 0.25, 0.5, 0.68, 0.8, 0.9, 0.95, 0.99)


def rng(k: int) -> np.random.Generator:
    return stream(0, "test", 7_700 + k)


def random_quantiles(kind: type[Quantiles], inputs: int, levels: tuple, k: int) -> Quantiles:
    r = rng(k)
    made = kind(inputs, levels, 8)
    for p in made.parameters():
        p.data = torch.from_numpy(r.normal(0, 0.5, p.shape)).float()
    made.offsets.copy_(torch.from_numpy(r.normal(0, 0.3, len(levels))))
    made.standardise(torch.from_numpy(r.normal(0, 1, (100, inputs))).float())
    return made.eval().requires_grad_(False)


@given(st.floats(0.001, 0.998), st.floats(0.0005, 0.3), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_radius_grows_with_the_level_and_is_a_possible_infidelity(
    level: float, more: float, seed: int
) -> None:
    r = np.random.default_rng(seed)
    regions = Regions(5, LEVELS, 8)
    for p in regions.parameters():
        p.data = torch.from_numpy(r.normal(0, 1, p.shape)).float()
    regions.offsets.copy_(torch.from_numpy(r.normal(0, 2, regions.offsets.shape)))
    x = torch.from_numpy(r.normal(0, 3, (6, 5))).float()
    expected = torch.from_numpy(r.uniform(-30, 0, 6))
    low = regions.radius(level, x, expected)
    high = regions.radius(min(level + more, 0.999), x, expected)
    assert (low > 0).all()
    assert (high <= 1).all()
    assert (low <= high).all()
    # Each moment by itself, and in another order: the same.
    order = r.permutation(6)
    np.testing.assert_allclose(regions.radius(level, x[order], expected[order]), low[order], 1e-4)
    np.testing.assert_allclose(regions.radius(level, x[:1], expected[:1]), low[:1], rtol=1e-4)


@pytest.mark.parametrize("wrong", [{"levels": (0.9, 0.5)}, {"tails": (0.5, 0.5)}, {"levels": ()}])
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError):
        CalibrateSettings(**wrong)


def measured(rho: torch.Tensor, shots: int, k: int, estimator: Any) -> Any:
    """Estimator after one experiment of Pauli settings."""
    d = rho.shape[-1]
    estimator.start(1, d, rng(k))
    for effects in pauli_effects(d.bit_length() - 1):
        counts = sample_counts(probabilities(effects, rho[None]), shots, rng(k + 1))
        estimator.update(effects, torch.as_tensor(counts))
    return estimator


def test_draws_scatter_by_what_is_expected() -> None:
    """Full rank, small errors: the mean infidelity of draws is the sum of the parts."""
    rho = states.draw("hs", 1, 4, rng(1))[0]
    made = measured(rho, 20_000, 2, NeuralEstimator()).correction()[1]
    draws = Draws(made, 4_000, rng(4))
    found = draws.states()[0]
    assert torch.linalg.eigvalsh(found).min() > -1e-12
    assert found.diagonal(dim1=-2, dim2=-1).real.sum(-1).numpy() == pytest.approx(1)
    far = 1 - fidelity(found, draws.estimate[0].expand_as(found))
    # The trace is normalised: one of d^2 directions is lost.
    assert far.mean().item() == pytest.approx(made.parts.sum().item(), rel=0.12)


def test_draws_reach_pure_states() -> None:
    rho = states.draw("pure", 1, 4, rng(5))[0]
    made = measured(rho, 300, 6, NeuralEstimator()).correction()[1]
    rank = (torch.linalg.eigvalsh(Draws(made, 400, rng(7)).states()[0]) > 1e-9).sum(-1)
    assert (rank < 4).double().mean() > 0.2


def test_matched_draws_have_the_radii_that_were_asked_for() -> None:
    made = measured(states.draw("hs", 1, 4, rng(8))[0], 500, 9, NeuralEstimator()).correction()[1]
    draws = Draws(made, 2_000, rng(10))
    logs = np.log(np.array([[0.002, 0.004, 0.01, 0.012, 0.016, 0.02, 0.03, 0.05]]))
    found = draws.matched(np.array(LEVELS), logs)[0]
    far = (1 - fidelity(found, draws.estimate[0].expand_as(found))).log().numpy()
    np.testing.assert_allclose(np.quantile(far, LEVELS), logs[0], atol=0.08)


@pytest.fixture(scope="module")
def calibrated() -> dict[int, Calibrated]:
    """Random quantiles: of the shape, not of any truth."""
    n = (
        measured(
            states.draw("hs", 1, 2, rng(11))[0], 10, 12, NeuralEstimator({2: Corrector(2, 8, 1)})
        )
        .inputs()[0]
        .shape[1]
    )
    more = extra_inputs("purity", *(torch.ones(1, 3),) + (torch.ones(1),) * 3)[0].shape[1]
    tails = (0.05, 0.25, 0.5, 0.75, 0.95)
    return {
        2: Calibrated(
            random_quantiles(Regions, n, LEVELS, 13),  # type: ignore[arg-type]
            random_quantiles(Stops, n, LEVELS, 14),  # type: ignore[arg-type]
            random_quantiles(Intervals, n + more, tails, 15),  # type: ignore[arg-type]
        )
    }


def test_quantiles_come_back_with_the_weights(calibrated: dict[int, Calibrated], tmp_path) -> None:
    network = Corrector(2, 8, 1).eval()
    own = calibrated[2]
    tensors = named(2, network)
    for part in (own.regions, own.stops, own.intervals):
        tensors |= named(2, part)
    card = {"pipeline": "tomography", "networks": {"1": {"width": 8, "blocks": 1}}}
    path = tmp_path / "weights.safetensors"
    save_weights(path, tensors, card, dtype="float32")
    made, before = NeuralEstimator.load(path), NeuralEstimator({2: network}, calibrated=calibrated)
    rho = states.draw("hs", 5, 2, rng(16))
    for one in (made, before):
        experiment(one, rho, "pauli", schedule(300), rng(17))
    radius = made.radius(0.9)
    assert torch.equal(radius, before.radius(0.9))
    assert torch.equal(made.radius(0.9, stop=True), before.radius(0.9, stop=True))
    assert not torch.equal(radius, made.radius(0.9, stop=True))
    assert (made.radius(0.5) < radius).all()
    for name in ("regions.offsets", "stops.first.weight"):
        broken = {k: v for k, v in tensors.items() if not k.endswith(name)}
        save_weights(tmp_path / "broken.safetensors", broken, card, overwrite=True)
        with pytest.raises(InputError, match="calibration"):
            NeuralEstimator.load(tmp_path / "broken.safetensors")


def test_one_experiment_has_the_radius_it_has_in_a_batch(calibrated: dict[int, Calibrated]) -> None:
    network = Corrector(2, 8, 1)
    arguments = {"calibrated": calibrated, "tolerance": 1e-9, "steps": 60}
    batch = NeuralEstimator({2: network}, **arguments)
    alone = NeuralEstimator({2: network}, **arguments)
    r = rng(18)
    effects = [states.draw("pure", 3, 2, r) for _ in range(2)]
    counts = torch.tensor(r.integers(5, 200, (2, 3, 2))).double()
    batch.start(3, 2, rng(19))
    pairs = [torch.stack([e, torch.eye(2, dtype=e.dtype) - e], 1) for e in effects]
    for e, n in zip(pairs, counts, strict=True):
        batch.update(e, n)
    radius = batch.radius(0.9)
    for i in range(3):
        alone.start(1, 2, rng(19))
        for e, n in zip(pairs, counts, strict=True):
            alone.update(e[i : i + 1], n[i : i + 1])
        assert alone.radius(0.9).item() == pytest.approx(radius[i].item(), rel=1e-3)


def test_an_interval_is_a_quantile_in_units_of_the_draws() -> None:
    """A network that says the same everywhere gives value + spread sinh(quantile)."""
    net = Intervals(2 + 4 + len(KINDS), (0.05, 0.5, 0.95), 4)
    for p in net.parameters():
        p.data.zero_()
    net.offsets.copy_(torch.tensor([-1.0, 0.0, 2.0]) - net(torch.zeros(1, 12))[0].detach())
    net.requires_grad_(False)
    drawn = torch.tensor([[0.4, 0.6]], dtype=torch.float64)
    value, unit = torch.tensor([0.5], dtype=torch.float64), drawn.std(1).item()
    x = torch.zeros(1, 2)

    def interval(kind: str, bounds: tuple[float, float]) -> tuple[float, float]:
        low, high = net.ends(kind, 0.9, x, drawn, value, bounds)
        return float(low[0]), float(high[0])

    low, high = interval("purity", (0.0, 10.0))
    assert low == pytest.approx(0.5 - unit * np.sinh(1.0), rel=1e-5)
    assert high == pytest.approx(0.5 + unit * np.sinh(2.0), rel=1e-5)
    # Bounds are not passed, and a functional of no known kind counts as an expectation value.
    assert interval("purity", (0.45, 0.6)) == (0.45, 0.6)
    assert interval("witness", (0.0, 10.0)) == interval("observable", (0.0, 10.0))


def test_what_the_likelihood_rules_out_is_not_said() -> None:
    """A network that has learned nonsense: the estimate is that of the likelihood."""
    rho = states.draw("hs", 1, 4, rng(20))[0]
    shipped = NeuralEstimator.load()
    assert not measured(rho, 1_000, 21, shipped).refuted
    nonsense = Corrector(4, 8, 1).eval()
    with torch.no_grad():
        nonsense.leave.bias.copy_(torch.linspace(-60, 60, n_outputs(4)))
    wrong = NeuralEstimator({4: nonsense}, calibrated=shipped.calibrated)
    measured(rho, 1_000, 21, wrong)
    assert wrong.refuted
    found = wrong.estimate()
    best = MaximumLikelihood()
    torch.testing.assert_close(found, measured(rho, 1_000, 21, best).estimate(), atol=1e-3, rtol=0)
    assert infidelity(rho[None], wrong.estimate()).item() < 0.02
    assert not is_calibrated(wrong)
    # And what a user is told.
    tomographer = Tomographer(2, "pauli", NeuralEstimator({4: nonsense}), seed=1)
    r = rng(22)
    for _ in range(9):
        setting = tomographer.next_measurement(1_000)
        p = probabilities(torch.from_numpy(setting.effects), rho[None])
        tomographer.update(setting, sample_counts(p, 1_000, r)[0].numpy())
    region = tomographer.credible_region(0.9)
    assert region.effective_size is not None
    assert any("rules the learned estimate out" in note for note in region.notes)
    assert infidelity(rho[None], torch.from_numpy(tomographer.density_matrix)[None]).item() < (
        region.infidelity * 3
    )


def test_shipped_estimates_are_seldom_refuted() -> None:
    made = NeuralEstimator.load()
    refuted = 0
    for k, name in enumerate(("hs", "pure", "any_rank", "noisy", "thermal")):
        for i, rho in enumerate(states.draw(name, 6, 4, rng(30 + k))):
            refuted += measured(rho, (30, 1_000, 20_000)[i % 3], 40 + 10 * k + i, made).refuted
    assert refuted == 0


def test_samples_of_the_learned_posterior_agree_with_its_radius() -> None:
    made = measured(states.draw("noisy", 1, 4, rng(90))[0], 300, 91, NeuralEstimator())
    none = torch.zeros(1, 4, 4, dtype=torch.complex128)
    found = posterior(none, torch.ones(1), made.estimate()[0], rng(92), made)
    far = (1 - fidelity(found.particles, found.estimate.expand_as(found.particles))).numpy()
    for level in (0.5, 0.9):
        share = (far <= found.radius(level)[0]).mean()
        assert share == pytest.approx(level, abs=0.07)
    for name in ("purity", "entropy", "concurrence"):
        _, f, bounds = functional(name, 2)
        low, high = found.interval(f, 0.9, bounds)
        wide = found.interval(f, 0.99, bounds)
        assert bounds[0] <= wide[0] <= low <= float(f(found.estimate[None])[0]) <= high <= wide[1]


def test_no_entanglement_is_claimed_that_the_region_does_not_show() -> None:
    """The bound holds for random states and random separable ones, and is reached by pure ones."""
    r = rng(95)
    rho = torch.cat([states.draw(n, 60, 4, r) for n in ("any_rank", "noisy", "pure", "bell")])
    sigma = torch.cat(
        [0.97 * rho + 0.03 * states.with_white_noise(rho, 1.0), separable_rank_2(240, 4, r)]
    )
    sigma = sigma[concurrence(sigma) < 1e-9]
    far = infidelity(rho[:, None], sigma[None]).flatten().numpy()
    own = concurrence(rho)[:, None].expand(len(rho), len(sigma)).flatten().numpy()
    assert may_be_separable(own - 1e-6, far).all()
    angle = 0.2
    ket = torch.tensor([np.cos(angle), 0, 0, np.sin(angle)], dtype=torch.complex128)
    pure = torch.outer(ket, ket.conj())[None]
    product = states.named_state("0", 2)[None]
    e = infidelity(pure, product).numpy()
    assert concurrence(pure).item() == pytest.approx(2 * np.sqrt(e * (1 - e)).item())
    assert not may_be_separable(concurrence(pure).numpy(), 0.99 * e).any()
    # And what is said of a separable state.
    made = measured(separable_rank_2(3, 4, rng(98))[2], 3_000, 96, NeuralEstimator())
    none = torch.zeros(1, 4, 4, dtype=torch.complex128)
    found = posterior(none, torch.ones(1), made.estimate()[0], rng(97), made)
    _, f, bounds = functional("concurrence", 2)
    assert found.interval(f, 0.9, bounds)[0] == 0.0


def test_entropy_and_expectation_values() -> None:
    rho = states.with_white_noise(states.named_state("phi+", 2), 0.4)
    values = np.array([0.7, 0.1, 0.1, 0.1])
    assert entropy(rho[None]).item() == pytest.approx(-(values * np.log2(values)).sum())
    zz = np.diag([1.0, -1.0, -1.0, 1.0])
    f = expectation(zz, 2)
    assert f(rho[None]).item() == pytest.approx(0.6)
    assert f.bounds == pytest.approx((-1, 1))
    with pytest.raises(InputError, match="Hermitian"):
        expectation(np.ones((4, 4)) * 1j, 2)


def posterior_of(seed: int = 30) -> Posterior:
    """Samples about a nearly pure state of one qubit, r = 0.98 along z."""
    r = rng(seed)
    z = 0.98 + 0.004 * r.standard_normal(400)
    bloch = torch.from_numpy(np.stack([0.02 * r.standard_normal(400), 0 * z, z], -1))
    pauli = torch.tensor(
        [[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=torch.complex128
    )
    rho = 0.5 * (torch.eye(2) + torch.einsum("sa,aij->sij", bloch.to(pauli.dtype), pauli))
    weights = torch.full((400,), 1 / 400, dtype=torch.float64)
    return Posterior(rho, weights, 0.5 * (torch.eye(2) + 0.98 * pauli[2]))


def test_the_estimate_lies_well_inside_the_interval_of_samples() -> None:
    for level in (0.5, 0.9):
        made = posterior_of()
        off = 0.5 * (torch.eye(2) + 0.94 * torch.tensor([[1, 0], [0, -1]])).to(torch.complex128)
        made = Posterior(made.particles, made.weights, off)
        low, high = made.interval(purity, level, (0.5, 1.0))
        own = purity(off[None]).item()
        assert low < own < high
        assert min(own - low, high - own) > 0.08 * (high - low)


def test_shipped_weights_are_calibrated_for_all_their_dimensions() -> None:
    networks, _, found, _ = load()
    assert set(found) == set(networks)
