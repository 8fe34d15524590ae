"""What fuzzing found, as small as it could be made: each was once no refusal."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from fuzz import seeds
from fuzz.targets import check

from physml import datasets
from physml.background.data.frames import open_source
from physml.background.results.products import corrected_area
from physml.background.simulator.geant4 import read_particles, read_photons
from physml.cavities.data.gas_profile import read_profile
from physml.cavities.data.masks import read_mask
from physml.exceptions import InputError
from physml.io.archives import read_npz
from physml.io.describe import describe
from physml.io.fits import open_image


def cube(bitpix: int) -> bytes:
    """FITS cube of 3 frames of 12 x 12, with as much behind its header as it could ask for."""
    cards = ["SIMPLE  = T", f"BITPIX  = {bitpix}", "NAXIS   = 3"]
    cards += ["NAXIS1  = 12", "NAXIS2  = 12", "NAXIS3  = 3", "END"]
    return "".join(card.ljust(80) for card in cards).ljust(2880).encode() + bytes(2880)


def forged(raw: bytes, keyword: str, value: int, by: int) -> bytes:
    """FITS whose card says another number."""
    card, other = (f"{keyword:<8}= {n:>20}".encode() for n in (value, by))
    assert card in raw
    return raw.replace(card, other)


def packed(*shape: int) -> bytes:
    """Tile-compressed FITS array of zeros."""
    buffer = io.BytesIO()
    tiles = fits.CompImageHDU(np.zeros(shape, "i2"), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), tiles]).writeto(buffer)
    return buffer.getvalue()


def tiles(frames: int) -> bytes:
    """Tile-compressed FITS cube of three frames that claims another number of them."""
    return forged(packed(3, 12, 12), "ZNAXIS3", 3, frames)


def columns(number: int) -> bytes:
    """FITS table that claims a number of columns."""
    return forged(seeds.fits()["retention"], "TFIELDS", 3, number)


FINDINGS: dict[str, tuple[str, bytes]] = {
    # A circle round nowhere: NumPy could make no pixel of it.
    "a region at NaN": ("regions", b"image\ncircle(nan,6,3)"),
    "a polygon at infinity": ("regions", b"image\npolygon(1,1,1e400,1,5,5)"),
    "a radius beyond all pixels": ("regions", b"image\ncircle(6,6,1e300)"),
    # The image's projection shows half the sky, and this is on the other half.
    "an ellipse behind the sky": ("regions", b'galactic\nellipse(10.01,20.01,20",10",30)'),
    "a size without a unit": ("regions", b'fk5\ncircle(10,20,12.5"+)'),
    # The message repeated what stood in the file, and the terminal obeyed.
    "a region that clears the screen": ("regions", b"\x1b[2Jcircle(1,1,1)"),
    "a null in a region": ("regions", b"\x00\x00region file"),
    "a column of a table that rings": ("texts", b"# %ECSV 1.0\n# ---\n# \x07\na\n1\n"),
    # Numbers of no bits take no room, so that the file was long enough; then they were read.
    "a cube of numbers of no bits": ("fits", cube(0)),
    "a packed cube of numbers of no bits": ("fits", gzip.compress(cube(0))),
    "a cube of numbers of seven bits": ("fits", cube(7)),
    # Two packings, one in the other: the inner one's claim was believed, and memory ran out.
    "a packed cube of tiles that claim two terabytes": (
        "fits",
        gzip.compress(tiles(9_000_000_000)),
    ),
    # Room was made for all of them before the first was looked for.
    "a table of a million million columns": ("fits", columns(1 << 40)),
    "a table of less than no columns": ("fits", columns(-1)),
    # The table of external files was read without care, since it is our own; a mirror's is not.
    # Astropy unpacked it without a limit, into a file of its own.
    "a packed table under the name of a plain one": ("texts", bz2.compress(b"# %ECSV 1.0\n" * 99)),
    "a manifest that is no text": ("texts", b"\x88,file,version"),
    "a manifest with a cell too many": (
        "texts",
        ",".join(datasets.COLUMNS).encode() + b"\n1,2\n" * 2,
    ),
    "a manifest with a number beyond all": (
        "texts",
        f"{','.join(datasets.COLUMNS)}\na,b,1,http://h/b,{'0' * 64},{'9' * 5000},c,d\n".encode(),
    ),
}


@pytest.mark.parametrize("case", FINDINGS)
def test_what_was_found_is_read_or_refused(case: str) -> None:
    check(*FINDINGS[case])


def test_a_region_nowhere_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.reg"
    for text in ("circle(nan,6,3)", "polygon(1,1,1e400,1,5,5)", "circle(6,6,1e300)"):
        path.write_text(f"image\n{text}\n")
        with pytest.raises(InputError, match="line 2: expected a region"):
            read_mask(path, np.ones((12, 12)), None)


def test_a_region_behind_the_sky_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.reg"
    for text in ('ellipse(190,-20,20",10",30)', "circle(190,-20,0.1)", 'circle(10,20,12.5"+)'):
        path.write_text(f"fk5\n{text}\n")
        # By its line, or as a region that is on no pixel of the image.
        with pytest.raises(
            InputError,
            match=r"a\.reg[:,] (line 2: )?expected (a )?region.*line 2|"
            r"a\.reg, line 2: expected a region",
        ):
            read_mask(path, np.ones((12, 12)), seeds.wcs((6, 6)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_cube_of_numbers_of_no_bits_is_refused_by_its_header(tmp_path: Path, pack) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(pack(cube(0)))
    for read in (open_source, open_image):
        with pytest.raises(InputError, match=r"a\.fits: expected a FITS header .*BITPIX 0"):
            read(path)


@pytest.mark.parametrize("number", [-1, 1000, 1 << 40])
def test_a_table_of_too_many_columns_is_refused_by_its_header(tmp_path: Path, number: int) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(columns(number))
    with pytest.raises(InputError, match=rf"a\.fits: expected a FITS header .*{number} columns"):
        describe(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_tiles_of_frames_are_refused_where_they_claim_more(tmp_path: Path, pack) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(pack(tiles(3)))
    assert sum(len(block.index) for block in open_source(path).read()) == 3
    path.write_bytes(pack(tiles(9_000_000_000)))
    with pytest.raises(InputError, match=r"a\.fits: expected 108000000000 packed tiles"):
        open_source(path)


def test_an_archive_that_asks_for_terabytes_is_refused_unread(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }\n"
    path = tmp_path / "xray.npz"
    with zipfile.ZipFile(path, "w") as archive:
        raw = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        archive.writestr("x.npy", raw + bytes(8))
    with pytest.raises(InputError, match=r"xray\.npz: expected arrays of not too many bytes"):
        read_npz(path, {"x": ("f", 1)})
    with pytest.raises(InputError, match=r"no \w+ among them"):
        read_photons(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("prim", np.array([0, 0, 1, 1, 2, 3], "i4"), "numbers from 0 to 2 in 'prim'"),
        ("y", np.full(6, 512, "i2"), "numbers from 0 to 511 in 'y'"),
        ("x", np.full(5, 1, "i2"), "columns of one length"),
        ("keV", np.full(6, np.nan, "f4"), "finite numbers in 'keV'"),
        ("exposure_s", np.array(-1.0), "a positive time"),
        ("prim", np.zeros(6), "whole numbers with 1 axes as 'prim'"),
        ("prim", np.array([{}] * 6, object), "whole numbers with 1 axes as 'prim'"),
    ],
)
def test_a_set_that_points_beyond_itself_is_refused(tmp_path: Path, name, value, message) -> None:
    np.savez_compressed(tmp_path / "far_shield.npz", **seeds.arrays()["particles"])
    assert len(read_particles(tmp_path)) == 3
    np.savez_compressed(tmp_path / "far_shield.npz", **{**seeds.arrays()["particles"], name: value})
    with pytest.raises(InputError, match=f"far_shield.npz: expected {message}"):
        read_particles(tmp_path)


def test_a_correction_of_the_area_is_checked(tmp_path: Path) -> None:
    path, bins = tmp_path / "a.fits", np.array([[0.1, 0.5], [0.5, 0.9]])
    path.write_bytes(seeds.fits()["retention"])
    np.testing.assert_allclose(corrected_area(*bins, np.ones(2), path), 0.9, rtol=1e-6)
    for name in ("cube", "image"):
        path.write_bytes(seeds.fits()[name])
        with pytest.raises(InputError, match=r"a\.fits: expected a table RETENTION"):
            corrected_area(*bins, np.ones(2), path)
    path.write_bytes(seeds.fits()["retention"].replace(b"'ENERG_HI'", b"'ENERG_HO'"))
    with pytest.raises(InputError, match="ENERG_LO, ENERG_HI, RETENTION"):
        corrected_area(*bins, np.ones(2), path)


@pytest.mark.parametrize(
    ("keyword", "value", "message"),
    [
        # Astropy's loop over the axes would take minutes; a length, any memory.
        ("NAXIS", 2147483647, "NAXIS is 2 and 2147483647"),
        ("NAXIS2", 2147483647, "NAXIS2 is 12 and 2147483647"),
        ("BITPIX", 8, "BITPIX is 32 and 8"),
    ],
)
def test_a_layout_that_is_said_twice_and_differently_is_refused(
    tmp_path: Path, keyword: str, value: int, message: str
) -> None:
    """One of astropy's parsers takes the first of two cards, the other the last."""
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.arange(144, dtype=np.int32).reshape(12, 12)).writeto(path)
    raw = bytearray(path.read_bytes())
    end = raw.index(b"END" + b" " * 77)
    card = f"{keyword:<8}= {value:>20}".ljust(80).encode()
    raw[end : end + 160] = card + raw[end : end + 80]
    path.write_bytes(raw)
    with pytest.raises(InputError, match=message):
        open_image(path)
    raw[end : end + 80] = raw[raw.index(keyword.encode()) :][:80]  # the same once more
    path.write_bytes(raw)
    assert open_image(path).data.shape == (12, 12)


def test_more_axes_than_there_can_be_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(path)
    path.write_bytes(forged(path.read_bytes(), "NAXIS", 2, 2147483647))
    with pytest.raises(InputError, match="2147483647 axes"):
        open_image(path)


def test_a_number_that_is_to_be_shown_in_gigabytes_is_refused(tmp_path: Path) -> None:
    """Astropy tries out how a column is to be shown as soon as a table is read."""
    path = tmp_path / "a.fits"
    column = fits.Column("radius", "D", unit="kpc", disp="F10.3", array=[1.0, 2.0])
    fits.BinTableHDU.from_columns([column]).writeto(path)
    raw = path.read_bytes()
    assert b"'F10.3   '  " in raw
    path.write_bytes(raw.replace(b"'F10.3   '  ", b"'A100000000'"))
    with pytest.raises(InputError, match="TDISP1 is 'A100000000'"):
        read_profile(path, 1.0 * u.kpc / u.arcsec)


@pytest.mark.parametrize("side", [0, -2147483648])
def test_tiles_without_pixels_are_refused(tmp_path: Path, side: int) -> None:
    """Astropy made an empty array of them, or divided by nothing."""
    path = tmp_path / "a.fits"
    path.write_bytes(forged(packed(12, 12), "ZTILE1", 12, side))
    with pytest.raises(InputError, match=f"ZTILE1 is {side}"):
        open_image(path)
