"""Area that a file of included and excluded shapes covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from .planes import Plane
from .shapes import Shape

Mask = NDArray[np.bool_]

#: Largest share of an image of included regions that are sources: beyond, regions that are cut out
#: of them are the sources.
MAX_INCLUDED = 0.1
#: Points on each side of a shape's bounds that are taken to the image.
_POINTS = 9


@dataclass(frozen=True)
class Term:
    """A shape on its plane; with `inside` false all that lies outside of it."""

    plane: Plane
    shape: Shape
    inside: bool


@dataclass
class Component:
    """Area that lies in all terms.

    Attributes
    ----------
    terms : list of Term
    place : int
        Line or row of the file.
    """

    terms: list[Term]
    place: int

    @property
    def excludes(self) -> bool:
        """Whether it only says what does not count."""
        return not any(term.inside for term in self.terms)


def cover(
    name: str, components: Sequence[Component], shape: tuple[int, int]
) -> tuple[Mask, list[str]]:
    """Pixels of the sources that a file lists, and remarks.

    A file of excluded regions only lists what was cut out: sources too. Where others are included
    the excluded ones are cut out of them, if it is clear what is meant.

    Parameters
    ----------
    name : str
        Of the file.
    components : sequence of Component
    shape : tuple of int
        Of the image.

    Returns
    -------
    mask : ndarray of bool, shape `shape`
    remarks : list of str

    Raises
    ------
    InputError
        No region, all of them outside of the image, or a mixture that has two meanings.
    """
    if not components:
        raise InputError.expected(name, "at least one region", "none")
    patches = [_patch(component, shape) for component in components]
    outside = [c.place for c, patch in zip(components, patches, strict=True) if not patch.any]
    if len(outside) == len(components):
        raise InputError.expected(
            name,
            "regions on the image",
            f"{len(outside)}, all outside of it (the first: number or line {outside[0]})",
            hint="Are they in the frame of this image, and of this observation?",
        )
    remarks = []
    if outside:
        remarks.append(f"{len(outside)} of {len(components)} regions lie outside of the image")
    cut = [component.excludes for component in components]
    if len(set(cut)) == 1:
        return _union(patches, shape), remarks
    mask = _cut_out(name, components, patches, shape)
    return mask, [*remarks, f"{sum(cut)} excluded regions cut out of {len(cut) - sum(cut)} others"]


@dataclass(frozen=True)
class _Patch:
    """A part of the image and which of its pixels a component holds."""

    window: tuple[slice, slice]
    mask: Mask

    @property
    def any(self) -> bool:
        return bool(self.mask.any())


def _union(patches: Sequence[_Patch], shape: tuple[int, int]) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    for patch in patches:
        mask[patch.window] |= patch.mask
    return mask


def _cut_out(
    name: str, components: Sequence[Component], patches: Sequence[_Patch], shape: tuple[int, int]
) -> Mask:
    """Included regions without the excluded ones; refused where that has two meanings."""
    included = _union(
        [p for c, p in zip(components, patches, strict=True) if not c.excludes], shape
    )
    excluded = [p for c, p in zip(components, patches, strict=True) if c.excludes]
    mask = included & ~_union(excluded, shape)
    # CIAO: an excluded region counts for the one before it.
    in_order = np.zeros(shape, dtype=bool)
    last: _Patch | None = None
    for component, patch in zip(components, patches, strict=True):
        if component.excludes and last is not None:
            last.mask[_evaluate(component, last.window)] = False
        elif not component.excludes:
            if last is not None:
                in_order[last.window] |= last.mask
            last = _Patch(patch.window, patch.mask.copy())
    if last is not None:
        in_order[last.window] |= last.mask
    why = None
    if included.mean() > MAX_INCLUDED:
        why = f"the included ones cover {included.mean():.0%} of the image: an area of analysis?"
    elif any(p.any and not (p.mask & included[p.window]).any() for p in excluded):
        why = "one that is excluded lies in none that is included"
    elif (mask != in_order).any():
        why = "DS9 excludes from all regions, CIAO from the one before: they differ here"
    if why:
        raise InputError.expected(
            name,
            "regions of sources to mask",
            f"both included and excluded (-) regions, and {why}",
            hint="Keep only the sources in the file.",
        )
    return mask


def _patch(component: Component, shape: tuple[int, int]) -> _Patch:
    """Pixels of a component, in a window that holds them."""
    inside = [term for term in component.terms if term.inside]
    windows = [_window(term, shape) for term in inside[:1] or component.terms]
    window = tuple(
        slice(min(w[axis].start for w in windows), max(w[axis].stop for w in windows))
        for axis in (0, 1)
    )
    return _Patch((window[0], window[1]), _evaluate(component, (window[0], window[1])))


def _evaluate(component: Component, window: tuple[slice, slice]) -> Mask:
    """Pixels of a window in all terms; of terms that only exclude, those that any excludes."""
    y, x = np.mgrid[window].astype(float)
    if not x.size:
        return np.zeros(x.shape, dtype=bool)
    with np.errstate(invalid="ignore"):
        held = [term.shape.holds(*term.plane.of_pixels(x, y)) for term in component.terms]
    if component.excludes:
        return np.any(held, axis=0)
    signed = zip(component.terms, held, strict=True)
    return np.all([mask if term.inside else ~mask for term, mask in signed], axis=0)


def _window(term: Term, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns that hold the shape; all where its bounds lead nowhere."""
    if term.shape.box is None:
        return slice(0, shape[0]), slice(0, shape[1])
    u0, u1, v0, v1 = term.shape.box
    u, v = np.meshgrid(np.linspace(u0, u1, _POINTS), np.linspace(v0, v1, _POINTS))
    x, y = term.plane.to_pixels(u, v)
    if not np.isfinite(x[_POINTS // 2, _POINTS // 2]):  # behind the image's part of the sky
        return slice(0, 0), slice(0, 0)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return slice(0, shape[0]), slice(0, shape[1])
    # The bounds of a curved image of the box may bulge between the points.
    room = 2 + 0.1 * max(np.ptp(x), np.ptp(y))
    limits = [(y.min(), y.max(), shape[0]), (x.min(), x.max(), shape[1])]
    rows, columns = (
        slice(*(int(np.clip(edge, 0, length)) for edge in (np.floor(a - room), np.ceil(b + room))))
        for a, b, length in limits
    )
    return rows, columns
