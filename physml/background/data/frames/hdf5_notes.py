"""Where the frames are in an HDF5 file, and what stands beside them: units, times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from physml.exceptions import InputError
from physml.io.shards import hdf5_errors

from .source import COLUMNS

#: How deep, and how many groups and data sets, are looked at.
MAX_DEPTH, MAX_ITEMS = 8, 2000
#: Data sets of one number, and attributes, that are looked at in a group.
MAX_NOTES = 200
#: Beginnings of names, without underscores, that are read: others are none of our business.
NOTED = (
    *("frametim", "framtime", "frmtime", "timedel", "cycletime", "exptime", "exposure"),
    *("inttime", "integrationtime", "frameperiod", "framerate"),
    *("counttime", "acqtime", "acquisitiontime", "livetime", "ontime", "tstart", "tstop"),
    *("date-obs", "dateobs", "datebeg", "mjdobs", "mjdbeg", "timesys", "timeunit"),
    *("starttime", "startdate", "unit"),
)


@dataclass(frozen=True)
class Place:
    """Where the frames or pixels are.

    Attributes
    ----------
    group : str
        Group that holds the data set; an empty text for the file itself.
    name : str
        Of the data set.
    table : bool
        A table of pixels; else images.
    """

    group: str
    name: str
    table: bool

    @property
    def whole(self) -> str:
        """Path in the file."""
        return f"{self.group}/{self.name}".lstrip("/")


def find_place(path: Path, file: h5py.File, dataset: str | None) -> Place:
    """Data set of the frames: the one that is named, ``frames``, ``pixels``, or the only one.

    Raises
    ------
    InputError
        None, or several.
    """
    with hdf5_errors(path, dataset or "frames"):
        if dataset is not None:
            return _named(path, file, dataset)
        here = {n for n in ("frames", "pixels") if _hard(file, n)}
        if len(here) == 2:
            raise InputError.expected(path, "either 'frames' or 'pixels'", "both")
        if here:
            name = here.pop()
            return Place("", name, name == "pixels")
        images, tables = _candidates(file)
    found = images or tables
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(p.whole for p in found[:6]) + (", ..." if len(found) > 6 else "")
        raise InputError.expected(
            path, "one data set of frames", f"{len(found)}: {shown}", "Name it with dataset=."
        )
    names = [str(name) for name, _ in zip(file, range(20), strict=False)]
    raise InputError.expected(
        path,
        f"a dataset 'frames' (frame, y, x) or a table 'pixels' ({', '.join(COLUMNS)}), in keV",
        "only " + ", ".join(names) if names else "nothing",
        "Name another data set with dataset=.",
    )


def _named(path: Path, file: h5py.File, dataset: str) -> Place:
    parts = [p for p in dataset.split("/") if p]
    item: Any = file
    for k, part in enumerate(parts):
        if part.startswith(".") or not isinstance(item, h5py.Group) or not _hard(item, part):
            images, tables = _candidates(file)
            shown = ", ".join(p.whole for p in [*images, *tables][:6]) or "none with three axes"
            raise InputError.expected(path, f"a data set {dataset!r} stored in the file", shown)
        item = item.get(part)
        if k == len(parts) - 1 and isinstance(item, h5py.Dataset):
            return Place("/".join(parts[:-1]), part, bool(item.dtype.names))
    raise InputError.expected(path, f"a data set {dataset!r}", "a group")


def _hard(group: h5py.Group, name: str) -> bool:
    """Whether a name is there and no link to elsewhere. Links by name are told as they are."""
    links = group.id.links
    if not links.exists(name.encode()):
        return False
    # What the shards refuse, they refuse with their own words.
    return group is group.file or links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD


def _candidates(file: h5py.File) -> tuple[list[Place], list[Place]]:
    """Data sets of three axes, and tables with the columns of pixels, anywhere in the file."""
    images: list[Place] = []
    tables: list[Place] = []
    waiting = [("", file["/"], 0)]
    seen = 0
    while waiting and seen < MAX_ITEMS:
        where, group, depth = waiting.pop(0)
        for name, _ in zip(group, range(MAX_ITEMS), strict=False):
            seen += 1
            if not isinstance(name, str) or name.startswith("."):
                continue
            if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
                continue
            item = group.get(name)
            if isinstance(item, h5py.Group) and depth < MAX_DEPTH:
                waiting.append((f"{where}/{name}".lstrip("/"), item, depth + 1))
            elif isinstance(item, h5py.Dataset) and item.shape is not None:
                if len(item.shape) == 3 and item.dtype.kind in "uif" and min(item.shape[1:]) > 7:
                    images.append(Place(where, name, False))
                elif len(item.shape) == 1 and set(COLUMNS) <= set(item.dtype.names or ()):
                    tables.append(Place(where, name, True))
    return images, tables


def read_notes(path: Path, file: h5py.File, place: Place) -> dict[str, tuple[Any, str]]:
    """Values that stand beside the frames, with their units: the nearest ones count.

    Looked at are the attributes of the data set, attributes and data sets of one number in its
    group, and then those of the groups above it.

    Returns
    -------
    dict of (value, unit)
        By name.
    """
    notes: dict[str, tuple[Any, str]] = {}
    with hdf5_errors(path, place.whole):
        groups: list[h5py.Group] = [file]
        for part in [p for p in place.group.split("/") if p]:
            if not _hard(groups[-1], part) or not isinstance(groups[-1].get(part), h5py.Group):
                return notes
            groups.append(groups[-1][part])
        if _hard(groups[-1], place.name) and not _linked(groups[-1], place.name):
            item = groups[-1].get(place.name)
            if isinstance(item, h5py.Dataset):
                _add_attributes(notes, item)
        for group in groups[::-1]:
            _add_attributes(notes, group, units=False)
            for name, _ in zip(group, range(MAX_NOTES), strict=False):
                if isinstance(name, str) and _wanted(name) and not _linked(group, name):
                    item = group.get(name)
                    if isinstance(item, h5py.Dataset):
                        _add_scalar(notes, name, item)
    return notes


def _linked(group: h5py.Group, name: str) -> bool:
    return bool(group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD)


def _wanted(name: str) -> bool:
    plain = name.lower().replace("_", "").replace(" ", "")
    return plain.startswith(NOTED)


def _add_attributes(
    notes: dict[str, tuple[Any, str]], item: h5py.Dataset | h5py.Group, units: bool = True
) -> None:
    for name, _ in zip(item.attrs, range(MAX_NOTES), strict=False):
        if not isinstance(name, str) or not _wanted(name):
            continue
        if not units and name.lower() in ("unit", "units"):
            continue
        attribute = item.attrs.get_id(name)
        if attribute.shape in ((), (1,)) and _plain(attribute.dtype):
            value = _value(item.attrs[name])
            if value is not None:
                notes.setdefault(name, (value, ""))


def _add_scalar(notes: dict[str, tuple[Any, str]], name: str, item: h5py.Dataset) -> None:
    if item.shape not in ((), (1,)) or not _plain(item.dtype) or item.is_virtual or item.external:
        return
    if item.id.get_create_plist().get_nfilters():
        return
    unit = ""
    for key in ("unit", "units"):
        if key in item.attrs and item.attrs.get_id(key).shape == ():
            found = _value(item.attrs[key]) if _plain(item.attrs.get_id(key).dtype) else None
            unit = found if isinstance(found, str) else unit
    value = _value(item[()])
    if value is not None and name.lower() not in ("unit", "units"):
        notes.setdefault(name, (value, unit))


def _plain(dtype: np.dtype[Any]) -> bool:
    """A number of usual size, or a text."""
    return dtype.kind in "uifS" or h5py.check_string_dtype(dtype) is not None


def _value(raw: Any) -> float | int | str | None:
    """A number or text of Python's own; None for anything else."""
    value = np.asarray(raw)
    if value.size != 1:
        return None
    one = value.reshape(-1)[0]
    if isinstance(one, bytes):
        return one.decode("utf-8", "replace")[:200]
    if isinstance(one, str):
        return one[:200]
    if isinstance(one, np.integer):
        return int(one)
    return float(one) if isinstance(one, np.floating) else None
