"""The Geant4 set: energies that cosmic rays and photons left in a slab, assembled into frames.

It is the test set. Nothing is tuned on it; the simulator of this package does not know it.

Geant4 gives true energies in pixels for one primary or photon at a time. Frames at the natural
rate are made by giving each primary a time of arrival, adding photons, and reading out with the
detector's fluctuations, noise and threshold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from physml.exceptions import InputError
from physml.io.archives import read_npz
from physml.random import stream

from ..core.arrays import Floats, Ints, Rows, spans
from ..core.detectors import load_detector
from ..core.frames import ORIGINS, PARTICLE, PHOTON, PROTON, Frames, exposure_row
from .charge import Charge, Readout, merge

#: Of the far-shield set: potential that fits its spectrum (GV), stand-off and housing in mm.
PHI, STANDOFF, SHIELD = 0.40, 14.775, 20.0
_PARTICLES, _PHOTONS = "far_shield.npz", "xray.npz"
_SHAPE = (512, 512)


@dataclass(frozen=True)
class Deposited:
    """True energies by primary or photon.

    Attributes
    ----------
    source : ndarray of int64, shape (n,)
        Number of the primary or photon, not falling.
    y, x : ndarray of int64
    energy : ndarray, shape (n, 4)
        By `ORIGINS`, keV.
    incident : ndarray, shape (n_sources,)
        Energy of each primary in MeV, of each photon in keV.
    exposure : float
        Time in which the primaries came, s; nan for photons.
    """

    source: Ints
    y: Ints
    x: Ints
    energy: Floats
    incident: Floats
    exposure: float

    def __len__(self) -> int:
        """Number of primaries or photons."""
        return len(self.incident)

    def first(self, number: int) -> Deposited:
        """Keep the first of the sources; the exposure shrinks with their number."""
        n = min(number, len(self))
        rows = self.source < n
        columns = {name: getattr(self, name)[rows] for name in ("source", "y", "x", "energy")}
        seconds = self.exposure * n / len(self)
        return replace(self, **columns, incident=self.incident[:n], exposure=seconds)

    def centres(self) -> tuple[Floats, Floats]:
        """Means of the pixels of each source, weighted with energy: x, y."""
        total = self.energy.sum(1)
        n = len(self)
        weight = np.maximum(np.bincount(self.source, total, n), 1e-30)
        x = np.bincount(self.source, total * self.x, n) / weight
        y = np.bincount(self.source, total * self.y, n) / weight
        return x, y


def _load(path: Path, own: str, of_sources: str, more: tuple[str, ...]) -> dict[str, Rows]:
    """Read columns of pixels (`own` numbers their source) and one of sources."""
    energies = {name: ("f", 0 if name.endswith("_s") else 1) for name in (*more, of_sources)}
    found = read_npz(path, {**dict.fromkeys((own, "y", "x"), ("iu", 1)), **energies})
    columns = [n for n in found if found[n].ndim and n != of_sources]
    lengths = {name: len(found[name]) for name in columns}
    if len(set(lengths.values())) > 1:
        raise InputError.expected(path, "columns of one length", f"{lengths}")
    limits = {own: len(found[of_sources]), "y": _SHAPE[0], "x": _SHAPE[1]}
    for name, limit in limits.items():
        values = found[name]
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < limit:
            raise InputError.expected(
                path,
                f"numbers from 0 to {limit - 1} in {name!r}",
                f"{values.min()}, {values.max()}",
            )
    return found


def _deposited(
    columns: dict[str, Rows], own: str, energy: Floats, incident: str, exposure: float
) -> Deposited:
    """Columns of a file in order of their sources."""
    source = columns[own].astype(np.int64)
    order = np.argsort(source, kind="stable")
    return Deposited(
        source[order],
        columns["y"][order].astype(np.int64),
        columns["x"][order].astype(np.int64),
        energy[order],
        columns[incident].astype(np.float64),
        exposure,
    )


def read_particles(folder: str | PathLike[str]) -> Deposited:
    """Energies that primaries left.

    Parameters
    ----------
    folder : path
        Holds ``far_shield.npz``.

    Raises
    ------
    InputError
        No such file, or not what it should be.
    """
    path = Path(folder) / _PARTICLES
    more = ("keV", "keV_primary", "keV_born_outside", "exposure_s")
    a = _load(path, "prim", "eprim_MeV", more)
    if not a["exposure_s"] > 0:
        raise InputError.expected(path, "a positive time as 'exposure_s'", f"{a['exposure_s']}")
    total = a["keV"].astype(np.float64)
    # Stored in half precision: rounding must not leave negative energies.
    primary = np.minimum(a["keV_primary"].astype(np.float64), total)
    outside = np.minimum(a["keV_born_outside"].astype(np.float64), total - primary)
    inside = total - primary - outside
    inside[inside < 2e-3 * total] = 0.0
    energy = np.stack([primary, outside, inside, np.zeros_like(total)], 1)
    return _deposited(a, "prim", energy, "eprim_MeV", float(a["exposure_s"]))


def read_photons(folder: str | PathLike[str]) -> Deposited:
    """Energies that X-rays left; see `read_particles` (``xray.npz``)."""
    a = _load(Path(folder) / _PHOTONS, "photon", "e_kev", ("kev",))
    energy = np.zeros((len(a["kev"]), len(ORIGINS)))
    energy[:, ORIGINS.index("photon")] = a["kev"]
    return _deposited(a, "photon", energy, "e_kev", float("nan"))


def assemble(
    particles: Deposited,
    photons: Deposited | None,
    *,
    seed: int = 0,
    frame_time: float | None = None,
    photon_rate: float = 0.3,
    seconds: float | None = None,
) -> Frames:
    """Put primaries and photons into frames at the natural rate.

    Parameters
    ----------
    particles, photons : Deposited
    seed : int
        Of times, photons and noise.
    frame_time : float, optional
        s; the detector's own by default.
    photon_rate : float
        X-rays a frame.
    seconds : float, optional
        Length of the exposure, of the first primaries; all of it by default.

    Returns
    -------
    Frames
        With truth; all frames, weight 1.
    """
    d = load_detector("wfi")
    time = frame_time or d.frame_time
    if seconds is not None:
        if not 0 < seconds <= particles.exposure:
            raise InputError.expected("seconds=", f"at most {particles.exposure:g}", f"{seconds:g}")
        particles = particles.first(round(len(particles) * seconds / particles.exposure))
    rng = stream(seed, "test", 0)
    n_frames = max(int(particles.exposure / time), 1)
    frame_p = rng.integers(0, n_frames, len(particles))
    n_photons = int(rng.poisson(photon_rate * n_frames)) if photons is not None else 0
    frame_x = np.sort(rng.integers(0, n_frames, n_photons))
    pieces = [_charge(particles, np.arange(len(particles)), frame_p, 0)]
    table = np.zeros(n_photons, PHOTON)
    if photons is not None:
        chosen = _choose(len(photons), n_photons, rng)
        pieces.append(_charge(photons, chosen, frame_x, len(particles)))
        x, y = photons.centres()
        table["frame"], table["energy"] = frame_x, photons.incident[chosen]
        table["x"], table["y"], table["detected"] = x[chosen], y[chosen], True
    readout = Readout.perfect(d)
    charge = readout.fluctuate(merge(Charge.join(pieces), d.ny * d.nx), rng)
    pixels = readout.read(charge, np.arange(n_frames), rng)
    by_photon = pixels["source"] >= len(particles)
    pixels["source"][by_photon] = -2 - (pixels["source"][by_photon] - len(particles))
    return Frames(
        pixels=pixels,
        shape=_SHAPE,
        index=np.arange(n_frames),
        weight=np.ones(n_frames, np.float32),
        frame_time=time,
        particles=_table(particles, frame_p),
        photons=table,
        exposures=exposure_row(
            d.model_copy(update={"frame_time": time}),
            n_frames,
            phi=PHI,
            standoff=STANDOFF,
            shield_mm=SHIELD,
            gain=1.0,
            photon_rate=photon_rate,
        ),
    )


def _choose(available: int, wanted: int, rng: np.random.Generator) -> Ints:
    """Take different ones as long as there are enough."""
    return rng.choice(available, wanted, replace=wanted > available)


def _charge(deposited: Deposited, chosen: Ints, frame: Ints, first: int) -> Charge:
    """Pixels of chosen sources, the k-th of which comes in the k-th of the frames."""
    d = deposited
    begin = np.searchsorted(d.source, np.arange(len(d) + 1))
    which, row = spans(begin[chosen], np.diff(begin)[chosen])
    return Charge(
        frame[which],
        d.y[row] * _SHAPE[1] + d.x[row],
        d.energy[row],
        which + first,
        np.zeros(len(row)),
    )


def _table(particles: Deposited, frame: Ints) -> Rows:
    table = np.zeros(len(particles), PARTICLE)
    table["frame"], table["kind"], table["energy"] = frame, PROTON, particles.incident
    own = np.bincount(particles.source, particles.energy[:, 0], len(particles))
    table["hit"] = own > 0
    table["x"], table["y"] = particles.centres()
    return table
