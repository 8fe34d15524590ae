"""Event lists where an image is expected: binned, with the exposure map that lies beside."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from physml.exceptions import InputError

from ..inputs import split_extension
from .beside import exposure_maps
from .binning import BinnedEvents, bin_events
from .reading import is_event_list
from .selection import Selection


class Prepared(NamedTuple):
    """An image, or what was made of an event list.

    Attributes
    ----------
    image : object
        What was given, or the binned image.
    hdu : int or str or None
        Extension of the image.
    exposure : object
        What was given, or the map that lies beside.
    binned : BinnedEvents or None
    """

    image: Any
    hdu: int | str | None
    exposure: Any
    binned: BinnedEvents | None


def as_image(
    image: Any, hdu: int | str | None, exposure: Any, selection: Selection, label: str
) -> Prepared:
    """Image of whatever was given: event lists are binned, all else is left as it is.

    Parameters
    ----------
    image : object
        Path (also with an extension in brackets), HDUList, or anything that is no event list.
    hdu : int or str, optional
    exposure : object
        Exposure map that was given.
    selection : Selection
    label : str
        Name for messages.

    Raises
    ------
    InputError
        A list that cannot be binned, or a selection for what is no list.
    """
    is_path = isinstance(image, str | PathLike)
    given, of_path = split_extension(image) if is_path else (image, None)
    extension = of_path if hdu is None else hdu
    if not is_event_list(given, extension):
        if selection.given:
            options = ", ".join(f"{name}=" for name in selection.given)
            raise InputError.expected(label, f"an event list for {options}", "none")
        return Prepared(image, hdu, exposure, None)
    binned = bin_events(given, selection, hdu=extension)
    if exposure is None and is_path:
        exposure = _beside(Path(given), binned)
    if exposure is None:
        binned.cut_field()
    return Prepared(binned.image, None, exposure, binned)


def _beside(path: Path, binned: BinnedEvents) -> Path | None:
    """Exposure map beside a list, if there is one and no more."""
    maps = exposure_maps(path, binned.header)
    if len(maps) == 1:
        binned.remarks["with exposure maps beside them, which are used"] = (
            f"exposure map beside the event list: {maps[0].name}"
        )
        return maps[0]
    if maps:
        names = ", ".join(file.name for file in maps[:3]) + (", ..." if len(maps) > 3 else "")
        binned.remarks["with several exposure maps beside them, of which none is used"] = (
            f"several exposure maps beside the event list ({names}): choose one (--exposure)"
        )
    return None
