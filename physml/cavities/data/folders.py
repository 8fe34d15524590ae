"""A folder of images, or of a telescope's products: which files belong together.

Understood are the names of CIAO (``fluximage``, ``merge_obs``: ``*_thresh.img``, ``*.expmap``,
``*_flux.img``), of XMM's pipeline (``P...IMAGE_3000.FTZ``, ``P...EXPMAP3000.FTZ``,
``P...BKGMAP3000.FTZ``) and of ESAS (``mos1S001-obj-im-400-7200.fits``, ``-exp-im``, ``-back-im``),
and names with words such as ``exp`` or ``bkg``. What a header says goes before its name.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from physml.exceptions import InputError
from physml.io.fits import headers, unpack

from .kinds import WORDS, kind_of

log = logging.getLogger(__name__)

_BETWEEN = r"(?<![a-z])", r"(?![a-z])"
#: Words in names, first match first.
_NAMED = (
    ("net", r"(bkg|back|background|bg)[-_]?sub\w*|net"),
    ("psf", r"psf\w*"),
    ("events", r"evt\d?|events?|ev\d"),
    ("mask", r"(det)?mask|cheese|fov"),
    ("error", r"err(or)?s?|var(iance)?|sigma"),
    ("sensitivity", r"sens\w*|instmap|asphist"),
    ("exposure", r"exp(o|osure)?([-_]?(map|im|imsky|image))?|emap|vig\w*"),
    ("background", r"bk?gd?([-_]?map)?|back(ground)?([-_]?(map|im|imsky|image|model))?|bkgimsky"),
    ("flux", r"flux(ed)?|rate"),
    ("image", r"thresh|image|img|counts?|cts|obj[-_]im|fovimsky|imsky|im"),
)
_WORDS = tuple((role, re.compile(rf"{_BETWEEN[0]}({p}){_BETWEEN[1]}")) for role, p in _NAMED)
_XMM = re.compile(
    r"^p(?P<obs>\d{10})(?P<camera>[a-z0-9]{2})(?P<exposure>[a-z]\d{3})"
    r"(?P<what>image_|oimage|expmap|exmap|bkgmap|msmap_|detmsk)(?P<band>\d)"
)
_OF_XMM = {"expmap": "exposure", "exmap": "exposure", "bkgmap": "background"}
#: Kinds that are no image and no map of use, where they lie beside an image.
_KNOWN = ("psf", "events", "mask", "error", "sensitivity", "significance", "flux")


@dataclass(frozen=True)
class ImageSet:
    """An image and the maps that belong to it.

    Attributes
    ----------
    image : Path
    exposure, background : Path or None
    """

    image: Path
    exposure: Path | None = None
    background: Path | None = None


@dataclass
class Sorted:
    """Files of a folder.

    Attributes
    ----------
    sets : list of ImageSet
        By the name of the image.
    known : list of (Path, str)
        Products that are not needed, and what they are.
    skipped : list of (Path, str)
        Files that belong to no image, and why.
    """

    sets: list[ImageSet] = field(default_factory=list)
    known: list[tuple[Path, str]] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def choose_images(
    files: Sequence[Path], skipped: list[tuple[Any, str]]
) -> tuple[list[Path], dict[str, list[Path | None]]]:
    """Images of a folder and the maps that belong to them.

    Parameters
    ----------
    files : sequence of Path
        All image files of the folder.
    skipped : list of tuple
        What is skipped is added: the file, and why.

    Returns
    -------
    images : list of Path
    maps : dict of list
        ``exposure`` and ``background`` of each; None where there is none.
    """
    found = sort_files(files)
    for file, what in found.known:
        log.info("%s: %s, not needed", file, what)
    skipped += [(file, f"{file}: {why}") for file, why in found.skipped]
    for one in found.sets:
        maps = [f.name for f in (one.exposure, one.background) if f is not None]
        if maps:
            log.info("%s: with %s", one.image.name, " and ".join(maps))
    return [one.image for one in found.sets], {
        "exposure": [one.exposure for one in found.sets],
        "background": [one.background for one in found.sets],
    }


def sort_files(files: Sequence[Path]) -> Sorted:
    """Sort files into images and their maps.

    Parameters
    ----------
    files : sequence of Path
        FITS files; one that cannot be read is taken for an image, whose reading says why not.
    """
    roles = {file: role_of(file) for file in files}
    images = [f for f in files if roles[f] in ("image", "net", "")]
    by_key = {key_of(f.name) for f in images}
    fluxes = [f for f in files if roles[f] == "flux"]
    # A flux is searched where the image of its counts is not there.
    images += [f for f in fluxes if key_of(f.name) not in by_key]
    if not images:
        images = [f for f in files if roles[f] == "events"]
    images.sort()
    out, used = Sorted(), set(images)
    for image in images:
        maps = {}
        for role in ("exposure", "background"):
            of_role = [f for f in files if roles[f] == role]
            same = [f for f in of_role if key_of(f.name) == key_of(image.name)]
            # One image and one such map belong together, whatever they are called.
            found = same or (of_role if len(images) == len(of_role) == 1 else [])
            maps[role] = found[0] if found else None
            used |= set(found[:1])
        out.sets.append(ImageSet(image, **maps))
    for file in files:
        if file in used:
            continue
        words = WORDS.get(roles[file], (_words(roles[file]), None))[0]
        if images and roles[file] in _KNOWN:
            out.known.append((file, words))
        else:
            out.skipped.append((file, f"{words} without an image of its name"))
    return out


def role_of(file: Path) -> str:
    """Role of a file by its header, or by its name; empty where neither says one."""
    by_name = role_of_name(file.name)
    try:
        raw = unpack(file)
        tops = [header for header, _, _ in headers(file, io.BytesIO(raw))]
    except InputError:
        return by_name if by_name not in ("image", "") else ""
    images = [h for h in tops if h.get("XTENSION", "IMAGE") == "IMAGE" and h.get("NAXIS", 0) >= 2]
    if not images:
        tables = [str(h.get("EXTNAME", "")).strip().upper() for h in tops[1:]]
        return "events" if "EVENTS" in tables else by_name if by_name in _KNOWN else ""
    said = kind_of(images[0]).name
    return by_name if said in ("", "image", "net") and by_name else said


def role_of_name(name: str) -> str:
    """Role of a file by its name alone."""
    lower = name.lower()
    pps = _XMM.match(lower)
    if pps:
        return _OF_XMM.get(pps["what"], "image" if "image" in pps["what"] else "mask")
    if ".expmap" in lower:
        return "exposure"
    stem = _stem(lower)
    return next((role for role, pattern in _WORDS if pattern.search(stem)), "")


def key_of(name: str) -> str:
    """Part of a name that files which belong together share."""
    lower = name.lower()
    pps = _XMM.match(lower)
    if pps:
        return f"{pps['obs']} {pps['camera']} {pps['band']}"
    stem = _stem(lower)
    for _, pattern in _WORDS:
        stem = pattern.sub("", stem)
    return re.sub(r"(?<![a-z])(sky|obj|map)(?![a-z])|[^a-z0-9]+", "", stem)


def _stem(lower: str) -> str:
    """Name without the endings of FITS files."""
    return re.sub(r"(\.(fits?|fts|ftz|img|expmap|gz))+$", "", lower)


def _words(role: str) -> str:
    return {"events": "an event list", "flux": "an image of the flux"}.get(role, "a file")
