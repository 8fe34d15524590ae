"""The list of an image is refined in fields of any binning, and keeps what is the network's."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from fakes.cavity_fields import SIDE, field

from physml.cavities.core.ellipse import Ellipse, overlap
from physml.cavities.data.observation import Observation
from physml.cavities.data.sky import Sky
from physml.cavities.inference.candidate import Candidate
from physml.cavities.inference.fields import Field
from physml.cavities.inference.refine.constants import LARGEST, Constants, beside, read_beside
from physml.cavities.inference.refine.listed import Refined, blend, refine_listed
from physml.cavities.inference.search import Search
from physml.cavities.results.catalogue import build_catalogue
from physml.exceptions import InputError

PAIR = [Ellipse(82.0, 70.0, 9.0, 6.5, 0.7), Ellipse(47.0, 55.0, 14.0, 10.0, 2.1)]
FITTED = Constants(inflate=1.0, least=0.01, fitted=True)


@dataclass
class Found:
    """What `refine_listed` takes of a detection."""

    halo: object
    labels: np.ndarray


def searched(scale: int = 1, x0: int = 0, total: float = 3e5) -> tuple[Search, list[Candidate]]:
    """Search of the pair in a field that joins some pixels, and its list."""
    image = field(PAIR, total)
    one = Field(scale, x0, 0, image.counts, image.depth, None, image.invalid, (63.5, 63.5))
    listed = []
    for row, (e, stretch) in enumerate(zip(PAIR, (1.1, 0.92), strict=True)):
        x, y = one.to_image(e.x, e.y)
        a, b = scale * stretch * e.semi_major, scale * stretch * e.semi_minor
        radius = np.sqrt(a * b)
        place = (float(x), float(y), a, b, e.theta, radius, 0.08 * radius)
        listed.append(
            Candidate(*place, np.pi * a * b, 0.3, 20.0, 0.97 - 0.3 * row, scale, row, 0.97)
        )
    shape = (scale * SIDE, scale * SIDE + x0)
    labels = np.zeros((SIDE, SIDE), np.int32)
    return Search(shape, [one], [Found(image.halo, labels)], listed), listed


@pytest.mark.parametrize(("scale", "x0"), [(1, 0), (3, 7)])
def test_radii_come_nearer_to_the_truth(scale, x0):
    search, listed = searched(scale, x0)
    for before, after, true in zip(
        listed, refine_listed(search, listed, FITTED), PAIR, strict=True
    ):
        assert isinstance(after, Refined)
        assert after.refined
        assert after.network == before
        radius = scale * np.sqrt(true.semi_major * true.semi_minor)
        assert abs(after.radius / radius - 1) < 0.5 * abs(before.radius / radius - 1)
        assert np.sqrt(after.semi_major * after.semi_minor) == pytest.approx(after.radius)
        x, y = search.fields[0].to_image(true.x, true.y)
        own = Ellipse(
            float(x), float(y), scale * true.semi_major, scale * true.semi_minor, true.theta
        )
        assert overlap(own, after)[0] > 0.85
        # The network's word stays what it was.
        assert (after.probability, after.support, after.snr) == (
            *(before.probability, before.support, before.snr),
        )


def test_errors_are_the_fitted_ones():
    search, listed = searched()
    constants = Constants(inflate=1.0, least=0.01, error=0.05, error_slope=0.0, fitted=True)
    one = refine_listed(search, listed, constants)[0]
    assert one.radius_err == pytest.approx(0.05 * one.radius)
    # The covariance of the axes is that of the radius: ln R is the mean of their logarithms.
    c = one.covariance
    log_var = (
        c[2, 2] / one.semi_major**2
        + c[3, 3] / one.semi_minor**2
        + 2 * c[2, 3] / (one.semi_major * one.semi_minor)
    ) / 4
    assert np.sqrt(log_var) == pytest.approx(0.05, rel=0.02)
    assert one.position_err == pytest.approx(np.sqrt((c[0, 0] + c[1, 1]) / 2))


def test_the_network_stays_where_the_two_disagree():
    search, listed = searched()
    far = listed[0]
    wide = Candidate(
        *(far.x, far.y, 1.5 * far.semi_major, 1.5 * far.semi_minor, far.theta),
        *(1.5 * far.radius, far.radius_err, far.area, 0.3, 20.0, 0.97, 1, 0),
    )
    got = refine_listed(search, [wide, listed[1]], FITTED)
    assert not got[0].refined
    assert (got[0].radius, got[0].semi_major, got[0].x) == (wide.radius, wide.semi_major, wide.x)
    assert np.isfinite(got[0].delta_lnl)
    assert got[1].refined


def test_nothing_without_the_halo_or_without_a_list():
    search, listed = searched()
    assert refine_listed(search, [], FITTED) == []
    search.detections[0].halo = None
    assert refine_listed(search, listed, FITTED) == listed


def test_the_same_twice():
    search, listed = searched()
    one, two = (refine_listed(search, listed, FITTED)[0] for _ in range(2))
    assert (one.radius, one.depth_factor) == (two.radius, two.depth_factor)


def observation(search: Search) -> Observation:
    counts = search.fields[0].counts
    ones = np.ones_like(counts)
    return Observation(counts, ones, None, np.zeros(counts.shape, bool), Sky(None, None))


def test_the_catalogue_prints_both_and_flags():
    search, listed = searched()
    cavities = refine_listed(search, listed, FITTED)
    table = build_catalogue(
        observation(search), search, cavities, (63.5, 63.5), [True, True], limits=[0.6, 0.7]
    )
    assert table["radius_network"].value == pytest.approx([c.radius for c in listed])
    assert table["radius"].value == pytest.approx([c.radius for c in cavities])
    assert table["covariance"].shape == (2, 5, 5)
    assert table["delta_lnl"] == pytest.approx([c.delta_lnl for c in cavities])
    assert list(table["threshold"]) == [0.6, 0.7]
    plain = build_catalogue(observation(search), search, listed, (63.5, 63.5), [True, True])
    assert np.isnan(plain["delta_lnl"]).all()
    assert plain.colnames == table.colnames
    assert all("unrefined" not in f for f in plain["flags"])


def test_flags_of_what_is_doubtful():
    search, listed = searched()
    first = listed[0]
    given = (first.theta, 70.0, 3.0, first.area, 0.3, 20.0)
    huge = Candidate(63.5, 63.5, 72.0, 68.0, *given, 0.99, 1, 0)
    low = Candidate(first.x, first.y, 9.0, 7.0, 0.7, 8.0, 1.0, 100.0, 0.3, 9.0, 0.55, 1, 1)
    table = build_catalogue(observation(search), search, [huge, low], (63.5, 63.5), [True, True])
    flags = [str(f).split() for f in table["flags"]]
    assert {"peak", "core", "large"} <= set(flags[0])
    assert "candidate" not in flags[0]
    # Sure or not: what is printed with less than 0.6 is a candidate.
    assert "candidate" in flags[1]
    assert not {"peak", "large"} & set(flags[1])


def test_blend_is_between():
    one, two = Ellipse(10, 20, 8, 4, 0.1), Ellipse(12, 21, 6, 6, 1.0)
    for weight, end in ((0.0, one), (1.0, two)):
        got = blend(one, two, weight)
        assert overlap(got, end)[0] > 0.99
    half = blend(one, two, 0.5)
    assert (half.x, half.y) == pytest.approx((11, 20.5))
    assert half.semi_major * half.semi_minor == pytest.approx(np.sqrt(32 * 36))


def test_weights_and_beliefs():
    c = Constants(inflate=2.0, least=0.05)
    assert c.weight(0.1, 0.02) == pytest.approx(0.01 / (0.01 + 0.0016 + 0.0025))
    assert c.weight(0.1, 0.5) < 0.01
    assert c.believed(LARGEST - 1e-6, False)
    assert not c.believed(-LARGEST - 1e-6, False)
    assert not c.believed(0.0, True)
    assert c.asymmetric(20.0, 100.0, 400.0)
    assert not c.asymmetric(200.0, 1000.0, 400.0)  # as good as the best beside it
    assert not c.asymmetric(60.0, 100.0, 400.0)


def test_what_the_likelihood_supports():
    c = Constants(support=2.0)
    assert c.supported(9.0, 0.7)
    assert not c.supported(9.0, 0.6)
    assert not c.supported(-3.0, 1.2)
    assert c.supported(400.0, 0.11)  # shallow, but of many counts
    assert c.supported(float("nan"), float("nan"))  # nothing is known of it
    assert Constants().supported(0.0, 0.0)
    before = {k: v for k, v in Constants().card().items() if k != "support"}
    assert Constants.of({"refine": before}).support == 0


@pytest.mark.parametrize(
    "change", [{"error": -1}, {"support": -1}, {"inflate": "x"}, {"ratio": 2}, {"place": None}]
)
def test_unsound_constants_are_refused(change):
    with pytest.raises(InputError, match="'refine' with sound numbers"):
        Constants.of({"refine": Constants().card() | change})


def test_constants_beside_weights(tmp_path):
    weights = tmp_path / "w.safetensors"
    assert Constants.of({}) == Constants()
    assert read_beside(weights, "abc") is None
    path = beside(weights)
    assert path.name == "w.refine.json"
    given = {**Constants(error=0.09).card(), "weights": "abc"}
    path.write_text(json.dumps(given))
    assert Constants.of({"refine": read_beside(weights, "abc")}).error == 0.09
    assert Constants.of({"refine": read_beside(weights, "abc")}).fitted
    assert read_beside(weights, "other") is None
    path.write_text("{")
    with pytest.raises(InputError, match="constants of the refinement"):
        read_beside(weights, "abc")
