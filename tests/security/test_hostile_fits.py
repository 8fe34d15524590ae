"""FITS files that lie about their size, end early or unpack without end: refused, exit code 2."""

from __future__ import annotations

import bz2
import gzip
import io
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from physml.exceptions import InputError
from physml.io.fits import open_hdus, open_image

IMAGE = np.arange(20 * 30, dtype=np.float32).reshape(20, 30)


def as_bytes(*hdus) -> bytes:
    buffer = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(buffer)
    return buffer.getvalue()


def header(**cards) -> bytes:
    """A header block as it stands in a file, with no check at all."""
    lines = [f"{name:<8}= {value:>20}" for name, value in cards.items()]
    return ("".join(f"{line:<80}" for line in [*lines, "END"])).ljust(2880).encode("ascii")


GOOD = as_bytes(fits.PrimaryHDU(IMAGE))
NOISE = np.random.default_rng(0).integers(0, 1 << 14, (128, 128)).astype(np.int16)
TILES = as_bytes(fits.PrimaryHDU(), fits.CompImageHDU(NOISE, compression_type="GZIP_1"))


def refused(path: Path, content: bytes, match: str, **limits) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=match) as caught:
        open_image(path, **limits)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image.fits"


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD[: 2880 + IMAGE.nbytes],  # only the padding is missing
        gzip.compress(GOOD),
        GOOD + b"not an extension".ljust(2880),  # special records at the end are left alone
    ],
    ids=["whole", "unpadded", "gzip", "special records"],
)
def test_a_good_one_is_read(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    np.testing.assert_array_equal(open_image(path).data, IMAGE)


@pytest.mark.parametrize("kept", [2880 + 100, len(GOOD) - 2880, 2880 + IMAGE.nbytes - 1])
def test_truncated_data(path: Path, kept: int) -> None:
    refused(path, GOOD[:kept], "truncated or its header is wrong")


@pytest.mark.parametrize("kept", [80, 1000, 2879])
def test_truncated_header(path: Path, kept: int) -> None:
    refused(path, GOOD[:kept], "damaged|truncated")


@contextmanager
def little_memory() -> Iterator[None]:
    """The block takes less than 32 MB at its peak."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20


# The third would have 2^64 pixels.
@pytest.mark.parametrize("axes", [(1 << 20,) * 2, ((1 << 63) - 1, 2), (1 << 22,) * 3, (31, 200)])
def test_header_claims_more_than_the_file_has(path: Path, axes: tuple[int, ...]) -> None:
    cards = {f"NAXIS{k}": length for k, length in enumerate(axes, 1)}
    claim = header(SIMPLE="T", BITPIX=-32, NAXIS=len(axes), **cards)
    with little_memory():
        refused(path, claim + bytes(2880), "truncated or its header")


@pytest.mark.parametrize(
    "cards",
    [
        {"NAXIS1": -5},
        {"NAXIS2": None},
        {"NAXIS": "'two'", "NAXIS2": None},
        {"BITPIX": None},
        {"BITPIX": 7},
        {"PCOUNT": -100},
        {"GCOUNT": -1},
        {"NAXIS": 100000},
        {"NAXIS": 0, "NAXIS1": None, "NAXIS2": None},
        {"NAXIS1": 0},
    ],
)
def test_nonsense_in_the_header(path: Path, cards: dict) -> None:
    image = {"SIMPLE": "T", "BITPIX": -32, "NAXIS": 2, "NAXIS1": 5, "NAXIS2": 5} | cards
    there = {name: value for name, value in image.items() if value is not None}
    refused(path, header(**there) + bytes(2880), "expected")


def test_second_extension_lies(path: Path) -> None:
    lie = header(XTENSION="'IMAGE   '", BITPIX=8, NAXIS=2, NAXIS1=1 << 20, NAXIS2=1 << 20)
    refused(path, GOOD + lie, "extension 1")


def test_endless_extensions(path: Path) -> None:
    one = header(XTENSION="'IMAGE   '", BITPIX=8, NAXIS=0, PCOUNT=0, GCOUNT=1)
    refused(path, header(SIMPLE="T", BITPIX=8, NAXIS=0, EXTEND="T") + 1200 * one, "1000 extensions")


def test_gzip_bomb(path: Path) -> None:
    """A quarter of a megabyte that would unpack to 256 stops at the limit."""
    worker = zlib.compressobj(wbits=31)
    zeros = bytes(1 << 20)
    one = b"".join(worker.compress(zeros) for _ in range(256)) + worker.flush()
    for bomb in (one, gzip.compress(GOOD) + one, gzip.compress(GOOD) + 100 * gzip.compress(zeros)):
        path.write_bytes(bomb)
        with (
            little_memory(),
            pytest.raises(InputError, match="when unpacked, found more"),
            open_hdus(path, max_bytes=8 << 20),
        ):
            pass


def test_gzip_cut_short_or_damaged(path: Path) -> None:
    packed = gzip.compress(GOOD)
    refused(path, packed[: len(packed) // 2], "a complete gzip file")
    refused(path, packed[:20] + bytes(40) + packed[60:], r"damaged|truncated")
    refused(path, packed[:-8] + bytes(8), "damaged")  # wrong checksum


def test_other_packings_are_refused_by_name(path: Path) -> None:
    refused(path, bz2.compress(GOOD), "bzip2")
    refused(path, b"PK\x03\x04" + GOOD, "zip")
    refused(path, b"\xfd7zXZ\x00" + GOOD, "xz")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89HDF\r\n\x1a\n", b"\x89PNG\r\n", bytes(5000), b"SIMPLE = T"]
)
def test_not_fits(path: Path, content: bytes) -> None:
    refused(path, content, "a FITS file, found")


def test_no_file_and_folder(tmp_path: Path) -> None:
    for place, found in ((tmp_path / "none.fits", "no such file"), (tmp_path, "a folder")):
        with pytest.raises(InputError, match=found):
            open_image(place)


def test_more_pixels_than_allowed(path: Path) -> None:
    refused(path, GOOD, "at most 599 pixels, found 600", max_pixels=599)


def test_tile_compressed_image_with_hostile_size(path: Path) -> None:
    """A tile-compressed image is small in the file and may be anything once unpacked."""
    packed = as_bytes(fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((64, 64), np.int16)))
    path.write_bytes(packed)
    assert open_image(path).data.shape == (64, 64)
    old, new = f"ZNAXIS1 = {64:>20}".encode(), f"ZNAXIS1 = {1 << 40:>20}".encode()
    assert old in packed
    refused(path, packed.replace(old, new), "pixels")


def test_gzip_tiles_that_could_be_bombs(path: Path) -> None:
    path.write_bytes(TILES)
    np.testing.assert_array_equal(open_image(path).data, NOISE)
    refused(path, TILES, "gzip tiles", max_pixels=128 * 128)


def test_damaged_tiles(path: Path) -> None:
    refused(path, TILES[:9000] + bytes(10000) + TILES[19000:], "expected")


TABLE = as_bytes(
    fits.PrimaryHDU(),
    fits.BinTableHDU.from_columns(
        [
            fits.Column("X", "E", array=np.ones(3, np.float32)),
            fits.Column("Y", "E", unit="pix", array=np.ones(3, np.float32)),
        ],
        name="EVENTS",
    ),
)


@pytest.mark.parametrize(
    ("raw", "card", "instead", "match"),
    [
        (TABLE, b"TFIELDS ", b"TFIELD_ ", "without TFIELDS"),
        (TABLE, b"TTYPE2  = 'Y       '", b"TTYPE2  = Y         ", "TTYPE2"),
        (TABLE, b"TTYPE2  = 'Y       '", b"TTYPE2  =            3", "TTYPE2"),
        (TABLE, b"TUNIT2  = 'pix     '", b"TUNIT2  = pix 1 2 3 4", "TUNIT2"),
        (TILES, b"ZBITPIX ", b"ZBITPI_ ", "ZBITPIX"),
        (TILES, b"ZNAXIS1 ", b"ZNAXIS_ ", "ZNAXIS1"),
        (TILES, b"ZNAXIS  ", b"ZNAXI_  ", "ZNAXIS"),
    ],
)
def test_tables_without_what_makes_them_tables(
    path: Path, raw: bytes, card: bytes, instead: bytes, match: str
) -> None:
    assert raw.count(card) == 1
    path.write_bytes(raw.replace(card, instead.ljust(len(card))[: len(card)]))
    with pytest.raises(InputError, match=match), open_hdus(path):
        pass
