"""Checks that frames are what they have to be: keV, offset-subtracted, of this detector.

A wrong unit or a forgotten offset does not stop an event finder, it only makes its results
worthless. Hence each block is looked at before it is used; what can be mended is mended with a
remark (hot pixels, noise below zero), all else is refused with a hint at the remedy.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from physml.exceptions import InputError

from ..core.arrays import Bools, Ints, Rows, Singles
from ..core.events import frames_to_sparse
from ..core.frames import PIXEL
from .account import Account
from .frames import Raw, Source

log = logging.getLogger(__name__)

#: Energy for an electron-hole pair in silicon, keV.
PAIR_KEV = 3.71e-3
#: Share of a frame's pixels above the threshold beyond which it is no photon-counting frame.
MAX_LIT = 0.10
#: Events in a frame beyond which they can only be pile-up, a light leak or a lost offset.
MAX_EVENTS = 10_000
#: Share of frames in which a pixel, or the pixels of a column on average, are lit when hot.
HOT_PIXEL, HOT_COLUMN = 0.5, 0.25
#: Fewest frames, or pixels, from which something is concluded.
ENOUGH_FRAMES, ENOUGH_PIXELS = 20, 20
#: Largest share of bad pixels.
MAX_BAD = 0.10
#: Largest share of pixels below minus five sigma.
MAX_NEGATIVE = 1e-3
#: In keV, one in a hundred pixels or more lies below it: split charge, edges of tracks [keV]; of
#: a hundred pixels at least. In Geant4's tracks it is at most 17 keV.
NOT_KEV, PLENTY = 30.0, 100
#: A handful of pixels, all above `NOT_KEV`, whose median lies above it, are not in keV either.
NEVER_KEV, FEW = 300.0, 5
#: Pixels from which the unit is told.
SAMPLE = 4096
HINT_GAIN = "Give the gain in keV per ADU (gain=, and offset= in ADU)."
HINT_DETECTOR = "Name the detector (detector=): wfi, wfi_fast, axis, acis, or a settings file."
HINT_EV = "Energies have to be in keV: divide by 1000, or gain='0.001'."


@dataclass
class Calibration:
    """Calibration of raw values: energies in keV are (value - offset) x gain.

    Attributes
    ----------
    gain : float or ndarray of shape (ny, nx), or None
        keV per unit of the raw values; None where they are in keV.
    offset : float or ndarray of shape (ny, nx), or None
        In units of the raw values.
    """

    gain: Any = None
    offset: Any = None

    @property
    def given(self) -> bool:
        """True where there is anything to do."""
        return self.gain is not None or self.offset is not None


@dataclass
class Inspector:
    """Checks the blocks of a source and turns them into sparse pixels in keV.

    Attributes
    ----------
    source : Source
    shape : tuple of int
        Rows and columns of the detector.
    split : float
        Split threshold, keV.
    enc : float
        Readout noise expected, electrons.
    calibration : Calibration
    bad : ndarray of bool, shape (ny, nx)
        Bad pixels: those given, then also hot ones as they are found.
    account : Account
        What was found and mended.
    """

    source: Source
    shape: tuple[int, int]
    split: float
    enc: float
    calibration: Calibration
    bad: Bools
    account: Account = field(default_factory=Account)
    n_negative: int = 0
    n_seen: int = 0
    largest: float = -np.inf
    _sample: Singles = field(default_factory=lambda: np.empty(0, np.float32))

    def __post_init__(self) -> None:
        source, unit = self.source, (self.source.unit or "").strip()
        self._factor = 1.0
        if source.shape is not None and source.shape != self.shape:
            raise self._refused(
                f"frames of {_size(self.shape)} pixels, as of this detector",
                _size(source.shape),
                HINT_DETECTOR,
            )
        if self.calibration.gain is None:
            if unit.lower() in ("adu", "dn", "count", "counts", "ct", "chan", "channel"):
                raise self._refused("energies in keV", unit, HINT_GAIN)
            self._factor = _to_kev(unit, source.label)
            if source.dtype.kind in "ui" and not unit:
                raise self._refused(
                    "energies in keV", f"whole numbers ({source.dtype}), as of raw ADU", HINT_GAIN
                )

    @property
    def saturation(self) -> float | None:
        """Energy at which a pixel is full, keV; None where the numbers know no end."""
        gain, offset = self.calibration.gain, self.calibration.offset
        if self.source.dtype.kind not in "ui" or gain is None:
            return None
        top = float(np.iinfo(self.source.dtype).max) - (0.0 if offset is None else np.max(offset))
        return float(top * np.min(gain))

    def pixels(self, raw: Raw) -> Rows:
        """Pixels of a block above the threshold (and far below zero), keV, sorted.

        Raises
        ------
        InputError
            Something is wrong with them.
        """
        rows = self._from_images(raw) if self.source.dense else self._from_rows(raw)
        frame = rows["frame"]
        lit = rows["energy"] > self.split
        self._find_hot(raw, rows, lit)
        self._check_lit(frame[lit & ~self.bad[rows["y"], rows["x"]]])
        return rows

    def _from_images(self, raw: Raw) -> Rows:
        values = raw.values
        if len(values) == 0:
            return np.empty(0, PIXEL)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            frame, y, x = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise self._refused(
                "finite energies",
                f"{values[frame, y, x]} in frame {raw.index[frame]} at (y, x) = ({y}, {x})",
                "Set dead pixels to 0 and name them with bad=.",
            )
        images = self._calibrated(values)
        sigma = self._check_zero(images[0], int(raw.index[0]))
        rows = frames_to_sparse(images, self.split)
        rows["frame"] = raw.index[rows["frame"]]
        low = rows["energy"] < 0
        deep = rows["energy"] < -5 * sigma
        self._count_negative(int(deep.sum()), images.size, sigma)
        # Down to minus five sigma it is noise, and no more remarkable than that above zero.
        rows = rows[~low | deep]
        self._check_energies(rows["energy"])
        self.largest = max(self.largest, float(images.max(initial=-np.inf)))
        return rows

    def _calibrated(self, values: Rows) -> Singles:
        gain, offset = self.calibration.gain, self.calibration.offset
        images = values.astype(np.float32, copy=False)
        if offset is not None:
            images = images - np.asarray(offset, np.float32)
        factor = self._factor if gain is None else np.asarray(gain, np.float32)
        if gain is not None or factor != 1:
            images = images * factor
        return images

    def _check_zero(self, image: Singles, frame: int) -> float:
        """Noise of an image, keV, after a look at its unit and its offset."""
        good = image[~self.bad]
        middle = float(np.median(good))
        spread = 1.4826 * float(np.median(np.abs(good - middle)))
        where = f"in frame {frame}"
        if spread > 0.5:
            raise self._refused(
                "frames in keV, whose noise is some 0.01 keV",
                f"a noise of {spread:.3g} {where}: raw ADU, or eV",
                f"{HINT_GAIN} For eV: gain='0.001'.",
            )
        if abs(middle) > max(self.split, 5 * spread):
            raise self._refused(
                "frames whose offset is subtracted",
                f"a median of {middle:.3g} keV {where}",
                "Subtract the offset map, or give offset=.",
            )
        return max(spread, self.enc * PAIR_KEV)

    def _from_rows(self, raw: Raw) -> Rows:
        values = raw.values
        ny, nx = self.shape
        rows = np.empty(len(values), PIXEL)
        y, x = values["y"].astype(np.int64), values["x"].astype(np.int64)
        outside = (y < 0) | (x < 0) | (y >= ny) | (x >= nx)
        if outside.any():
            k = int(np.argmax(outside))
            raise self._refused(
                f"pixels within {_size(self.shape)}, those of this detector",
                f"(y, x) = ({y[k]}, {x[k]}) in frame {values['frame'][k]}",
                f"{HINT_DETECTOR} Pixels count from 0.",
            )
        finite = np.isfinite(values["energy"])
        if not finite.all():
            k = int(np.argmax(~finite))
            raise self._refused(
                "finite energies",
                f"{values['energy'][k]} in frame {values['frame'][k]} at (y, x) = ({y[k]}, {x[k]})",
            )
        rows["frame"], rows["y"], rows["x"] = values["frame"], y, x
        rows["energy"] = self._energies(values["energy"], y, x)
        order = np.lexsort((x, y, rows["frame"]))
        rows = rows[order]
        same = np.ones(max(len(rows) - 1, 0), bool)
        for name in ("frame", "y", "x"):
            same &= np.diff(rows[name]) == 0
        if same.any():
            k = int(np.argmax(same))
            r = rows[k]
            raise self._refused(
                "each pixel of a frame once",
                f"frame {r['frame']}, (y, x) = ({r['y']}, {r['x']}) twice",
                "Were two files joined that overlap?",
            )
        sigma = self.enc * PAIR_KEV
        deep = rows["energy"] < -5 * sigma
        self._count_negative(int(deep.sum()), len(rows), sigma)
        self._check_energies(rows["energy"][rows["energy"] > self.split])
        self.largest = max(self.largest, float(rows["energy"].max(initial=-np.inf)))
        return rows[(rows["energy"] > self.split) | (deep & (rows["energy"] < -self.split))]

    def _energies(self, values: Rows, y: Any, x: Any) -> Singles:
        def at(given: Any) -> Any:
            return given[y, x] if np.ndim(given) == 2 else given

        gain, offset = self.calibration.gain, self.calibration.offset
        out = values.astype(np.float64)
        if offset is not None:
            out = out - at(offset)
        out = out * (self._factor if gain is None else at(gain))
        return out.astype(np.float32)

    def _count_negative(self, deep: int, size: int, sigma: float) -> None:
        self.n_negative += deep
        self.n_seen += size
        if self.n_negative > max(ENOUGH_PIXELS, MAX_NEGATIVE * self.n_seen):
            raise self._refused(
                f"frames with at most {MAX_NEGATIVE:.1%} of pixels below minus five sigma "
                f"({-5 * sigma:.3g} keV)",
                f"{self.n_negative} of {self.n_seen}",
                "Was the offset subtracted twice, or that of another detector?",
            )

    def _check_energies(self, energy: Singles) -> None:
        """Tell keV from eV and ADU by the values of pixels above the threshold."""
        if len(self._sample) >= SAMPLE or len(energy) == 0:
            return
        self._sample = np.append(self._sample, energy[energy > self.split][:SAMPLE])
        seen = self._sample
        n = len(seen)
        if n < FEW:
            return
        plenty = n >= PLENTY and np.quantile(seen, 0.01) > NOT_KEV
        if plenty or (seen.min() > NOT_KEV and np.median(seen) > NEVER_KEV):
            raise self._refused(
                "energies in keV, some of them small since charge is split",
                f"a median of {np.median(seen):.4g}, hardly any below "
                f"{np.quantile(seen, 0.01):.4g}: eV, or ADU",
                HINT_EV if self.calibration.gain is None else "Is the gain in keV per ADU?",
            )
        untouched = not (self.calibration.given or (self.source.unit or "").strip())
        # Different ones: whoever draws a test frame by hand may well draw all of them at 5 keV.
        different = len(np.unique(seen)) >= ENOUGH_PIXELS
        if untouched and different and (seen == np.round(seen)).all():
            raise self._refused("energies in keV", "whole numbers only, as of raw ADU", HINT_GAIN)

    def _check_lit(self, frame: Ints) -> None:
        """Refuse frames that are full of signal."""
        count, fullest = _most(frame)
        if count > MAX_LIT * self.shape[0] * self.shape[1]:
            raise self._refused(
                f"photon-counting frames, with at most {MAX_LIT:.0%} of the pixels above "
                f"{self.split:g} keV",
                f"{count} ({count / self.shape[0] / self.shape[1]:.0%}) in frame {fullest}",
                "Is the offset subtracted, the source not too bright, the threshold above the "
                "noise?",
            )

    def check_events(self, frame: Ints) -> None:
        """Refuse frames with more events than photon counting can tell apart.

        Parameters
        ----------
        frame : ndarray of int64
            Frame of each event, sorted.
        """
        count, fullest = _most(frame)
        if count > MAX_EVENTS:
            raise self._refused(
                f"at most {MAX_EVENTS} events in a frame",
                f"{count} in frame {fullest}",
                "So many pile up, or are noise: is the threshold above the noise?",
            )

    def _find_hot(self, raw: Raw, rows: Rows, lit: Bools) -> None:
        """Add pixels and columns that are lit all the time to the bad ones."""
        n = len(raw.index)
        if n < ENOUGH_FRAMES:
            return
        ny, nx = self.shape
        place = rows["y"][lit].astype(np.int64) * nx + rows["x"][lit]
        places, count = np.unique(place, return_counts=True)
        hot = np.zeros(ny * nx, bool)
        hot[places[count > HOT_PIXEL * n]] = True
        column = np.bincount(places % nx, count, minlength=nx) / (n * ny)
        hot = hot.reshape(ny, nx) | (column > HOT_COLUMN)
        new = hot & ~self.bad
        if not new.any():
            return
        self.bad |= new
        if self.bad.mean() > MAX_BAD:
            raise self._refused(
                f"at most {MAX_BAD:.0%} bad pixels",
                f"{self.bad.mean():.0%} that are named or lit in over half of the frames",
            )
        columns = np.flatnonzero(new.mean(axis=0) > 0.5)
        pixels = int(new.sum() - new[:, columns].sum())
        parts = []
        if len(columns):
            shown = ", ".join(map(str, columns[:5])) + (", ..." if len(columns) > 5 else "")
            plural = "s" if len(columns) > 1 else ""
            parts.append(f"{len(columns)} hot or saturated column{plural} (x = {shown})")
        if pixels:
            y, x = np.nonzero(new)
            keep = ~np.isin(x, columns)
            where = ", ".join(
                f"({b}, {a})" for b, a in list(zip(y[keep], x[keep], strict=True))[:3]
            )
            parts.append(f"{pixels} hot pixel{'s' * (pixels > 1)} (y, x) = {where}")
        self.remark(
            f"from frame {raw.index[0]} on masked: {', '.join(parts)}; lit in over half of the "
            "frames"
        )

    def _refused(self, expected: str, found: str, hint: str | None = None) -> InputError:
        return InputError.expected(self.source.label, expected, found, hint)

    def remark(self, text: str, what: str = "pixels") -> None:
        """Note something that is left out of the result."""
        self.account.leave_out(text, what)


def _most(frame: Ints) -> tuple[int, int]:
    """Largest number of entries of a frame, and that frame, of sorted frame numbers."""
    if len(frame) == 0:
        return 0, 0
    frames, count = np.unique(frame, return_counts=True)
    return int(count.max()), int(frames[count.argmax()])


def _to_kev(unit: str, label: str) -> float:
    """Factor from a unit to keV; a source that tells none is taken to be in keV."""
    factors = {"": 1.0, "kev": 1.0, "ev": 1e-3, "mev": 1e3}
    factors |= dict.fromkeys(("e-", "electron", "electrons"), PAIR_KEV)
    if unit.lower() not in factors:
        raise InputError.expected(
            label, "energies in keV, eV, MeV or electrons", f"the unit {unit!r}"
        )
    return factors[unit.lower()]


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[1]} x {shape[0]}"
