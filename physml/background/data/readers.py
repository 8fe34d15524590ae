"""Sources of frames: arrays, tables, HDF5 files, FITS cubes; read block by block.

A source knows its shape and hands out raw blocks, which fit in memory however long the whole is.
Whether their numbers are what they have to be is looked at elsewhere (`inspector`).

Sparse HDF5 files, as the simulator writes them, have a table ``pixels`` with the columns frame, y,
x, energy (keV), sorted by frame; optionally ``index`` (numbers of all frames that were read out,
also those without pixels), ``weight`` (one for each of them), and a table ``exposures`` with the
columns first_frame, n_frames, frame_time (s), ny, nx and, where known, pixel_um, thickness_um,
enc, threshold. Dense ones have a dataset ``frames`` with axes (frame, y, x), and optionally
``index`` and ``exposures``.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io.fits import Header

from physml.exceptions import InputError
from physml.io.files import require_file
from physml.io.fits import headers, unpack
from physml.io.origin import kind
from physml.io.shards import Spec, hdf5_errors, open_hdf5, open_shard

from ..core.arrays import Ints, Rows, Singles

#: Size of a block of dense frames, as float32.
BLOCK_BYTES = 32 << 20
#: Pixels in a block of sparse frames.
BLOCK_ROWS = 1 << 18
#: Most pixels of a sparse frame.
MAX_FRAME_ROWS = 1 << 21
MAX_SIDE = 1 << 14
#: Largest frame number: 170 years of 5 ms.
MAX_FRAME = 1 << 40
COLUMNS = ("frame", "y", "x", "energy")
KINDS = ("hdf5", "fits")


@dataclass(frozen=True)
class Raw:
    """One block as it is in the source.

    Attributes
    ----------
    index : ndarray of int64, shape (n,)
        Frame numbers, increasing.
    weight : ndarray of float32, shape (n,), or None
        Weights of the frames.
    values : ndarray
        Images of shape (n, ny, nx), or rows with the columns frame, y, x, energy.
    """

    index: Ints
    weight: Singles | None
    values: Rows


@dataclass
class Source:
    """Frames of one detector, not read yet.

    Attributes
    ----------
    label : str
        Name for messages.
    dense : bool
        Images, or rows of pixels.
    dtype : dtype
        Of the energies.
    shape : tuple of int, or None
        Rows and columns, where the source says so.
    length : int
        Frames of a dense source, pixels of a sparse one: what there is to do.
    complete : bool
        Whether frames that are not listed were not observed. If not, they had no pixels.
    read : callable
        Gives the blocks.
    unit : str or None
        Unit of the energies, where the source says so.
    exposures : structured ndarray or None
        Conditions, see the module.
    header : Header or None
        Of a FITS file.
    path : Path or None
    weighted : bool
        Whether frames have weights, as those of simulations do.
    """

    label: str
    dense: bool
    dtype: np.dtype[Any]
    shape: tuple[int, int] | None
    length: int
    complete: bool
    read: Callable[[], Iterator[Raw]]
    unit: str | None = None
    exposures: Rows | None = None
    header: Header | None = None
    path: Path | None = None
    weighted: bool = False


def open_source(frames: Any) -> Source:
    """Source for whatever holds frames.

    Parameters
    ----------
    frames : path, ndarray, Quantity, structured ndarray or Table
        HDF5 or FITS file; images of shape (frame, y, x); or rows with the columns frame, y, x,
        energy.

    Raises
    ------
    InputError
        It is none of these.
    """
    if isinstance(frames, str | PathLike):
        path = Path(frames)
        kind = _kind(path)
        return open_hdf5_source(path) if kind == "hdf5" else open_cube(path)
    if hasattr(frames, "colnames"):  # astropy Table
        return _open_table(frames)
    if not hasattr(frames, "__array__") and not isinstance(frames, list | tuple):
        raise InputError.expected(
            "frames",
            "a path, an array (frame, y, x) in keV, or a table with the columns "
            + ", ".join(COLUMNS),
            type(frames).__name__,
        )
    unit = str(frames.unit) if getattr(frames, "unit", None) is not None else None
    try:
        values = np.asarray(frames)
    except (TypeError, ValueError) as error:
        raise InputError.expected("frames", "an array of numbers", str(error)) from error
    if values.dtype.names:
        return _open_rows(values, None)
    if values.ndim != 3:
        hint = "One frame alone is frames[None]." if values.ndim == 2 else None
        raise InputError.expected("frames", "axes (frame, y, x)", f"shape {values.shape}", hint)
    _check_shape("frames", values.shape[1:])
    return _dense("frames", values.shape, values.dtype, lambda a, b: values[a:b], unit=unit)


def is_event_list(path: Path) -> bool:
    """True for a FITS file with a table of events."""
    if _kind(path) != "fits":
        return False
    return any(_is_table(header) for header, _ in _extensions(path, _opener(path)))


def _kind(path: Path) -> str:
    if (of := kind(require_file(path, "a file of frames or events (HDF5 or FITS)"))) in KINDS:
        return of
    found = "another kind of file, or a damaged one" if path.stat().st_size else "an empty file"
    raise InputError.expected(path, "an HDF5 or FITS file", found)


def _check_shape(label: Any, shape: tuple[int, ...]) -> None:
    if min(shape) < 8 or max(shape) > MAX_SIDE:
        raise InputError.expected(
            label, f"frames of 8 to {MAX_SIDE} pixels a side", " x ".join(map(str, shape[::-1]))
        )


def _check_real(label: Any, dtype: np.dtype[Any], what: str) -> None:
    if dtype.kind not in "uif":
        raise InputError.expected(label, f"{what} as real numbers", f"dtype {dtype}")


def _dense(
    label: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    cut: Callable[[int, int], Rows],
    **more: Any,
) -> Source:
    """Dense source that reads frames a to b with a function."""
    _check_real(label, dtype, "frames")
    n, step = int(shape[0]), block_length(shape)

    def read() -> Iterator[Raw]:
        for a in range(0, n, step):
            b = min(a + step, n)
            yield Raw(np.arange(a, b, dtype=np.int64), None, cut(a, b))

    return Source(
        label, True, dtype, (int(shape[1]), int(shape[2])), n, complete=True, read=read, **more
    )


def block_length(shape: tuple[int, ...]) -> int:
    """Frames in a block of dense frames of shape (n, ny, nx)."""
    return max(1, min(256, BLOCK_BYTES // (4 * int(shape[1]) * int(shape[2]))))


def _open_table(table: Any) -> Source:
    _check_columns("frames", table.colnames)
    unit = table["energy"].unit
    masked = [name for name in COLUMNS if np.any(getattr(table[name], "mask", False))]
    if masked:
        raise InputError.expected("frames", "a table without missing values", f"some in {masked}")
    columns = [np.asarray(table[name]) for name in COLUMNS]
    rows = np.empty(len(table), [(n, c.dtype) for n, c in zip(COLUMNS, columns, strict=True)])
    for name, column in zip(COLUMNS, columns, strict=True):
        rows[name] = column
    return _open_rows(rows, None if unit is None else str(unit))


def _check_columns(label: Any, names: Any) -> None:
    missing = [name for name in COLUMNS if name not in (names or ())]
    if missing:
        raise InputError.expected(
            label,
            f"the columns {', '.join(COLUMNS)}",
            f"{', '.join(map(str, names or ()))}: without {', '.join(missing)}",
        )


def _check_rows(label: Any, dtype: np.dtype[Any]) -> None:
    _check_columns(label, dtype.names)
    for name in COLUMNS[:3]:
        if dtype[name].kind not in "ui":
            raise InputError.expected(
                label, f"whole numbers in the column {name!r}", f"dtype {dtype[name]}"
            )
    _check_real(label, dtype["energy"], "energies")


def _open_rows(rows: Rows, unit: str | None) -> Source:
    """Source of a table in memory, in any order."""
    rows = rows.reshape(-1)
    _check_rows("frames", rows.dtype)
    ordered = rows[np.lexsort((rows["x"], rows["y"], rows["frame"]))]

    def read() -> Iterator[Raw]:
        yield from _by_frame("frames", len(ordered), lambda a, b: ordered[a:b], None)

    return Source(
        "frames", False, rows.dtype["energy"], None, len(rows), complete=False, read=read, unit=unit
    )


def _by_frame(
    label: Any, length: int, cut: Callable[[int, int], Rows], listed: _Listed | None
) -> Iterator[Raw]:
    """Blocks of rows that end where a frame ends."""
    held: Rows | None = None
    last = -1
    for a in range(0, length, BLOCK_ROWS):
        b = min(a + BLOCK_ROWS, length)
        rows = cut(a, b)
        if held is not None:
            rows = np.concatenate([held, rows])
        frame = rows["frame"].astype(np.int64)
        if frame[0] < last or (np.diff(frame) < 0).any():
            k = max(int(np.argmax(np.diff(frame) < 0)), 0)
            raise InputError.expected(
                label,
                "pixels sorted by frame",
                f"frame {frame[min(k + 1, len(frame) - 1)]} after {max(int(frame[k]), last)}",
                "Sort the table by frame, y and x.",
            )
        if frame[0] < 0 or frame[-1] > MAX_FRAME:
            raise InputError.expected(
                label, f"frame numbers from 0 to {MAX_FRAME}", f"{frame[0]} to {frame[-1]}"
            )
        end = len(rows)
        if b < length:  # the last frame may go on in the next block
            end = int(np.searchsorted(frame, frame[-1]))
            if end == 0 and len(rows) > MAX_FRAME_ROWS:
                raise InputError.expected(
                    label,
                    f"frames of at most {MAX_FRAME_ROWS} pixels above the threshold",
                    f"more in frame {frame[0]}",
                )
        held = rows[end:]
        if end == 0:
            continue
        frame, rows = frame[:end], rows[:end]
        last = int(frame[-1])
        index, weight = np.unique(frame), None
        if listed is not None:
            index, weight = listed.until(last, index)
        yield Raw(index, weight, rows)
    if listed is not None:
        yield from (Raw(i, w, cut(0, 0)) for i, w in listed.rest())


class _Listed:
    """Frame numbers and weights that a file lists, read along with the pixels."""

    def __init__(self, shard: Any, label: Any) -> None:
        self.shard, self.label = shard, label
        self.length = shard.shape("index")[0]
        self.weighted = "weight" in shard
        if self.weighted and shard.shape("weight")[0] != self.length:
            raise InputError.expected(
                label, f"{self.length} weights, one for each frame", f"{shard.shape('weight')[0]}"
            )
        self.at = 0
        self.last = -1

    def _take(self, n: int) -> tuple[Ints, Singles | None]:
        cut = slice(self.at, min(self.at + n, self.length))
        index = self.shard.read("index", cut).astype(np.int64)
        if len(index) and (index[0] <= self.last or (np.diff(index) <= 0).any()):
            raise InputError.expected(
                self.label, "frame numbers in 'index' that increase", "some that do not"
            )
        weight = None
        if self.weighted:
            weight = self.shard.read("weight", cut).astype(np.float32)
            if len(weight) and weight.min() <= 0:
                raise InputError.expected(
                    self.label, "positive weights", f"a smallest one of {weight.min()}"
                )
        return index, weight

    def _done(self, index: Ints) -> None:
        self.at += len(index)
        if len(index):
            self.last = int(index[-1])

    def until(self, last: int, present: Ints) -> tuple[Ints, Singles | None]:
        """Go on to a frame; `present` are those with pixels, which have to be listed."""
        parts: list[tuple[Ints, Singles | None]] = []
        while self.at < self.length:
            index, weight = self._take(BLOCK_ROWS)
            keep = int(np.searchsorted(index, last, side="right"))
            parts.append((index[:keep], None if weight is None else weight[:keep]))
            self._done(index[:keep])
            if keep < len(index):
                break
        index = np.concatenate([p[0] for p in parts]) if parts else np.empty(0, np.int64)
        if not np.isin(present, index, assume_unique=True).all():
            raise InputError.expected(
                self.label, "pixels of the frames listed in 'index'", "others as well"
            )
        if not self.weighted:
            return index, None
        return index, np.concatenate([p[1] for p in parts if p[1] is not None])

    def rest(self) -> Iterator[tuple[Ints, Singles | None]]:
        """Frames behind the last pixel."""
        while self.at < self.length:
            index, weight = self._take(BLOCK_ROWS)
            yield index, weight
            self._done(index)


def open_hdf5_source(path: Path) -> Source:
    """Source of an HDF5 file with ``frames`` or ``pixels``; see the module.

    Raises
    ------
    InputError
        Neither is in it, or something in it is not as it has to be.
    """
    spec = {
        "frames": Spec(None, (None, None, None), optional=True, finite=False),
        "pixels": Spec(None, (None,), optional=True, finite=False),
        "index": Spec(None, (None,), optional=True),
        "weight": Spec("f4", (None,), optional=True),
        "exposures": Spec(None, (None,), optional=True),
    }
    with open_shard(path, spec) as shard:
        has = set(shard.names)
        if not has & {"frames", "pixels"}:
            raise InputError.expected(
                path,
                "a dataset 'frames' (frame, y, x) or a table 'pixels' "
                f"({', '.join(COLUMNS)}), in keV",
                _names(path),
            )
        if {"frames", "pixels"} <= has:
            raise InputError.expected(path, "either 'frames' or 'pixels'", "both")
        exposures = shard.read("exposures") if "exposures" in has else None
        if "index" in has and shard.dtype("index").kind not in "ui":
            raise InputError.expected(path, "whole numbers in 'index'", str(shard.dtype("index")))
        name = "frames" if "frames" in has else "pixels"
        length, dtype, shape = shard.shape(name)[0], shard.dtype(name), shard.shape(name)
        if name == "frames" and "index" in has and shard.shape("index")[0] != length:
            raise InputError.expected(
                path, f"{length} frame numbers in 'index'", f"{shard.shape('index')[0]}"
            )
    if length == 0:
        raise InputError.expected(path, f"data in {name!r}", "none: its length is 0")
    if name == "frames":
        _check_shape(path, shape[1:])
        _check_real(path, dtype, "frames")
    else:
        _check_rows(path, dtype)

    def read() -> Iterator[Raw]:
        with open_shard(path, spec) as shard:
            listed = _Listed(shard, path) if "index" in has else None
            if name == "pixels":
                yield from _by_frame(
                    path, length, lambda a, b: shard.read("pixels", slice(a, b)), listed
                )
                return
            step = block_length(shape)
            for a in range(0, length, step):
                b = min(a + step, length)
                index: Ints = np.arange(a, b, dtype=np.int64)
                weight = None
                if listed is not None:
                    index, weight = listed._take(b - a)
                    listed._done(index)
                yield Raw(index, weight, shard.read("frames", slice(a, b)))

    dense = name == "frames"
    return Source(
        label=str(path),
        dense=dense,
        dtype=dtype if dense else dtype["energy"],
        shape=(int(shape[1]), int(shape[2])) if dense else _exposed_shape(path, exposures),
        length=length,
        complete=dense or "index" in has,
        read=read,
        exposures=exposures,
        path=path,
        weighted="weight" in has and "index" in has,
    )


def _exposed_shape(path: Path, exposures: Rows | None) -> tuple[int, int] | None:
    """Shape of the detector that a table of exposures tells, or None."""
    names = () if exposures is None else exposures.dtype.names or ()
    if exposures is None or not {"ny", "nx"} <= set(names) or len(exposures) == 0:
        return None
    shapes = {(int(e["ny"]), int(e["nx"])) for e in exposures}
    if len(shapes) > 1:
        raise InputError.expected(path, "exposures of one detector shape", f"{sorted(shapes)}")
    shape = shapes.pop()
    _check_shape(path, shape)
    return shape


def _names(path: Path) -> str:
    with open_hdf5(path) as file, hdf5_errors(path, "any"):
        names = [str(name) for name, _ in zip(file, range(20), strict=False)]
    return "only " + ", ".join(names) if names else "nothing"


def _opener(path: Path) -> Callable[[], BinaryIO]:
    """Function that opens a FITS file; a packed one is unpacked once, in memory, within a limit."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if not packed:
        return lambda: open(path, "rb")
    raw = unpack(path)
    return lambda: io.BytesIO(raw)


def _extensions(path: Path, opened: Callable[[], BinaryIO]) -> Iterator[tuple[Header, int]]:
    """Headers of a FITS file, each with where its data begin.

    Tile-compressed images are the tables that they are stored as: astropy would believe the size
    they claim.
    """
    with opened() as file:
        for header, start, _ in headers(path, file):
            try:
                list(header.values())  # cards are parsed when they are looked at
            except Exception as error:  # astropy's parser fails in many ways on hostile cards
                raise InputError.expected(
                    path, "a readable FITS header", f"a damaged one ({error})"
                ) from error
            yield header, start


def _is_table(header: Header) -> bool:
    return str(header.get("XTENSION", "")).strip() == "BINTABLE"


def open_cube(path: Path) -> Source:
    """Source of a FITS cube (frame, y, x): the first image with three axes.

    Raises
    ------
    InputError
        Truncated, or no such image.
    """
    seen = []
    opened = _opener(path)
    for header, start in _extensions(path, opened):
        is_table = _is_table(header)
        axes = [int(header[f"NAXIS{i + 1}"]) for i in range(int(header.get("NAXIS", 0)))]
        if header.get("ZIMAGE", False):
            raise InputError.expected(
                path, "an uncompressed cube", "a tile-compressed one", "Unpack it with funpack."
            )
        if not is_table and len(axes) == 3 and min(axes) > 0:
            return _cube(path, opened, header, start, (axes[2], axes[1], axes[0]))
        if axes:
            seen.append("a table" if is_table else " x ".join(map(str, axes)))
    raise InputError.expected(
        path, "a cube of frames (x, y, frame) or an event list", ", ".join(seen) or "no data"
    )


def _cube(
    path: Path,
    opened: Callable[[], BinaryIO],
    header: Header,
    start: int,
    shape: tuple[int, int, int],
) -> Source:
    _check_shape(path, shape[1:])
    codes = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
    stored = np.dtype(codes[int(header["BITPIX"])])
    try:
        scale, zero = float(header.get("BSCALE", 1)), float(header.get("BZERO", 0))
    except (TypeError, ValueError):
        scale = zero = float("nan")
    if not (np.isfinite([scale, zero]).all() and abs(zero) < 1 << 63):
        raise InputError.expected(path, "numbers as BSCALE and BZERO", "others")
    whole = stored.kind in "ui" and scale == 1 and zero == int(zero)
    dtype = np.dtype("i8" if whole and zero else stored if whole else "f4").newbyteorder("=")
    if (
        whole
        and stored.kind == "i"
        and stored.itemsize < 8
        and zero == 2 ** (8 * stored.itemsize - 1)
    ):
        dtype = np.dtype(f"u{stored.itemsize}")  # how FITS stores unsigned numbers
    blank = header.get("BLANK") if stored.kind in "ui" else None
    n, ny, nx = shape

    def convert(values: Rows) -> Rows:
        undefined = values == blank if blank is not None else None
        if whole and undefined is None:
            return (values.astype(np.int64) + int(zero)).astype(dtype)
        out: Rows = values.astype(np.float32 if dtype.kind == "f" else np.float64)
        if (scale, zero) != (1.0, 0.0):
            out = out * scale + zero
        if undefined is not None:
            out[undefined] = np.nan
        return out

    def cut(a: int, b: int) -> Rows:
        frame = ny * nx * stored.itemsize
        with opened() as file:
            file.seek(start + a * frame)
            raw = file.read((b - a) * frame)
        if len(raw) < (b - a) * frame:
            raise InputError.expected(path, f"{n} frames", f"an end in frame {a} to {b - 1}")
        return convert(np.frombuffer(raw, stored).reshape(b - a, ny, nx))

    unit = str(header.get("BUNIT", "")).strip() or None
    return _dense(str(path), shape, dtype, cut, unit=unit, header=header, path=path)
