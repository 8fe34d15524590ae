"""The benchmark on real data: its functions, on data whose truth is known."""

from __future__ import annotations

import io
import tarfile
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from physml.background.core.clusters import CLUSTER
from physml.background.core.frames import PIXEL


@pytest.fixture
def bench(script):
    return script("background_real_data")


@pytest.fixture
def spectrum(bench):
    """A flat continuum of 4e-3 with one line of 0.02 counts/cm2/s at 7.5 keV."""
    edges = np.linspace(0.1, 10, 9901)
    rate = np.full(9900, 4e-3)
    rate[7400] += 0.02 / 1e-3
    return bench.Spectrum(edges, rate)


def test_spectra_are_read_per_area_of_the_detector(bench, tmp_path):
    """At 10 m a square arcminute is 2.909 mm squared."""
    path = tmp_path / "spectrum.h5"
    with h5py.File(path, "w") as file:
        file["spectrum"] = np.array([1e-3, 2e-3])
        file["emin"], file["emax"] = 0.1, 10.0
    read = bench.read_spectrum(path)
    np.testing.assert_allclose(read.rate, np.array([1e-3, 2e-3]) / 0.2909**2, rtol=1e-3)
    np.testing.assert_allclose(read.edges, [0.1, 5.05, 10.0])
    np.testing.assert_allclose(read.middle, [2.575, 7.525])


def test_means_keep_the_counts(spectrum):
    """However the bins lie, their sum is that of the fine steps."""
    for edges in (np.array([0.3, 10.0]), np.array([0.3, 0.7004, 3.33333, 7.4, 7.6, 10.0])):
        total = (spectrum.mean(edges) * np.diff(edges)).sum()
        assert total == pytest.approx(4e-3 * 9.7 + 0.02)
    assert spectrum.mean(np.array([2.0, 7.0]))[0] == pytest.approx(4e-3)


def test_continuum_has_no_lines(spectrum):
    np.testing.assert_allclose(spectrum.continuum().rate, 4e-3)


def survivors(bench, energy, weight=None):
    n = len(energy)
    weight = np.ones(n) if weight is None else weight
    return bench.Survivors(energy, np.zeros(n, int), weight, live_s=1000.0, area_cm2=6.0)


def test_rates_of_survivors(bench):
    """12 events of weight 1 and one of 4, in 2 keV, 1,000 s and 6 cm2."""
    one = survivors(bench, np.append(np.full(12, 2.5), 3.5), np.append(np.ones(12), 4.0))
    value, error = one.mean(np.array([2.0, 4.0]))
    assert value[0] == pytest.approx(16 / 12_000)
    assert error[0] == pytest.approx(np.sqrt(12 + 16) / 12_000)


def test_shape_of_the_same_spectrum_does_not_differ(bench, spectrum):
    """Twice the continuum, with Poisson noise: level 2, and nothing but chance around it."""
    rng = np.random.default_rng(0)
    edges = np.linspace(1, 7, 7)
    one = survivors(bench, rng.uniform(1, 7, rng.poisson(2 * 4e-3 * 6 * 6000 * 100)))
    one = bench.Survivors(one.energy, one.grade, one.weight, 1e5, 6.0)
    factor, typical, worst = bench.shape_difference(one, spectrum, edges)
    assert factor == pytest.approx(2, rel=0.02)
    assert typical < 0.02
    assert abs(worst) < 0.05


def test_shape_that_differs_is_seen(bench, spectrum):
    """Half as much again in half of the bins."""
    edges = np.linspace(1, 7, 7)
    number = np.array([300, 200] * 3) * 100
    one = survivors(bench, np.repeat(edges[:-1] + 0.5, number))
    _, typical, worst = bench.shape_difference(one, spectrum, edges)
    assert typical == pytest.approx(0.2, abs=0.005)
    assert abs(worst) == pytest.approx(0.2)


def test_simulated_survivors_pass_grading(bench):
    from physml.background.core.grades import GOOD_GRADES

    made = bench.simulated("wfi", exposures=1, hits=300, seed=3)
    assert len(made.energy) > 3
    assert np.isin(made.grade, GOOD_GRADES).all()
    assert (made.energy <= 15).all()
    assert made.live_s == pytest.approx(300 / 110, rel=0.2)
    assert made.area_cm2 == pytest.approx(44.3, abs=0.1)


def test_table_of_spectra_divides_by_the_first_without_lines(bench, spectrum):
    one = survivors(bench, np.full(240, 5.0))  # 8e-3 in 2-7 keV
    text = bench.spectra_table({"real": spectrum}, {"ours": one})
    rows = {line.split(" | ")[0]: line.split(" | ") for line in text.splitlines()}
    assert rows["| real, measured (without lines)"][2] == "4.00 (4.00)"
    assert rows["| real, measured (without lines)"][3] == "10.67 (4.00) |"
    assert rows["| ours / real without lines"][2] == "2.00 +- 0.13"


def event_list(n=2000):
    """A source at (4000, 4000), and as many events 2 arcmin away; grades in turn."""
    rng = np.random.default_rng(1)
    x = np.where(np.arange(n) % 4 == 0, 4000 + 2 * 60 / 0.492, 4000.0)
    columns = {"X": x, "Y": np.full(n, 4000.0)}
    energy = rng.uniform(0.6, 12, n)
    grade = np.resize([0, 2, 3, 4, 6], n)
    return SimpleNamespace(name="toy", energy=energy, grade=grade, column=columns.get)


def test_distance_from_the_source(bench):
    distance = bench.from_source(event_list())
    np.testing.assert_allclose(distance[::4], 2.0)
    np.testing.assert_allclose(distance[1::4], 0.0)
    bare = event_list()
    bare.column = {}.get
    with pytest.raises(ValueError, match="no sky"):
        bench.from_source(bare)


def test_shares_of_grades(bench):
    grade = np.array([0, 0, 2, 6])
    np.testing.assert_allclose(bench.shares(grade), [0.5, 0.25, 0, 0, 0.25])
    weight = np.array([1.0, 1.0, 1.0, 5.0])
    np.testing.assert_allclose(bench.shares(grade, weight), [0.25, 0.125, 0, 0, 0.625])
    assert np.isnan(bench.shares(np.array([7]))).all()


def test_probabilities_by_grade_and_place(bench):
    """The tables show means of what is put in."""
    events = event_list()
    p = np.where(events.grade == 6, 0.9, 0.1)
    text = bench.probability_table(events.energy, events.grade, p)
    for line in text.splitlines()[2:]:
        assert line.count("0.10 (") == 4
        assert line.count("0.90 (") == 1
    distance = bench.from_source(events)
    p = np.where(distance > 1, 0.75, 0.25) + 0 * events.energy
    lines = bench.places_table(events.energy, distance, p).splitlines()[2:]
    for line in lines:
        cells = [c.strip() for c in line.strip("|").split("|")]
        assert cells[2] in ("0.250 +- 0.000", "-")
        assert cells[4] in ("0.750 +- 0.000", "-")
        assert (int(cells[3]) < 10) == (cells[4] == "-")


def test_errors_of_few_values(bench):
    assert bench.mean_and_error(np.array([1.0, 3.0])) == (2.0, 1.0)
    mean, error = bench.mean_and_error(np.array([2.0]))
    assert mean == 2.0
    assert np.isnan(error)
    assert bench.show(float("nan"), 0.1) == "-"


def write_frames(path, frames, chip="E09"):
    """Frames as the detector's program writes them: one text file of x, y, counts for each."""
    with tarfile.open(path, "w:gz") as archive:
        for number, pixels in enumerate(frames):
            text = "".join(f"{x}\t{y}\t{c}\r\n" for x, y, c in pixels).encode()
            for suffix, content in ((".txt", text), (".txt.dsc", b"not pixels")):
                info = tarfile.TarInfo(f"data/{chip}/RAW/ASCIIxyC/{chip}_{number:03d}{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


LINE = [(20 + k, 30, 60) for k in range(20)]
STEPS = [(60 + k, 80 + k, 60) for k in range(15)]  # corners only: the finder sees 15 dots
BLOB = [(150 + i, 150 + j, 500) for i in range(4) for j in range(4)]
CURL = [(200, 40, 50), (201, 40, 50), (201, 41, 50), (201, 42, 50), (202, 42, 50)]
SQUARE = [(100, 200, 30), (101, 200, 20), (100, 201, 20), (101, 201, 10)]
HOT = (5, 6, 900)


@pytest.fixture
def rows(bench, tmp_path):
    frames = [[HOT, *LINE], [HOT, *STEPS], [HOT, *BLOB], [HOT, *CURL, *SQUARE], [(9, 9, 7)]]
    write_frames(tmp_path / "frames.tar.gz", frames)
    return bench.read_timepix(tmp_path / "frames.tar.gz", "E09")


def test_frames_are_read_in_order(rows):
    assert rows.dtype == PIXEL
    assert list(np.unique(rows["frame"])) == [0, 1, 2, 3, 4]
    first = rows[rows["frame"] == 0]
    assert {(p["x"], p["y"], p["energy"]) for p in first} == {HOT, *LINE}
    assert len(rows) == 4 + 20 + 15 + 16 + 5 + 4 + 1


def test_hot_pixels_are_those_lit_in_most_frames(bench, rows):
    assert list(zip(*np.nonzero(bench.hot_pixels(rows)), strict=True)) == [(6, 5)]


def test_each_cluster_gets_its_kind(bench, rows):
    seen = bench.look(rows)
    assert seen.hot == 1
    kind = {int(c["frame"]): k for c, k in zip(seen.clusters, seen.kind, strict=True)}
    assert len(seen.clusters) == 6
    assert (kind[0], kind[1], kind[2]) == (bench.TRACK, bench.TRACK, bench.HEAVY)
    assert kind[4] == bench.DOT
    in_fourth = sorted(seen.kind[seen.clusters["frame"] == 3])
    assert in_fourth == sorted([bench.CURL, bench.DOT])
    # The diagonal is fifteen X-ray-like pieces for the finder, and whole where corners connect.
    assert len(seen.found) == 6 + 14
    assert seen.pieces == 15
    lengths = sorted(seen.tracks["length"])
    assert lengths == pytest.approx([20, 14 * np.sqrt(2) + 1], abs=1e-3)
    pixels = seen.frames.pixels
    for c, of in zip(seen.clusters, range(len(seen.clusters)), strict=True):
        assert (seen.cluster_of == of).sum() == c["n_pixels"]
        assert (pixels["frame"][seen.cluster_of == of] == c["frame"]).all()


def test_pixels_of_different_frames_do_not_connect(bench, tmp_path):
    write_frames(tmp_path / "f.tar.gz", [[(10, 10, 5)], [(10, 11, 5)], [(11, 11, 5)]])
    seen = bench.look(bench.read_timepix(tmp_path / "f.tar.gz", "E09"))
    assert len(seen.clusters) == 3
    assert seen.pieces == 0


def test_paths_are_slant(bench):
    """One pixel is a path straight through; 300 um of projection make 45 degrees."""
    c = np.zeros(2, CLUSTER)
    c["length"] = 1, 1 + 300 / 55
    np.testing.assert_allclose(bench.path_um(c), [300, 300 * np.sqrt(2)], rtol=1e-6)


def test_table_of_the_tracks(bench, rows):
    text = bench.timepix_table({"E09": bench.look(rows)})
    cells = dict(line.strip("| ").split(" | ") for line in text.splitlines()[2:])
    assert cells["frames of 60 s"] == "5"
    assert cells["of these, long tracks"] == "2"
    assert cells["of these, X-ray-like pieces of larger ones"] == "15"
    area = (256 * 55e-4) ** 2
    assert cells["long tracks /cm2/min"].startswith(f"{2 / 5 / area:.2f}")


def judged(n=50):
    events = {"P_BKG": np.linspace(0, 1, n), "FLAG": np.arange(n) % 2 * (1 << 30)}
    return SimpleNamespace(events=events, untrained=["pixels of 55 um"])


def test_what_the_network_says_is_counted(bench):
    from physml.background.results.event_rows import REJECTED

    result = judged()
    result.events["FLAG"] = np.arange(50) % 5 // 4 * REJECTED
    text = bench.judged_table({"E09": result})
    assert "| events of a valid shape | 50 |" in text
    assert "| P_BKG, 50 % of them below | 0.50 |" in text
    assert "| marked as rejected at 98 % | 20% |" in text


def test_figures_are_small_and_drawn(bench, rows, spectrum, tmp_path):
    from physml.evaluation.figures import save_figure

    events = event_list()
    sets = {
        "measured": (events.grade, None),
        "simulated": (events.grade, np.ones(len(events.grade))),
    }
    one = survivors(bench, np.random.default_rng(0).uniform(0.3, 10, 500))
    figures = {
        "acis": bench.acis_figure(
            {"a": spectrum}, {"b": one}, events, np.full(len(events.grade), 0.4), sets
        ),
        "timepix": bench.timepix_figure({"E09": bench.look(rows)}, {"E09": judged()}),
        "without": bench.timepix_figure({"E09": bench.look(rows)}, {}),
    }
    for name, figure in figures.items():
        path = save_figure(figure, tmp_path / f"{name}.png")
        assert 5_000 < path.stat().st_size < 250_000
    drawn = figures["timepix"].axes[3].patches[0].get_data()
    assert drawn.values.sum() == pytest.approx(1)


def test_nothing_to_look_at(bench, tmp_path, capsys):
    bench.main(["--data", str(tmp_path / "none")])
    assert "nothing to look at" in capsys.readouterr().out
