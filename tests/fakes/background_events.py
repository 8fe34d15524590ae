"""Hand-made frames, and a slow event finder that one can read."""

from __future__ import annotations

import numpy as np

from physml.background.core.events import BORDER, NEAR_BAD, NEGATIVE, frames_to_sparse
from physml.background.core.frames import TRUE_PIXEL, Frames


def frames_of(images, split: float = 0.0, index=None) -> Frames:
    """Sparse frames from images (n, ny, nx) in keV; every pixel that is not 0 by default."""
    images = np.asarray(images, np.float32)
    pixels = frames_to_sparse(images, split)
    index = np.arange(len(images)) if index is None else np.asarray(index, np.int64)
    pixels["frame"] = index[pixels["frame"]]
    return Frames(pixels, images.shape[1:], index, np.ones(len(images), np.float32), 0.005)


def with_truth(frames: Frames, **origins) -> Frames:
    """Add truth: images (n, ny, nx) of `primary`, `outside`, `inside`, `photon`, `source`."""
    p = frames.pixels
    pixels = np.zeros(len(p), TRUE_PIXEL)
    place = frames.position(p["frame"])
    for name in p.dtype.names:
        pixels[name] = p[name]
    pixels["source"] = -1
    for name, images in origins.items():
        pixels[name] = np.asarray(images)[place, p["y"], p["x"]]
    return Frames(pixels, frames.shape, frames.index, frames.weight, frames.frame_time)


def draw(*rows: str, digits: str = "0123456789") -> np.ndarray:
    """One frame from rows of digits (keV; '.' is 0), the top row, with the largest y, first."""
    keys = {".": 0.0, **{d: float(d) for d in digits}}
    return np.array([[keys[c] for c in row] for row in rows], np.float32)[::-1]


def padded(image: np.ndarray, width: int = 2) -> np.ndarray:
    """The image with an empty border."""
    return np.pad(image, width)


_DRAWINGS = """
... .5. ... ... ... .5. ... ... .5. .51 ... ... 15.
.9. .9. .95 .9. 59. .93 .95 39. 39. .93 .95 39. 39.
... ... ... .5. ... ... .3. .5. ... ... .31 15. ...
"""
#: Rows of each EPIC-pn pattern, 0 to 12, the top one first.
PATTERNS = dict(enumerate(zip(*(row.split() for row in _DRAWINGS.split("\n")[1:4]), strict=True)))


def slow_events(image, split=0.05, event=0.1, upper=15.0, bad=None):
    """The baseline in plain Python, one pixel at a time: clusters of one frame, in order.

    Returns a list of dict with `pixels` (a set of (y, x)), `peak` (y, x), `energy`, `pattern`,
    `grade`, `flag`, `is_event`, `valid`, `particle`.
    """
    ny, nx = image.shape
    value = {(y, x): float(image[y, x]) for y in range(ny) for x in range(nx)}
    if bad is not None:
        for place in value:
            if bad[place]:
                value[place] = 0.0
    threshold = float(np.float32(split))
    left = {place for place, v in value.items() if v > threshold}
    found = []
    while left:
        # Growth from the highest maximum there is; of equals, the first in (y, x).
        peak = min(left, key=lambda q: (-value[q], q))
        pixels, todo = set(), [peak]
        while todo:
            y, x = todo.pop()
            if (y, x) in left:
                left.remove((y, x))
                pixels.add((y, x))
                todo += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        found.append(_describe(value, pixels, peak, threshold, event, upper, bad, ny, nx))
    return sorted(found, key=lambda c: min(c["pixels"]))


def _describe(value, pixels, peak, threshold, event, upper, bad, ny, nx):
    flag = 0
    for y, x in pixels:
        if y in (0, ny - 1) or x in (0, nx - 1):
            flag |= BORDER
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                near = (y + dy, x + dx)
                if near in value and value[near] < -threshold:
                    flag |= NEGATIVE
                if bad is not None and near in value and bad[near]:
                    flag |= NEAR_BAD
    energy = float(np.float32(np.sum([np.float64(value[q]) for q in sorted(pixels)])))
    pattern = -1 if flag & (BORDER | NEGATIVE) else _pattern(value, pixels, peak)
    particle = energy > upper
    return {
        "pixels": pixels,
        "peak": peak,
        "energy": energy,
        "pattern": pattern,
        "grade": _grade(value, peak, threshold, ny, nx),
        "flag": flag,
        "is_event": value[peak] > float(np.float32(event)),
        "valid": pattern >= 0 and not particle,
        "particle": particle,
    }


def _pattern(value, pixels, peak):
    """Compare with the drawings, pixel set by pixel set."""
    y, x = peak
    shape = {(a - y, b - x) for a, b in pixels}
    for pattern, rows in PATTERNS.items():
        image = draw(*rows)
        drawn = {(int(a) - 1, int(b) - 1) for a, b in np.argwhere(image > 0)}
        if shape == drawn:
            if pattern < 9:
                return pattern
            opposite = next(q for q in pixels if q[0] != y and q[1] != x)
            lowest = min(value[q] for q in pixels)
            return pattern if value[opposite] == lowest else -1
    return -1


def _grade(value, peak, threshold, ny, nx):
    """ASCA grades from their definitions, side by side and corner by corner."""
    y, x = peak
    if y in (0, ny - 1) or x in (0, nx - 1):
        return 7

    def on(dy, dx):
        return value[y + dy, x + dx] > threshold

    sides = [s for s in ((1, 0), (-1, 0), (0, 1), (0, -1)) if on(*s)]
    corners = [c for c in ((1, 1), (1, -1), (-1, 1), (-1, -1)) if on(*c)]
    attached = [c for c in corners if (c[0], 0) in sides or (0, c[1]) in sides]
    if not sides:
        return 1 if corners else 0
    if len(sides) == 1:
        if not attached:
            return {(1, 0): 2, (-1, 0): 2, (0, -1): 3, (0, 1): 4}[sides[0]]
        return 5 if len(attached) == 1 else 7
    if len(sides) == 2 and sides[0][0] * sides[1][0] == 0 and sides[0][1] * sides[1][1] == 0:
        closing = (sides[0][0] + sides[1][0], sides[0][1] + sides[1][1])
        return 6 if set(attached) <= {closing} else 7
    return 7
