"""Arguments of a prediction, checked before anything heavy is imported."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from physml.exceptions import InputError

#: Endings of image files looked for in a folder.
SUFFIXES = tuple(
    ending + packed
    for ending in (".fits", ".fit", ".fts", ".ftz", ".img", ".expmap")
    for packed in ("", ".gz")
)
_EXTENSION = re.compile(r"(?P<file>.+?)\[(?P<hdu>[^\[\]]*)\]$")


def check_arguments(
    *,
    units: str = "auto",
    ra: Any = None,
    dec: Any = None,
    redshift: float | None = None,
    pressure: Any = None,
    threshold: float | None = None,
    **_: Any,
) -> None:
    """Refuse arguments of a prediction that cannot be used, whatever the image.

    Raises
    ------
    InputError
    """
    # A unit such as count/s is read where astropy may be imported.
    if units not in ("auto", "counts", "flux") and not re.search(r"/|-\d|\^-|\*\*", units):
        raise InputError(
            "units=: expected auto, counts or flux, or a unit of a rate such as count/s, "
            f"found {units!r}"
        )
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"threshold=: expected a probability from 0 to 1, found {threshold}")
    if (ra is None) != (dec is None):
        raise InputError("ra=, dec=: expected both or neither, found one")
    if pressure is not None and redshift is None:
        raise InputError("pressure=: expected together with redshift=, found without")


def is_several(image: Any) -> bool:
    """Whether a list of images or a folder was given; an `HDUList` is one image."""
    if isinstance(image, str | PathLike):
        return Path(image).is_dir()
    if isinstance(image, np.ndarray) or hasattr(image, "info"):
        return False  # array, HDUList, CCDData
    return isinstance(image, (list, tuple))


def list_images(image: Any) -> list[Any]:
    """Images of a list, or the image files of a folder by name; one image as a list of one.

    Raises
    ------
    InputError
        For an empty list, or a folder without images.
    """
    if not is_several(image):
        return [image]
    if isinstance(image, str | PathLike):
        folder = Path(image)
        files = sorted(
            p for p in folder.iterdir() if p.is_file() and p.name.lower().endswith(SUFFIXES)
        )
        if not files:
            raise InputError.expected(
                folder, f"image files ({', '.join(SUFFIXES)})", "none in this folder"
            )
        return list(files)
    if not image:
        raise InputError("image=: expected at least one image, found an empty list")
    return list(image)


def one_for_each(role: str, given: Any, number: int | None) -> list[Any]:
    """Map or mask of each image, where one for all or a list was given.

    Parameters
    ----------
    role : str
        Name of the argument, for the message.
    given : object
    number : int or None
        Number of images in a list; None for one image, which was given alone.

    Raises
    ------
    InputError
        The list has another length.
    """
    if number is None or not isinstance(given, (list, tuple)) or hasattr(given, "info"):
        return [given] * (number or 1)
    if len(given) != number:
        raise InputError(f"{role}=: expected one for each of {number} images, found {len(given)}")
    return list(given)


def split_extension(given: str | PathLike[str]) -> tuple[Path, int | str | None]:
    """File and extension of a path such as ``file.fits[2]``; a file of that very name goes first.

    Raises
    ------
    InputError
        What stands in brackets is a filter on rows or columns, not an extension.
    """
    path = Path(given)
    match = _EXTENSION.match(str(given))
    if not match or path.exists():
        return path, None
    inside = match["hdu"].strip()
    if not inside or any(mark in inside for mark in "=<>:@"):
        raise InputError.expected(
            match["file"], "the number or name of an extension in brackets", f"[{inside}]"
        )
    return Path(match["file"]), numbered(inside)


def numbered(hdu: int | str) -> int | str:
    """Number of an extension where it is one."""
    return int(hdu) if str(hdu).strip().isdigit() else str(hdu).strip()
