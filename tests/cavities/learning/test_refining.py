"""Constants of the refinement are found again in pairs of which they are known."""

from __future__ import annotations

import numpy as np
import pytest

from physml.cavities.core.matching import COMPANION
from physml.cavities.inference.detector import CavityDetector, Detection
from physml.cavities.inference.refine.constants import Constants
from physml.cavities.learning.merging import MERGING_FIRST
from physml.cavities.learning.refining import (
    REFINE_FIRST,
    Pairs,
    calibrate_refining,
    check,
    fit_constants,
    joined,
    listed_rows,
)
from physml.cavities.settings import CavitiesSettings, SimulateSettings

N = 3000


def pairs(fit_error: float, bias: float = 0.0, seed: int = 0) -> Pairs:
    """Networks that know their error, fits that call theirs half of what it is."""
    rng = np.random.default_rng(seed)
    network_err = np.exp(rng.normal(np.log(0.07), 0.4, N))
    network = bias + network_err * rng.normal(size=N)
    fit = bias + fit_error * rng.normal(size=N)
    place_err = rng.uniform(0.3, 2, (N, 2))
    rigid = rng.uniform(20, 200, N)
    return Pairs(
        image=np.arange(N),
        network=network,
        fit=fit,
        network_err=network_err,
        fit_err=np.full(N, 0.5 * fit_error),
        at_bound=np.zeros(N, bool),
        place_network=np.zeros((N, 2)),
        place_fit=2 * place_err * rng.normal(size=(N, 2)),
        place_err=place_err,
        flexible=rigid * rng.uniform(0.2, 1, N),
        rigid=rigid,
        best=np.full(N, 200.0),
        depth=rng.uniform(0.3, 1.2, N),
    )


def test_of_true_cavities_nearly_all_are_supported():
    made = pairs(0.05)
    constants = fit_constants(made)
    left = [constants.supported(*row) for row in zip(made.flexible, made.depth, strict=True)]
    assert np.mean(left) == pytest.approx(0.95, abs=0.002)
    assert check(made, constants)["unsupported"] == pytest.approx(0.05, abs=0.002)


def test_the_better_one_has_the_weight():
    good, poor = (fit_constants(pairs(e)) for e in (0.02, 0.2))
    assert good.fitted
    assert good.weight(0.07, 0.01) > 0.8
    assert poor.weight(0.07, 0.1) < 0.3


def test_joining_is_better_than_either_and_errors_hold():
    made = pairs(0.06, bias=0.05)
    constants = fit_constants(made)
    seen = check(made, constants)
    assert seen["scatter"] < 0.85 * seen["scatter_network"]
    assert abs(seen["bias"]) < 0.01 < seen["bias_network"]
    assert seen["covered"] == pytest.approx(0.683, abs=0.02)
    # And on others of the kind.
    other = check(pairs(0.06, bias=0.05, seed=1), constants)
    assert other["covered"] == pytest.approx(0.683, abs=0.05)


def test_what_disagrees_is_the_networks():
    made = pairs(0.06)
    made.fit[:200] = 1.0
    made.at_bound[200:400] = True
    error, used = joined(made, fit_constants(made))
    assert not used[:400].any()
    assert np.array_equal(error[:400], made.network[:400])


def test_few_cavities_leave_the_standard():
    assert fit_constants(Pairs.of([])) == Constants()


def test_the_flag_spares_true_cavities():
    made = pairs(0.06)
    assert check(made, fit_constants(made))["flagged"] <= 0.025


def test_numbers_of_the_images_are_their_own():
    merging = range(MERGING_FIRST, MERGING_FIRST + CavitiesSettings().train.merging_images)
    assert REFINE_FIRST not in merging
    assert CavitiesSettings().simulate.n_samples < REFINE_FIRST


def test_what_a_catalogue_lists():
    table = {"probability": np.array([0.9, 0.55, 0.3])}
    detection = Detection(np.zeros((1, 1)), np.zeros((1, 1)), table, np.zeros((1, 1)), 0.7)
    assert list(listed_rows(detection)) == [0, 1]
    assert COMPANION <= 0.55
    detection.threshold = 0.95
    assert list(listed_rows(detection)) == [0]


@pytest.mark.slow
def test_a_detector_is_calibrated():
    detector = CavityDetector.load()
    detector.card.pop("refine", None)
    card = calibrate_refining(detector, SimulateSettings(), 5, 24)
    assert detector.card["refine"] is card
    assert card["cavities"] > 20
    assert Constants.of(detector.card).fitted
    assert card["after"]["scatter"] < 0.2
