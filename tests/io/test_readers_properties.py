"""For every damage to a file: the readers give the data or `InputError`, and nothing else."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.table import QTable
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from physml import provenance
from physml.exceptions import InputError
from physml.io.catalogues import read_catalogue, write_catalogue
from physml.io.describe import describe
from physml.io.fits import open_image, write_image
from physml.io.shards import Spec, read_shard, write_shard
from physml.io.weights import load_weights, save_weights

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(3, (5, 40, 40)).astype(np.uint32)
TABLE = np.zeros(4, [("x", "f4"), ("visible", "?")])
RECORD = provenance.record("test", {"seed": 1})
SPEC = {"counts": Spec("uint32", (None, 40, 40)), "t": Spec(TABLE.dtype)}


def _sky() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (10, 20), (3, 4), (-0.01, 0.01)
    return wcs


WRITE: dict[str, Callable[[Path], None]] = {
    "h5": lambda p: write_shard(p, {"counts": COUNTS}, tables={"t": TABLE}, provenance=RECORD),
    "fits": lambda p: write_image(p, COUNTS[0], wcs=_sky(), provenance=RECORD),
    "fits.gz": lambda p: write_image(p, COUNTS[0], wcs=_sky(), provenance=RECORD),
    "safetensors": lambda p: save_weights(p, {"a": torch.ones(30, 4)}, {"provenance": RECORD}),
    "ecsv": lambda p: write_catalogue(p, QTable({"x": [1.0, 2.0]}), RECORD),
}
READ: dict[str, Callable[[Path], object]] = {
    "h5": lambda p: read_shard(p, SPEC, max_bytes=1 << 26),
    "fits": open_image,
    "fits.gz": open_image,
    "safetensors": load_weights,
    "ecsv": read_catalogue,
}

changes = st.lists(
    st.tuples(
        # Most of what can go wrong is in the first kilobytes.
        st.floats(0, 1, exclude_max=True).map(lambda x: x**3),
        st.integers(0, 255),
    ),
    max_size=5,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("good")
    for kind, write in WRITE.items():
        write(folder / f"a.{kind}")
    return {kind: (folder / f"a.{kind}").read_bytes() for kind in WRITE}


@pytest.mark.parametrize("kind", WRITE)
@settings(deadline=None, max_examples=60)
@given(changes=changes, kept=st.just(1.0) | st.floats(0, 1))
def test_damage_is_an_input_error(good, kind: str, changes, kept: float) -> None:
    raw = bytearray(good[kind])
    for place, value in changes:
        raw[int(place * len(raw))] = value
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, on what they make of it
        path = Path(folder) / f"a.{kind}"
        path.write_bytes(raw[: int(kept * len(raw))])
        for reader in (READ[kind], describe):
            try:
                reader(path)
            except InputError as error:
                message = str(error)
                assert str(path) in message


@settings(deadline=None, max_examples=100)
@given(
    content=st.binary(max_size=300), head=st.sampled_from([b"", b"SIMPLE  =", b"\x1f\x8b", b"{"])
)
def test_any_bytes_at_all(content: bytes, head: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "a.ecsv"
        path.write_bytes(head + content)
        for kind in ("h5", "fits", "safetensors", "ecsv"):
            with contextlib.suppress(InputError):
                READ[kind](path)
        with contextlib.suppress(InputError):
            describe(path)


def test_undamaged_files_are_read(good, tmp_path: Path) -> None:
    for kind, content in good.items():
        path = tmp_path / f"a.{kind}"
        path.write_bytes(content)
        READ[kind](path)
        assert describe(path)["provenance"] == RECORD
