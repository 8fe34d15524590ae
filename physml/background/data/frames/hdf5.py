"""Frames in HDF5: a data set of images, or a table of pixels, in the file or in a group of it.

Sparse files, as the simulator writes them, have a table ``pixels`` with the columns frame, y, x,
energy (keV), sorted by frame; optionally ``index`` (numbers of all frames that were read out, also
those without pixels), ``weight`` (one for each of them), and a table ``exposures`` with the columns
first_frame, n_frames, frame_time (s), ny, nx and, where known, pixel_um, thickness_um, enc,
threshold. Dense ones have a data set ``frames`` with axes (frame, y, x), and optionally ``index``
and ``exposures``. In other files the only data set of three axes holds the frames (as
``entry/data/data`` of NeXus does), or the one that is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.recfunctions import rename_fields

from physml.exceptions import InputError
from physml.io.shards import Spec, open_hdf5, open_shard

from ...core.arrays import Ints, Rows, Singles
from ..times import TIMED, from_values, told_times
from . import source as limits
from .hdf5_notes import Place, find_place, read_notes
from .source import (
    Raw,
    Source,
    block_length,
    by_frame,
    check_real,
    check_rows,
    check_shape,
)


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

    def take(self, n: int) -> tuple[Ints, Singles | None]:
        """Look at the next frames, without going on."""
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

    def done(self, index: Ints) -> None:
        """Go on behind frames that were taken."""
        self.at += len(index)
        if len(index):
            self.last = int(index[-1])

    def until(self, last: int, present: Ints) -> tuple[Ints, Singles | None]:
        """Go on to a frame; `present` are those with pixels, which have to be listed."""
        parts: list[tuple[Ints, Singles | None]] = []
        while self.at < self.length:
            index, weight = self.take(limits.BLOCK_ROWS)
            keep = int(np.searchsorted(index, last, side="right"))
            parts.append((index[:keep], None if weight is None else weight[:keep]))
            self.done(index[:keep])
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
            index, weight = self.take(limits.BLOCK_ROWS)
            yield index, weight
            self.done(index)


def open_hdf5_source(
    path: Path, dataset: str | None = None, columns: Mapping[str, str] | None = None
) -> Source:
    """Source of an HDF5 file; see the module.

    Parameters
    ----------
    path : Path
    dataset : str, optional
        Data set that holds the frames or pixels, such as ``entry/data/data``.
    columns : mapping, optional
        Names of the columns of a table of pixels by role: frame, x, y, signal.

    Raises
    ------
    InputError
        No such data in it, or something in it is not as it has to be.
    """
    with open_hdf5(path) as file:
        place = find_place(path, file, dataset)
        notes = read_notes(path, file, place)
    return _Hdf5(path, place, columns or {}).source(notes)


@dataclass
class _Hdf5:
    """A file of frames while it is opened and read."""

    path: Path
    place: Place
    columns: Mapping[str, str]

    def __post_init__(self) -> None:
        name, table = self.place.name, self.place.table
        self.spec = {
            name: Spec(None, (None,) if table else (None, None, None), finite=False),
            "index": Spec(None, (None,), optional=True),
            "weight": Spec("f4", (None,), optional=True),
            "exposures": Spec(None, (None,), optional=True),
        }
        self.rename = {
            given: {"signal": "energy"}.get(role, role) for role, given in self.columns.items()
        }

    def _open(self) -> Any:
        return open_shard(self.path, self.spec, group=self.place.group)

    def source(self, notes: Mapping[str, tuple[Any, str]]) -> Source:
        """Check all that can be checked without the data, and make a source."""
        path, name = self.path, self.place.name
        with self._open() as shard:
            has = set(shard.names)
            exposures = shard.read("exposures") if "exposures" in has else None
            if "index" in has and shard.dtype("index").kind not in "ui":
                raise InputError.expected(
                    path, "whole numbers in 'index'", str(shard.dtype("index"))
                )
            length, dtype, shape = shard.shape(name)[0], shard.dtype(name), shard.shape(name)
            listed = shard.shape("index")[0] if "index" in has else None
        dense = not self.place.table
        if dense and listed is not None and listed != length:
            raise InputError.expected(path, f"{length} frame numbers in 'index'", f"{listed}")
        if length == 0 and (dense or (not listed and exposures is None)):
            raise InputError.expected(path, f"data in {name!r}", "none: its length is 0")
        if dense:
            check_shape(path, shape[1:])
            check_real(path, dtype, "frames")
        else:
            dtype = np.dtype([(self.rename.get(n, n), dtype[n]) for n in dtype.names or ()])
            check_rows(path, dtype)
        plain = {n: v for n, v in notes.items() if n.lower() not in ("unit", "units")}
        known = from_values(plain, TIMED)
        frames = length if dense else listed
        source = Source(
            label=str(path),
            dense=dense,
            dtype=dtype if dense else dtype["energy"],
            shape=(int(shape[1]), int(shape[2])) if dense else _exposed_shape(path, exposures),
            length=length,
            complete=dense or "index" in has,
            read=self._read,
            unit=_unit(notes),
            exposures=exposures,
            path=path,
            weighted="weight" in has and "index" in has,
            told=told_times(known, frames, each=True),
        )
        what = f"{length} frames of {shape[2]} x {shape[1]} pixels" if dense else f"{length} pixels"
        source.account.read("input", f"HDF5 data set {self.place.whole}: {what}")
        return source

    def _read(self) -> Iterator[Raw]:
        with self._open() as shard:
            listed = _Listed(shard, self.path) if "index" in shard else None
            if self.place.table:
                yield from self._rows(shard, listed)
                return
            name = self.place.name
            length, step = shard.shape(name)[0], block_length(shard.shape(name))
            for a in range(0, length, step):
                b = min(a + step, length)
                index: Ints = np.arange(a, b, dtype=np.int64)
                weight = None
                if listed is not None:
                    index, weight = listed.take(b - a)
                    listed.done(index)
                yield Raw(index, weight, shard.read(name, slice(a, b)))

    def _rows(self, shard: Any, listed: _Listed | None) -> Iterator[Raw]:
        def cut(a: int, b: int) -> Rows:
            rows = shard.read(self.place.name, slice(a, b))
            return rename_fields(rows, self.rename) if self.rename else rows

        for index, rows in by_frame(self.path, shard.shape(self.place.name)[0], cut):
            if listed is None:
                yield Raw(index, None, rows)
            else:
                yield Raw(*listed.until(int(index[-1]), index), rows)
        if listed is not None:
            yield from (Raw(i, w, cut(0, 0)) for i, w in listed.rest())


def _unit(notes: Mapping[str, tuple[Any, str]]) -> str | None:
    """Unit of the energies, by an attribute of the data set."""
    for name, (value, _) in notes.items():
        if name.lower() in ("unit", "units") and isinstance(value, str) and value.strip():
            return value.strip()
    return None


def _exposed_shape(path: Path, exposures: Rows | None) -> tuple[int, int] | None:
    """Shape of the detector that a table of exposures tells, or None."""
    names = () if exposures is None else exposures.dtype.names or ()
    if exposures is None or not {"ny", "nx"} <= set(names) or len(exposures) == 0:
        return None
    shapes = {(int(e["ny"]), int(e["nx"])) for e in exposures}
    if len(shapes) > 1:
        raise InputError.expected(path, "exposures of one detector shape", f"{sorted(shapes)}")
    shape = shapes.pop()
    check_shape(path, shape)
    return shape
