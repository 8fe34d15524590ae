"""Emission of a plasma in a band, against closed forms and quadrature."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import k0

from physml.cavities.core.plasma import Band, band_emissivity, emission_change


@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0), (2.0, 7.0)])
@pytest.mark.parametrize("temperature", [0.7, 3.0, 9.0])
def test_integral_over_the_band_against_adaptive_quadrature(low, high, temperature):
    def photons(energy):
        u = energy / temperature
        return np.exp(-u) * np.exp(u / 2) * k0(u / 2) / energy / np.sqrt(temperature)

    # Both leave out the same constant, half the logarithm of the band's width.
    expected = quad(photons, low, high)[0] / (0.5 * np.log(high / low))
    assert band_emissivity(temperature, low, high) == pytest.approx(expected, rel=1e-8)


def test_of_a_hard_tail_the_response_is_that_of_the_exponential():
    """Far above kT photons go as exp(-E / kT) / E / T^(1/2) g, g ~ (kT / E)^(1/2): slope E / kT."""
    band = Band("hard", temperature=1.0, low=40.0, high=40.4)
    assert band.response == pytest.approx(40.2, rel=0.01)


def test_redshift_moves_the_band():
    near = Band("soft", temperature=4.0, low=1.0, high=4.0)
    far = Band("soft", temperature=4.0, low=0.5, high=2.0, redshift=1.0)
    assert far.response == pytest.approx(near.response, rel=1e-12)


def test_a_given_response_is_a_power_law():
    band = Band("soft", given=0.4)
    assert band.response == 0.4
    np.testing.assert_allclose(band.relative([0.5, 2.0]), [0.5**0.4, 2**0.4])


@pytest.mark.parametrize("kind", ["isobaric", "shock"])
def test_small_changes_follow_the_responses(kind):
    """Churazov et al. (2016): isobaric 2 - alpha, adiabatic 2 + 2 alpha / 3, in d ln n."""
    for band in (Band("s", 4.0, 0.5, 2.0), Band("h", 4.0, 2.0, 7.0), Band("g", given=0.3)):
        alpha, x = band.response, 1 - 1e-5
        slope = {"isobaric": 2 - alpha, "shock": 2 + 2 * alpha / 3}[kind]
        assert (1 - emission_change(band, kind, x)) / 1e-5 == pytest.approx(slope, rel=1e-3)


def test_pressure_and_entropy_stay():
    """With a response of n T alone, an isobaric change keeps the product of both."""
    band = Band("pressure", given=1.0)  # emission n^2 T
    np.testing.assert_allclose(emission_change(band, "isobaric", [0.5, 0.8]), [0.5, 0.8])
    entropy = Band("entropy", given=-3.0)  # n^2 T^-3 = (T / n^(2/3))^-3
    np.testing.assert_allclose(emission_change(entropy, "shock", [0.5, 0.8]), 1.0)


def test_hard_light_falls_less_where_gas_is_thin_and_hot_and_more_where_it_is_thin_and_cool():
    soft, hard = Band("s", 4.0, 0.5, 2.0), Band("h", 4.0, 2.0, 7.0)
    for x in (0.5, 0.9):
        lost = {
            k: [1 - emission_change(b, k, x) for b in (soft, hard)] for k in ("isobaric", "shock")
        }
        assert lost["isobaric"][1] < lost["isobaric"][0]
        assert lost["shock"][1] > lost["shock"][0]
