"""Learned quantiles, their conformal correction, and the regions of an estimator."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.exceptions import InputError
from physml.io.weights import save_weights
from physml.random import stream
from physml.tomography.core import states
from physml.tomography.core.operators import purity
from physml.tomography.core.schedule import schedule
from physml.tomography.core.states import MIXTURE
from physml.tomography.inference.answers import functional
from physml.tomography.inference.neural.corrector import Corrector
from physml.tomography.inference.neural.estimator import NeuralEstimator, load
from physml.tomography.inference.neural.moments import Moments
from physml.tomography.inference.neural.radii import Regions, learn, mixedness
from physml.tomography.inference.posterior import Posterior
from physml.tomography.inference.posterior_particles import UNEVEN, log_prior, shares_of
from physml.tomography.inference.weights import named
from physml.tomography.learning.calibrate import calibrate, conform, conformal_quantile, covered
from physml.tomography.learning.calibration_moments import (
    draw_states,
    families,
    marks,
    numbers_of_designs,
    simulate_moments,
)
from physml.tomography.settings import CalibrateSettings, TomographySettings, TrainSettings
from physml.tomography.simulator.experiment import experiment

LEVELS = (0.1, 0.25, 0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
SMALL = TrainSettings(
    calibrate=CalibrateSettings(histories=400, copies=1_000, noise=(0.05,), epochs=20, bins=2)
)


def rng(k: int) -> np.random.Generator:
    return stream(0, "test", 7_700 + k)


def synthetic(n: int, k: int) -> Moments:
    """Log ratios that are normal with mean 2 x_0 and standard deviation exp(x_1)."""
    r = rng(k)
    x = r.uniform(-1, 1, (n, 3)).astype(np.float32)
    y = 2 * x[:, 0] + np.exp(x[:, 1]) * r.standard_normal(n)
    expected = r.uniform(-12, -9, n)
    values = r.dirichlet(np.full(4, 0.3), n)
    copies = np.repeat([100.0, 10_000.0], [n // 2, n - n // 2])
    return Moments(x, expected, expected + y, values, copies, np.arange(n), *np.zeros((2, n), int))


@pytest.fixture(scope="module")
def learned() -> Regions:
    regions = Regions(3, LEVELS, 2, 3, 32)
    learn(regions, synthetic(10_000, 1), rng(2), epochs=50, batch=1_000)
    return regions


def test_quantiles_of_a_known_law_are_learned(learned: Regions) -> None:
    x = torch.tensor([[0.0, 0.0, 0.3], [0.6, -0.5, -0.8], [-0.6, 0.5, 0.0]])
    found = learned(x).numpy()
    normal = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(LEVELS)).numpy()
    exact = 2 * x[:, :1].numpy() + np.exp(x[:, 1:2].numpy()) * normal
    # In units of the width of the law.
    assert np.abs((found - exact) / np.exp(x[:, 1:2].numpy()))[:, 1:-1].max() < 0.2


@pytest.mark.parametrize("epochs", [1, 10])
def test_few_moments_are_learned_from_as_well(epochs: int) -> None:
    """A schedule of one step an epoch has no room for a rise of the rate."""
    regions = Regions(3, LEVELS, 2, 3, 8)
    assert np.isfinite(learn(regions, synthetic(40, 5), rng(6), epochs=epochs))


def test_balance_gives_ensembles_the_same_coverage() -> None:
    """Two laws that one input tells apart badly: balanced, each is nearer to its level."""
    r = rng(20)

    def two(n: int) -> Moments:
        group = r.integers(0, 2, n)
        x = (group + 1.2 * r.standard_normal(n))[:, None].astype(np.float32)
        y = 0.8 * group + 0.5 * r.standard_normal(n)
        values, copies = np.full((n, 2), 0.5), np.full(n, 100.0)
        return Moments(x, np.full(n, -9.0), y - 9, values, copies, np.arange(n), group, group)

    train, test, off = two(10_000), two(10_000), {}
    for balance in (0.0, 0.5):
        regions = Regions(1, LEVELS, 1, 1, 8)
        learn(regions, train, rng(21), epochs=40, balance=balance, batch=1_000)
        inside = covered(regions, test, 0.9)
        off[balance] = [abs(inside[test.group == g].mean() - 0.9) for g in (0, 1)]
    assert max(off[0.0]) > 0.03
    assert max(off[0.5]) < 0.7 * max(off[0.0])


def test_conformal_correction_takes_off_what_is_wrong(learned: Regions) -> None:
    """Networks that are wrong by a constant end up with the coverage that is asked for."""
    wrong = Regions.of(learned.state_dict())
    with torch.no_grad():
        wrong.last.bias[0] += 0.7
    held, test = synthetic(8_000, 3), synthetic(8_000, 4)
    assert covered(wrong, test, 0.5).mean() > 0.6
    conform(wrong, held)
    for level in (0.25, 0.5, 0.9, 0.95):
        for n in (100, 10_000):
            share = covered(wrong, test, level)[test.copies == n].mean()
            # Four standard deviations of a share of 4,000, and of the 8,000 it was measured on.
            assert abs(share - level) < 4 * (level * (1 - level) * (1 / 4_000 + 1 / 8_000)) ** 0.5


def test_correction_is_exact_on_the_moments_that_made_it() -> None:
    """One bin: the share inside is ceil((n + 1) level) / n to the last one."""
    regions = Regions(3, LEVELS, 2, 1, 8)
    held = synthetic(2_001, 5)
    held = held.rows(held.copies == 100)
    conform(regions, held)
    n = len(held)
    for level in (0.25, 0.5, 0.9, 0.95):
        inside = covered(regions, held, level).sum()
        # Single precision of the table may cost the one on the border.
        assert abs(inside - np.ceil((n + 1) * level)) <= 1


def test_the_conformal_quantile_is_an_order_statistic() -> None:
    assert conformal_quantile(np.arange(1.0, 10.0), 0.9) == 9
    assert conformal_quantile(np.arange(1.0, 10.0), 0.5) == 5
    assert conformal_quantile(np.array([3.0]), 0.99) == 3


@given(st.floats(0.001, 0.998), st.floats(0.0005, 0.3), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_radius_grows_with_the_level_and_is_a_possible_infidelity(
    level: float, more: float, seed: int
) -> None:
    r = np.random.default_rng(seed)
    regions = Regions(5, LEVELS, 3, 2, 8)
    for p in regions.parameters():
        p.data = torch.from_numpy(r.normal(0, 1, p.shape)).float()
    regions.offsets.copy_(torch.from_numpy(r.normal(0, 2, regions.offsets.shape)))
    x = torch.from_numpy(r.normal(0, 3, (6, 5))).float()
    expected = torch.from_numpy(r.uniform(-30, 0, 6))
    copies = torch.from_numpy(10 ** r.uniform(0, 12, 6))
    values = torch.from_numpy(r.dirichlet(np.ones(4), 6))
    low = regions.radius(level, x, expected, copies, values)
    high = regions.radius(min(level + more, 0.999), x, expected, copies, values)
    assert (low > 0).all()
    assert (high <= 1).all()
    assert (low <= high).all()
    # Each moment by itself, and in another order: the same.
    order = r.permutation(6)
    other = regions.radius(level, *(t[order] for t in (x, expected, copies, values)))
    np.testing.assert_allclose(other, low[order], rtol=1e-4)
    one = regions.radius(level, *(t[:1] for t in (x, expected, copies, values)))
    np.testing.assert_allclose(one, low[:1], rtol=1e-4)


def test_inputs_beyond_what_was_seen_count_as_at_the_end(learned: Regions) -> None:
    inside, outside = torch.tensor([[0.9999, 0.0, 0.0]]), torch.tensor([[50.0, 0.0, 0.0]])
    torch.testing.assert_close(learned(outside), learned(inside), atol=1e-2, rtol=0)


def test_experiments_are_of_all_designs_and_ensembles() -> None:
    s = CalibrateSettings(histories=1_000)
    of_designs = numbers_of_designs(s)
    assert sum(of_designs.values()) == 1_000
    assert set(of_designs) == {"global", "product", "pauli", "random_global", "mub", "sic"}
    rho, family = draw_states(1_000, 4, MIXTURE, s, rng(6))
    names = families(s)
    assert set(family.tolist()) == set(range(len(names)))
    purity = (rho @ rho).diagonal(dim1=-2, dim2=-1).real.sum(-1).numpy()
    assert purity[family == names.index("pure")] == pytest.approx(1)
    noisy = family == names.index("pure, 0.5 of noise")
    assert purity[noisy] == pytest.approx(0.25 + 0.75 * 0.25)
    assert {100, 1_000, 10_000, 100_000} <= set(marks(s.copies))


@pytest.fixture(scope="module")
def small() -> tuple[Corrector, Regions, dict]:
    network = Corrector(2, 8, 1).eval()
    return network, *calibrate(network, MIXTURE, SMALL, rng(8))


def test_coverage_of_fresh_experiments(small: tuple[Corrector, Regions, dict]) -> None:
    network, regions, card = small
    fresh = simulate_moments(network, MIXTURE, SMALL.calibrate, rng(9))
    for level in (0.5, 0.9):
        # 400 experiments, and the 200 that corrected the quantiles; moments of one are alike.
        wide = 3 * (level * (1 - level) * (1 / 400 + 1 / 200)) ** 0.5
        assert abs(covered(regions, fresh, level).mean() - level) < wide
    assert set(card["families"]) <= set(families(SMALL.calibrate))
    assert all(0 <= x <= 1 for x in card["coverage"].values())


def test_calibration_follows_from_its_seed(small: tuple[Corrector, Regions, dict]) -> None:
    network, regions, card = small
    again, other = calibrate(network, MIXTURE, SMALL, rng(8))
    assert other == card
    for name, value in regions.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_regions_come_back_with_the_weights(
    small: tuple[Corrector, Regions, dict], tmp_path
) -> None:
    network, regions, _ = small
    path = tmp_path / "weights.safetensors"
    tensors = named(2, network) | named(2, regions)
    card = {"pipeline": "tomography", "networks": {"1": {"width": 8, "blocks": 1}}}
    save_weights(path, tensors, card, dtype="float32")
    made = NeuralEstimator.load(path)
    rho = states.draw("hs", 5, 2, rng(10))
    experiment(made, rho, "pauli", schedule(300), rng(11))
    before = NeuralEstimator({2: network}, regions={2: regions})
    experiment(before, rho, "pauli", schedule(300), rng(11))
    radius = made.radius(0.9)
    assert torch.equal(radius, before.radius(0.9))
    assert ((radius > 0) & (radius <= 1)).all()
    assert (made.radius(0.5) < radius).all()
    broken = {k: v for k, v in tensors.items() if not k.endswith("offsets")}
    save_weights(tmp_path / "broken.safetensors", broken, card)
    with pytest.raises(InputError, match="calibration"):
        NeuralEstimator.load(tmp_path / "broken.safetensors")


def test_one_experiment_has_the_radius_it_has_in_a_batch(
    small: tuple[Corrector, Regions, dict],
) -> None:
    network, regions, _ = small
    arguments = {"regions": {2: regions}, "tolerance": 1e-9, "steps": 60}
    batch = NeuralEstimator({2: network}, **arguments)
    alone = NeuralEstimator({2: network}, **arguments)
    r = rng(12)
    effects = [states.draw("pure", 3, 2, r) for _ in range(2)]
    counts = torch.tensor(r.integers(5, 200, (2, 3, 2))).double()
    batch.start(3, 2, rng(13))
    for e, n in zip(effects, counts, strict=True):
        batch.update(torch.stack([e, torch.eye(2, dtype=e.dtype) - e], 1), n)
    radius = batch.radius(0.9)
    for i in range(3):
        alone.start(1, 2, rng(13))
        for e, n in zip(effects, counts, strict=True):
            alone.update(
                torch.stack([e, torch.eye(2, dtype=e.dtype) - e], 1)[i : i + 1], n[i : i + 1]
            )
        assert alone.radius(0.9).item() == pytest.approx(radius[i].item(), rel=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"levels": (0.9, 0.5)},
        {"levels": (0.5, 0.5)},
        {"designs": dict.fromkeys(("adaptive", "product", "pauli", "random", "mub", "sic"), 0.0)},
        {"shares": {"mixture": 0, "hs": 0, "pure": 0, "noisy": 0}},
        {"noise": ()},
    ],
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError):
        CalibrateSettings(**wrong)


def test_mixedness_counts_copies_in_other_eigenvectors() -> None:
    found = mixedness(np.array([[0.9, 0.1], [1.0, 0.0]]), np.array([990.0, 1e6]))
    assert found == pytest.approx([2.0, 0.0])


def posterior_of(radius: float | None, seed: int = 30) -> Posterior:
    """Samples about a nearly pure state of one qubit, r = 0.98 along z."""
    r = rng(seed)
    z = 0.98 + 0.004 * r.standard_normal(400)
    bloch = torch.from_numpy(np.stack([0.02 * r.standard_normal(400), 0 * z, z], -1))
    pauli = torch.tensor(
        [[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=torch.complex128
    )
    rho = 0.5 * (torch.eye(2) + torch.einsum("sa,aij->sij", bloch.to(pauli.dtype), pauli))
    estimate = 0.5 * (torch.eye(2) + 0.98 * pauli[2])
    weights = torch.full((400,), 1 / 400, dtype=torch.float64)
    calibrated = None if radius is None else lambda level: radius
    return Posterior(rho, weights, estimate, calibrated)


def test_an_interval_reaches_pure_states_that_lie_in_the_region() -> None:
    """The pure state next to the estimate has the infidelity 0.01."""
    bounds = (0.5, 1.0)
    assert posterior_of(0.02).interval(purity, 0.9, bounds)[1] == pytest.approx(1.0)
    low, high = posterior_of(1e-6).interval(purity, 0.9, bounds)
    assert (low, high) == posterior_of(None).interval(purity, 0.9, bounds)
    assert high < 1.0


def test_an_interval_reaches_a_target_that_lies_in_the_region() -> None:
    for angle, inside in ((0.1, True), (0.5, False)):
        ket = np.array([np.cos(angle / 2), np.sin(angle / 2)])
        _, function, bounds = functional("fidelity", 1, ket)
        high = posterior_of(0.02).interval(function, 0.9, bounds)[1]
        assert (high > 1 - 1e-9) == inside


def test_the_estimate_lies_well_inside_its_interval() -> None:
    for level in (0.5, 0.9):
        made = posterior_of(None)
        off = 0.5 * (torch.eye(2) + 0.94 * torch.tensor([[1, 0], [0, -1]])).to(torch.complex128)
        made = Posterior(made.particles, made.weights, off)
        low, high = made.interval(purity, level, (0.5, 1.0))
        own = purity(off[None]).item()
        assert low < own < high
        assert min(own - low, high - own) > 0.08 * (high - low)


def test_the_prior_of_the_samples_is_that_of_the_training() -> None:
    """Of the card of the weights; of the default recipe where a card tells none."""
    mixture = {"hs": 1.0, "thermal": 2.0, "bures": 3.0, "pure": 2.0, "w": 2.0}
    card = {"provenance": {"settings": {"simulate": {"mixture": mixture}}}}
    assert shares_of(card) == pytest.approx((0.3, 0.3, 0.4))
    default = TomographySettings().simulate.mixture.parts
    shipped = load()[1]
    assert shipped["provenance"]["settings"]["simulate"]["mixture"] == default
    assert shares_of({}) == pytest.approx(shares_of(shipped))
    nearly_pure = default["rank_adaptive"] + default["pure"] + default["pure_white"]
    assert shares_of(shipped)[2] == pytest.approx(nearly_pure / sum(default.values()))


def test_the_prior_of_the_samples_is_normalised() -> None:
    """One qubit: over the Hilbert-Schmidt measure, 3 r^2 dr for the Bloch length r."""
    gap = torch.logspace(-14, 0, 40_001, dtype=torch.float64)
    r = (1 - gap).clamp(min=0)
    values = torch.stack([1 - gap / 2, gap / 2], -1)
    shares = shares_of({})
    density = 3 * r.square() * log_prior(values, shares).exp()
    # What lies below 1e-14 of the power of the impurity; see UNEVEN.
    missing = shares[2] * 1e-14**UNEVEN
    assert torch.trapezoid(density, gap).item() + missing == pytest.approx(1, abs=0.03)
