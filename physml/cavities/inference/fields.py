"""Fields of the network's size, cut out of an observation at several binnings.

The network sees 128 x 128 pixels. A field of scale k covers 128 k input pixels and joins k x k of
them into one. Fields lie about the cluster's centre, one for each binning, and the coarsest covers
the whole image, however large it is: a cavity is searched at the binnings whose fields reach it.
The farther out, the coarser: at distance d the smallest radius that the network knows (3 field
pixels) is d / 20 to d / 10, where cavities have 0.2 to 1 of their distance.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ..data.observation import Observation
from .field import Field as Field
from .field import window_overlap

#: Side of the network's field [pixel].
FIELD = 128
#: Distance by which a field may move off the cluster's centre to reach the image's border [field
#: pixel]: as far as the training's images are centred off the cluster (`offset_max`).
SHIFT = 14


def ladder() -> Iterator[int]:
    """Binnings tried by `auto`: 1, 2, 3, 4, 6, 8, 12, 16, ... without end.

    Steps of 1.3 to 2, so that each size is well resolved at one.
    """
    yield 1
    for power in itertools.count(1):
        yield 2**power
        yield 3 * 2 ** (power - 1)


def choose_scales(
    observation: Observation,
    scales: str | int | Sequence[int] = "auto",
    centre: tuple[float, float] | None = None,
) -> tuple[int, ...]:
    """Binnings at which an image is searched.

    Parameters
    ----------
    observation : Observation
        The image; only its exposed part has to be covered.
    scales : "auto", int or sequence of int
        `auto` goes up the ladder until one field covers the exposed image.
    centre : tuple of float, optional
        Cluster centre (x, y) [input pixel]; the middle of the exposed part by default.

    Raises
    ------
    InputError
        For anything but positive whole numbers up to the image's size over 16.
    """
    box = exposed_box(observation)
    extent = max(high - low for low, high in box) + 1
    if isinstance(scales, str) and scales.strip().lower() == "auto":
        middle = tuple((low + high) / 2 for low, high in box) if centre is None else centre
        chosen = []
        for k in ladder():
            chosen.append(k)
            if all(
                covers(_first_pixel(c, k, FIELD, span), k, FIELD, span)
                for c, span in zip(middle, box, strict=True)
            ):
                return tuple(chosen)
    if isinstance(scales, str):
        parts: Sequence = [part for part in scales.replace(",", " ").split() if part]
    elif isinstance(scales, (int, np.integer)):
        parts = [scales]
    else:
        parts = list(scales)
    try:
        numbers = sorted({int(str(part)) for part in parts})
    except ValueError:
        numbers = []
    # Below 16 field pixels across the image, the fit of the halo has nothing to hold on to.
    largest = max(1, int(extent) // 16)
    if not numbers or numbers[0] < 1 or numbers[-1] > largest:
        raise InputError(
            f"scales=: expected 'auto' or whole numbers from 1 to {largest} such as 1,2,4; "
            f"found {scales!r}"
        )
    return tuple(numbers)


def exposed_box(observation: Observation) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last exposed pixel along x and along y."""
    exposed = observation.exposed
    spans = []
    for axis in (0, 1):
        some = np.flatnonzero(exposed.any(axis))
        spans.append(
            (int(some[0]), int(some[-1])) if len(some) else (0, exposed.shape[1 - axis] - 1)
        )
    return spans[0], spans[1]


def field_window(
    observation: Observation, scale: int, centre: tuple[float, float], field: int = FIELD
) -> tuple[slice, slice]:
    """Rows and columns of the image that a field covers, see `cut_field`."""
    size = field * scale
    x, y = (
        _first_pixel(c, scale, field, span)
        for c, span in zip(centre, exposed_box(observation), strict=True)
    )
    return window_overlap(x, y, (size, size), observation.exposed.shape)[0]


def _first_pixel(centre: float, scale: int, field: int, span: tuple[int, int]) -> int:
    """First input pixel of a field along one axis.

    The field lies about the cluster's centre. One that is as wide as the exposed image moves, by
    at most `SHIFT` field pixels, to where it leaves out least of it.
    """
    size = field * scale
    first = round(centre - (size - 1) / 2)
    low, high = span
    if size < high - low + 1:
        return first
    most = SHIFT * scale
    return int(np.clip(np.clip(first, high + 1 - size, low), first - most, first + most))


def covers(first: int, scale: int, field: int, span: tuple[int, int]) -> bool:
    """Whether a field reaches over a span of input pixels along one axis."""
    return first <= span[0] and span[1] < first + field * scale


def cut_field(
    observation: Observation,
    scale: int,
    centre: tuple[float, float],
    field: int = FIELD,
    box: tuple[tuple[int, int], tuple[int, int]] | None = None,
) -> Field:
    """Cut a field around the cluster centre and join scale x scale pixels.

    The field lies about the centre; one that is as wide as the exposed image moves to where it
    leaves out least of it. Counts and background are summed; exposure is averaged, pixels without
    exposure included, so that counts over exposure stays the same rate.

    Parameters
    ----------
    observation : Observation
        The image.
    scale : int
        Input pixels joined along each axis.
    centre : tuple of float
        Cluster centre (x, y) [input pixel].
    field : int
        Side of the field [joined pixels].
    box : pair of pairs of int, optional
        `exposed_box` of the observation, where it is known.
    """
    size = field * scale
    box = exposed_box(observation) if box is None else box
    x0, y0 = (_first_pixel(c, scale, field, span) for c, span in zip(centre, box, strict=True))
    shape = observation.counts.shape
    there, here = window_overlap(x0, y0, (size, size), shape)
    first, last = (
        [part.start // scale for part in here],
        [-(-part.stop // scale) for part in here],
    )

    def block(image: NDArray[Any]) -> NDArray[Any]:
        """Sum of the joined pixels; nothing outside the image."""
        out = np.zeros((field, field))
        rows = _joined(image[there], here[0].start % scale, scale)
        joined = _joined(rows.T, here[1].start % scale, scale).T
        out[first[0] : last[0], first[1] : last[1]] = joined
        return out

    exposure = block(observation.relative_exposure) / scale**2
    background = None if observation.background is None else block(observation.background)
    # Filled pixels hold made-up counts: a joined pixel that is mostly made up tells nothing.
    filled = block(observation.filled) / scale**2
    half = (scale - 1) / 2
    return Field(
        scale=scale,
        x0=x0,
        y0=y0,
        counts=block(observation.counts),
        exposure=exposure,
        background=background,
        invalid=(exposure <= 0.02) | (filled > 0.5),
        centre=((centre[0] - x0 - half) / scale, (centre[1] - y0 - half) / scale),
    )


def _joined(image: NDArray[Any], begun: int, scale: int) -> NDArray[np.float64]:
    """Sums of so many rows each; the first has begun so many rows before the image."""
    head = min((scale - begun) % scale, len(image))
    whole = (len(image) - head) // scale
    body = image[head : head + whole * scale]
    parts = [body.reshape(whole, scale, -1).sum(1, dtype=float)] if body.size else []
    if head:
        parts.insert(0, image[None, :head].sum(1, dtype=float))
    if head + whole * scale < len(image):
        parts.append(image[None, head + whole * scale :].sum(1, dtype=float))
    return np.concatenate(parts) if parts else np.zeros((0, image.shape[1]))
