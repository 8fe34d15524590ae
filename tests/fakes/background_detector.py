"""A detector without a network, and frames with known content, for the tests of prediction.

`RuleDetector` follows one rule: an event is background the more, the nearer it lies to a track.
So tests know what has to come out, whatever weights are shipped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from physml.background.core.detectors import DetectorSettings
from physml.background.core.events import find_events, nearest_particle
from physml.background.core.frames import EXPOSURE, PIXEL
from physml.background.inference.cuts import Thresholds
from physml.background.inference.detector import Classified
from physml.background.inference.event_level import EventLevel
from physml.background.inference.housing import Housing
from physml.background.inference.inputs import particle_rate

CAMERA = DetectorSettings(name="toy", ny=128, nx=96)
RETENTIONS = (0.8, 0.9, 0.98, 0.99)
#: P(background) above which the rule rejects at each retention.
CUTS = (0.2, 0.4, 0.6, 0.8)


def logit(p):
    return np.log(p / (1 - np.asarray(p, float)))


def thresholds():
    energy_edges, rate_edges = np.array([0.2, 2.0, 7.0, 15.0]), np.array([0.1, 1.0, 10.0])
    cut = np.broadcast_to(logit(CUTS)[:, None, None], (4, 3, 2)).copy()
    measured = np.broadcast_to(np.array(RETENTIONS)[:, None, None], (4, 3, 2)).copy()
    measured[:, 1, :] -= 0.002
    measured[:, :, 1] -= 0.001
    return Thresholds(
        retention=np.array(RETENTIONS),
        energy_edges=energy_edges,
        rate_edges=rate_edges,
        energy=np.sqrt(energy_edges[1:] * energy_edges[:-1]),
        rate=np.sqrt(rate_edges[1:] * rate_edges[:-1]),
        cut=cut,
        spectrum=np.ones(3),
        measured=measured,
        error=np.full((4, 3, 2), 5e-4),
    )


def event_level():
    """Grade 0 is an X-ray twice as likely as background; other grades are told by their number."""
    energy = np.geomspace(0.2, 15, 24)
    asca = np.broadcast_to(np.linspace(-0.7, 1.5, 8), (24, 8)).copy()
    asca += np.log(energy / 2)[:, None] * 0.2
    return EventLevel(energy, asca, np.zeros((24, 14)))


@dataclass
class RuleDetector:
    """P(background) = exp(-distance to the nearest track / 40 pixels); 0.05 without one."""

    card: dict = field(
        default_factory=lambda: {
            "version": "rule",
            "sha256": "ab" * 32,
            "provenance": {
                "settings": {
                    "simulate": {"detector": "wfi", "conditions": {"frame_time": [0.4, 4.0]}}
                }
            },
        }
    )
    calls: int = 0

    def __post_init__(self):
        self.thresholds = thresholds()
        self.event_level = event_level()

    @property
    def retentions(self):
        return RETENTIONS[0], RETENTIONS[-1]

    standoff = 10.0

    @property
    def standoffs(self):
        return np.array([self.standoff])

    def at(self, standoff):
        return self

    def settled(self, parts, *, standoff=None, enough=None):
        return self, Housing(self.standoffs, np.zeros(1), 0)

    def threshold(self, energy, retention, band=None, rate=None):
        return 1 / (1 + np.exp(-self.thresholds.logit(energy, retention, band, rate)))

    def classify(self, frames, found=None, *, batch=0, context=True, rate=None):
        self.calls += 1
        found = find_events(frames) if found is None else found
        rate = particle_rate(found, frames) if rate is None else rate
        rates = np.atleast_1d(rate)
        distance, _ = nearest_particle(found, frames)
        near = np.isfinite(distance)
        p = np.where(near, np.clip(np.exp(-distance / 40), 0.001, 0.999), 0.05)
        n = len(frames)
        has = np.zeros(n, bool)
        has[frames.position(found.clusters["frame"][found.clusters["particle"]])] = True
        p_frame = np.stack([~has * 1.0, has * 0.25, has * 0.75], axis=1)
        of_event = frames.frame_exposure[frames.position(found.events["frame"])]
        return Classified(
            found,
            p,
            p_frame,
            np.where(near, distance, np.nan),
            np.zeros(len(found.clusters)),
            np.broadcast_to(rates, max(len(rates), 1))[of_event],
        )

    def classify_events(self, energy, grade, convention="asca"):
        return self.event_level.probability(energy, grade, convention)


@dataclass
class Scene:
    """Frames and what is in them."""

    images: np.ndarray
    photons: np.ndarray
    """Rows (frame, y, x, energy) of single-pixel photons."""
    tracks: np.ndarray
    """Rows (frame, y, x0): eight pixels of 20 keV each along x."""

    @property
    def pixels(self):
        frame, y, x = np.nonzero(self.images > 0)
        rows = np.empty(len(frame), PIXEL)
        rows["frame"], rows["y"], rows["x"] = frame, y, x
        rows["energy"] = self.images[frame, y, x]
        return rows


def scene(n=60, camera=CAMERA, photons=3.0, tracks=0.5, seed=1):
    """Photons and tracks that keep apart from each other and from the border.

    Each sits in a cell of 16 x 16 pixels of its own, so that a test can count on all of them.
    """
    rng = np.random.default_rng(seed)
    ny, nx = camera.ny, camera.nx
    cells = [(y, x) for y in range(8, ny - 8, 16) for x in range(8, nx - 8, 16)]
    images = np.zeros((n, ny, nx), np.float32)
    seen, lines = [], []
    for frame in range(n):
        order = rng.permutation(len(cells))
        k = min(rng.poisson(photons), len(cells) // 2)
        m = min(rng.poisson(tracks), len(cells) // 2)
        for cell in order[:k]:
            y, x = cells[cell]
            energy = rng.uniform(0.3, 9.7)
            images[frame, y, x] = energy
            seen.append((frame, y, x, energy))
        for cell in order[k : k + m]:
            y, x = cells[cell]
            images[frame, y, x - 4 : x + 4] = rng.uniform(15, 25, 8)
            lines.append((frame, y, x - 4))
    return Scene(images, np.array(seen).reshape(-1, 4), np.array(lines).reshape(-1, 3))


def exposure_table(n, camera=CAMERA, first=0, frame_time=5e-3, **more):
    """One row of EXPOSURE."""
    row = np.zeros(1, EXPOSURE)
    row["first_frame"], row["n_frames"], row["frame_time"] = first, n, frame_time
    row["ny"], row["nx"], row["pixel_um"] = camera.ny, camera.nx, camera.pixel_um
    row["thickness_um"], row["enc"], row["threshold"] = camera.thickness_um, 3.0, 0.05
    row["live_s"] = n * frame_time
    for name, value in more.items():
        row[name] = value
    return row


def register(monkeypatch):
    """Make `physml background` known, where the package was installed before it was."""
    from importlib.metadata import EntryPoint

    from physml import pipeline

    if "background" not in pipeline.pipeline_names():
        known = dict(pipeline._entries())
        known["background"] = EntryPoint("background", "physml.background:pipeline", pipeline.GROUP)
        monkeypatch.setattr(pipeline, "_entries", lambda: known)


def quick_figure(monkeypatch):
    """Draw next to nothing: for tests that are not about the picture."""
    from matplotlib.figure import Figure

    from physml.background.results import products

    monkeypatch.setattr(products, "plot_overview", lambda result: Figure(figsize=(1, 1)))


def write_sparse(path, pixels, exposures=None, **arrays):
    """Sparse HDF5 file as users may hand in."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("pixels", data=pixels)
        if exposures is not None:
            file["exposures"] = exposures
        for name, values in arrays.items():
            file[name] = values
    return path


def write_dense(path, images, exposures=None, **arrays):
    """Dense HDF5 file as users may hand in."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=images, chunks=(1, *images.shape[1:]), compression=1)
        if exposures is not None:
            file["exposures"] = exposures
        for name, values in arrays.items():
            file[name] = values
    return path


def write_cube(path, images, **cards):
    """FITS cube (frame, y, x)."""
    from astropy.io import fits

    hdu = fits.PrimaryHDU(images)
    for name, value in cards.items():
        hdu.header[name] = value
    hdu.writeto(path, overwrite=True)
    return path


def event_table(n=200, seed=2, unit="eV", **columns):
    """An ACIS-like event list as a FITS extension."""
    from astropy.io import fits
    from astropy.table import Table

    rng = np.random.default_rng(seed)
    given = {
        "time": np.sort(1000 + 0.441 * rng.integers(0, 5 * n, n)),
        "x": rng.uniform(3900, 4300, n).astype("f4"),
        "y": rng.uniform(3900, 4300, n).astype("f4"),
        "energy": (1000 * np.exp(rng.uniform(np.log(0.3), np.log(10), n))).astype("f4"),
        "pi": rng.integers(20, 700, n).astype("i4"),
        "grade": rng.choice([0, 2, 3, 4, 6], n).astype("i2"),
    } | columns
    table = Table({k: v for k, v in given.items() if v is not None})
    for name, of in (("time", "s"), ("energy", unit), ("x", "pixel"), ("y", "pixel")):
        if name in table.colnames and of is not None:
            table[name].unit = of
    hdu = fits.table_to_hdu(table)
    hdu.name = "EVENTS"
    hdu.header["TELESCOP"], hdu.header["INSTRUME"] = "CHANDRA", "ACIS"
    hdu.header["TIMEDEL"], hdu.header["TSTART"], hdu.header["MJDREF"] = 0.441, 999.0, 50814.0
    hdu.header["OBJECT"] = "M82"
    return hdu


def write_events(path, hdu, gti=((999.0, 2000.0),), header=()):
    """Event list with its good time."""
    from astropy.io import fits

    for name, value in header:
        hdu.header[name] = value
    hdus = fits.HDUList([fits.PrimaryHDU(), hdu])
    if gti is not None:
        start, stop = np.array(gti, float).T
        hdus.append(
            fits.BinTableHDU.from_columns(
                [
                    fits.Column("START", "D", unit="s", array=start),
                    fits.Column("STOP", "D", unit="s", array=stop),
                ],
                name="GTI",
            )
        )
    hdus.writeto(path, overwrite=True, checksum=True)
    return path
