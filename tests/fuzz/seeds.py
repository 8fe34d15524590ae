"""Small good files of every format that is read: where fuzzing starts from."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
PIPELINES = ("cavities", "background", "tomography")


def _written(name: str, write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def _record() -> dict:
    from physml import provenance

    return provenance.record("test", {"seed": 1})


def _counts() -> np.ndarray:
    return np.random.default_rng(0).poisson(3, (3, 12, 12)).astype(np.uint32)


def wcs(at: tuple[float, float] = (3, 4)):
    """Coordinates of an image that looks at (10, 20) degrees at a pixel."""
    from astropy.wcs import WCS

    made = WCS(naxis=2)
    made.wcs.ctype = "RA---TAN", "DEC--TAN"
    made.wcs.crval, made.wcs.crpix, made.wcs.cdelt = (10, 20), at, (-0.01, 0.01)
    return made


@cache
def hdf5() -> dict[str, bytes]:
    """A shard, one without chunks, frames, and measurements."""
    import h5py

    from physml.io.shards import write_shard
    from physml.tomography.data.records import records_from
    from physml.tomography.data.records_file import save_records

    table = np.zeros(4, [("frame", "i8"), ("y", "i4"), ("x", "i4"), ("energy", "f4")])
    table["frame"], table["energy"] = np.arange(4), 1.0

    def plain(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["counts"] = _counts()
            file["index"] = np.arange(3)

    def shard(path: Path) -> None:
        write_shard(path, {"counts": _counts()}, tables={"t": table}, provenance=_record())

    def records_file(path: Path) -> None:
        save_records(records_from(json.loads(records()["pauli.json"]), "seed"), path)

    def frames(path: Path) -> None:
        write_shard(path, {"frames": _counts().astype("f4")}, provenance=_record())

    def pixels(path: Path) -> None:
        write_shard(path, {}, tables={"pixels": table}, provenance={})

    ways = {"shard": shard, "plain": plain, "frames": frames, "pixels": pixels}
    return {name: _written("a.h5", way) for name, way in (ways | {"records": records_file}).items()}


@cache
def fits() -> dict[str, bytes]:
    """An image with coordinates, a packed one, an event list, a cube, a table."""
    from astropy.io import fits
    from astropy.table import QTable

    from physml.io.catalogues import write_catalogue
    from physml.io.fits import write_image

    image = _counts()[0]

    def as_bytes(*hdus) -> bytes:
        every = fits.HDUList([fits.PrimaryHDU(), *hdus])
        return _written("a.fits", every.writeto)

    n = 30
    columns = [
        fits.Column("TIME", "D", array=np.arange(n) * 1.0),
        fits.Column("ENERGY", "E", unit="keV", array=np.linspace(0.5, 8, n)),
        fits.Column("GRADE", "I", array=np.arange(n) % 7),
        fits.Column("NAME", "8A", array=np.array(["x"] * n)),
        fits.Column("V", "PE()", array=np.array([np.arange(k % 3) for k in range(n)], object)),
    ]
    events = fits.BinTableHDU.from_columns(columns, name="EVENTS")
    times = [fits.Column(name, "D", array=[at]) for name, at in (("START", 0.0), ("STOP", 99.0))]
    good = fits.BinTableHDU.from_columns(times, name="GTI")
    bins = [
        fits.Column("ENERG_LO", "E", unit="keV", array=[0, 1]),
        fits.Column("ENERG_HI", "E", unit="keV", array=[1, 2]),
        fits.Column("RETENTION", "E", array=[0.9, 0.8]),
    ]
    share = fits.BinTableHDU.from_columns(bins, name="RETENTION")
    profile = QTable({"radius": [1.0, 2.0], "pressure": [1e-10, 1e-11]})
    profile["radius"].unit, profile["pressure"].unit = "kpc", "erg / cm3"
    return {
        "image": _written(
            "a.fits", lambda p: write_image(p, image, wcs=wcs(), provenance=_record())
        ),
        "tiles": as_bytes(fits.CompImageHDU(image.astype("i2"))),
        "gzip_tiles": as_bytes(fits.CompImageHDU(image.astype("f4"), compression_type="GZIP_2")),
        "retention": as_bytes(share),
        "events": as_bytes(events, good),
        "sky_events": as_bytes(*_sky_events()),
        "regions": as_bytes(_region_table()),
        "cube": _written("a.fits", fits.PrimaryHDU(_counts().astype("i2")).writeto),
        "tiles_cube": as_bytes(fits.CompImageHDU(_counts().astype("i2"))),
        "frames": as_bytes(*(fits.ImageHDU(frame) for frame in _counts().astype("i2"))),
        "pixels": as_bytes(_pixels(), good),
        "table": _written("a.fits", lambda p: write_catalogue(p, profile, _record())),
    }


def _pixels() -> Any:
    """Table of pixels, as SIXTE writes it before events are put together."""
    from astropy.io import fits

    n = 30
    columns = [
        fits.Column("TIME", "D", array=(np.arange(n) // 10 + 0.5) * 0.1),
        fits.Column("FRAME", "J", array=np.arange(n) // 10),
        fits.Column("SIGNAL", "E", unit="keV", array=np.linspace(0.1, 9, n)),
        fits.Column("RAWX", "I", array=np.arange(n) % 12),
        fits.Column("RAWY", "I", array=np.arange(n) % 9),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="EVENTS")
    table.header.update(TIMEDEL=0.1, TSTART=0.0, TSTOP=3.0, TLMIN4=0, TLMAX4=11)
    return table


def _sky_events() -> list[Any]:
    """Events with places on the sky, and good times of one chip."""
    from astropy.io import fits

    n = 40
    columns = [
        fits.Column("TIME", "D", array=np.arange(n) * 1.0),
        fits.Column("X", "J", array=4000 + np.arange(n)),
        fits.Column("Y", "I", bzero=32768, array=(4000 + np.arange(n)).astype("u2")),
        fits.Column("PI", "I", array=np.linspace(500, 7000, n)),
        fits.Column("CCDNR", "B", array=1 + np.arange(n) % 2),
        fits.Column("FLAG", "J", array=np.zeros(n)),
        fits.Column("STATUS", "16X", array=np.zeros((n, 16), bool)),
    ]
    events = fits.BinTableHDU.from_columns(columns, name="EVENTS")
    events.header.update(TELESCOP="XMM", INSTRUME="EMOS1", RADECSYS="FK5", EQUINOX=2000.0)
    for number, name in ((2, "RA---TAN"), (3, "DEC--TAN")):
        cards = {"TCTYP": name, "TCRVL": 20.0, "TCRPX": 4020.0, "TCDLT": 1e-4 * (2 * number - 5)}
        events.header.update({f"{card}{number}": value for card, value in cards.items()})
    times = [fits.Column("START", "D", array=[0.0]), fits.Column("STOP", "D", array=[30.0])]
    return [events, fits.BinTableHDU.from_columns(times, name="STDGTI01")]


def _region_table() -> Any:
    """Regions as CIAO writes them."""
    from astropy.io import fits

    columns = [
        fits.Column("SHAPE", "8A", array=["circle", "!Ellipse", "pie"]),
        fits.Column("X", "D", array=[5.0, 6.0, 3.0]),
        fits.Column("Y", "D", array=[6.0, 6.0, 3.0]),
        fits.Column("R", "2D", array=[[3, 0], [2, 1], [0, 2]]),
        fits.Column("ROTANG", "2D", array=[[0, 0], [30, 0], [0, 90]]),
        fits.Column("COMPONENT", "J", array=[1, 1, 2]),
    ]
    return fits.BinTableHDU.from_columns(columns, name="REGION")


@cache
def arrays() -> dict[str, dict[str, np.ndarray]]:
    """What the archives of the Geant4 set hold."""
    n = 6
    place = {name: np.arange(n, dtype="i2") for name in ("y", "x")}
    source, energy = np.repeat([0, 1, 2], 2).astype("i4"), np.linspace(1, 9, n).astype("f4")
    half = {name: energy.astype("f2") / 4 for name in ("keV_primary", "keV_born_outside")}
    incident = {"eprim_MeV": np.ones(3, "f4"), "exposure_s": np.array(2.5)}
    return {
        "particles": {**incident, "prim": source, **place, "keV": energy, **half},
        "photons": {"e_kev": np.ones(3, "f4"), "photon": source, **place, "kev": energy},
    }


@cache
def archives() -> dict[str, bytes]:
    """The same, as they are packed."""
    return {
        name: _written("a.npz", lambda p, made=made: np.savez_compressed(p, **made))
        for name, made in arrays().items()
    }


@cache
def safetensors() -> dict[str, bytes]:
    """Weights with metadata."""
    import torch

    from physml.io.weights import save_weights

    state = {"a.weight": torch.ones(3, 4), "b": torch.zeros(2, dtype=torch.int64)}
    metadata = {"provenance": _record(), "pipeline": "cavities"}
    return {
        half: _written(
            "a.safetensors", lambda p, half=half: save_weights(p, state, metadata, dtype=half)
        )
        for half in ("float32", "float16")
    }


@cache
def settings() -> dict[str, bytes]:
    """Configurations of all pipelines."""
    files = [f"{name}/{file}" for name in PIPELINES for file in ("config.yaml", "smoke.yaml")]
    return {file: (ROOT / "pipelines" / file).read_bytes() for file in files}


@cache
def regions() -> dict[str, bytes]:
    """Region files as programs of the field write them."""
    sky = """# Region file format: DS9
global color=green dashlist=8 3 width=1 font="helvetica 10 normal roman" select=1
fk5
circle(0:40:00.1,+20:00:00.5,12.5") # color=red text={a b} tag={x}
ellipse(10.01,20.01,20",10",30)
polygon(10.01,20.01,10.02,20.01,10.02,20.02)
box(10.0,20.0,30",15",45); annulus(10.01,20.01,3",6")
"""
    pixel = """image
circle(6,6,3)
ellipse(5,5,4,2,30)
box(3,3,2,2,0)
polygon(1,1,5,1,5,5,1,5)
"""
    ciao = "# Region file format: CIAO version 1.0\ncircle(6,6,3)\nrotbox(5,5,3,2,10)\n"
    texts = {"sky": sky, "pixel": pixel, "ciao": ciao}
    return {name: text.encode() for name, text in texts.items()}


@cache
def records() -> dict[str, bytes]:
    """Measurements in every form of text."""
    # Complex numbers as pairs.
    basis = [[[int(row == column), 0] for column in range(4)] for row in range(4)]
    pauli = {
        "format": "physml tomography records 1",
        "n_qubits": 2,
        "calibration": [[97, 1, 1, 1], [2, 95, 1, 2], [1, 1, 97, 1], [0, 1, 2, 97]],
        "measurements": [
            {"axes": "XZ", "counts": [25, 26, 24, 25], "time": 0.5, "id": "a"},
            {"axes": "ZZ", "counts": {"00": 50, "11": 50}},
            {"setting": {"id": "b", "shots": 10, "basis": basis}, "counts": [4, 3, 2, 1]},
        ],
    }
    photonic = {
        "n_qubits": 1,
        "n_detectors_per_qubit": 1,
        "measurement_states": {"H": [1, 0], "V": [0, 1]},
        "data": [{"basis": ["H"], "counts": [10]}, {"basis": ["V"], "counts": [20]}],
        "relative_efficiency": [1, 1],
    }
    rows = ["5,100,10,1,0", "5,100,20,0,1", "5,100,12,0.7071,0.7071", "5,100,18,0.7071,-0.7071"]
    matlab = "tomo_input = [" + ";\n".join(f"[{row}]" for row in rows) + "]\nintensity=[1,1,1,1]\n"
    experiment = [
        {"counts": {"000": 5, "101": 4}, "metadata": {"m_idx": [0, 1], "clbits": [0, 2]}},
        {"counts": {"0x3": 5.0, "0x1": 4}, "metadata": {"m_idx": [2, 1]}, "shots": 12},
    ]
    backend = {
        "results": [{"data": {"counts": {"0x1": 5, "0x2": 4}}, "header": {"name": "XZ"}}],
    }
    state = [[[0.5, 0], [0, -0.5]], [[0, 0.5], [0.5, 0]]]
    elements = ["0,0,0.5,0", "0,1,0,-0.5", "1,0,0,0.5", "1,1,0.5,0"]
    return {
        "experiment.json": json.dumps(experiment).encode(),
        "backend.json": json.dumps(backend).encode(),
        "registers.json": b'{"xx": {"0 1": 25.0, "1 0": 24}, "YX": ["00", "10", "11"]}',
        "state.json": json.dumps({"density_matrix": state}).encode(),
        "state.csv": "\n".join(["row,column,real,imaginary", *elements]).encode(),
        "matrix.csv": b"0.5,-0.5j\n0.5j,0.5\n",
        "gst.txt": b"## Columns = 00 count, 01 count\n[Gxpi2:0Gh:1]@(0,1) 7 3\n(Gx:0)^2 5 5\n",
        "gst_outcomes.txt": b"## Outcomes = 0, 1\n{} 0:7 1:3\nGx 0:3\n",
        "shots.csv": b"sep=;\nshot;basis;q1;q0\n1;XX;0;1\n2;XZ;1;1\n",
        "numbers.csv": b"axes shots 0 1 2 3\nXX 20 5 6 7 2\n",
        "pauli.json": json.dumps(pauli).encode(),
        "qiskit.json": b'{"XZ": {"00": 251, "01": 249}, "ZZ": {"00": 1, "11": 2}}',
        "photonic.json": json.dumps(photonic).encode(),
        "photonic.txt": "\n".join(rows).encode(),
        "photonic.m": matlab.encode(),
        "wide.csv": b"id,axes,00,01,10,11,time\na,XX,251,262,244,243,0\nb,ZZ,5,6,7,8,1.5\n",
        "long.csv": b"# comment\naxes;outcome;counts\nX;0;25\nX;1;30\nZ;0;1\nZ;1;2\n",
    }


@cache
def sessions() -> dict[str, bytes]:
    """A session with settings, answers and a readout."""
    from physml.tomography import Tomographer

    def write(path: Path) -> None:
        readout = [[[0.98, 0.03], [0.02, 0.97]]]
        made = Tomographer(1, "pauli", "linear", readout, session=path)
        for k in range(3):
            made.update(made.next_measurement(20), [12, 8 + k])
        made.next_measurement(20)

    return {"pauli": _written("s.jsonl", write)}


@cache
def texts() -> dict[str, bytes]:
    """Tables, run records in JSON and PNG, an answer of a laboratory, a training state."""
    import matplotlib

    matplotlib.use("agg")
    from astropy.table import QTable
    from matplotlib.figure import Figure

    from physml import provenance
    from physml.io.catalogues import write_catalogue

    table = QTable({"radius": [1.0, 2.0], "pressure": [1e-10, 1e-11], "name": ["a", "b"]})
    table["radius"].unit, table["pressure"].unit = "kpc", "erg / cm3"
    figure, metadata = Figure(figsize=(0.2, 0.2)), {"provenance": provenance.dumps(_record())}
    return {
        "a.ecsv": _written("a.ecsv", lambda p: write_catalogue(p, table, _record())),
        "a.json": json.dumps({"x": 1, "provenance": _record()}).encode(),
        "a.png": _written("a.png", lambda p: figure.savefig(p, dpi=10, metadata=metadata)),
        "manifest.csv": (ROOT / "data" / "manifest.csv").read_bytes()[:3000].rpartition(b"\n")[0],
        "answer": json.dumps({"id": "a", "counts": [1, 2], "time": 1.0}).encode(),
    }


@cache
def states() -> dict[str, bytes]:
    """A training state, as torch writes it."""
    import torch

    content = {
        "identity": {"seed": "1"},
        "model": {"w": torch.ones(2, 2)},
        "progress": {"history": [{"loss": 1.0}], "best_weights": {}},
    }
    return {"checkpoint.pt": _written("checkpoint.pt", lambda p: torch.save(content, p))}
