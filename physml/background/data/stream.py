"""One observation as the event finder needs it: checked frames in keV, their times, the detector.

Whatever holds frames (a path, an array, a table) becomes a `FrameStream`, which gives them block
by block: a file of any size takes the memory of one block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io.fits import Header

from physml.exceptions import InputError

from ..core.arrays import Bools, Rows
from ..core.detectors import DetectorSettings, load_detector
from ..core.frames import Frames
from .inspector import Calibration, Inspector
from .readers import Raw, Source, open_source
from .timeline import Timeline

#: Cards of a cube's header that may tell the frame time, s.
FRAME_TIME_CARDS = ("FRAMTIME", "FRAMETIM", "TIMEDEL")
#: Most frames in a block of which those without pixels are listed.
MAX_FILLED = 1 << 22


@dataclass
class Camera:
    """Properties of the camera of one observation.

    Attributes
    ----------
    name : str
        Of the detector's settings.
    shape : tuple of int
        Rows and columns.
    pixel_um, thickness_um : float
        Side of a pixel and depth of the silicon.
    frame_time : float
        Seconds.
    enc : float
        Readout noise, electrons.
    split, event, upper : float
        Thresholds of the event finder, keV.
    """

    name: str
    shape: tuple[int, int]
    pixel_um: float
    thickness_um: float
    frame_time: float
    enc: float
    split: float
    event: float
    upper: float


@dataclass
class FrameStream:
    """Frames of one observation, read and checked block by block.

    Attributes
    ----------
    source : Source
        Where they come from.
    camera : Camera
        The detector.
    timeline : Timeline
        Times of frames; complete once all blocks were read.
    inspector : Inspector
        Checks, with the bad pixels.
    name : str
        Name for titles.
    files : dict
        Input files by role, for the provenance.
    """

    source: Source
    camera: Camera
    timeline: Timeline
    inspector: Inspector
    name: str
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def remarks(self) -> list[str]:
        """Changes of the data, and other things, that the user should know."""
        return self.inspector.remarks

    @property
    def bad(self) -> Bools:
        """Bad pixels that are known so far, shape (ny, nx)."""
        return self.inspector.bad

    @property
    def header(self) -> Header | None:
        """Header of a FITS input."""
        return self.source.header

    def blocks(self) -> Iterator[tuple[Frames, int]]:
        """Read all frames once.

        Yields
        ------
        frames : Frames
            Of one block.
        done : int
            How much of `source.length` this block was.

        Raises
        ------
        InputError
            Anything is not as it has to be.
        """
        c = self.camera
        last = None
        for raw in self.source.read():
            raw = self._with_empty_frames(raw, last)
            last = int(raw.index[-1]) if len(raw.index) else last
            pixels = self.inspector.pixels(raw)
            self.timeline.see(raw.index, self.source.complete)
            if (self.timeline.exposure_of(raw.index) < 0).any():
                raise InputError.expected(
                    self.source.label, "frames of the exposures that it lists", "others as well"
                )
            weight = raw.weight
            if weight is None:
                weight = np.ones(len(raw.index), np.float32)
            yield (
                Frames(
                    pixels,
                    c.shape,
                    raw.index,
                    weight,
                    frame_time=c.frame_time,
                    exposures=self._exposures(),
                ),
                len(raw.values),
            )
        if not self.inspector.largest > c.split:
            found = "no pixels at all"
            if np.isfinite(self.inspector.largest):
                found = (
                    "zeros only"
                    if self.inspector.largest == 0
                    else f"none: the largest is {self.inspector.largest:.3g} keV"
                )
            raise InputError.expected(self.source.label, f"pixels above {c.split:g} keV", found)

    def _with_empty_frames(self, raw: Raw, last: int | None) -> Raw:
        """List also the frames that have no pixels, where the source lists only those that have.

        How many particles there are in a frame on average is part of what the network looks at.
        """
        if self.source.complete or len(raw.index) == 0:
            return raw
        first = int(raw.index[0]) if last is None else last + 1
        if raw.index[-1] - first >= MAX_FILLED:
            return raw
        return replace(raw, index=np.arange(first, raw.index[-1] + 1, dtype=np.int64))

    def _exposures(self) -> Rows | None:
        rows = self.source.exposures
        return rows if rows is not None and "first_frame" in (rows.dtype.names or ()) else None


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
) -> FrameStream:
    """Open frames for reading.

    Parameters
    ----------
    frames : path, ndarray, Quantity, structured ndarray or Table
        See `physml.background.data.readers.open_source`.
    detector : str, path or DetectorSettings, optional
        Name of a shipped detector (``wfi``, ``wfi_fast``, ``axis``, ``acis``), a settings file, or
        settings; the first by default.
    gain, offset : float, path or ndarray of shape (ny, nx), optional
        Raw values become keV as (value - offset) x gain. Without a gain they are in keV.
    bad : path or ndarray of bool, shape (ny, nx), optional
        Pixels to ignore: an image that is not 0 there.
    frame_time : float, optional
        Seconds; by default the file's, else the detector's.
    split, event : float, optional
        Thresholds, keV; by default the file's split threshold, else the detector's.
    origin : float, optional
        Time of the beginning of frame 0, s; by default a cube's TSTART, else 0.

    Raises
    ------
    InputError
        For everything that does not go together.
    """
    settings = _detector(detector)
    source = open_source(frames)
    label = source.label
    shape = (int(settings.ny), int(settings.nx))
    known = _known(source)
    for name, value in (("frame_time", frame_time), ("split", split), ("event", event)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{name}=: expected a positive number, found {value}")
    cut = split or known.get("threshold") or float(settings.split_keV)
    camera = Camera(
        name=settings.name,
        shape=shape,
        pixel_um=known.get("pixel_um", float(settings.pixel_um)),
        thickness_um=known.get("thickness_um", float(settings.thickness_um)),
        frame_time=frame_time or known.get("frame_time") or float(settings.frame_time),
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
    files = {"frames": source.path} if source.path else {}
    calibration = Calibration(
        _map("gain", gain, shape, files), _map("offset", offset, shape, files)
    )
    if gain is None and offset is not None and source.dtype.kind in "ui":
        raise InputError("offset=: expected together with gain=, found without")
    mask = np.zeros(shape, bool)
    if bad is not None:
        mask = np.asarray(_map("bad", bad, shape, files)) != 0
        if mask.shape != shape:
            raise InputError("bad=: expected an image of bad pixels, found a number")
    inspector = Inspector(source, shape, camera.split, camera.enc, calibration, mask)
    start = _origin(source, origin)
    if source.exposures is not None:
        timeline = Timeline.from_exposures(source.exposures, label, start)
    else:
        timeline = Timeline(camera.frame_time, origin=start)
    title = source.path.name if source.path else source.label
    stream = FrameStream(source, camera, timeline, inspector, title, files=files)
    if frame_time is None and detector is None and "frame_time" not in known:
        inspector.remark(
            f"no frame time given: that of the detector {camera.name!r}, "
            f"{1e3 * camera.frame_time:g} ms, is used"
        )
    return stream


def _detector(given: Any) -> DetectorSettings:
    if isinstance(given, DetectorSettings):
        return given
    if given is None:
        return load_detector("wfi")
    if not isinstance(given, str | PathLike):
        raise InputError.expected(
            "detector=", "a name, a settings file or DetectorSettings", type(given).__name__
        )
    return load_detector(given)


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
    if source.header is not None:
        for card in FRAME_TIME_CARDS:
            value = source.header.get(card)
            if isinstance(value, int | float) and value > 0:
                found.setdefault("frame_time", float(value))
    return found


def _origin(source: Source, origin: float | None) -> float:
    if origin is not None:
        if not np.isfinite(origin):
            raise InputError(f"origin=: expected a time in seconds, found {origin}")
        return float(origin)
    start = None if source.header is None else source.header.get("TSTART")
    return float(start) if isinstance(start, int | float) else 0.0


def _map(role: str, given: Any, shape: tuple[int, int], files: dict[str, Path]) -> Any:
    """Take a number, or an image of the detector's shape, from whatever was given."""
    if given is None:
        return None
    if isinstance(given, str | PathLike):
        try:
            return _number(role, float(str(given)))
        except ValueError:
            pass
        from physml.io.fits import open_image

        files[role] = Path(given)
        given = open_image(Path(given)).data
    values = np.asarray(given)
    if values.ndim == 0:
        return _number(role, float(values))
    if values.shape != shape:
        raise InputError.expected(
            files.get(role, f"{role}="),
            f"a number, or an image of {shape[1]} x {shape[0]} pixels",
            " x ".join(map(str, values.shape[::-1])),
        )
    if not np.isfinite(values.astype(float)).all():
        raise InputError.expected(files.get(role, f"{role}="), "finite values", "NaN or infinity")
    if role == "gain" and (values <= 0).any():
        raise InputError.expected(files.get(role, f"{role}="), "positive gains", "others")
    return values


def _number(role: str, value: float) -> float:
    if not np.isfinite(value) or (role == "gain" and value <= 0):
        raise InputError(
            f"{role}=: expected a {'positive' if role == 'gain' else 'finite'} number, "
            f"found {value:g}"
        )
    return value
