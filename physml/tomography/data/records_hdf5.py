"""HDF5 files of measurements: any settings, exactly as they were.

Datasets with a row for each outcome of each setting: ``effects`` (d, d), ``counts``, ``setting``
(row of the table of settings), ``outcome`` (name). The table ``settings`` has id, shots, time and,
where there are any, the basis and the local bases. ``readout`` and ``calibration`` may be there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from physml import provenance
from physml.exceptions import InputError
from physml.io.shards import Spec, read_shard, write_shard

from ..core.checks import MAX_ID, check_counts, check_id, check_qubits, check_time
from ..core.measurements import Setting, check, check_unitary
from ..core.readout import Readout
from .counts.whole import compare_shots
from .records import MAX_MEASUREMENTS, Measurement, Records, check_calibration, planned

MAX_BYTES = 2 << 30
_NAME = 64


def _table(n: int) -> np.dtype[Any]:
    d = 1 << n
    return np.dtype(
        [
            ("id", f"S{4 * MAX_ID}"),
            ("shots", "i8"),
            ("time", "f8"),
            ("has_time", "?"),
            ("basis", "c16", (d, d)),
            ("has_basis", "?"),
            ("local", "c16", (n, 2, 2)),
            ("has_local", "?"),
        ]
    )


def write_hdf5(records: Records, path: Path, overwrite: bool = False) -> None:
    """Write measurements to an HDF5 file, atomically.

    Raises
    ------
    OutputError
        There is something of that name already, or no room.
    """
    n = records.n_qubits
    settings = np.zeros(len(records.measurements), _table(n))
    for row, m in zip(settings, records.measurements, strict=True):
        s = m.setting
        row["id"], row["shots"] = s.id.encode("utf-8"), m.shots
        row["has_time"], row["time"] = m.time is not None, m.time or 0.0
        row["has_basis"], row["has_local"] = s.basis is not None, s.local is not None
        if s.basis is not None:
            row["basis"] = s.basis
        if s.local is not None:
            row["local"] = s.local
    every = records.measurements
    arrays = {
        "effects": np.concatenate([m.setting.effects for m in every]),
        "counts": np.concatenate([m.counts for m in every]),
        "setting": np.repeat(np.arange(len(every)), [len(m.counts) for m in every]),
        "outcome": np.array(
            [o.encode("utf-8")[:_NAME] for m in every for o in m.setting.outcomes], f"S{_NAME}"
        ),
    }
    tables: dict[str, NDArray[Any]] = {"settings": settings}
    if records.readout is not None:
        tables["readout"] = np.zeros(n, [("confusion", "f8", (2, 2)), ("known", "?")])
        tables["readout"]["confusion"] = records.readout.confusion
        tables["readout"]["known"] = records.readout.known
        if records.readout.joint is not None:
            tables["joint_readout"] = np.zeros(1 << n, [("confusion", "f8", (1 << n,))])
            tables["joint_readout"]["confusion"] = records.readout.joint
        if records.readout.counts is not None:
            tables["readout_counts"] = np.zeros(1 << n, [("counts", "i8", (1 << n,))])
            tables["readout_counts"]["counts"] = records.readout.counts
        if records.readout.error is not None and records.readout.joint is None:
            tables["readout_error"] = np.zeros(n, [("error", "f8", (2, 2))])
            tables["readout_error"]["error"] = records.readout.error
    if records.frame is not None:
        tables["frame"] = np.zeros(1 << n, [("row", "c16", (1 << n,))])
        tables["frame"]["row"] = records.frame
    if records.calibration is not None:
        tables["calibration"] = np.zeros(1 << n, [("counts", "i8", (1 << n,))])
        tables["calibration"]["counts"] = records.calibration
    write_shard(
        path,
        arrays,
        tables=tables,
        provenance=provenance.record("records", {}),
        overwrite=overwrite,
    )


def read_hdf5(path: Path) -> Records:
    """Read measurements from an HDF5 file.

    Raises
    ------
    InputError
        It holds something else, or settings or counts that cannot be.
    """
    # The dimension first: it says what the other columns have to look like.
    size = read_shard(path, {"effects": Spec("c16", (None, None, None))}, max_bytes=MAX_BYTES)
    d = size["effects"].shape[-1]
    n = d.bit_length() - 1
    if d < 2 or d != 1 << n:
        raise InputError.expected(path, "effects of qubits, d = 2, 4, 8, ...", f"d = {d}")
    check_qubits(n, str(path))
    shard = read_shard(
        path,
        {
            "effects": Spec("c16", (None, d, d)),
            "counts": Spec(None, (None,)),
            "setting": Spec("i8", (None,)),
            "outcome": Spec(f"S{_NAME}", (None,), optional=True),
            "settings": Spec(_table(n), (None,), optional=True),
            "readout": Spec(
                np.dtype([("confusion", "f8", (2, 2)), ("known", "?")]), (n,), optional=True
            ),
            "calibration": Spec(np.dtype([("counts", "i8", (d,))]), (d,), optional=True),
            "readout_counts": Spec(np.dtype([("counts", "i8", (d,))]), (d,), optional=True),
            "readout_error": Spec(np.dtype([("error", "f8", (2, 2))]), (n,), optional=True),
            "joint_readout": Spec(np.dtype([("confusion", "f8", (d,))]), (d,), optional=True),
            "frame": Spec(np.dtype([("row", "c16", (d,))]), (d,), optional=True),
        },
        max_bytes=MAX_BYTES,
    )
    rows = {len(shard[name]) for name in ("effects", "counts", "setting")}
    if len(rows) != 1:
        raise InputError.expected(path, "effects, counts and setting of one length", str(rows))
    readout = None
    if "readout" in shard:
        table = shard["readout"]
        confusion, known = table["confusion"].astype(np.float64), bool(table["known"].all())
        if "joint_readout" in shard:
            confusion = shard["joint_readout"]["confusion"].astype(np.float64)
        # With its errors: a readout that was calibrated stays an uncertain one.
        body = {"confusion": confusion, "known": known}
        if "readout_counts" in shard:
            body["counts"] = shard["readout_counts"]["counts"]
        if "readout_error" in shard:
            body["error"] = shard["readout_error"]["error"]
        try:
            readout = Readout.from_dict(body)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    calibration = None
    if "calibration" in shard:
        calibration = check_calibration(shard["calibration"]["counts"], str(path))
    found = [_measurement(path, shard, int(k), at) for k, at in _places(path, shard["setting"])]
    claims = [(m.setting.id, planned(m.setting.shots), int(m.counts.sum())) for m in found]
    return Records(
        n,
        found,
        readout,
        calibration,
        path.stem,
        {"records": path},
        compare_shots(claims, str(path)),
        places=[f"setting {k}" for k in range(len(found))],
        frame=None if "frame" not in shard else shard["frame"]["row"].astype(np.complex128),
    )


def _places(path: Path, setting: NDArray[np.int64]) -> list[tuple[int, slice]]:
    """Rows of each setting: they follow each other."""
    starts = np.flatnonzero(np.diff(setting, prepend=setting[:1] - 1))
    numbers = setting[starts]
    if len(numbers) > MAX_MEASUREMENTS or not len(numbers):
        raise InputError.expected(path, f"1 to {MAX_MEASUREMENTS} settings", str(len(numbers)))
    if (numbers != np.arange(len(numbers))).any():
        raise InputError.expected(path, "rows in the order of the settings 0, 1, ...", "others")
    ends = [*starts[1:].tolist(), len(setting)]
    return [(int(k), slice(int(a), int(b))) for k, a, b in zip(numbers, starts, ends, strict=True)]


def _measurement(path: Path, shard: Any, k: int, at: slice) -> Measurement:
    where = f"{path}, setting {k}"
    effects = check(shard["effects"][at], where)
    name, time, basis, local, shots = f"{k:06d}", None, None, None, None
    if "settings" in shard:
        if k >= len(shard["settings"]):
            raise InputError.expected(path, f"a row of settings for each of {k + 1}", "fewer")
        row = shard["settings"][k]
        name = check_id(_text(row["id"], where), where)
        time = check_time(float(row["time"]), where) if row["has_time"] else None
        shots = int(row["shots"])
        if row["has_basis"]:
            basis = check_unitary(row["basis"], where)
            _same(effects, basis, where)
        if row["has_local"]:
            local = check_unitary(row["local"], where)
    outcomes: tuple[str, ...] = ()
    if "outcome" in shard:
        outcomes = tuple(_text(o, where) for o in shard["outcome"][at])
    setting = Setting(effects, 0, name, local, outcomes, basis)
    counts = check_counts(shard["counts"][at], setting, f"{where}, counts of {name!r}")
    shots = int(counts.sum()) if shots is None or shots < 0 else shots
    return Measurement(Setting(effects, shots, name, local, outcomes, basis), counts, time)


def _same(effects: NDArray[np.complex128], basis: NDArray[np.complex128], where: str) -> None:
    wanted = np.einsum("ik,jk->kij", basis, basis.conj())
    if wanted.shape != effects.shape or np.abs(wanted - effects).max() > 1e-7:
        raise InputError.expected(where, "effects of its basis", "others")


def _text(value: Any, where: str) -> str:
    try:
        return cast("bytes", value).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError.expected(where, "text in UTF-8", repr(bytes(value))[:40]) from error
