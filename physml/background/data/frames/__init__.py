"""Frames as they come: arrays, tables, HDF5, FITS, texts; one file or several; read in blocks.

`open_source` looks at what there is and makes a `Source`, which knows its shape and hands out raw
blocks. Each format has a module of its own.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from physml.exceptions import InputError

from .fits_file import FitsFile
from .fits_images import image_extensions, open_images
from .fits_pixels import open_pixels
from .hdf5 import open_hdf5_source
from .memory import open_memory
from .pixel_columns import find_pixels, looks_like_events, parse_columns
from .several import in_order_of_names, join
from .source import Raw, Source
from .timepix import open_text
from .timepix_text import is_pixel_text
from .unpacked import Unpacked

__all__ = ["Raw", "Source", "as_paths", "is_event_list", "open_input", "open_source"]

#: Files that stand beside those of frames.
BESIDE = (".dsc", ".idx", ".info")
_WANTED = "an HDF5 or FITS file, or a text of pixels"


def open_source(
    frames: Any, *, dataset: str | None = None, columns: Any = None, raw: bool = False
) -> Source:
    """Source for whatever holds frames.

    Parameters
    ----------
    frames : path, sequence of paths, ndarray, Quantity, structured ndarray or Table
        HDF5 file, FITS file (cube, a frame in each extension, table of pixels) or text; a pattern
        such as ``run_*.fits``, or several files, as one exposure; images of shape (frame, y, x);
        or rows with the columns frame, y, x, energy.
    dataset : str, optional
        Data set of an HDF5 file, such as ``entry/data/data``.
    columns : str or mapping, optional
        Columns of a table of pixels, ``frame=F,x=X,y=Y,signal=S``.
    raw : bool
        Whether raw values are wanted, since a gain is given.

    Raises
    ------
    InputError
        It is none of these.
    """
    if isinstance(frames, Source):
        return frames
    paths = as_paths(frames)
    if paths is None:
        return open_memory(frames)
    chosen, among = parse_columns(columns), len(paths) > 1
    sources = []
    for path in paths:
        data = Unpacked(path)
        kind = _kind(path, data, among)
        file = FitsFile.read(path, data) if kind == "fits" else None
        sources.append(_open(path, kind, file or data, dataset, chosen, raw, among))
    return join(sources) if among else sources[0]


def open_input(
    frames: Any, *, dataset: str | None = None, columns: Any = None, raw: bool = False
) -> Source | Path:
    """Source of frames, or the path of an event list; a packed file is unpacked once.

    Parameters
    ----------
    frames : path, array or table
    dataset, columns : str or mapping, optional
    raw : bool
        See `open_source`.

    Returns
    -------
    Source or Path

    Raises
    ------
    InputError
        It is neither, or an event list is one of several files.
    """
    paths = as_paths(frames)
    if paths is None or len(paths) > 1:
        return open_source(frames, dataset=dataset, columns=columns, raw=raw)
    path, data = paths[0], Unpacked(paths[0])
    kind = _kind(path, data)
    if kind != "fits":
        return _open(path, kind, data, dataset, parse_columns(columns), raw)
    file = FitsFile.read(path, data)
    if _has_events(file, columns):
        return path
    return _open(path, kind, file, dataset, parse_columns(columns), raw)


def as_paths(frames: Any) -> list[Path] | None:
    """Paths that are given, patterns expanded; None where something else is given.

    Raises
    ------
    InputError
        No file is called like a pattern, or one is named twice.
    """
    if isinstance(frames, str | PathLike):
        given: Sequence[Any] = [frames]
    elif (
        isinstance(frames, list | tuple)
        and frames
        and all(isinstance(f, str | PathLike) for f in frames)
    ):
        given = frames
    else:
        return None
    paths: list[Path] = []
    for one in given:
        path = Path(one)
        if not path.exists() and glob.has_magic(str(path)):
            found = [Path(p) for p in glob.glob(str(path)) if Path(p).is_file()]
            found = [p for p in found if p.suffix.lower() not in BESIDE]
            if not found:
                raise InputError.expected(path, "files that are called like it", "none")
            paths += in_order_of_names(found)
        else:
            paths.append(path)
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise InputError.expected(path, "each file once", "this one twice")
        seen.add(path.resolve())
    return paths


def is_event_list(path: Path, columns: Any = None) -> bool:
    """True for a FITS file with a table of events, whose frames are gone.

    A table of pixels has no grades, and a cube may have tables beside it.

    Raises
    ------
    InputError
        It is no file of frames or events.
    """
    data = Unpacked(path)
    if _kind(path, data, among=True) != "fits":
        return False
    return _has_events(FitsFile.read(path, data), columns)


def _has_events(file: FitsFile, columns: Any) -> bool:
    if columns is not None or not file.tables:
        return False
    if any(looks_like_events(e) for e in file.tables):
        return True
    return find_pixels(file, {}) is None and not image_extensions(file)[0]


def _kind(path: Path, data: Unpacked, among: bool = False) -> str:
    """Kind of a file by its first bytes: hdf5, fits or text."""
    head = data.head()
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        if data.packing:
            raise InputError.expected(
                path, "an HDF5 file that is not packed", f"one in {data.packing}", "Unpack it."
            )
        return "hdf5"
    if head.startswith(b"SIMPLE  ="):
        return "fits"
    if is_pixel_text(head) or (among and not head):
        return "text"
    if data.packing and not head:
        data.open().close()  # says what is wrong with it
        raise InputError.expected(path, _WANTED, f"an empty or damaged {data.packing} file")
    found = "another kind of file, or a damaged one" if head else "an empty file"
    raise InputError.expected(path, _WANTED, found)


def _open(
    path: Path,
    kind: str,
    file: FitsFile | Unpacked,
    dataset: str | None,
    columns: Mapping[str, str],
    raw: bool,
    among: bool = False,
) -> Source:
    """Source of one file of a known kind, alone or `among` others."""
    if kind == "hdf5":
        return open_hdf5_source(path, dataset, columns)
    if dataset is not None:
        raise InputError.expected(path, "an HDF5 file, of which a data set is named", f"a {kind}")
    if isinstance(file, Unpacked):
        return open_text(path, file)
    events = next((e.name for e in file.tables if looks_like_events(e)), None)
    if among and events is not None and not columns:
        raise InputError.expected(
            path, "frames, where several files are given", f"an event list ({events})"
        )
    if columns or (file.tables and not image_extensions(file)[0]):
        return open_pixels(file, columns, raw)
    return open_images(file, single=among)
