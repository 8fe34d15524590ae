"""Whatever holds an image or a map: pixels, header, coordinates, unit, and what it says it is."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from physml.exceptions import InputError
from physml.io.fits import ImageData, Which, open_image

from .inputs import numbered, split_extension
from .kinds import Kind, kind_of, require_kind
from .units import PixelUnit, parse_unit

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

Role = Literal["image", "exposure", "background"]


@dataclass
class Source:
    """An image or a map as it was given.

    Attributes
    ----------
    data : ndarray, shape (H, W)
        NaN where undefined.
    header : Header
    wcs : WCS or None
    unit : PixelUnit or None
    kind : Kind
    path : Path or None
        File, without the name of an extension.
    flagged : ndarray of bool, shape (H, W)
        Pixels that were masked by hand.
    """

    data: NDArray[np.float64]
    header: Any
    wcs: WCS | None
    unit: PixelUnit | None
    kind: Kind
    path: Path | None
    flagged: NDArray[np.bool_]

    def as_image(self) -> ImageData:
        """Pixels, header and coordinates alone."""
        return ImageData(self.data, self.header, self.wcs)


def read_source(given: Any, role: Role, hdu: int | str | None = None) -> Source:
    """Read an image or a map from whatever holds it.

    Parameters
    ----------
    given : path, HDUList, HDU, CCDData, Quantity or ndarray of shape (H, W)
        A path may end in the number or the name of an extension: ``file.fits[2]``,
        ``file.fits[EXPMAP]``.
    role : {"image", "exposure", "background"}
        What it is given as: of several extensions the first is taken that does not say that it is
        something else.
    hdu : int or str, optional
        Number or name of the extension.

    Raises
    ------
    InputError
        It cannot be read, has no such extension, or says that it is something else.
    """
    path = None
    if isinstance(given, str | PathLike):
        path, of_path = split_extension(given)
        if hdu is not None and of_path is not None and str(hdu) != str(of_path):
            raise InputError(f"hdu=: expected {of_path!r} as in {given}, found {hdu!r}")
        hdu = of_path if hdu is None else hdu
    which: Which = _first_of(role) if hdu is None else numbered(hdu)
    opened = open_image(given if path is None else path, hdu=which)
    own = getattr(given, "unit", None)
    unit = parse_unit(opened.header.get("BUNIT")) if own is None else parse_unit(own)
    kind = kind_of(opened.header, own)
    require_kind(kind, role, str(given) if path else _label(role))
    flagged = np.zeros(opened.data.shape, dtype=bool)
    # Whoever masked pixels by hand meant it.
    mask = None if path or type(given) is np.ndarray else getattr(given, "mask", None)
    if mask is not None and np.shape(mask) == opened.data.shape:
        flagged = np.asarray(mask, dtype=bool)
    return Source(opened.data, opened.header, opened.wcs, unit, kind, path, flagged)


def _first_of(role: Role) -> Any:
    """Choice of the first extension with an image that does not say that it is something else."""

    def choose(hdus: HDUList) -> int | None:
        first = None
        for number, hdu in enumerate(hdus):
            shape = getattr(hdu, "shape", ()) if hdu.is_image else ()
            if len(shape) < 2 or any(n != 1 for n in shape[:-2]):
                continue
            first = number if first is None else first
            try:
                require_kind(kind_of(hdu.header), role, "")
            except InputError:
                continue
            return number
        return first

    return choose


def _label(role: Role) -> str:
    return "image" if role == "image" else f"{role} map"
