"""Exposure map that a telescope's software laid beside an event list."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from physml.exceptions import InputError

from ..kinds import kind_of
from .reading import first_headers

_NAMED = re.compile(r"(expo?|exposure)[-_]?(ma?p|im)|\.expmap|emap", re.IGNORECASE)
_ENDINGS = (".fits", ".fit", ".fts", ".ftz", ".expmap", ".img")
#: Files of a folder that are looked at.
_MOST = 1000


def exposure_maps(path: Path, header: Any) -> list[Path]:
    """Exposure maps of the observation of an event list, in its folder.

    Parameters
    ----------
    path : Path
        The event list.
    header : Header
        Of its events: OBS_ID and INSTRUME have to agree where both tell them; where not, the
        names have to begin alike.

    Returns
    -------
    list of Path
        By name; several for several bands.
    """
    try:
        files = sorted(path.parent.iterdir())[:_MOST]
    except OSError:
        return []
    found = []
    for file in files:
        name = file.name.lower().removesuffix(".gz")
        if file == path or not name.endswith(_ENDINGS) or not file.is_file():
            continue
        if not _NAMED.search(file.name):
            continue
        try:
            theirs = first_headers(file)
        except InputError:
            continue
        image = next((h for h in theirs if int(h.get("NAXIS", 0)) >= 2), None)
        if image is None or kind_of(image).name not in ("", "exposure"):
            continue
        if "CTYPE1" in image and _belongs(path, header, file, image):
            found.append(file)
    return found


def _belongs(path: Path, header: Any, file: Path, other: Any) -> bool:
    said = [
        (str(header[card]).strip(), str(other[card]).strip())
        for card in ("OBS_ID", "INSTRUME")
        if card in header and card in other
    ]
    if any(a.lstrip("0") != b.lstrip("0") for a, b in said):
        return False
    if len(said) == 2:
        return True
    start = re.split(r"[_\-.]", path.name)[0].lower()
    return len(start) >= 4 and file.name.lower().startswith(start)
