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
from .account import Account
from .frames import Raw, Source, open_source
from .inspector import Calibration, Inspector
from .observed import within
from .timeline import Timeline
from .times import epoch_cards

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
    def account(self) -> Account:
        """What was read, assumed and left out."""
        return self.inspector.account

    @property
    def remarks(self) -> list[str]:
        """Assumptions, changes of the data, and other things that the user should know."""
        return self.account.remarks

    @property
    def bad(self) -> Bools:
        """Bad pixels that are known so far, shape (ny, nx)."""
        return self.inspector.bad

    @property
    def header(self) -> Header | None:
        """Header of a FITS input."""
        return self.source.header

    @property
    def dated_header(self) -> Header | None:
        """Header with a reference time that agrees with the date that the input tells."""
        cards = epoch_cards(self.source.told, self.source.header or {})
        if not cards:
            return self.header
        header = Header() if self.header is None else self.header.copy()
        header.update(cards)
        return header

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
        for raw in self._raws():
            pixels = self.inspector.pixels(raw)
            # Within good times all frames are listed, also those without pixels.
            self.timeline.see(raw.index, self.source.complete or self.source.good is not None)
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
        self._conclude()

    def _raws(self) -> Iterator[Raw]:
        """Blocks with all frames that were observed, and no others."""
        if self.source.good is None:
            last = None
            for raw in self.source.read():
                raw = self._with_empty_frames(raw, last)
                last = int(raw.index[-1]) if len(raw.index) else last
                yield raw
            return
        yield from within(self.source, self.timeline, self.account)

    def _conclude(self) -> None:
        """Say what there was, once all was read."""
        t = self.timeline
        n, share = t.n_frames, t.live_share
        text = f"{t.live_time:.6g} s in {n} frame{'s' * (n != 1)}"
        if share < 1:
            text += f", {share:.2%} of {t.live_time / share:.6g} s"
        self.account.read("exposure", text)
        if self.inspector.largest > self.camera.split:
            return
        found = "there are no pixels at all"
        if np.isfinite(self.inspector.largest):
            found = (
                "all pixels are zero"
                if self.inspector.largest == 0
                else f"the largest has {self.inspector.largest:.3g} keV"
            )
        self.account.leave_out(
            f"no pixel lies above the split threshold of {self.camera.split:g} keV ({found}): no "
            "events",
            "events",
        )

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
        _map("gain", gain, shape, files), _map("offset", offset, shape, files)
    )
    if gain is None and offset is not None and source.dtype.kind in "ui":
        raise InputError("offset=: expected together with gain=, found without")
    mask = np.zeros(shape, bool)
    if bad is not None:
        mask = np.asarray(_map("bad", bad, shape, files)) != 0
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
