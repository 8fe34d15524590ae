"""Enthalpy, ages and powers against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from fakes.cavities import Cavity, TruthDetector, beta_image, tan_wcs, write_fits
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.cavities.core import energetics as en
from physml.cavities.data.gas_profile import read_profile
from physml.cavities.predict import CavityPredictor
from physml.exceptions import InputError

SCALE = 2 * u.kpc / u.arcsec


def write(path, **columns):
    QTable(columns).write(path, format="ascii.ecsv", overwrite=True)
    return path


def power_law(path, slope=-1.5, kT=2.0, unit=u.kpc, **more):
    """n_e = 0.1 (r / 10 kpc)^slope per cm3, isothermal."""
    r = np.geomspace(1, 200, 30)
    return write(
        path,
        radius=(r * u.kpc if unit == u.kpc else r / SCALE.value * u.arcsec),
        n_e=0.1 * (r / 10) ** slope / u.cm**3,
        kT=np.full(30, kT) * u.keV,
        **more,
    )


def run(profile, a=8.0, b=6.0, d=20.0, radius_err=0.0, distance_err=0.0):
    def kpc(v):
        return np.array([v]) * u.kpc

    return en.energetics(kpc(a), kpc(b), kpc(radius_err), kpc(d), kpc(distance_err), profile)


def test_by_hand(tmp_path):
    """a = 8, b = 6 kpc at 20 kpc; n_e = 0.1 (r/10)^-1.5, kT = 2 keV."""
    out = run(read_profile(power_law(tmp_path / "p.ecsv"), SCALE))
    # n_e(20 kpc) = 0.1 * 2^-1.5 = 0.0353553 cm^-3; p = 1.92 n_e kT
    #   = 1.92 * 0.0353553 * 2 * 1.602177e-9 erg = 2.17518e-10 erg/cm^3
    assert out["pressure"][0].to_value(u.erg / u.cm**3) == pytest.approx(2.17518e-10, rel=1e-4)
    # V = 4/3 pi 48 * 7 kpc^3 = 1407.434 kpc^3; 1 kpc^3 = 2.937999e64 cm^3: 4.135040e67 cm^3
    # 4 p V = 3.59779e58 erg
    assert out["enthalpy"][0].to_value(u.erg) == pytest.approx(3.59779e58, rel=1e-4)
    # c_s^2 = 5/3 * 3.204353e-9 erg / (0.62 * 1.672622e-24 g) -> c_s = 717.61 km/s
    # t_cs = 20 kpc / 717.61 km/s = 6.171355e17 km / 717.61 km/s = 8.59988e14 s = 27.252 Myr
    assert out["t_cs"][0].to_value(u.Myr) == pytest.approx(27.252, rel=1e-3)
    # g = 1.5 kT / (mu m_p R) = 1.5 * 3.089969e15 cm^2/s^2 / 6.171355e22 cm = 7.51044e-8 cm/s^2
    # S = 48 pi kpc^2; S / V = 150.796 / 1407.434 = 0.107143 / kpc = 3.472259e-23 / cm
    # t_buoy = R sqrt(0.75 * 3.472259e-23 / (2 * 7.51044e-8)) = 6.171355e22 * 1.31670e-8
    #        = 8.12582e14 s = 25.749 Myr
    assert out["t_buoy"][0].to_value(u.Myr) == pytest.approx(25.749, rel=1e-3)
    # t_refill = 2 sqrt(sqrt(48) kpc / g) = 2 sqrt(2.137821e22 / 7.51044e-8) = 1.067034e15 s
    assert out["t_refill"][0].to_value(u.Myr) == pytest.approx(33.812, rel=1e-3)
    # P = 3.59779e58 erg / 8.12582e14 s
    assert out["power_buoy"][0].to_value(u.erg / u.s) == pytest.approx(4.4276e43, rel=1e-3)
    assert out["power_cs"][0].to_value(u.erg / u.s) == pytest.approx(4.1835e43, rel=1e-3)
    assert out["power_refill"][0].to_value(u.erg / u.s) == pytest.approx(3.3718e43, rel=1e-3)


def test_volume_and_depth():
    assert en.volume(3.0, 3.0) == pytest.approx(113.0973)
    low, high = 4 / 3 * np.pi * 4 * 2 * 2, 4 / 3 * np.pi * 4 * 4 * 2
    assert en.volume(4.0, 2.0) == pytest.approx((low + high) / 2)
    # Volumes for depths anywhere between the axes.
    volumes = 4 / 3 * np.pi * 4 * 2 * np.linspace(2, 4, 100_001)
    assert en.volume(4.0, 2.0) == pytest.approx(volumes.mean())
    assert en.depth_error(4.0, 2.0) == pytest.approx(volumes.std() / volumes.mean(), rel=1e-4)


def test_pressure_may_be_given_directly_in_any_unit(tmp_path):
    plain = read_profile(power_law(tmp_path / "p.ecsv"), SCALE)
    r = plain.radius * u.kpc
    p = plain.pressure * u.erg / u.cm**3
    for unit in (u.erg / u.cm**3, u.keV / u.cm**3, u.Pa):
        path = write(tmp_path / "q.ecsv", radius=r, pressure=p.to(unit), kT=plain.kT * u.keV)
        other = read_profile(path, SCALE)
        np.testing.assert_allclose(other.pressure, plain.pressure, rtol=1e-12)


def test_radius_may_be_an_angle_and_kT_a_temperature(tmp_path):
    plain = read_profile(power_law(tmp_path / "p.ecsv"), SCALE)
    angle = read_profile(power_law(tmp_path / "a.ecsv", unit=u.arcsec), SCALE)
    np.testing.assert_allclose(angle.radius, plain.radius, rtol=1e-12)
    kelvin = write(
        tmp_path / "k.ecsv",
        radius=plain.radius * u.kpc,
        n_e=0.1 * (plain.radius / 10) ** -1.5 / u.cm**3,
        kT=np.full(30, 2.0) * u.keV.to(u.K, equivalencies=u.temperature_energy()) * u.K,
    )
    np.testing.assert_allclose(read_profile(kelvin, SCALE).pressure, plain.pressure)


def test_pressure_alone_gives_the_enthalpy_but_no_clocks(tmp_path):
    plain = read_profile(power_law(tmp_path / "p.ecsv"), SCALE)
    path = write(
        tmp_path / "q.ecsv", radius=plain.radius * u.kpc, pressure=plain.pressure * u.erg / u.cm**3
    )
    out = run(read_profile(path, SCALE))
    assert set(out) == {"pressure", "pressure_err", "enthalpy", "enthalpy_err"}


def test_a_pressure_that_rises_outwards_gives_no_gravity(tmp_path):
    out = run(read_profile(power_law(tmp_path / "p.ecsv", slope=0.5), SCALE))
    assert np.isnan(out["t_buoy"][0])
    assert np.isnan(out["power_refill"][0])
    assert np.isfinite(out["t_cs"][0])


def test_errors_agree_with_drawing_all_inputs(tmp_path):
    """Linear propagation in logarithms against 500 draws through the same formulae."""
    r = np.geomspace(1, 200, 30)
    density = 0.1 * (r / 10) ** -1.5

    def profile(scale_n=1.0, kT=2.0, errors=True):
        more = {}
        if errors:
            more = {
                "pressure_err": 0.06 * density / u.cm**3 * 1.92 * 2 * u.keV,
                "kT_err": np.full(30, 0.08) * u.keV,
            }
        return read_profile(
            write(
                tmp_path / "p.ecsv",
                radius=r * u.kpc,
                pressure=scale_n * density / u.cm**3 * 1.92 * 2 * u.keV,
                kT=np.full(30, kT) * u.keV,
                **more,
            ),
            SCALE,
        )

    out = run(profile(), a=7.2, b=6.6, d=20, radius_err=0.2, distance_err=0.5)
    rng = np.random.default_rng(0)
    base = profile(errors=False)
    draws = {name: [] for name in ("enthalpy", "t_cs", "t_buoy", "t_refill", "power_buoy")}
    shape = np.sqrt(7.2 / 6.6)
    for _ in range(500):
        radius = np.sqrt(7.2 * 6.6) + 0.2 * rng.normal()
        changed = en.GasProfile(
            base.radius,
            base.pressure * np.exp(0.06 * rng.normal()),
            base.pressure_err,
            base.kT * np.exp(0.04 * rng.normal()),
            base.kT_err,
        )
        depth = np.exp(en.depth_error(7.2, 6.6) * rng.normal())
        one = run(changed, radius * shape, radius / shape, 20 + 0.5 * rng.normal())
        # An ellipsoid of another depth has another volume, in all that contains one.
        draws["enthalpy"].append(one["enthalpy"][0].value * depth)
        draws["t_cs"].append(one["t_cs"][0].value)
        draws["t_buoy"].append(one["t_buoy"][0].value * depth**-0.5)
        draws["t_refill"].append(one["t_refill"][0].value)
        draws["power_buoy"].append(one["power_buoy"][0].value * depth**1.5)
    for name, values in draws.items():
        found = (out[f"{name}_err"] / out[name])[0].to_value(u.one)
        assert found == pytest.approx(np.std(np.log(values)), rel=0.1), name


@settings(max_examples=40, deadline=None)
@given(st.floats(0.5, 30), st.floats(-3, -0.2), st.floats(0.5, 12))
def test_interpolation_and_slope_are_exact_for_power_laws(r, slope, kT):
    radius = np.geomspace(1, 20, 9)
    pressure = 1e-10 * radius**slope
    profile = en.GasProfile(radius, pressure, 0.1 * pressure, np.full(9, kT), np.zeros(9))
    value, error = profile.at(np.array([r]), "pressure")
    np.testing.assert_allclose(value, 1e-10 * r**slope)
    np.testing.assert_allclose(error, 0.1)
    np.testing.assert_allclose(profile.slope(np.array([r])), slope, rtol=1e-6)


def test_a_noisy_profile_still_has_a_sane_slope():
    rng = np.random.default_rng(2)
    radius = np.geomspace(2, 100, 20)
    pressure = 1e-10 * radius**-1.2 * np.exp(0.08 * rng.normal(size=20))
    profile = en.GasProfile(radius, pressure, 0 * pressure)
    assert profile.slope(np.geomspace(3, 80, 12)) == pytest.approx(-1.2, abs=0.25)


def test_scale_is_that_of_planck_2018():
    # Angular-diameter distance by Simpson's rule: H0 = 67.66 km/s/Mpc, Omega_m = 0.30966, flat.
    z = np.linspace(0, 0.1, 101)
    inverse = 1 / np.sqrt(0.30966 * (1 + z) ** 3 + 1 - 0.30966)
    integral = (inverse[0] + inverse[-1] + 4 * inverse[1::2].sum() + 2 * inverse[2:-1:2].sum()) / 3
    distance = 299792.458 / 67.66 * integral * 1e-3 / 1.1  # Mpc
    expected = distance * 1e3 * np.pi / 180 / 3600
    found = en.kpc_per_arcsec(0.1).to_value(u.kpc / u.arcsec)
    assert found == pytest.approx(expected, rel=3e-4)  # no radiation here
    for bad in (0, -0.1, np.nan, np.inf, 50):
        with pytest.raises(InputError, match="redshift"):
            en.kpc_per_arcsec(bad)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"r": [1] * u.kpc, "pressure": [1] * u.Pa}, "radius"),
        ({"radius": [1] * u.kpc, "n_e": [1] / u.cm**3}, "Missing: pressure, kT"),
        ({"radius": [1] * u.kpc, "kT": [1] * u.keV}, "Missing: pressure, n_e"),
        ({"radius": [1.0], "pressure": [1] * u.Pa}, "radius with a unit"),
        ({"radius": [1] * u.kpc, "pressure": [1.0]}, "pressure with a unit"),
        ({"radius": [1] * u.s, "pressure": [1] * u.Pa}, "radius in kpc"),
        ({"radius": [1] * u.kpc, "pressure": [1] * u.keV}, "pressure in erg"),
        ({"radius": [2, 1] * u.kpc, "pressure": [1, 1] * u.Pa}, "increase"),
        (
            {"radius": [0, 1] * u.kpc, "pressure": [1, 1] * u.Pa},
            "positive numbers in column radius",
        ),
        ({"radius": [1, 2] * u.kpc, "pressure": [1, np.nan] * u.Pa}, "positive numbers"),
        ({"radius": [1] * u.kpc, "pressure": [1] * u.Pa, "pressure_err": [-1] * u.Pa}, ">= 0"),
        ({"radius": [] * u.kpc, "pressure": [] * u.Pa}, "empty"),
    ],
)
def test_unfit_profiles_are_refused_with_a_hint(tmp_path, columns, message):
    path = write(tmp_path / "profile.ecsv", **columns)
    with pytest.raises(InputError, match=message) as caught:
        read_profile(path, SCALE)
    assert "profile.ecsv" in str(caught.value)


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "p.ecsv").write_text("radius pressure\n1 2\n")
    with pytest.raises(InputError, match="ECSV"):
        read_profile(tmp_path / "p.ecsv", SCALE)
    with pytest.raises(InputError, match="no such file"):
        read_profile(tmp_path / "none.ecsv", SCALE)


def test_in_the_catalogue(tmp_path):
    shape, centre = (200, 200), (100.0, 100.0)
    cavities = [Cavity(130, 100, 12, 9, 0.3), Cavity(70, 95, 10, 9, 0.1)]
    path = write_fits(tmp_path / "i.fits", beta_image(shape, centre), tan_wcs(shape, pixel=0.5))
    detector = TruthDetector(cavities, centre, scales=(1,))
    redshift = 0.05
    scale = en.kpc_per_arcsec(redshift)
    r = np.array([1.0, 5.0, 14.0])
    profile = write(
        tmp_path / "p.ecsv", radius=r * u.kpc, n_e=0.1 / r / u.cm**3, kT=np.full(3, 1.5) * u.keV
    )
    table = (
        CavityPredictor(detector)
        .predict(path, centre=centre, scales=1, redshift=redshift, pressure=profile)
        .catalogue
    )
    row = table[np.argmin(np.abs(table["x"] - 130))]
    a, b, d = (v * 0.5 * scale.value for v in (12, 9, 30))
    assert row["radius_kpc"].to_value(u.kpc) == pytest.approx(np.sqrt(a * b), rel=1e-4)
    assert row["volume_kpc"].to_value(u.kpc**3) == pytest.approx(en.volume(a, b), rel=1e-3)
    assert row["distance_kpc"].to_value(u.kpc) == pytest.approx(d, rel=1e-4)
    pressure = 1.92 * 0.1 / d * 1.5 * u.keV.to(u.erg)
    enthalpy = 4 * pressure * en.volume(a, b) * u.kpc.to(u.cm) ** 3
    assert row["enthalpy"].to_value(u.erg) == pytest.approx(enthalpy, rel=1e-3)
    for name in ("t_cs", "t_buoy", "t_refill", "power_cs", "power_buoy", "power_refill"):
        assert row[name].value > 0
        assert 0 < (row[f"{name}_err"] / row[name]).to_value(u.one) < 1
    # 14.96 kpc lies beyond the profile, 15.0 arcsec too.
    assert "pressure_extrapolated" in str(row["flags"]).split()
    assert d > 14
