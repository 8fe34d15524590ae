"""FITS images: checked before they are believed, written with their run record.

astropy allocates what a header claims. Here the file is unpacked within a limit and every header
is compared with the bytes that are really there, before any data are touched.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from physml import provenance as prov
from physml.exceptions import InputError
from physml.io.atomic import atomic_path
from physml.io.celestial import read_celestial
from physml.io.files import require_file

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header
    from astropy.wcs import WCS

#: Largest file, unpacked.
MAX_BYTES = 2 << 30
#: Largest number of pixels of an image: as float64 it takes this times 8 bytes.
MAX_PIXELS = 1 << 27
MAX_HDUS = 1000

_BLOCK = 2880
_BITPIX = (8, 16, 32, 64, -32, -64)
_MAX_COLUMNS = _MAX_AXES = 999  # of the standard
#: Keywords that say where data lie and how large they are.
_LAYOUT = re.compile(
    r"XTENSION|SIMPLE|BITPIX|NAXIS\d*|[PG]COUNT|GROUPS|TFIELDS|TFORM\d+|TDIM\d+|THEAP"
    r"|ZIMAGE|ZBITPIX|ZNAXIS\d*|ZTILE\d+|ZCMPTYPE"
)
_WIDE = re.compile(r"\d{4}")
#: Keywords of columns and names of extensions, which every reader asks for.
_ASKED = re.compile(r"T[A-Z]{4,5}\d{1,3}|TC[A-Z0-9]+\d{1,3}|EXT(NAME|VER|LEVEL)|HDUNAME|HDUCLAS\d?")
#: Formats of columns, by the kind of table.
_FORMATS = {"BINTABLE": re.compile(r"\s*\d*[LXBIJKAEDCMPQ]"), "TABLE": re.compile(r"\s*[AIFED]\d")}
_FOREIGN = (
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x9d", "a file packed with compress"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x89PNG", "a PNG picture"),
)

#: Choice of an extension, see `open_image`.
Which: TypeAlias = "int | str | Callable[[HDUList], int | None] | None"


class ImageData(NamedTuple):
    """An image as it is in the file.

    Attributes
    ----------
    data : (H, W) array
        Shape (y, x), float64; NaN where the file has none.
    header : astropy.io.fits.Header
        FITS header (empty for an array).
    wcs : WCS, optional
        Celestial world coordinates, or None where there are none.
    """

    data: NDArray[np.float64]
    header: Header
    wcs: WCS | None


def unpack(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Bytes of the file, gunzipped within the limit.

    A packed file is unpacked step by step: a bomb of a few kilobytes is stopped at the limit.
    """
    raw = require_file(path, "a FITS file", max_bytes).read_bytes()
    if raw[:2] != b"\x1f\x8b":
        return raw
    parts: list[bytes] = []
    left, rest = max_bytes, raw
    try:
        while rest[:2] == b"\x1f\x8b":  # gzip files may be concatenated
            worker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            part = worker.decompress(rest, left + 1)
            if len(part) > left:
                raise InputError.expected(path, f"at most {max_bytes} bytes when unpacked", "more")
            if not worker.eof:
                raise InputError.expected(path, "a complete gzip file", "a truncated one")
            parts.append(part)
            left -= len(part)
            rest = worker.unused_data
    except zlib.error as error:
        raise InputError.expected(path, "a gzip file", f"a damaged one ({error})") from error
    return b"".join(parts)


def claimed_bytes(header: Header) -> int:
    """Bytes of data that a header claims, without padding.

    Raises
    ------
    ValueError
        No data can be like that.
    """
    _check_cards(header)
    bits = int(header["BITPIX"])
    if bits not in _BITPIX:
        raise ValueError(f"BITPIX {bits}, which is none of {', '.join(map(str, _BITPIX))}")
    axes = int(header.get("NAXIS", 0))
    if axes == 0:
        return 0
    if not 0 < axes <= _MAX_AXES:
        raise ValueError(f"{axes} axes")
    lengths = [int(header[f"NAXIS{i}"]) for i in range(1, axes + 1)]
    if any(length < 0 for length in lengths):
        raise ValueError(f"a negative axis among {lengths}")
    if lengths[0] == 0 and header.get("GROUPS", False):
        lengths = lengths[1:]  # random groups
    groups, parameters = int(header.get("GCOUNT", 1)), int(header.get("PCOUNT", 0))
    if groups < 0 or parameters < 0:
        raise ValueError(f"GCOUNT {groups} and PCOUNT {parameters}")
    return abs(bits) // 8 * groups * (parameters + math.prod(lengths))


def _check_cards(header: Header) -> None:
    """Raise ValueError for cards that would be read otherwise than they are checked, or for ever.

    Astropy has two parsers: one takes the first of two cards, the other, by which data are read,
    the last. And it tries out how numbers are to be shown, in any width.
    """
    said: dict[str, Any] = {}
    for card in header.cards:
        keyword = card.keyword.upper()
        if _LAYOUT.fullmatch(keyword) and said.setdefault(keyword, card.value) != card.value:
            raise ValueError(f"{keyword} is {said[keyword]!r} and {card.value!r}")
        if keyword.startswith("ZTILE") and int(card.value) < 1:
            raise ValueError(f"{keyword} is {card.value!r}")
        if keyword.startswith("TDISP") and _WIDE.search(str(card.value)):
            raise ValueError(f"{keyword} is {card.value!r}")
        if _ASKED.fullmatch(keyword):
            value = card.value  # one that cannot be read would end whoever asks for the columns
            if keyword[:5] in ("TTYPE", "TFORM") and not isinstance(value, str):
                raise ValueError(f"{keyword} is {value!r}")
    _check_layout(header)


def _check_layout(header: Header) -> None:
    """Raise ValueError for a table or a compressed image without the cards that make it one."""
    if header.get("XTENSION") not in ("BINTABLE", "TABLE", "A3DTABLE"):
        return
    if header.get("NAXIS") != 2:
        raise ValueError(f"a table of {header.get('NAXIS')} axes")
    if "TFIELDS" not in header:
        raise ValueError("a table without TFIELDS")
    form = _FORMATS["TABLE" if header["XTENSION"] == "TABLE" else "BINTABLE"]
    columns = int(header["TFIELDS"])
    if not 0 <= columns <= _MAX_COLUMNS:  # astropy makes room for all of them at once
        raise ValueError(f"{columns} columns")
    for column in range(1, columns + 1):
        found = header.get(f"TFORM{column}")
        if not form.match(str(found)):
            raise ValueError(f"TFORM{column} {found!r}")
    if not header.get("ZIMAGE", False):
        return
    if header.get("ZBITPIX") not in _BITPIX:
        raise ValueError(f"ZBITPIX {header.get('ZBITPIX')!r}")
    axes = header.get("ZNAXIS")
    if not isinstance(axes, int) or not 0 <= axes <= _MAX_AXES:
        raise ValueError(f"ZNAXIS {axes!r}")
    for axis in range(1, axes + 1):
        length = header.get(f"ZNAXIS{axis}")
        if not isinstance(length, int) or length < 0:
            raise ValueError(f"ZNAXIS{axis} {length!r}")


def headers(path: Path, file: BinaryIO) -> Iterator[tuple[Header, int, int]]:
    """Headers of a FITS file, compared with the bytes there are; the data are not touched.

    Parameters
    ----------
    path : Path
        Name for messages.
    file : binary file
        With the whole file, unpacked.

    Yields
    ------
    header : Header
    start : int
        Where its data begin.
    end : int
        Where the next header begins, if there is one; what lies behind the last is not FITS.

    Raises
    ------
    InputError
        A damaged header, one that claims more data than there are, or too many extensions.
    """
    from astropy.io import fits

    start, number, last = 0, 0, file.seek(0, io.SEEK_END)
    while start < last:
        file.seek(start)
        if file.read(8) != (b"XTENSION" if number else b"SIMPLE  "):
            if number:
                return  # the standard allows special records at the end
            raise InputError.expected(path, "a FITS file", "another kind of file")
        if number == MAX_HDUS:
            raise InputError.expected(path, f"at most {MAX_HDUS} extensions", "more")
        file.seek(start)
        try:
            header = fits.Header.fromfile(file, endcard=True, padding=False)
            list(header.values())  # cards are parsed when they are looked at: all here and now
            claimed = claimed_bytes(header)
        except Exception as error:  # astropy's parser fails in many ways on hostile cards
            raise InputError.expected(
                path, f"a FITS header at byte {start}", f"a damaged one ({error})"
            ) from error
        # Padding of the header may be missing at the very end only.
        data = -(-file.tell() // _BLOCK) * _BLOCK
        if claimed and data + claimed > last:
            axes = [header.get(f"NAXIS{i}") for i in range(1, int(header["NAXIS"]) + 1)]
            raise InputError.expected(
                path,
                f"{claimed} bytes of data in extension {number} (axes {axes}, "
                f"BITPIX {header['BITPIX']})",
                f"{max(0, last - data)} bytes: the file is truncated or its header is wrong",
            )
        start = data + -(-claimed // _BLOCK) * _BLOCK
        number += 1
        yield header, data, min(start, last)


@contextlib.contextmanager
def open_hdus(path: str | PathLike[str], *, max_bytes: int = MAX_BYTES) -> Iterator[HDUList]:
    """Open a FITS file (also gzipped) of which every header has been checked.

    Parameters
    ----------
    path : path
        The file.
    max_bytes : int
        Largest size, unpacked.

    Raises
    ------
    InputError
        Not FITS, truncated, a header that claims more than there is, or too large.
    """
    from astropy.io import fits

    source = Path(path)
    raw = unpack(source, max_bytes)
    if not raw.startswith(b"SIMPLE  ="):
        what = next((name for sign, name in _FOREIGN if raw.startswith(sign)), None)
        what = what or ("an empty file" if not raw else "another kind of file")
        raise InputError.expected(source, "a FITS file", what)
    with warnings.catch_warnings():
        # Old telescopes' headers break the standard in harmless ways.
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        warnings.filterwarnings("ignore", message=".*truncated.*")
        *_, (_, _, end) = headers(source, io.BytesIO(raw))
        try:
            hdus = fits.open(io.BytesIO(raw[:end]), memmap=False, lazy_load_hdus=False)
            for hdu in hdus:  # cards are parsed when they are looked at: all of them here and now
                list(hdu.header.values())
                _ = hdu.shape if hdu.is_image else hdu.columns
        except Exception as error:  # as above
            raise InputError.expected(source, "a FITS file", f"a damaged one ({error})") from error
        try:
            yield hdus
        except fits.VerifyError as error:  # cards are parsed when they are first looked at
            raise InputError.expected(
                source, "a readable FITS header", f"a damaged one ({error})"
            ) from error
        finally:
            hdus.close()


def open_image(image: Any, *, hdu: Which = None, max_pixels: int = MAX_PIXELS) -> ImageData:
    """Read one 2-D image from whatever holds it.

    Parameters
    ----------
    image : path, array, NDData, HDU or HDUList
        Path of a FITS file (also gzipped), HDUList, image HDU, CCDData, or array (also with
        units). Masked pixels become NaN.
    hdu : int, str or callable, optional
        Number or name of the extension, or what chooses its number among all of them; by default
        (and where that gives None) the first one that holds an image. Axes of length 1 before the
        last two are dropped.
    max_pixels : int
        Largest number of pixels.

    Returns
    -------
    ImageData
        Named tuple (data, header, wcs).

    Raises
    ------
    InputError
        Not FITS, truncated, no image, not 2-D, complex or not numbers, too large, or world
        coordinates that cannot be used.
    """
    if isinstance(image, str | PathLike):
        path = Path(image)
        with open_hdus(path) as hdus:
            return _from_hdus(path, hdus, hdu, max_pixels)
    from astropy.io import fits

    if isinstance(image, fits.HDUList):
        return _from_hdus("image", image, hdu, max_pixels)
    if isinstance(image, fits.PrimaryHDU | fits.ImageHDU | fits.CompImageHDU):
        return _from_hdu("image", image, max_pixels)
    if hasattr(image, "wcs") and hasattr(image, "data") and hasattr(image, "mask"):  # CCDData
        data = _as_float("image", image.data, max_pixels)
        if image.mask is not None:
            data[np.broadcast_to(np.asarray(image.mask, dtype=bool), data.shape)] = np.nan
        header = fits.Header(image.header) if image.header else fits.Header()
        shape = (data.shape[0], data.shape[1])
        celestial = None if image.wcs is None else read_celestial("image", image.wcs, shape)
        return ImageData(data, header, celestial)
    if isinstance(image, np.ma.MaskedArray):
        image = np.ma.filled(image.astype(np.float64), np.nan)
    if not hasattr(image, "__array__") and not isinstance(image, list | tuple):
        raise InputError.expected(
            "image", "a path, HDUList, CCDData or 2-D array", type(image).__name__
        )
    try:
        array = np.asarray(image)
    except (TypeError, ValueError) as error:
        raise InputError.expected("image", "a 2-D array of numbers", str(error)) from error
    return ImageData(_as_float("image", array, max_pixels), fits.Header(), None)


def _from_hdus(name: Path | str, hdus: Any, hdu: Which, max_pixels: int) -> ImageData:
    from astropy.io import fits

    if callable(hdu):
        hdu = hdu(hdus)
    if hdu is not None:
        try:
            return _from_hdu(name, hdus[hdu], max_pixels)
        except (KeyError, IndexError) as error:
            raise InputError.expected(
                name, f"an extension {hdu!r}", f"{[h.name or 'unnamed' for h in hdus]}"
            ) from error
    for candidate in hdus:
        if candidate.is_image and int(candidate.header.get("NAXIS", 0)) > 0:
            return _from_hdu(name, candidate, max_pixels)
    tables = [h for h in hdus if isinstance(h, fits.BinTableHDU)]
    if any(h.name == "EVENTS" for h in tables):
        raise InputError.expected(
            name, "an image", "an event list", "Bin the events into an image first."
        )
    found = f"only tables ({', '.join(h.name or 'unnamed' for h in tables)})" if tables else "none"
    raise InputError.expected(name, "an image", found)


def _from_hdu(name: Path | str, hdu: Any, max_pixels: int) -> ImageData:
    from astropy.io import fits

    if not hdu.is_image:
        raise InputError.expected(name, "an image extension", f"a table {hdu.name!r}")
    shape = tuple(int(n) for n in hdu.shape)
    if len(shape) < 2 or any(n != 1 for n in shape[:-2]):
        described = " x ".join(map(str, shape[::-1])) or "no data"
        raise InputError.expected(name, "a 2-D image", f"{len(shape)} axes ({described})")
    _check_pixels(name, shape, max_pixels)
    if isinstance(hdu, fits.CompImageHDU):
        _check_tiles(name, hdu, max_pixels)
    try:
        data = hdu.data
    except Exception as error:  # astropy's readers fail in many ways on damaged bytes
        raise InputError.expected(name, "readable pixels", f"damaged ones ({error})") from error
    if data is None:
        raise InputError.expected(name, "a 2-D image", "no data")
    pixels = np.asarray(data)
    if pixels.shape != shape:  # damaged tiles
        raise InputError.expected(name, f"pixels of shape {shape}", f"of shape {pixels.shape}")
    values = _as_float(name, pixels.reshape(shape[-2:]), max_pixels)
    sky = read_celestial(name, hdu.header, (values.shape[0], values.shape[1]))
    return ImageData(values, hdu.header.copy(), sky)


def _check_pixels(name: Path | str, shape: tuple[int, ...], max_pixels: int) -> None:
    pixels = math.prod(shape)
    if pixels == 0:
        raise InputError.expected(name, "an image with pixels", f"shape {shape}")
    if pixels > max_pixels:
        raise InputError.expected(name, f"at most {max_pixels} pixels", f"{pixels}")


def _check_tiles(name: Path | str, hdu: Any, max_pixels: int) -> None:
    """Refuse gzip tiles that could unpack to more than an image may take."""
    kind = str(getattr(hdu, "compression_type", ""))
    table = getattr(hdu, "_bintable", None)
    packed = int(table.header.get("PCOUNT", 0)) if table is not None else 0
    if kind.startswith("GZIP") and packed * 1032 > 8 * max_pixels:
        raise InputError.expected(
            name, f"at most {8 * max_pixels // 1032} bytes of gzip tiles", f"{packed} bytes"
        )


def _as_float(name: Path | str, data: Any, max_pixels: int) -> NDArray[np.float64]:
    array = np.asarray(data)
    if array.dtype.kind not in "buif":
        raise InputError.expected(name, "real numbers", f"dtype {array.dtype}")
    if array.ndim != 2:
        raise InputError.expected(name, "a 2-D image", f"{array.ndim} axes, shape {array.shape}")
    _check_pixels(name, array.shape, max_pixels)
    return array.astype(np.float64)  # a copy, in the byte order of the machine


#: Cards that describe the bytes of the source's array, not the sky.
_STRUCTURAL = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|[PG]COUNT|GROUPS|BSCALE|BZERO|BLANK|BUNIT|DATAM(IN|AX)"
    r"|(CHECK|DATA)SUM|EXTNAME|EXTVER|HDUNAME|INHERIT"
)
#: Cards of all world coordinates: a mixture of two (CD and PC, say) is no system at all.
_WORLD = re.compile(
    r"WCSAXES|WCSNAME|CRPIX\d|CRVAL\d|CDELT\d|CROTA\d|CTYPE\d|CUNIT\d|CD\d_\d|PC\d_\d"
    r"|PV\d_\d+|PS\d_\d+|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|(A|B|AP|BP)_(ORDER|DMAX|\d_\d)"
    r"|WCSTY\d?[A-Z]|(CRPIX|CRVAL|CDELT|CTYPE|CUNIT)\d[A-Z]|(LTM|LTV)\d(_\d)?"
)


def write_image(
    path: str | PathLike[str],
    data: NDArray[Any],
    *,
    wcs: WCS | None = None,
    header: Header | Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    unit: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write an image atomically, with checksums, world coordinates and run record.

    Parameters
    ----------
    path : path
        Where to; ``.fits`` or ``.fits.gz``.
    data : (..., H, W) array
        Shape (y, x). Floats are stored as float32, truth values as unsigned bytes.
    wcs : WCS, optional
        World coordinates of `data`; overrides those in `header`.
    header : Header or mapping, optional
        Cards to keep, e.g. of the input image; cards on the layout of its bytes are dropped.
    provenance : mapping, optional
        Run record: its essentials become cards, the whole a table ``PROVENANCE``.
    unit : str, optional
        ``BUNIT``.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    OutputError
        The file exists, or there is no room.
    """
    from astropy.io import fits

    array = np.asarray(data)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    elif array.dtype.kind == "f":
        array = array.astype(np.float32)
    cards = fits.Header()
    if header is not None:
        source = header if isinstance(header, fits.Header) else fits.Header(dict(header))
        cards.extend(source.copy(strip=True), bottom=True)
        _drop(cards, _STRUCTURAL)
    if wcs is not None:
        _drop(cards, _WORLD)
        cards.update(wcs.to_header(relax=True))
    if unit is not None:
        cards["BUNIT"] = unit
    for name, value, comment in prov.fits_cards(provenance) if provenance else ():
        cards[name] = (value, comment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        hdus = fits.HDUList([fits.PrimaryHDU(array, cards)])
        if provenance:
            hdus.append(prov.fits_table(provenance))
        write_hdus(path, hdus, overwrite)


def write_hdus(path: str | PathLike[str], hdus: HDUList, overwrite: bool = False) -> None:
    """Write extensions atomically, with checksums; gzipped where the name ends in ``.gz``.

    Raises
    ------
    OutputError
        The file exists, or there is no room.
    """
    target = Path(path)
    # By way of memory: astropy reports a full disk without the system's error number.
    buffer = io.BytesIO()
    hdus.writeto(buffer, checksum=True, output_verify="silentfix")
    content = buffer.getvalue()
    if target.suffix == ".gz":
        content = gzip.compress(content, mtime=0)  # no time stamp: equal content, equal bytes
    with atomic_path(target, overwrite) as temporary:
        temporary.write_bytes(content)


def _drop(header: Header, keywords: re.Pattern[str]) -> None:
    for name in {card.keyword for card in header.cards if keywords.fullmatch(card.keyword)}:
        header.remove(name, ignore_missing=True, remove_all=True)
