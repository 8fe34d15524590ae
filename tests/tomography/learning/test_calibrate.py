"""Calibration: quantiles that are learned, balanced between kinds of states, and corrected."""

import numpy as np
import pytest
import torch

from physml.random import stream
from physml.tomography.core.operators import purity, random_gaussian
from physml.tomography.core.states import draw
from physml.tomography.inference.neural.corrector import Corrector
from physml.tomography.inference.neural.intervals import Intervals
from physml.tomography.inference.neural.radii import Regions
from physml.tomography.learning.calibrate import (
    aimed,
    calibrate,
    conform,
    conformal_quantile,
    record_lows,
    whole_experiments,
)
from physml.tomography.learning.calibration_moments import Moments, classes
from physml.tomography.learning.functionals import entangled_frames, functionals, observables
from physml.tomography.learning.quantile_training import Examples, learn
from physml.tomography.learning.replay import replay
from physml.tomography.settings import CalibrateSettings
from physml.tomography.simulator.experiments import DESIGNS
from physml.tomography.simulator.histories import measure
from physml.tomography.simulator.laboratory_noise import LaboratoryNoise

LEVELS = (0.1, 0.25, 0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
BLOCKS = [4, 6, 10, 20, 40, 80, 160, 320, 640]


def rng(k: int) -> np.random.Generator:
    return stream(0, "test", 8_800 + k)


def synthetic(n: int, k: int) -> Examples:
    """Values that are normal with mean 2 x_0 and standard deviation exp(x_1)."""
    r = rng(k)
    x = r.uniform(-1, 1, (n, 3))
    y = 2 * x[:, 0] + np.exp(x[:, 1]) * r.standard_normal(n)
    return Examples.of(x, y, np.zeros(n, np.int64), np.zeros(n, np.int64))


@pytest.fixture(scope="module")
def learned() -> Regions:
    regions = Regions(3, LEVELS, 32)
    learn(regions, synthetic(20_000, 1), rng(2), epochs=40)
    return regions


def share(network: Regions, examples: Examples, level: float) -> float:
    return float((examples.found.numpy() <= network.at(level, examples.inputs)).mean())


def test_quantiles_of_a_known_law_are_learned(learned: Regions) -> None:
    x = torch.tensor([[0.0, 0.0, 0.3], [0.6, -0.5, -0.8], [-0.6, 0.5, 0.0]])
    found = learned(x).numpy()
    normal = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(LEVELS)).numpy()
    exact = 2 * x[:, :1].numpy() + np.exp(x[:, 1:2].numpy()) * normal
    # In units of the width of the law.
    assert np.abs((found - exact) / np.exp(x[:, 1:2].numpy()))[:, 1:-1].max() < 0.2


def test_inputs_beyond_what_was_seen_count_as_at_the_end(learned: Regions) -> None:
    inside, outside = torch.tensor([[0.9999, 0.0, 0.0]]), torch.tensor([[50.0, 0.0, 0.0]])
    torch.testing.assert_close(learned(outside), learned(inside), atol=1e-2, rtol=0)


@pytest.mark.parametrize("epochs", [1, 10])
def test_few_examples_are_learned_from_as_well(epochs: int) -> None:
    """A schedule of one step an epoch has no room for a rise of the rate."""
    assert np.isfinite(learn(Regions(3, LEVELS, 8), synthetic(40, 5), rng(6), epochs=epochs))


def two_kinds(n: int, k: int) -> tuple[Examples, np.ndarray]:
    """Two laws that one input tells apart badly."""
    r = rng(k)
    group = r.integers(0, 2, n)
    x = (group + 1.2 * r.standard_normal(n))[:, None]
    y = 0.8 * group + 0.5 * r.standard_normal(n)
    return Examples.of(x, y, group, np.zeros(n, np.int64)), group


def test_balance_gives_kinds_of_states_the_same_coverage() -> None:
    train, _ = two_kinds(20_000, 20)
    test, group = two_kinds(20_000, 21)
    alone = Examples.of(
        train.inputs.numpy(), train.found.numpy(), np.zeros(20_000, np.int64), train.mark
    )
    off = []
    for examples in (alone, train):
        regions = Regions(1, LEVELS, 8)
        learn(regions, examples, rng(22), epochs=40)
        inside = test.found.numpy() <= regions.at(0.9, test.inputs)
        off.append(max(abs(inside[group == g].mean() - 0.9) for g in (0, 1)))
    assert off[0] > 0.03
    assert off[1] < 0.6 * off[0]


def test_intervals_are_pushed_outwards_only() -> None:
    """Of two kinds on opposite sides neither misses more than its share at either end."""
    r = rng(23)

    def opposite(n: int) -> tuple[Examples, np.ndarray]:
        group = r.integers(0, 2, n)
        y = (2 * group - 1) + 0.3 * r.standard_normal(n)
        return Examples.of(r.normal(size=(n, 1)), y, group, np.zeros(n, np.int64)), group

    train, _ = opposite(20_000)
    test, group = opposite(20_000)
    tails = (0.05, 0.25, 0.5, 0.75, 0.95)
    made = Intervals(1, tails, 8)
    learn(made, train, rng(24), epochs=40, outwards=True)
    low, high = (made.at(p, test.inputs) for p in (0.05, 0.95))
    y = test.found.numpy()
    for g in (0, 1):
        assert (y[group == g] < low[group == g]).mean() < 0.075
        assert (y[group == g] > high[group == g]).mean() < 0.075


def test_conformal_correction_takes_off_what_is_wrong(learned: Regions) -> None:
    """Networks that are wrong by a constant end up with the coverage that is aimed at."""
    wrong = Regions.of(learned.state_dict())
    with torch.no_grad():
        wrong.last.bias[0] += 0.7
    held, test = synthetic(8_000, 3), synthetic(8_000, 4)
    assert share(wrong, test, 0.5) > 0.6
    aim = aimed(wrong.levels)
    conform(wrong, held, aim)
    for level, wanted in zip(LEVELS, aim.tolist(), strict=True):
        # Four standard deviations of a share of 8,000, and of the 8,000 it was measured on.
        wide = 4 * (wanted * (1 - wanted) * 2 / 8_000) ** 0.5
        assert abs(share(wrong, test, level) - wanted) < wide


def test_radii_aim_above_their_level() -> None:
    aim = aimed(torch.tensor(LEVELS)).numpy()
    assert (aim > np.array(LEVELS)).all()
    assert aim[5] == pytest.approx(0.92)
    assert aim[-1] == pytest.approx(0.995)


def test_the_conformal_quantile_is_an_order_statistic() -> None:
    assert conformal_quantile(np.arange(1.0, 10.0), 0.9) == 9
    assert conformal_quantile(np.arange(1.0, 10.0), 0.5) == 5
    assert conformal_quantile(np.array([3.0]), 0.99) == 3


def test_classes_are_decades_of_the_spectrum() -> None:
    pure, rank_2, mixed = [1, 0, 0, 0], [0.7, 0.3, 0, 0], [0.4, 0.3, 0.2, 0.1]
    found = classes(np.array([pure, rank_2, mixed, rank_2]))
    assert found[1] == found[3]
    assert len(set(found.tolist())) == 3
    assert classes(np.array([[0.99, 0.01], [1.0, 0.0]])).tolist()[1] == 0


def prepared(n: int, d: int, k: int) -> dict[str, np.ndarray]:
    """Moments as the chain prepares them, half of the experiments at all blocks."""
    rho = draw("mixture", n, d, rng(k))
    how, counts = measure(None, rho, "pauli", BLOCKS, LaboratoryNoise(), rng(k + 1))  # type: ignore[arg-type]
    keep = (np.arange(len(BLOCKS)) % 3 == 0) | (np.arange(n)[:, None] % 2 == 0)
    none = np.zeros((n, len(BLOCKS), d, d, 2), np.float32) if how is None else how
    found, row = replay("pauli", rho, none, counts, LaboratoryNoise(), keep)
    spectrum = np.linalg.eigvalsh(rho.numpy())[:, ::-1][row].clip(0)
    design = np.full(len(row), DESIGNS.index("pauli"))
    return found | {"experiment": row, "design": design, "spectrum": spectrum}


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return prepared(1_200, 2, 40)


def test_radii_that_are_smaller_than_ever_are_found(arrays: dict[str, np.ndarray]) -> None:
    moments = Moments.of(Corrector(2, 8, 1).eval(), arrays)
    whole = whole_experiments(moments)
    assert set(np.unique(moments.experiment[whole] % 2)) == {0}
    regions = Regions(moments.inputs.shape[1], LEVELS, 8)
    low, weight = record_lows(regions, moments, whole)
    assert (weight > 0).all()
    for number in np.unique(low.experiment)[:20]:
        own = low.rows(low.experiment == number)
        radius = regions.at(0.9, torch.from_numpy(own.inputs)) + own.log_expected
        assert (np.diff(own.copies) > 0).all()
        assert (np.diff(radius) < 0).all()


def test_a_calibration_covers_fresh_experiments(arrays: dict[str, np.ndarray]) -> None:
    """One qubit, a filter without a network: radii, stops and intervals are those of its errors."""
    network = Corrector(2, 8, 1).eval()
    settings = CalibrateSettings(epochs=25, width=16, functionals=3_000)
    found = calibrate(network, arrays, settings, rng(50))
    regions, stops, intervals = found.parts
    again = calibrate(network, arrays, settings, rng(50))
    for one, other in zip(found.parts, again.parts, strict=True):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
    fresh = Moments.of(network, prepared(600, 2, 60))
    inside = fresh.log_ratio <= regions.at(0.9, torch.from_numpy(fresh.inputs))
    assert inside.mean() == pytest.approx(0.92, abs=0.03)
    low, _ = record_lows(regions, fresh, whole_experiments(fresh))
    at_lows = torch.from_numpy(low.inputs)
    assert (low.log_ratio <= stops.at(0.9, at_lows)).mean() > 0.87
    assert found.card["intervals"]["coverage"]["all"] > 0.87
    assert isinstance(intervals, Intervals)


def test_targets_and_observables_have_their_bounds() -> None:
    root = random_gaussian((50, 4, 4), rng(70))
    root = root / root.abs().square().sum((1, 2), keepdim=True).sqrt()
    truth = (root @ root.mH)[:, None]
    for kind, (f, (low, high)) in functionals(root, rng(71)).items():
        value = f(truth)[:, 0]
        assert ((value >= low - 1e-9) & (value <= high + 1e-9)).all(), kind
    matrix = observables(40, 4, rng(72))
    assert torch.linalg.eigvalsh(matrix).abs().amax(1).numpy() == pytest.approx(1)


def test_frames_entangle_the_largest_eigenvector() -> None:
    root = random_gaussian((40, 4, 4), rng(73))
    turn = entangled_frames(root, rng(74))
    one = torch.eye(4, dtype=turn.dtype).expand_as(turn)
    torch.testing.assert_close(turn @ turn.mH, one)
    ket = (turn @ torch.linalg.svd(root)[0][:, :, :1])[..., 0]
    # a|00> + b|11>, up to a phase.
    assert ket[:, 1:3].abs().max() < 1e-9
    reduced = torch.stack([ket[:, 0].abs() ** 2, ket[:, 3].abs() ** 2], -1)
    assert ((reduced[:, 0] - 0.5).abs() < 1e-9).double().mean() > 0.25
    assert purity(torch.eye(4, dtype=torch.complex128)[None] / 4).item() == pytest.approx(0.25)
