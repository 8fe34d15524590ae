"""Real data: an event list of Chandra's ACIS, frames of Timepix detectors."""

from __future__ import annotations

import fnmatch
import tarfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from fakes.background_detector import RuleDetector, quick_figure
from scipy import ndimage

from physml.background.core.detectors import DetectorSettings, load_detector
from physml.background.core.events import find_events
from physml.background.core.frames import ORIGINS, PIXEL, Frames
from physml.background.core.grades import GOOD_GRADES
from physml.background.data.event_list import load_events
from physml.background.inference.event_level import fit_event_level
from physml.background.predict import BackgroundPredictor
from physml.background.simulator.charge import Readout, collect
from physml.background.simulator.photons import absorb
from physml.exceptions import PhysmlError

BINS = ((0.5, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 5.0), (5.0, 7.0), (7.0, 10.0))


def real_file(*parts):
    path = Path(*parts)
    if not path.is_file():
        pytest.skip(f"real data not found at {path}")
    return path


@pytest.fixture(scope="module")
def acis_file(shared_data):
    return real_file(shared_data, "detector", "chandra_acis", "acis_m82_events.fits")


@pytest.fixture(scope="module")
def acis(acis_file):
    return load_events(acis_file)


@pytest.fixture(scope="module")
def simulated(acis):
    """Photons of the list's energies in a CCD like ACIS-S3: 24 um pixels, 45 um of silicon."""
    camera = load_detector("acis").model_copy(update={"thickness_um": 45.0})
    rng = np.random.default_rng(10027)
    energy = np.repeat(acis.energy[acis.energy < 10], 10)
    n = len(energy)
    x, y = rng.uniform(5, camera.nx - 5, (2, n)) * camera.pixel_um
    left = absorb(energy, x, y, camera.thickness_um, rng)
    origin = np.full(len(left.energy), ORIGINS.index("photon"))
    charge = collect(camera, left.energy, left.position, left.photon, origin, np.arange(n))
    readout = Readout.perfect(camera)
    pixels = readout.measure(readout.fluctuate(charge, rng))
    pixels = pixels[np.lexsort((pixels["x"], pixels["y"], pixels["frame"]))]
    frames = Frames(pixels, (camera.ny, camera.nx), np.arange(n), np.ones(n, np.float32))
    events = find_events(frames, split=camera.split_keV, event=camera.event_keV).events
    return events[np.isin(events["grade"], GOOD_GRADES)]


def shares(grade, energy, low, high):
    inside = (energy >= low) & (energy < high)
    return np.array([(grade[inside] == g).sum() for g in GOOD_GRADES]) / inside.sum()


def test_the_list_is_read_as_it_is(acis, acis_file):
    data = fits.getdata(acis_file, "EVENTS")
    assert len(acis) == 4612
    np.testing.assert_allclose(acis.energy, data["energy"] / 1000)  # its TUNIT says eV
    # The file was cut to 945 s, its header was not.
    assert len(acis.remarks) == 1
    assert "18279.3 s of live time" in acis.remarks[0]
    assert acis.live_time == pytest.approx(945.336 * 0.906947, rel=1e-5)  # DTCOR
    # Several events share a frame, and each distinct time is one.
    assert len(np.unique(acis.frame)) == len(np.unique(data["time"]))
    np.testing.assert_allclose(np.diff(acis.intervals).sum(), 945.36, atol=0.1)


def test_energies_agree_with_the_channels(acis, acis_file, tmp_path):
    """PI is energy in steps of 14.6 eV, up to its last channel: our table of channels is right."""
    with fits.open(acis_file) as hdus:
        keep = [c for c in hdus["EVENTS"].columns if c.name != "energy"]
        bare = fits.BinTableHDU.from_columns(fits.ColDefs(keep), name="EVENTS")
        bare.header["TELESCOP"], bare.header["INSTRUME"] = "CHANDRA", "ACIS"
        bare.writeto(tmp_path / "pi.fits")
    by_channel = load_events(tmp_path / "pi.fits")
    below = acis.energy < 14.9
    assert np.abs(by_channel.energy - acis.energy)[below].max() < 0.0147


def test_the_grades_are_those_of_our_convention(acis):
    """Only grades that we call good; and they mean the same.

    By symmetry doubles are left, right, up and down alike. We, as ASCA, count those up and down
    as one grade (2) and left (3) and right (4) apart: so 3 and 4 are as many, and 2 as many as
    both together.
    """
    assert set(np.unique(acis.grade)) == set(GOOD_GRADES)
    two, three, four = (int((acis.grade == g).sum()) for g in (2, 3, 4))
    assert abs(three - four) < 4 * np.sqrt(three + four)
    assert abs(two - three - four) < 4 * np.sqrt(two + three + four)


def test_our_finder_gives_the_grades_that_acis_gives(acis, simulated):
    """Shares of the grades by energy, real against simulated photons of the same energies.

    Doubles agree to a few hundredths; the simulation has fewer singles and more corners (grade
    6): its clouds are somewhat wide, and the real split threshold is some 15 eV higher.
    """
    for low, high in BINS:
        real = shares(acis.grade, acis.energy, low, high)
        ours = shares(simulated["grade"], simulated["energy"], low, high)
        n = ((acis.energy >= low) & (acis.energy < high)).sum()
        noise = 3 * np.sqrt(0.25 / n)
        assert np.abs(real - ours)[1:4].max() < 0.04 + noise, (low, real, ours)
        assert 0.5 * np.abs(real - ours).sum() < 0.12 + noise, (low, real, ours)
    # Deeper photons and more charge: fewer singles, more corners with energy, in both.
    for grade, energy in ((acis.grade, acis.energy), (simulated["grade"], simulated["energy"])):
        soft, hard = shares(grade, energy, 0.5, 1), shares(grade, energy, 3, 5)
        assert soft[0] - hard[0] > 0.1
        assert hard[4] - soft[4] > 0.1


@pytest.fixture(scope="module")
def event_level():
    """Energy and grade alone, from a few exposures of the simulator."""
    from physml.background.core.events import find_in_exposures, truth
    from physml.background.settings import SimulateSettings
    from physml.background.simulator.exposure import simulate_exposure

    parts = []
    for number in range(4):
        frames = simulate_exposure(SimulateSettings(hits=4000), 7, number)
        found = find_in_exposures(frames)
        label = truth(found, frames)["label"]
        e = found.events
        keep = ~found.clusters["particle"][e["cluster"]]
        weight = frames.weight[frames.position(e["frame"])]
        columns = e["energy"], e["grade"], e["pattern"], label, weight
        parts.append([column[keep] for column in columns])
    return fit_event_level(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def test_probabilities_by_grade_and_energy(acis_file, event_level, tmp_path, monkeypatch):
    """Each event of one grade and energy gets one probability; the limits are said."""
    detector = RuleDetector()
    detector.event_level = event_level
    result = BackgroundPredictor(detector).predict(acis_file)
    e = result.events
    p = np.asarray(e["P_BKG"], float)
    assert ((p > 0) & (p < 1)).all()
    np.testing.assert_allclose(p, event_level.probability(e["ENERGY"], e["GRADE"]), rtol=1e-5)
    for grade in GOOD_GRADES:
        chosen = e["GRADE"] == grade
        order = np.argsort(e["ENERGY"][chosen])
        jumps = np.abs(np.diff(p[chosen][order]))
        # Smooth in energy; four exposures fit it with a scatter that depends on the processor,
        # whose rounding turns the simulated showers into others.
        assert np.quantile(jumps, 0.99) < 0.08
    # What it cannot do is said: no frames, another camera, no cut.
    assert not result.with_frames
    assert (e["WEIGHT"] == 1).all()
    assert any("CHANDRA ACIS" in text for text in result.untrained)
    assert any("no retention promised" in text for text in result.remarks)
    quick_figure(monkeypatch)
    result.write(tmp_path / "out")
    with fits.open(tmp_path / "out" / "events.fits", checksum=True) as hdus:
        hdus.verify("exception")
        header = hdus["EVENTS"].header
        assert header["OBJECT"] == "M82" or header["TELESCOP"] == "CHANDRA"
        assert header["MJDREFI"] == 50814
        assert (header["WITHFRAM"], header["INDOMAIN"]) == (False, False)
        # The file was cut to 945 s, its header was not.
        assert header["EXPOSURE"] == pytest.approx(945.336 * 0.906947, rel=1e-5)
        assert header["DEADC"] == pytest.approx(0.906947, rel=1e-5)
    assert any("of live time" in text for text in result.remarks)


def test_the_shipped_model_on_acis(acis_file):
    try:
        predictor = BackgroundPredictor.load()
    except (PhysmlError, FileNotFoundError) as error:
        pytest.skip(f"no shipped weights ({error})")
    result = predictor.predict(acis_file)
    p = np.asarray(result.events["P_BKG"], float)
    assert ((p > 0) & (p < 1)).all()
    assert result.untrained


TIMEPIX = DetectorSettings(
    name="timepix",
    ny=256,
    nx=256,
    pixel_um=55.0,
    thickness_um=300.0,
    frame_time=60.0,
    enc=100.0,
    split_keV=0.5,
    event_keV=0.5,
    upper_keV=60.0,
)
"""Its counts are times over threshold, not calibrated: one is taken as 1 keV. Shapes only."""


@pytest.fixture(scope="module", params=["E09", "B06"])
def timepix(request, shared_data):
    """Pixels of the background frames of one detector: frame, y, x, counts."""
    path = real_file(shared_data, "detector", "timepix", "background_frames.tar.gz")
    parts = []
    with tarfile.open(path) as archive:
        names = sorted(fnmatch.filter(archive.getnames(), f"*{request.param}*.txt"))
        for number, name in enumerate(n for n in names if "ASCIIxyC" in n):
            table = np.loadtxt(archive.extractfile(name), dtype=int, ndmin=2)
            rows = np.zeros(len(table), [*PIXEL.descr[:3], ("energy", "i4")])
            rows["frame"] = number
            rows["x"], rows["y"], rows["energy"] = table.T
            parts.append(rows)
    assert len(parts) == 60
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def result(timepix):
    return BackgroundPredictor(RuleDetector()).predict(timepix, detector=TIMEPIX, gain=1.0)


@pytest.fixture(scope="module")
def images(timepix):
    made = np.zeros((60, TIMEPIX.ny, TIMEPIX.nx))
    made[timepix["frame"], timepix["y"], timepix["x"]] = timepix["energy"]
    return made


@pytest.fixture(scope="module")
def hot(images):
    """Pixels that are lit in more than half of the frames."""
    return np.argwhere((images > 0).sum(0) > 30)


def clusters_of(images):
    frames = Frames.from_dense(images, TIMEPIX.split_keV)
    return find_events(frames, split=0.5, event=0.5, upper=60.0).clusters


def test_real_hot_pixels_are_found(result, hot):
    """Each of the detectors has a few, next to others that are only noisy."""
    assert 1 <= len(hot) <= 10
    text = " ".join(result.remarks)
    assert f"{len(hot)} hot pixel" in text
    for y, x in hot[:3]:
        assert f"({y}, {x})" in text


def test_clusters_are_those_of_an_independent_labelling(images):
    """Number and sizes of clusters against scipy's labels, frame by frame."""
    clusters, sizes = clusters_of(images), []
    for image in images:
        label, n = ndimage.label(image > 0.5)
        sizes.extend(ndimage.sum_labels(image > 0, label, np.arange(1, n + 1)))
    assert len(clusters) == len(sizes)
    np.testing.assert_array_equal(np.sort(clusters["n_pixels"]), np.sort(sizes))


def test_tracks_have_the_shapes_of_tracks(images, hot):
    """What a Timepix sees on the ground: dots of photons, electrons, straight tracks of muons."""
    images = images.copy()
    images[:, hot[:, 0], hot[:, 1]] = 0
    c = clusters_of(images)
    dots, tracks = c[c["n_pixels"] <= 2], c[c["length"] >= 10]
    assert len(dots) > 200
    assert len(tracks) >= 10
    assert np.mean(tracks["width"] <= 4) > 0.8
    assert np.median(tracks["length"] / tracks["width"]) > 4
    # Minimum ionising: the same loss per length within the scatter of its fluctuations.
    loss = tracks["energy"] / tracks["length"]
    assert np.median(np.abs(loss / np.median(loss) - 1)) < 0.25
    assert tracks["particle"].all()
    # Directions are measured: the axis is the line through the pixels of the longest track.
    longest = c[np.argmax(c["length"])]
    label, n = ndimage.label(images[longest["frame"]] > 0.5)
    middle = ndimage.center_of_mass(images[longest["frame"]], label, np.arange(1, n + 1))
    place = np.array(middle) - (longest["yc"], longest["xc"])
    k = int(np.argmin(np.hypot(*place.T)))
    assert np.hypot(*place[k]) < 1e-4
    y, x = np.nonzero(label == k + 1)
    axis = np.linalg.svd(np.stack([x - x.mean(), y - y.mean()]).T)[2][0]
    expected = axis[0] ** 2 - axis[1] ** 2, 2 * axis[0] * axis[1]
    np.testing.assert_allclose((longest["cos2"], longest["sin2"]), expected, atol=1e-4)


def test_another_detector_is_told_apart(result):
    """Everything that differs from what the network knows is said, and no promise is made."""
    text = " | ".join(result.untrained)
    for part in ("256 x 256", "pixels of 55 um", "silicon of 300 um", "a frame time of 60 s"):
        assert part in text
    e = result.events
    assert len(e) > 50
    assert result.live_time == pytest.approx(60 * (np.ptp(e["FRAME"]) + 1), rel=0.1)
