"""Injection and recovery: the cut, the statistics, and the answers for detectors known by heart."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import QTable, Table
from fakes.cavities import COLUMNS, Detection, beta_image, tan_wcs, write_fits
from scipy.special import betainc

from physml.cavities.core.ellipse import overlap
from physml.cavities.core.halo import fit_halo
from physml.cavities.data.loading import load_observation
from physml.cavities.inference.candidate import Candidate
from physml.cavities.predict import CavityPredictor
from physml.cavities.results.recovery import GaussianHalo, _plant, measure_recovery, smooth_model
from physml.cavities.results.result import share
from physml.exceptions import InputError
from physml.random import stream


@pytest.mark.parametrize(("core", "beta"), [(3.0, 0.45), (12.0, 0.6), (25.0, 0.8)])
def test_the_chord_holds_what_the_closed_form_says(core, beta):
    """Of a beta model's emission at R, |z| < Z holds I_u(1/2, 3 beta - 1/2)."""
    y, x = np.indices((301, 301)) - 150.0
    r2 = x * x + y * y
    halo = GaussianHalo(
        (1 + r2 / core**2) ** (0.5 - 3 * beta), np.ones(r2.shape, bool), (150.0, 150.0)
    )
    R, Z = np.meshgrid([2.0, 8.0, 20.0, 50.0], [3.0, 10.0, 25.0])
    width2 = R**2 + core**2
    exact = betainc(0.5, 3 * beta - 0.5, Z**2 / (width2 + Z**2))
    np.testing.assert_allclose(halo.removed(150 + R, 150 + 0 * R, Z), exact, atol=0.02)


def test_a_flat_background_is_not_removed():
    y, x = np.indices((201, 201)) - 100.0
    gas = 5 * (1 + (x * x + y * y) / 64) ** -1.5
    halo = GaussianHalo(gas + 0.5, np.ones(gas.shape, bool), (100.0, 100.0))
    # At the edge of the image nearly all is background.
    assert halo.removed(np.array([190.0]), np.array([190.0]), np.array([500.0]))[0] < 0.2
    assert halo.removed(np.array([100.0]), np.array([100.0]), np.array([500.0]))[0] > 0.85


def test_an_elliptical_halo_is_taken_as_such():
    y, x = np.indices((201, 201)) - 100.0
    t = 0.6
    u, v = x * np.cos(t) + y * np.sin(t), y * np.cos(t) - x * np.sin(t)
    gas = (1 + (u * u + (v / 0.75) ** 2) / 100) ** -1.3
    halo = GaussianHalo(gas, np.ones(gas.shape, bool), (100.0, 100.0))
    assert halo.axis_ratio == pytest.approx(0.75, abs=0.08)
    assert halo.theta % np.pi == pytest.approx(t, abs=0.05)


@pytest.mark.parametrize(("core", "slope"), [(1.0, 1.2), (2.0, 1.6), (2.0, 2.2), (3.0, 3.0)])
def test_a_small_core_is_deprojected(core, slope):
    """The fit of the Gaussians takes more steps here than scipy's default allows."""
    y, x = np.indices((64, 64)) - 31.5
    gas = 50 * (1 + (x * x + y * y) / core**2) ** -slope + 1e-3
    halo = GaussianHalo(gas, np.ones(gas.shape, bool), (31.5, 31.5))
    place = np.array([31.5]), np.array([31.5]), np.array([20.0])
    assert 0.9 < halo.removed(*place)[0] <= 1


def test_a_result_survives_its_recovery(smooth, tmp_path, monkeypatch, caplog):
    def fails(*_):
        raise RuntimeError("Maximum number of iterations reached.")

    monkeypatch.setattr("physml.cavities.results.recovery.GaussianHalo", fails)
    result = CavityPredictor(Deep(0.1)).predict(smooth, scales=1, recovery=2)
    assert result.recovery is None
    assert "not measured (RuntimeError: Maximum number" in caplog.text
    out = result.write(tmp_path / "out")
    remarks = QTable.read(out / "cavities.ecsv").meta["remarks"]
    assert "not measured" in remarks[-1]
    assert not (out / "completeness.ecsv").exists()


def test_a_share_and_its_interval():
    value, low, high = share([0, 5, 10, 0], [10, 10, 10, 0])
    # (k/n + 1/2n -+ sqrt(p(1-p)/n + 1/4n^2)) / (1 + 1/n)
    assert value[:3].tolist() == [0, 0.5, 1]
    assert low == pytest.approx([0, 0.3493, 0.9091, 0], abs=1e-4)
    assert high == pytest.approx([0.0909, 0.6507, 1, 1], abs=1e-4)


class Deep:
    """Knows the smooth field; reports what lies deeper below it than a limit, as circles."""

    card: dict = {}  # noqa: RUF012

    def __init__(self, limit, false=0.0, seed=0):
        self.limit, self.false, self.rng = limit, false, np.random.default_rng(seed)

    def threshold(self, total_counts):
        return 0.5

    def detect(self, counts, exposure=None, background=None, invalid=None, centre=None, **_):
        from scipy.ndimage import gaussian_filter, label

        out = []
        for image, middle in zip(np.asarray(counts, float), np.asarray(centre), strict=True):
            y, x = np.indices(image.shape)
            r = np.hypot(x - middle[0], y - middle[1])
            ring = np.minimum(r.astype(int), 90)
            mean = np.array([np.median(image[ring == k]) for k in range(91)])
            model = gaussian_filter(mean[ring], 2)
            depth = gaussian_filter(image - model, 1.5) / np.maximum(model, 1e-6)
            labels, number = label((depth < -self.limit) & (model > 1) & (r < 55))
            rows = []
            for k in range(1, number + 1):
                inside = labels == k
                if inside.sum() < 25:
                    continue
                radius = np.sqrt(inside.sum() / np.pi)
                place = x[inside].mean(), y[inside].mean()
                rows.append((*place, radius, radius, 0, radius, 1, inside.sum(), 0.3, 9, 0.9))
            if self.rng.random() < self.false:
                rows.append((20, 20, 5, 5, 0, 5, 1, 78, 0.1, 2, 0.7))
            table = Table(rows=rows or None, names=COLUMNS, dtype=[float] * len(COLUMNS))
            labels = np.zeros(image.shape, np.int32)
            out.append(Detection(np.zeros(image.shape, np.float32), labels, table, model))
        return out


@pytest.fixture(scope="module")
def smooth(tmp_path_factory):
    """A deep image without cavities."""
    image = beta_image((128, 128), core=14, total=3e6, seed=4)
    path = tmp_path_factory.mktemp("smooth") / "i.fits"
    return write_fits(path, image, tan_wcs(image.shape))


@pytest.fixture(scope="module")
def recovered(smooth):
    """Its result by a detector that finds what is deep, with 12 draws; to be looked at only."""
    return CavityPredictor(Deep(0.12)).predict(smooth, scales=1, recovery=12)


def test_planted_cavities_are_where_and_what_the_table_says(smooth):
    predictor = CavityPredictor(Deep(0.1))
    result = predictor.predict(smooth, scales=1)
    model = np.clip(result.model, 0, None)
    halo = GaussianHalo(model, np.ones(model.shape, bool), result.centre)
    for number in range(20):
        expected, cavities = _plant(result, model, halo, stream(1, "test", number))
        assert 1 <= len(cavities) <= 2
        ratio = expected / model
        assert ratio.max() < 1 + 1e-9
        assert ratio.min() >= 0
        Y, X = np.indices(model.shape)
        touched = np.zeros(model.shape, bool)
        for cavity in cavities:
            inside = cavity.shape.inside(X, Y)
            touched |= inside
            missing, undisturbed = (model - expected)[inside].sum(), model[inside].sum()
            assert cavity.decrement == pytest.approx(missing / undisturbed, rel=1e-6)
            assert cavity.snr == pytest.approx(missing / np.sqrt(undisturbed), rel=1e-6)
        np.testing.assert_allclose(ratio[~touched], 1)
        if len(cavities) == 2:
            assert overlap(cavities[0].shape, cavities[1].shape)[0] == 0


def test_a_good_detector_recovers_deep_cavities_and_alarms_nowhere(recovered):
    recovery = recovered.recovery
    assert recovery.draws == 12
    assert recovery.alarmed == 0
    assert recovery.false_alarm_rate == 0
    assert recovery.false_alarm_interval[1] == pytest.approx(1 / 13)
    found = np.asarray(recovery.injections["found"])
    deep = (recovery.injections["decrement"] > 0.3) & (recovery.injections["radius"].value > 3)
    shallow = recovery.injections["decrement"] < 0.08
    assert found[deep].mean() > 0.8
    assert not found[shallow].any()


def test_a_blind_detector_finds_nothing_and_a_dreaming_one_alarms(smooth):
    blind = CavityPredictor(Deep(2.0)).predict(smooth, scales=1, recovery=4).recovery
    assert not np.any(blind.injections["found"])
    dreaming = CavityPredictor(Deep(2.0, false=1.0))
    result = dreaming.predict(smooth, scales=1, recovery=4)
    assert result.recovery.false_alarm_rate == 1
    # Its own dream is in the catalogue, and is told to be worthless.
    assert result.catalogue["false_alarms"][0] == 1
    assert result.catalogue.meta["false_alarm_rate"] == 1


def test_the_false_alarm_rate_is_the_one_of_the_detector(smooth):
    recovery = (
        CavityPredictor(Deep(2.0, false=0.3, seed=3))
        .predict(smooth, scales=1, recovery=30)
        .recovery
    )
    # Binomial, 30 draws: standard deviation 0.08.
    assert recovery.false_alarm_rate == pytest.approx(0.3, abs=0.2)
    low, high = recovery.false_alarm_interval
    assert low < recovery.false_alarm_rate < high


class WithHalo(Deep):
    """Gives the parameters of the smooth model, too, as the networks' detector does."""

    def detect(self, counts, exposure=None, background=None, invalid=None, centre=None, **_):
        out = super().detect(counts, exposure, background, invalid, centre)
        fit = fit_halo(counts, exposure, background, invalid, centre)
        for one, halo in zip(out, fit.parameters, strict=True):
            one.halo = halo
        return out


def test_false_alarms_are_those_of_images_as_lopsided_as_this_one(tmp_path):
    """Whoever takes the dark side of a lopsided halo for a cavity has it in the draws as well."""
    image = beta_image((128, 128), core=14, total=3e6)
    y, x = np.indices(image.shape) - 63.5
    r = np.hypot(x, y)
    image = image * (1 + 0.25 * np.tanh(r / 20) * x / np.maximum(r, 1e-9))
    path = write_fits(tmp_path / "i.fits", image, tan_wcs(image.shape))
    asymmetric = CavityPredictor(WithHalo(0.12)).predict(path, scales=1, recovery=4)
    assert asymmetric.recovery.false_alarm_rate == 1
    symmetric = CavityPredictor(Deep(0.12)).predict(path, scales=1, recovery=4)
    assert symmetric.recovery.false_alarm_rate == 0


def test_the_same_seed_gives_the_same_answer_and_more_draws_extend_it(smooth):
    predictor = CavityPredictor(Deep(0.12))
    result = predictor.predict(smooth, scales=1)
    few = measure_recovery(predictor.detector, result, 3, seed=7).injections
    many = measure_recovery(predictor.detector, result, 6, seed=7).injections
    other = measure_recovery(predictor.detector, result, 3, seed=8).injections
    for name in ("x", "y", "found", "snr"):
        np.testing.assert_array_equal(few[name], many[name][: len(few)])
    assert len(other) != len(few) or not np.array_equal(few["x"], other["x"])


def test_completeness_table_counts_every_injection_once(recovered):
    recovery = recovered.recovery
    table = recovery.completeness
    widest = table["distance_high"] - table["distance_low"]
    everything = table[widest == widest.max()]
    # Bins share their edges, and nothing else.
    assert len(recovery.injections) <= everything["injected"].sum()
    assert everything["injected"].sum() <= len(recovery.injections) + len(everything)
    share = everything["found"] / everything["injected"]
    np.testing.assert_allclose(everything["completeness"], share)
    assert (everything["completeness_low"] <= share).all()
    assert (share <= everything["completeness_high"]).all()


def test_recovery_is_written(recovered, tmp_path):
    out = recovered.write(tmp_path / "out")
    names = {p.name for p in out.iterdir()}
    assert {"completeness.ecsv", "injections.ecsv", "completeness.png"} <= names
    assert len(QTable.read(out / "injections.ecsv")) == len(recovered.recovery.injections)
    assert (out / "completeness.png").read_bytes()[:4] == b"\x89PNG"


def test_no_draw_is_refused(smooth):
    predictor = CavityPredictor(Deep(0.1))
    with pytest.raises(InputError, match="at least 1"):
        measure_recovery(predictor.detector, predictor.predict(smooth, scales=1), 0)


def test_completeness_near_a_cavity_is_a_local_mean(recovered):
    recovery = recovered.recovery
    assert np.isnan(recovery.at(1e4, 1e4))
    one = recovery.injections[0]
    assert 0 <= recovery.at(one["radius"].value, one["distance"].value) <= 1


def test_overlap_of_a_candidate_with_itself():
    c = Candidate(3, 4, 8, 5, 0.3, 6.3, 0.1, 125, 0.2, 5, 0.9, 1, 0)
    assert overlap(c, c) == (1.0, 1.0)


@pytest.mark.parametrize("side", [200, 1100])
def test_the_truth_of_the_test_is_one_smooth_halo(side):
    """Exposure, background, an off-centre cluster, a large image: one halo without dips."""
    shape, centre = (side, side + 20), (0.4 * side, 0.55 * side)
    y, x = np.indices(shape)
    r = np.hypot(x - centre[0], y - centre[1])
    exposure = np.where(x > 0.9 * side, 0.5, 1.0)
    exposure[: side // 20] = 0
    background = 0.2 * exposure
    gas = 40 * (1 + (r / (0.06 * side)) ** 2) ** -1.2
    counts = np.random.default_rng(1).poisson(gas * exposure + background).astype(float)
    observation = load_observation(counts, exposure=exposure, background=background)
    model = smooth_model(observation, centre)
    assert model.shape == shape
    assert not model[exposure == 0].any()
    true = gas * exposure + background
    good = (exposure > 0) & (r > 5)
    assert model[good].sum() == pytest.approx(true[good].sum(), rel=0.02)
    ratio = (model / np.where(true > 0, true, 1))[good & (gas > 0.4)]
    assert np.percentile(np.abs(ratio - 1), 95) < 0.08
    # Along a ray outwards nothing rises: a dip would be a cavity.
    ray = model[round(centre[1]), round(centre[0]) : round(0.85 * side)]
    assert np.all(np.diff(ray) <= 1e-6 * ray[0])
