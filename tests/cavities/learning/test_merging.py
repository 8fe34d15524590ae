"""The merging of binnings is fitted for the weights, and belongs to them."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.cavities import MERGING, Cavity, TruthDetector, beta_image
from scipy.special import expit

from physml.cavities.core.ellipse import Ellipse, overlap
from physml.cavities.data.loading import load_observation
from physml.cavities.inference.candidate import Candidate
from physml.cavities.inference.evidence import Merging
from physml.cavities.inference.fields import cut_field
from physml.cavities.inference.merge import group, resolution_weight
from physml.cavities.learning.judged import average_precision, check, match, merge_all
from physml.cavities.learning.merging import (
    ALONE,
    LEFT,
    MERGING_FIRST,
    RATIOS,
    SILENCES,
    calibrate_merging,
    fit_evidence,
    fit_merging,
)
from physml.cavities.learning.wide_images import Searched, wide_settings
from physml.cavities.predict import CavityPredictor
from physml.cavities.settings import CavitiesSettings, SimulateSettings
from physml.exceptions import InputError

SCALES = (1, 2)


def candidate(x, radius, probability, scale, row):
    area = np.pi * radius**2
    place = (x, 130.0, radius, radius, 0.0, radius, 0.1 * radius, area, 0.3, 9.0)
    return Candidate(*place, probability, scale, row)


@pytest.fixture(scope="module")
def searched():
    """Images in which both binnings report their places with the same logit z.

    A place is a cavity with probability 1 / (1 + exp(-(0.5 z - 1))): the scores are twice too
    sure of themselves, and too high.
    """
    observation = load_observation(beta_image((260, 260)))
    fields = [cut_field(observation, k, (130, 130)) for k in SCALES]
    rng = np.random.default_rng(11)
    out = []
    for _ in range(400):
        found, cavities = [[], []], []
        for row, x in enumerate((100.0, 160.0)):
            z = rng.normal(0.5, 2)
            p = 1 / (1 + np.exp(-z))
            for of_scale, k in zip(found, SCALES, strict=True):
                of_scale.append(candidate(x, 18.0, p, k, row))
            if rng.random() < 1 / (1 + np.exp(-(0.5 * z - 1))):
                cavities.append(Ellipse(x, 130.0, 18.0, 18.0, 0.0))
        out.append(Searched(fields, found, dict.fromkeys(SCALES, 0.6), cavities))
    return out


def test_the_fit_finds_the_true_calibration(searched):
    merging = fit_merging(searched, 3)
    assert merging.fitted
    assert merging.slope == pytest.approx(0.5, abs=0.15)
    assert merging.offset == pytest.approx(-1.0, abs=0.3)
    # Both binnings say the same: no silence or ratio is better than the standard one.
    assert (merging.silence, merging.same_ratio) == (SILENCES[0], RATIOS[0])
    before = check(merge_all(searched, Merging(dissent=0.0)))["calibration_error"]
    after = check(merge_all(searched, merging))["calibration_error"]
    # Of 800 candidates in 20 bins, chance alone makes about 0.05.
    assert after < 0.09 < 0.12 < before


def world(rule, images=500, silent=0.0, seed=23):
    """Images of two places, each seen by binnings 1 and 2, true as a rule of their log odds says.

    `silent` is the share of places at which the second binning reports nothing.
    """
    observation = load_observation(beta_image((260, 260)))
    fields = [cut_field(observation, k, (130, 130)) for k in SCALES]
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(images):
        found, cavities = [[], []], []
        for row, x in enumerate((100.0, 160.0)):
            z = np.clip(rng.normal(0.5, 2, 2), -2.9, 6)
            if rng.random() < silent:
                z[1] = np.log(0.02 / 0.98)
            else:
                found[1].append(candidate(x, 20.0, expit(z[1]), 2, row))
            found[0].append(candidate(x, 20.0, expit(z[0]), 1, row))
            if rng.random() < expit(rule(z)):
                cavities.append(Ellipse(x, 130.0, 20.0, 20.0, 0.0))
        out.append(Searched(fields, found, dict.fromkeys(SCALES, 0.6), cavities))
    return out


def fitted(searched):
    """Fit of the evidence alone, with the standard grouping and silence."""
    heads = [group(one.found, 2.5) for one in searched]
    shared = [
        np.array([[overlap(c, t)[0] for t in one.cavities] for c in of_image], float).reshape(
            len(of_image), len(one.cavities)
        )
        for one, of_image in zip(searched, heads, strict=True)
    ]
    return fit_evidence(searched, heads, shared, Merging(dissent=0.0))


def test_the_fit_finds_how_much_the_others_count():
    """At a radius of 20 pixels binnings 1 and 2 resolve a place about equally well."""
    weight = np.array([resolution_weight(20.0, k) for k in SCALES])
    share = weight / weight.sum()
    truth = world(lambda z: 0.2 + 0.9 * z.max() + 0.3 * share @ (z - z.max()), silent=0.3)
    merging = fitted(truth)
    assert merging.dissent == pytest.approx(0.3, abs=0.13)
    assert merging.slope == pytest.approx(0.9, abs=0.15)
    assert merging.offset == pytest.approx(0.2, abs=0.3)
    # On draws that the fit has not seen; of 1,000 candidates in 20 bins chance makes 0.04.
    fresh = world(lambda z: 0.2 + 0.9 * z.max() + 0.3 * share @ (z - z.max()), 500, 0.3, 24)
    assert check(merge_all(fresh, merging))["calibration_error"] < 0.06


def test_silence_never_brings_a_sure_binning_down():
    """Even where it counts for much in all that was simulated, which is not all that there is."""
    steep = world(lambda z: 0.5 + 1.2 * z.max() + 0.9 * np.mean(z - z.max()), 300, silent=0.3)
    merging = fitted(steep)
    assert 0.2 < merging.dissent < 0.5
    for share in (0.1, 0.5, 0.9, 0.999):
        said, weight = np.array([ALONE, merging.silence]), np.array([1 - share, share])
        assert merging.probability(said, weight) > LEFT - 1e-3
    assert merging.probability(np.array([ALONE, ALONE]), np.ones(2)) > LEFT


def test_probabilities_that_are_too_sure_alone_are_not_made_surer():
    """Where 0.995 is right in half of the cases, the condition does not hold the fit up."""
    vain = world(lambda z: 0.25 * z.max() - 1.3, 300)
    merging = fitted(vain)
    assert merging.dissent == 0
    agreed = merging.probability(np.array([ALONE, ALONE]), np.ones(2))
    assert agreed == pytest.approx(expit(0.25 * np.log(ALONE / (1 - ALONE)) - 1.3), abs=0.12)


def test_average_precision_is_that_of_scikit_learn(searched):
    from sklearn.metrics import average_precision_score

    merged = merge_all(searched, Merging())
    number = np.array([len(one.cavities) for one in searched], float)
    got = average_precision(merged, np.ones((1, len(searched))), number)[0]
    # Every cavity has a candidate here, so that recall ends at 1.
    assert merged.true.sum() == number.sum()
    assert got == pytest.approx(average_precision_score(merged.true, merged.support), rel=1e-3)


def test_a_cavity_is_found_once():
    iou = np.array([[0.9, 0.0], [0.8, 0.0], [0.0, 0.31], [0.29, 0.29]])
    assert match(np.array([0.5, 0.7, 0.6, 0.9]), iou).tolist() == [False, True, True, False]
    assert match(np.array([0.5]), np.zeros((1, 0))).tolist() == [False]


def test_check_counts_what_it_says(searched):
    merged = merge_all(searched, Merging())
    found = check(merged)
    empty = [not one.cavities for one in searched]
    assert found["empty"] == sum(empty)
    alarmed = sum(e and max(c.probability for c in one.found[0]) >= 0.6
                  for e, one in zip(empty, searched, strict=True))  # fmt: skip
    assert found["alarmed"] == alarmed
    assert 0 < found["companions_true"] < found["companions"]


def test_wide_images_have_wide_systems():
    simulate = SimulateSettings()
    wide = wide_settings(simulate, 3)
    assert wide.image_size == 384
    assert wide.cavities.radius == (3.0, 120.0)
    assert wide.cavities.none == simulate.cavities.none
    assert wide.instrument == simulate.instrument


def test_no_image_of_another_set_calibrates_the_merging():
    from physml.cavities.evaluation import sets
    from physml.cavities.learning.calibrate import ALARM_FIRST

    settings = CavitiesSettings()
    own = range(MERGING_FIRST, MERGING_FIRST + settings.train.merging_images)
    alarm = range(ALARM_FIRST, ALARM_FIRST + settings.train.alarm_images)
    assert settings.simulate.n_samples < own.start
    assert alarm.stop <= own.start
    # The evaluation's sets have a seed of their own.
    assert settings.seed != sets.SEED


def test_simulated_images_are_searched_and_the_card_is_filled():
    """All of it, with a detector that finds nothing: the constants stay what they were."""
    detector = TruthDetector([], (0.0, 0.0))
    card = calibrate_merging(detector, SimulateSettings(), 5, 6)
    assert detector.card["merging"] is card
    own = Merging.of(detector.card)
    assert (own.dissent, own.silence, own.same_ratio) == (0.0, 0.02, 2.5)
    assert (own.offset, own.slope) == (0.0, 1.0)
    assert card["images"] == 6
    assert card["after"]["candidates"] == 0


CENTRE = (150.0, 150.0)
PLANTED = Cavity(180.0, 150.0, 14.0, 14.0, 0.0, 0.8)


def probability_with(card) -> tuple[float, list[str]]:
    detector = TruthDetector([PLANTED], CENTRE, card=card, scales=(1, 2, 3))
    image = beta_image((300, 300), CENTRE, cavities=[PLANTED])
    result = CavityPredictor(detector).predict(image, centre=CENTRE)
    return float(result.catalogue["probability"][0]), result.warnings


#: Constants as today's training stores them, and the plain mean of before.
EVIDENCE = {"silence": 0.02, "same_ratio": 2.5, "offset": -0.35, "slope": 1.1, "dissent": 0.35}
PLAIN_MEAN = MERGING | {"order": 1.0}


def seen_once(card, probability=0.997):
    """Row of a cavity that binning 1 sees with a probability, and binnings 2 and 3 do not."""
    planted = [Cavity(184.0, 150.0, 17.0, 17.0, 0.0, probability)]
    detector = TruthDetector(
        planted, CENTRE, limits=(10.0, 45.0), cut=0.55, card=card, scales=(1, 2, 3)
    )
    image = beta_image((300, 300), CENTRE, cavities=planted)
    catalogue = CavityPredictor(detector).predict(image, centre=CENTRE, threshold=0.05).catalogue
    assert catalogue["scales_found"][0] == "1"
    assert catalogue["scales_searched"][0] == "1 2 3"
    return catalogue[0]


def test_a_cavity_that_one_binning_alone_sees_is_not_diluted():
    """The kind of HCG 62's south-western one: 1.00 at binning 1, blurred or lost at the next."""
    row = seen_once({"merging": EVIDENCE})
    assert row["probability"] >= 0.9
    assert "candidate" not in str(row["flags"])
    diluted = seen_once({"merging": PLAIN_MEAN})
    assert diluted["probability"] < 0.7


@pytest.mark.parametrize("probability", [0.3, 0.55, 0.8, 0.95])
def test_what_one_binning_doubts_is_doubted_more_where_others_are_silent(probability):
    row = seen_once({"merging": EVIDENCE}, probability)
    assert 0.2 * probability < row["probability"] < probability
    assert ("candidate" in str(row["flags"])) == (row["probability"] < 0.6)


def test_the_answer_is_calibrated_by_the_weights():
    plain, warnings = probability_with({"merging": MERGING})
    other, _ = probability_with({"merging": MERGING | {"offset": 1.0}})
    odds = [p / (1 - p) for p in (plain, other)]
    assert odds[1] / odds[0] == pytest.approx(np.e, rel=1e-6)
    assert not any("calibration" in w for w in warnings)


def test_weights_without_the_constants_say_so():
    plain, warnings = probability_with({})
    assert any("'merging'" in w and "recalibrate" in w for w in warnings)
    assert plain == pytest.approx(probability_with({"merging": MERGING})[0])


def test_unsound_constants_are_refused():
    with pytest.raises(InputError, match="merging"):
        probability_with({"merging": MERGING | {"slope": 0.0}})


def test_the_shipped_weights_have_been_calibrated():
    from physml.io.weights import read_metadata
    from physml.models import shipped_weights

    card = read_metadata(shipped_weights("cavities"))
    own = Merging.of(card)
    assert own.fitted
    merging = card["merging"]
    assert merging["images"] >= 600
    assert merging["after"]["calibration_error"] < 0.03
    # More likely than not beside a sure one: what `COMPANION` is defined as.
    assert merging["after"]["companions_true"] >= 0.5 * merging["after"]["companions"]


def test_weights_are_recalibrated_by_one_command(tmp_path):
    """The networks stay, the constants are new, and the card says where they came from."""
    import torch

    from physml.cli.main import main
    from physml.io.weights import load_weights
    from physml.models import shipped_weights
    from physml.provenance import sha256

    source, out = shipped_weights("cavities"), tmp_path / "new.safetensors"
    assert main(["cavities", "recalibrate", str(source), "-o", str(out), "--images", "3"]) == 0
    (old, card), (new, other) = load_weights(source), load_weights(out)
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert other["merging"]["images"] == 3
    anew = ("merging", "refine", "recalibrated")
    assert {k: v for k, v in other.items() if k not in anew} == {
        k: v for k, v in card.items() if k not in anew
    }
    step = other["recalibrated"][-1]
    assert step["provenance"]["inputs"]["weights"]["sha256"] == sha256(source)
    assert len(other["recalibrated"]) == len(card["recalibrated"]) + 1
    assert "Merging of several binnings" in out.with_suffix(".md").read_text()
