"""Frames as FITS images: cubes, a frame in each extension, and both in packed tiles (fpack)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header

from physml.exceptions import InputError

from ...core.arrays import Rows
from ..times import from_headers, told_times
from .fits_columns import read_intervals
from .fits_file import Extension, FitsFile, number_type, scaling
from .source import PIECE, Source, check_shape, dense_source

#: Beginnings of names of extensions that hold no frames.
NO_FRAMES = (
    *("ERR", "DQ", "VAR", "IVAR", "WEIGHT", "WHT", "MASK", "BADPIX", "BAD_PIX", "FLAG", "QUAL"),
    *("BIAS", "DARK", "FLAT", "OFFSET", "GAIN", "NOISE", "EXPMAP", "EXPOSURE_MAP", "BACKGROUND"),
)
#: Cards that tell chips or amplifiers that were read at the same time apart.
CHIPS = ("DETSEC", "CCDNAME", "CCDNUM", "CCD_ID", "CHIPID", "CHIPNAME", "AMPID", "AMPNAME")
#: Most pixels of a tile.
MAX_TILE = 1 << 26


@dataclass(frozen=True)
class _Part:
    """Frames of one extension."""

    extension: Extension
    frames: int
    cut: Callable[[int, int], Rows]


def image_extensions(file: FitsFile) -> tuple[list[Extension], list[str]]:
    """Extensions that hold the frames, and what other images are left out.

    The first cube counts, with further ones that are called like it; without one, all images of
    the size that most of them have.
    """
    images = [e for e in file.extensions if not e.is_table and len(e.axes) in (2, 3)]
    images = [e for e in images if min(e.axes) > 0]
    named = [e for e in images if not e.name.startswith(NO_FRAMES)]
    cubes = [e for e in named if len(e.axes) == 3 and e.axes[0] > 1] or [
        e for e in named if len(e.axes) == 3
    ]
    if cubes and cubes[0].axes[0] > 1:
        stem = cubes[0].name.rstrip("0123456789_ ")
        chosen = [
            e
            for e in cubes
            if e is cubes[0]
            or (stem and e.axes[1:] == cubes[0].axes[1:] and e.name.startswith(stem))
        ]
    else:
        sizes = [e.axes[-2:] for e in named]
        usual = max(sizes, key=sizes.count) if sizes else ()
        chosen = [e for e in named if e.axes[-2:] == usual]
    left = [
        f"{e.name or f'extension {e.number}'} ({' x '.join(map(str, e.axes[::-1]))})"
        for e in images
        if e not in chosen
    ]
    return chosen, left


def open_images(file: FitsFile, *, single: bool = False) -> Source:
    """Source of the frames of a FITS file.

    Parameters
    ----------
    file : FitsFile
    single : bool
        One image alone is a frame: where it is one of several files.

    Raises
    ------
    InputError
        No frames in it, or those of several chips.
    """
    path = file.path
    chosen, left = image_extensions(file)
    alone = len(chosen) == 1 and len(chosen[0].axes) == 2
    if not chosen or (alone and chosen[0].number == 0 and not single):
        seen = [
            "a table" if e.is_table else " x ".join(map(str, e.axes[::-1]))
            for e in file.extensions
            if e.is_table or e.axes
        ]
        raise InputError.expected(
            path,
            "a cube of frames (x, y, frame), a frame in each extension, a table of pixels or an "
            "event list",
            ", ".join(seen) or "no data",
            "One frame alone is a cube with a third axis of length 1." if alone else None,
        )
    for e in chosen:
        check_shape(path, e.axes[-2:])
    if len(chosen) > 1:
        _check_chips(file, chosen)
    parts = [_part(file, e) for e in chosen]
    types = {_types(file, e)[1] for e in chosen}
    dtype = types.pop() if len(types) == 1 else np.result_type(*types)
    ends = np.cumsum([p.frames for p in parts])
    total, (ny, nx) = int(ends[-1]), chosen[0].axes[-2:]

    def cut(a: int, b: int) -> Rows:
        out = []
        for part, end in zip(parts, ends.tolist(), strict=True):
            first = end - part.frames
            if a < end and b > first:
                out.append(part.cut(max(a, first) - first, min(b, end) - first))
        return out[0] if len(out) == 1 else np.concatenate(out)

    header = file.whole_header(chosen[0])
    if chosen[0].is_tiled:
        _drop_tiles(header)
    unit = str(header.get("BUNIT", "")).strip() or None
    source = dense_source(
        str(path), (total, ny, nx), dtype, cut, unit=unit, header=header, path=path
    )
    what = "FITS cube" if parts[0].frames > 1 else f"FITS file of {len(parts)} extensions"
    packed = "in packed tiles" if chosen[0].is_tiled else ""
    packed = f"{packed} {file.data.packing or ''}".strip()
    source.account.read(
        "input",
        f"{what}{f' ({packed})' if packed else ''}: {total} frames of {nx} x {ny} pixels",
    )
    if left:
        source.account.leave_out(
            f"other images in the file: {', '.join(left[:4])}{', ...' if len(left) > 4 else ''}",
            "extensions",
        )
    source.good = read_intervals(file)
    _set_times(source, file, parts)
    return source


def _set_times(source: Source, file: FitsFile, parts: Sequence[_Part]) -> None:
    """Times of the frames: of the whole, or of each extension where they differ."""
    primary = [file.primary]
    first = [parts[0].extension.header, *primary]
    alone = len(parts) == 1
    source.told = told_times(from_headers(first), source.length if alone else parts[0].frames)
    if alone:
        return
    each = [told_times(from_headers([p.extension.header, *primary]), p.frames) for p in parts]
    steps = [t.frame_time for t in each if t.frame_time is not None]
    own = [t.origin for t in each if t.origin is not None]
    firsts = np.cumsum([0, *(p.frames for p in parts[:-1])])
    days = [t.mjd for t in each if t.mjd is not None]
    if len(own) < len(parts) and len(days) == len(parts):
        own = np.round((np.array(days) - days[0]) * 86400.0, 6).tolist()
    spans = np.array([p.frames for p in parts]) * (steps if len(steps) == len(parts) else [0.0])
    # Starts that are nearer than half a frame are rounded, and tell nothing.
    apart = np.diff(own) if len(own) == len(parts) else np.zeros(0)
    rising = len(apart) > 0 and bool((apart > 0.5 * spans[:-1]).all() and (apart > 0).all())
    if not steps and rising:
        step = float(np.median(np.diff(own))) / parts[0].frames
        source.account.assume(
            f"no frame time in the file: {step:.6g} s, the usual time from one extension to the "
            "next",
            "frame time",
        )
        source.told = replace(source.told, frame_time=step)
        steps = [step] * len(parts)
    if len(steps) < len(parts) or not (rising or len(set(steps)) > 1):
        return
    if len(set(steps)) > 1:
        source.account.read(
            "frame time", f"{min(steps):.6g} to {max(steps):.6g} s, told by each extension"
        )
    pieces = np.zeros(len(parts), PIECE)
    pieces["first"], pieces["step"] = firsts, steps
    spans = np.array([p.frames for p in parts]) * steps
    pieces["begin"] = own if rising else (own[0] if own else 0.0) + np.cumsum(spans) - spans
    source.pieces = pieces


def _check_chips(file: FitsFile, chosen: Sequence[Extension]) -> None:
    """Refuse extensions that are chips of one camera, read at the same time."""
    for card in CHIPS:
        values = {str(e.header.get(card, "")).strip() for e in chosen}
        if len(values) > 1:
            shown = ", ".join(sorted(values)[:4])
            raise InputError.expected(
                file.path,
                "a frame in each extension, all of one chip",
                f"chips or amplifiers that were read at the same time ({card}: {shown})",
                "Give the frames of one of them.",
            )


def _types(file: FitsFile, extension: Extension) -> tuple[np.dtype[Any], np.dtype[Any]]:
    try:
        return number_type(extension.header, extension.is_tiled)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError.expected(
            file.path, "numbers as BITPIX, BSCALE and BZERO", "others"
        ) from error


def _part(file: FitsFile, extension: Extension) -> _Part:
    axes = extension.axes
    n = axes[0] if len(axes) == 3 else 1
    try:
        cut = _tiled(file, extension) if extension.is_tiled else _plain(file, extension, n)
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise InputError.expected(
            file.path, "a header that describes an image", f"a damaged one ({error})"
        ) from error
    return _Part(extension, n, cut)


def _plain(file: FitsFile, extension: Extension, n: int) -> Callable[[int, int], Rows]:
    """Function that reads frames a to b of an image that is not packed."""
    header, start, path = extension.header, extension.start, file.path
    stored, dtype = _types(file, extension)
    scale, zero = scaling(header)
    blank = header.get("BLANK") if stored.kind in "ui" else None
    ny, nx = extension.axes[-2:]

    def convert(values: Rows) -> Rows:
        undefined = values == blank if blank is not None else None
        if dtype.kind in "ui" and undefined is None:
            return (values.astype(np.int64) + int(zero)).astype(dtype)
        out: Rows = values.astype(np.float32 if dtype.kind == "f" else np.float64)
        if (scale, zero) != (1.0, 0.0):
            out = out * scale + zero
        if undefined is not None:
            out[undefined] = np.nan
        return out

    def cut(a: int, b: int) -> Rows:
        size = ny * nx * stored.itemsize
        with file.data.open() as opened:
            opened.seek(start + a * size)
            raw = opened.read((b - a) * size)
        if len(raw) < (b - a) * size:
            raise InputError.expected(path, f"{n} frames", f"an end in frame {a} to {b - 1}")
        return convert(np.frombuffer(raw, stored).reshape(b - a, ny, nx))

    return cut


def _tiled(file: FitsFile, extension: Extension) -> Callable[[int, int], Rows]:
    """Function that unpacks frames a to b of an image in tiles.

    The library believes the size that a header claims: so it is compared with the number of tiles.
    """
    header, path, axes = extension.header, file.path, extension.axes
    tiles = [int(header.get(f"ZTILE{i + 1}", n if i == 0 else 1)) for i, n in enumerate(axes[::-1])]
    needed = math.prod(-(-n // t) for n, t in zip(axes[::-1], tiles, strict=True))
    rows, size = int(header.get("NAXIS2", 0)), " x ".join(map(str, axes[::-1]))
    if rows != needed or math.prod(tiles) > MAX_TILE:
        raise InputError.expected(
            path,
            f"{needed} packed tiles of at most {MAX_TILE} pixels for {size} pixels",
            f"{rows} of {' x '.join(map(str, tiles))}",
        )
    if int(header.get("PCOUNT", 0)) * 1040 < math.prod(axes) // 8:
        raise InputError.expected(
            path,
            f"the packed data of {size} pixels",
            f"{header.get('PCOUNT', 0)} bytes",
        )
    held: list[Any] = []
    ny, nx = axes[-2:]
    last = axes[0] if len(axes) == 3 else 1

    def cut(a: int, b: int) -> Rows:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if not held:
                    hdus = fits.open(file.data.open(), memmap=False, lazy_load_hdus=True)
                    held.append(hdus[extension.number])
                section = held[0].section
                values = np.asarray(section[a:b] if len(axes) == 3 else section[:, :])
                values = values.reshape(b - a, ny, nx)
            if b == last:
                held.clear()  # of many files only the one that is read is open
        except Exception as error:  # astropy's readers fail in many ways on damaged tiles
            raise InputError.expected(
                path, "readable packed tiles", f"damaged ones ({error})"
            ) from error
        return values.astype(values.dtype.newbyteorder("="), copy=False)

    return cut


def _drop_tiles(header: Header) -> None:
    """Remove the cards that describe the packing."""
    for name in list(header):
        if name.startswith("Z") and name[1:].rstrip("0123456789") in (
            *("IMAGE", "CMPTYPE", "TILE", "NAME", "VAL", "NAXIS", "BITPIX", "SIMPLE", "EXTEND"),
            *("TENSION", "PCOUNT", "GCOUNT", "QUANTIZ", "DITHER", "BLANK", "HECKSUM", "DATASUM"),
        ):
            header.remove(name, ignore_missing=True, remove_all=True)
