"""Small good files of every format that is read: where fuzzing starts from."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

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


@cache
def hdf5() -> dict[str, bytes]:
    """A shard, one without chunks, frames, and measurements."""
    import h5py

    from physml.io.shards import write_shard

    table = np.zeros(4, [("frame", "i8"), ("y", "i4"), ("x", "i4"), ("energy", "f4")])
    table["frame"], table["energy"] = np.arange(4), 1.0

    def plain(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["counts"] = _counts()
            file["index"] = np.arange(3)

    def shard(path: Path) -> None:
        write_shard(path, {"counts": _counts()}, tables={"t": table}, provenance=_record())

    return {
        "shard": _written("a.h5", shard),
        "plain": _written("a.h5", plain),
        "frames": _written(
            "a.h5",
            lambda p: write_shard(p, {"frames": _counts().astype("f4")}, provenance=_record()),
        ),
        "pixels": _written(
            "a.h5", lambda p: write_shard(p, {}, tables={"pixels": table}, provenance={})
        ),
        "records": _written("a.h5", lambda p: _save_records(p)),
    }


def _save_records(path: Path) -> None:
    from physml.tomography.data.records_file import save_records

    save_records(_measurements(), path)


def _measurements():
    from physml.tomography.data.records import records_from

    return records_from(json.loads(records()["pauli.json"]), "seed")


@cache
def fits() -> dict[str, bytes]:
    """An image with coordinates, a packed one, an event list, a cube, a table."""
    from astropy.io import fits
    from astropy.table import QTable
    from astropy.wcs import WCS

    from physml.io.catalogues import write_catalogue
    from physml.io.fits import write_image

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (10, 20), (3, 4), (-0.01, 0.01)
    image = _counts()[0]

    def as_bytes(*hdus) -> bytes:
        buffer = io.BytesIO()
        fits.HDUList(list(hdus)).writeto(buffer)
        return buffer.getvalue()

    n = 30
    columns = [
        fits.Column("TIME", "D", array=np.arange(n) * 1.0),
        fits.Column("ENERGY", "E", unit="keV", array=np.linspace(0.5, 8, n)),
        fits.Column("GRADE", "I", array=np.arange(n) % 7),
        fits.Column("NAME", "8A", array=np.array(["x"] * n)),
        fits.Column("V", "PE()", array=np.array([np.arange(k % 3) for k in range(n)], object)),
    ]
    events = fits.BinTableHDU.from_columns(columns, name="EVENTS")
    good = fits.BinTableHDU.from_columns(
        [fits.Column("START", "D", array=[0.0]), fits.Column("STOP", "D", array=[99.0])], name="GTI"
    )
    edges = [
        fits.Column(f"ENERG_{x}", "E", unit="keV", array=[k, k + 1])
        for k, x in enumerate(("LO", "HI"))
    ]
    share = fits.BinTableHDU.from_columns(
        [*edges, fits.Column("RETENTION", "E", array=[0.9, 0.8])], name="RETENTION"
    )
    profile = QTable({"radius": [1.0, 2.0], "pressure": [1e-10, 1e-11]})
    profile["radius"].unit, profile["pressure"].unit = "kpc", "erg / cm3"
    return {
        "image": _written("a.fits", lambda p: write_image(p, image, wcs=wcs, provenance=_record())),
        "tiles": as_bytes(fits.PrimaryHDU(), fits.CompImageHDU(image.astype("i2"))),
        "gzip_tiles": as_bytes(
            fits.PrimaryHDU(), fits.CompImageHDU(image.astype("f4"), compression_type="GZIP_2")
        ),
        "retention": as_bytes(fits.PrimaryHDU(), share),
        "events": as_bytes(fits.PrimaryHDU(), events, good),
        "cube": as_bytes(fits.PrimaryHDU(_counts().astype("i2"))),
        "tiles_cube": as_bytes(fits.PrimaryHDU(), fits.CompImageHDU(_counts().astype("i2"))),
        "table": _written("a.fits", lambda p: write_catalogue(p, QTable(profile), _record())),
    }


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
    found = {}
    for name, made in arrays().items():
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **made)
        found[name] = buffer.getvalue()
    return found


@cache
def safetensors() -> dict[str, bytes]:
    """Weights with metadata."""
    import torch

    from physml.io.weights import save_weights

    state = {"a.weight": torch.ones(3, 4), "b": torch.zeros(2, dtype=torch.int64)}
    made = {
        half: _written(
            "a.safetensors",
            lambda p, half=half: save_weights(
                p, state, {"provenance": _record(), "pipeline": "cavities"}, dtype=half
            ),
        )
        for half in ("float32", "float16")
    }
    return made


@cache
def settings() -> dict[str, bytes]:
    """Configurations of all pipelines."""
    found = {}
    for name in PIPELINES:
        for file in ("config.yaml", "smoke.yaml"):
            found[f"{name}/{file}"] = (ROOT / "pipelines" / name / file).read_bytes()
    return found


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
    pauli = {
        "format": "physml tomography records 1",
        "n_qubits": 2,
        "calibration": [[97, 1, 1, 1], [2, 95, 1, 2], [1, 1, 97, 1], [0, 1, 2, 97]],
        "measurements": [
            {"axes": "XZ", "counts": [25, 26, 24, 25], "time": 0.5, "id": "a"},
            {"axes": "ZZ", "counts": {"00": 50, "11": 50}},
            {
                "setting": {
                    "id": "b",
                    "shots": 10,
                    "basis": [
                        [[1, 0], [0, 0], [0, 0], [0, 0]],
                        [[0, 0], [1, 0], [0, 0], [0, 0]],
                        [[0, 0], [0, 0], [1, 0], [0, 0]],
                        [[0, 0], [0, 0], [0, 0], [1, 0]],
                    ],
                },
                "counts": [4, 3, 2, 1],
            },
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
    return {
        "pauli.json": json.dumps(pauli).encode(),
        "qiskit.json": json.dumps(
            {"XZ": {"00": 251, "01": 249}, "ZZ": {"00": 1, "11": 2}}
        ).encode(),
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

    def write(path: Path, design: str) -> None:
        readout = [[[0.98, 0.03], [0.02, 0.97]]]
        made = Tomographer(1, design, "linear", readout, session=path)
        for k in range(3):
            setting = made.next_measurement(20)
            made.update(setting, [12, 8 + k])
        made.next_measurement(20)

    return {design: _written("s.jsonl", lambda p, d=design: write(p, d)) for design in ("pauli",)}


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
    buffer = io.BytesIO()
    figure = Figure(figsize=(0.2, 0.2))
    figure.savefig(buffer, dpi=10, metadata={"provenance": provenance.dumps(_record())})
    return {
        "a.ecsv": _written("a.ecsv", lambda p: write_catalogue(p, table, _record())),
        "a.json": json.dumps({"x": 1, "provenance": _record()}).encode(),
        "a.png": buffer.getvalue(),
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
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return {"checkpoint.pt": buffer.getvalue()}
