"""Content of an extension of a file as its header says it: an image, or a map beside one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from physml.exceptions import InputError

from .units import parse_unit

#: Keywords that name the content (OGIP memo HFWG R8/92; CIAO, SAS and eSASS write them).
NAMES = ("CONTENT", "EXTNAME", "HDUNAME", "HDUCLAS1", "HDUCLAS2", "HDUCLAS3", "HDUCLAS4")
#: What a name says, first match first. An image from which the background was subtracted, or that
#: was corrected for the exposure, is an image.
_SAYS = (
    ("net", r"NET|(BKG|BACK(GROUND)?)[ _-]?SUB(TRACTED)?|SUB(TRACTED)?[ _-]?(BKG|BACKGROUND)"),
    ("image", r"(EXP(OSURE)?|VIGNETTING)[ _-]?COR(R|RECTED)?"),
    ("psf", r"PSF([ _-]?(MAP|SIZE|IMAGE))?|ECF[ _-]?MAP"),
    ("error", r"ERR(OR)?S?([ _-]?MAP)?|STD(DEV)?|VAR(IANCE)?|UNCERT(AINTY)?|SIGMA([ _-]?MAP)?"),
    ("significance", r"SIGNIFICANCE|SNR([ _-]?MAP)?|LIKELIHOOD|DETECTION[ _-]?LIKELIHOOD"),
    ("sensitivity", r"SENS(ITIVITY)?([ _-]?MAP)?|LIMITING[ _-]?FLUX|ULIM([ _-]?MAP)?"),
    ("mask", r"(DET(ECTION)?|FOV|CHEESE|BAD[ _-]?PIX(EL)?|QUALITY)?[ _-]?MASK([ _-]?MAP)?|DQ"),
    ("exposure", r"(EPIC )?EXP(OSURE)?([ _-]?(MAP|IMAGE|IM|IMSKY))?S?|INST(RUMENT)?[ _-]?MAP"),
    ("exposure", r"(NON)?VIG(NETTED|NETTING)?[ _-]?(EXP(OSURE)?)?[ _-]?MAP|EFFECTIVE EXPOSURE"),
    ("background", r"BKGD?([ _-]?(MAP|IMAGE|IM|IMSKY))?|BACK(GROUND)?([ _-]?(MAP|IMAGE|MODEL))?"),
    ("background", r"BGD?([ _-]?MAP)?|EPIC (MERGED )?BACKGROUND MAP|EPIC SPLINED? BACKGROUND MAP"),
    ("image", r"(EPIC )?(COUNTS?[ _-]?)?(IMAGE|MAP)|SCI"),
)
_SAID = tuple((kind, re.compile(pattern)) for kind, pattern in _SAYS)
#: Kinds in words, and the argument that takes them.
WORDS = {
    "exposure": ("an exposure map", "exposure (--exposure)"),
    "background": ("a background map", "background (--background)"),
    "mask": ("a mask", "mask (--mask)"),
    "psf": ("a map of the point spread function", None),
    "error": ("a map of errors", None),
    "significance": ("a map of significances", None),
    "sensitivity": ("a map of the sensitivity", None),
    "image": ("an image of counts", None),
}
#: Kinds that each argument takes; whatever says nothing is taken for what it is given as.
_TAKEN = {
    "image": ("image", "net"),
    "exposure": ("exposure",),
    "background": ("background", "image", "net"),
}


@dataclass(frozen=True)
class Kind:
    """Kind of the pixels as a header says it.

    Attributes
    ----------
    name : str
        image, net, exposure, background, psf, error, significance, sensitivity, mask; empty where
        the header says nothing.
    said : str
        The card, for messages.
    """

    name: str = ""
    said: str = ""


def kind_of(header: Mapping[str, Any], unit: Any = None) -> Kind:
    """Kind of an extension by its name, its class, or its unit.

    Parameters
    ----------
    header : mapping
    unit : Unit or str, optional
        Where it is not that of the header.
    """
    for key in NAMES:
        value = header.get(key)
        if not isinstance(value, str):
            continue
        text = value.strip().upper()
        for name, pattern in _SAID:
            # `HDUCLAS1 = 'IMAGE'` and an extension of that name say the layout, not the content.
            if pattern.fullmatch(text) and not (name == "image" and key != "CONTENT"):
                return Kind(name, f"{key} = {value.strip()!r}")
    given = parse_unit(header.get("BUNIT") if unit is None else unit)
    said = "BUNIT = " if unit is None else "unit "
    if given is not None and given.is_exposure:
        return Kind("exposure", f"{said}{given.text!r}")
    if given is not None and given.is_counts and given.counted:
        return Kind("image", f"{said}{given.text!r}")
    return Kind()


def require_kind(kind: Kind, role: str, label: str) -> None:
    """Refuse a map that is given as something else.

    Parameters
    ----------
    kind : Kind
    role : {"image", "exposure", "background"}
        What it is given as.
    label : str
        For the message.

    Raises
    ------
    InputError
        With the argument that takes it.
    """
    if kind.name in ("", *_TAKEN[role]):
        return
    words, argument = WORDS.get(kind.name, (f"a {kind.name} image", None))
    if role == "exposure" and kind.name == "net":
        words = "an image with the background subtracted"
    hint = f"Give it as {argument}, beside the image of counts." if argument else None
    if kind.name in ("image", "net"):
        hint = "The image comes first; its exposure map is a file of its own."
    raise InputError.expected(label, WORDS[role][0], f"{words} ({kind.said})", hint)
