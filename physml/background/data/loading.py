"""Frames opened for reading: what they are, their times, their detector, their calibration."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from physml.exceptions import InputError

from ..core.detectors import DetectorSettings, load_detector
from .account import Account
from .calibration_maps import read_map
from .frames import Source, open_source
from .inspector import Calibration, Inspector
from .stream import Camera, FrameStream
from .timeline import Timeline


def load_frames(
    frames: Any,
    *,
    detector: Any = None,
    gain: Any = None,
    offset: Any = None,
    bad: Any = None,
    frame_time: float | None = None,
    split: float | None = None,
    event: float | None = None,
    origin: float | None = None,
    dataset: str | None = None,
    columns: Any = None,
) -> FrameStream:
    """Open frames for reading.

    Parameters
    ----------
    frames : path, sequence of paths, ndarray, Quantity, structured ndarray or Table
        See `physml.background.data.frames.open_source`.
    detector : str, path or DetectorSettings, optional
        Name of a shipped detector (``wfi``, ``wfi_fast``, ``axis``, ``acis``, ``timepix``), a
        settings file, or settings; the first by default, of texts of a Timepix the last.
    gain, offset : float, path or ndarray of shape (ny, nx), optional
        Raw values become keV as (value - offset) x gain. Without a gain they are in keV.
    bad : path or ndarray of bool, shape (ny, nx), optional
        Pixels to ignore: an image that is not 0 there.
    frame_time : float, optional
        Seconds; by default the file's, else the detector's.
    split, event : float, optional
        Thresholds, keV; by default the file's split threshold, else the detector's.
    origin : float, optional
        Time of the beginning of frame 0, s; by default a file's TSTART, else 0.
    dataset : str, optional
        Data set of an HDF5 file that holds the frames, such as ``entry/data/data``.
    columns : str or mapping, optional
        Columns of a table of pixels, ``frame=F,x=X,y=Y,signal=S``.

    Raises
    ------
    InputError
        For everything that does not go together.
    """
    source = open_source(frames, dataset=dataset, columns=columns, raw=gain is not None)
    label = source.label
    account = Account(Path(label).name if source.path else label)
    account.add(source.account)
    settings = _detector(detector, source, account)
    shape = (int(settings.ny), int(settings.nx))
    known = _known(source)
    for name, value in (("frame_time", frame_time), ("split", split), ("event", event)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{name}=: expected a positive number, found {value}")
    step = _frame_time(source, frame_time, known, settings, account)
    cut = split or known.get("threshold") or float(settings.split_keV)
    camera = Camera(
        name=settings.name,
        shape=shape,
        pixel_um=known.get("pixel_um", float(settings.pixel_um)),
        thickness_um=known.get("thickness_um", float(settings.thickness_um)),
        frame_time=step,
        enc=known.get("enc", float(settings.enc)),
        split=cut,
        event=event or max(float(settings.event_keV), cut),
        upper=float(settings.upper_keV),
    )
    if camera.event < camera.split:
        raise InputError(
            f"event=: expected a threshold of at least {camera.split:g} keV, the split "
            f"threshold, found {camera.event:g}"
        )
    files = _files(source)
    calibration = Calibration(
        read_map("gain", gain, shape, files), read_map("offset", offset, shape, files)
    )
    if gain is None and offset is not None and source.dtype.kind in "ui":
        raise InputError("offset=: expected together with gain=, found without")
    mask = np.zeros(shape, bool)
    if bad is not None:
        mask = np.asarray(read_map("bad", bad, shape, files)) != 0
        if mask.shape != shape:
            raise InputError("bad=: expected an image of bad pixels, found a number")
        account.leave_out(f"{int(mask.sum())} pixels that were named as bad", "pixels")
    inspector = Inspector(source, shape, camera.split, camera.enc, calibration, mask, account)
    timeline = _timeline(source, step, frame_time is not None, origin)
    title = source.path.name if source.path else source.label
    if source.files:
        title = f"{title} and {len(source.files) - 1} more"
    return FrameStream(source, camera, timeline, inspector, title, files=files)


def _timeline(source: Source, step: float, given: bool, origin: float | None) -> Timeline:
    """Times of the frames; a frame time that is `given` counts in all files."""
    start = _origin(source, origin)
    if source.exposures is not None:
        return Timeline.from_exposures(source.exposures, source.label, start)
    share = 1.0 if given else source.told.live_share
    pieces = source.pieces
    if given and source.pieces is not None and source.dense and not source.files:
        pieces = None  # extensions of one file, whose times the given one replaces
    return Timeline(step, origin=start, pieces=pieces, live_share=share)


def _files(source: Source) -> dict[str, Path]:
    """Input files by role."""
    if not source.files:
        return {"frames": source.path} if source.path else {}
    return {f"frames {k}": path for k, path in enumerate(source.files, start=1)}


def _frame_time(
    source: Source,
    given: float | None,
    known: dict[str, float],
    settings: DetectorSettings,
    account: Account,
) -> float:
    """Frame time, s: the given one, the file's, or the detector's, which is said."""
    told = source.told
    for what, text in told.said:
        if not (what == "frame time" and given is not None):
            account.read(what, text)
    for text in told.assumed:
        if given is None or not text.startswith("no frame time"):
            account.assume(text, "times")
    if given is not None:
        other = known.get("frame_time")
        more = f"; the file tells {other:g} s" if other and abs(other / given - 1) > 1e-3 else ""
        account.read("frame time", f"{given:g} s (given{more})")
        return given
    if "frame_time" in known:
        if told.frame_time is None:
            account.read("frame time", f"{known['frame_time']:g} s (exposures)")
        return known["frame_time"]
    own = float(f"{settings.frame_time:.12g}")
    account.assume(
        f"no frame time given: that of the detector {settings.name!r}, {1e3 * own:g} ms, is used",
        "frame time",
    )
    return own


def _detector(given: Any, source: Source, account: Account) -> DetectorSettings:
    """Detector that is given, that the format implies, or the one of the training."""
    if isinstance(given, DetectorSettings):
        account.read("detector", f"{given.name} (given)")
        return given
    if given is None:
        settings = load_detector(source.detector or "wfi")
        account.assume(
            f"no detector named: {settings.name}, {settings.nx} x {settings.ny} pixels of "
            f"{settings.pixel_um:g} um",
            "detector",
        )
        return settings
    if not isinstance(given, str | PathLike):
        raise InputError.expected(
            "detector=", "a name, a settings file or DetectorSettings", type(given).__name__
        )
    settings = load_detector(given)
    account.read("detector", f"{settings.name} (given)")
    return settings


def _known(source: Source) -> dict[str, float]:
    """Numbers that the input tells of its detector."""
    found: dict[str, float] = {}
    rows = source.exposures
    if rows is not None and len(rows):
        for name in ("frame_time", "pixel_um", "thickness_um", "enc", "threshold"):
            if name in (rows.dtype.names or ()):
                value = float(np.median(rows[name]))
                if np.isfinite(value) and value > 0:
                    found[name] = float(f"{value:.7g}")
    if source.told.frame_time is not None:
        found.setdefault("frame_time", source.told.frame_time)
    return found


def _origin(source: Source, origin: float | None) -> float:
    if origin is not None:
        if not np.isfinite(origin):
            raise InputError(f"origin=: expected a time in seconds, found {origin}")
        return float(origin)
    return 0.0 if source.told.origin is None else float(source.told.origin)
