"""Three hypotheses for two bands, against counts whose kind is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import nbinom, poisson

from physml.cavities.core.plasma import Band, emission_change
from physml.cavities.inference.aperture import Aperture
from physml.cavities.inference.two_bands import (
    _GRID,
    HYPOTHESES,
    SURE,
    UNKNOWN,
    decide,
    decrement_likelihood,
)

BANDS = (Band("soft", 4.0, 0.5, 2.0), Band("hard", 4.0, 2.0, 7.0))


def aperture(decrement, expected=1e6, background=0.0, control=4e6, faintest=0.0, known=True):
    """Aperture of exact counts: an outline, and a control of four times its light."""
    halo = expected * (1 - background)
    return Aperture(
        counts=halo * (1 - decrement) + expected * background,
        model=expected,
        background=expected * background if known else float("nan"),
        control=control,
        control_model=control,
        control_background=control * background,
        faintest=faintest,
    )


def lost(kind, density, fill=0.5):
    """Decrements of both bands of a structure that fills part of the line of sight."""
    if kind == "cavity":
        return (0.3, 0.3)
    return tuple(float(fill * (1 - emission_change(band, kind, density))) for band in BANDS)


@pytest.mark.parametrize("kind", HYPOTHESES)
@pytest.mark.parametrize("density", [0.55, 0.75])
def test_many_counts_tell_the_kind(kind, density):
    decrements = lost(kind, density)
    found = decide(*map(aperture, decrements), BANDS)
    assert found.verdict == kind
    assert found.probability[kind] > SURE
    assert sum(found.probability.values()) == pytest.approx(1)
    np.testing.assert_allclose(found.decrement, decrements, atol=0.01)


@pytest.mark.parametrize("kind", HYPOTHESES)
def test_few_counts_do_not(kind):
    """Noise of 10 % of the light: the ratio of bands is anything."""
    soft, hard = (aperture(d, expected=100, control=400) for d in lost(kind, 0.6))
    assert decide(soft, hard, BANDS).verdict == UNKNOWN


def test_no_deficit_cannot_be_told():
    assert decide(aperture(0.0), aperture(0.0), BANDS).verdict == UNKNOWN


def test_bands_of_one_response_cannot_be_told():
    same = (Band("soft", given=0.2), Band("hard", given=0.2))
    found = decide(aperture(0.3), aperture(0.3), same)
    assert found.verdict == UNKNOWN
    np.testing.assert_allclose(list(found.probability.values()), 1 / 3, atol=1e-6)


def test_responses_that_are_given_count():
    """A ratio that is a cavity's for flat bands is another kind's for other responses."""
    ratio = (2 - 1.0) / (2 - 0.0)
    given = (Band("soft", given=0.0), Band("hard", given=1.0))
    assert decide(aperture(0.1), aperture(0.1 * ratio), given).verdict == "isobaric"


def test_a_known_background_is_taken_out():
    soft, hard = aperture(0.3, background=0.02), aperture(0.3, background=0.3)
    found = decide(soft, hard, BANDS)
    assert found.probability["cavity"] > 0.6
    np.testing.assert_allclose(found.decrement, 0.3, atol=0.015)


def test_an_unknown_one_may_be_anything_up_to_where_the_model_is_faintest():
    """Half of the hard light is background: without a map it looks isobaric, and is not told."""
    soft = aperture(0.3, background=0.02, faintest=0.03, known=False)
    hard = aperture(0.3, background=0.5, faintest=0.6, known=False)
    found = decide(soft, hard, BANDS)
    assert found.verdict in (UNKNOWN, "cavity")
    assert found.probability["cavity"] > 0.2
    assert found.decrement_err[1] > 2 * found.decrement_err[0]


def test_likelihood_of_a_decrement_is_the_mean_over_draws_of_the_scale():
    one = Aperture(900.0, 1000.0, 50.0, 2000.0, 1900.0, 100.0, 0.1)
    error = np.sqrt(1 / 2000 + 0.05**2)
    rng = np.random.default_rng(5)
    scale = one.scale * rng.gamma(1 / error**2, error**2, 200_000)
    found = np.exp(decrement_likelihood(one, 0.05))
    for k in (120, 160, 200):
        left = 0.95 * (1 - _GRID[k]) + 0.05
        drawn = poisson.pmf(900, scale * 1000 * left)
        assert found[k] == pytest.approx(drawn.mean(), rel=5 * drawn.std() / 447 / drawn.mean())
        mean, size = one.scale * 1000 * left, 1 / error**2
        assert found[k] == pytest.approx(nbinom.pmf(900, size, size / (size + mean)), rel=1e-8)


def test_probabilities_of_drawn_counts_are_calibrated():
    """Counts drawn from the hypotheses themselves: of verdicts with p, a share p is right."""
    rng = np.random.default_rng(8)
    told, right = [], []
    for k in range(150):
        kind = HYPOTHESES[k % 3]
        soft_decrement, density = rng.uniform(0.1, 0.6), rng.uniform(0.4, 0.95)
        ratio = 1.0
        if kind != "cavity":
            change = [1 - emission_change(band, kind, density) for band in BANDS]
            ratio = float(change[1] / change[0])
        apertures = []
        for decrement in (soft_decrement, soft_decrement * ratio):
            mean = 8e3 * (1 - decrement) * np.exp(0.015 * rng.normal())
            control = float(rng.poisson(1.6e4))
            apertures.append(Aperture(float(rng.poisson(mean)), 8e3, 0.0, control, 1.6e4, 0.0, 0.0))
        found = decide(*apertures, BANDS, systematic=((0.015, 1.0),), common=1e-3)
        best = max(found.probability, key=lambda name: found.probability[name])
        told.append(found.probability[best])
        right.append(best == kind)
    error = np.sqrt(np.mean(np.multiply(told, np.subtract(1, told))) / len(told))
    assert np.mean(right) == pytest.approx(np.mean(told), abs=3.5 * error)
    assert np.mean(right) > 0.5
