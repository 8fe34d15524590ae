"""Instruments that are known: energies of channels, grades, bits that mark bad events.

References
----------
Chandra ACIS: CIAO, acis_process_events (PI = energy / 14.6 eV + 1, 1 to 1024; STATUS 0 is good).
XMM-Newton EPIC: Data Files Handbook and SAS, evselect (PI in eV; FLAG 0 is good) and epevents
(PATTERN 0 to 12 are valid). Swift XRT: Data Reduction Guide 1.2 (PI of 10 eV, 0 to 1023; grades 0
to 12 in photon counting after the EPIC MOS library, 0 to 2 in windowed timing). NuSTAR: Data
Analysis Software Guide 1.9.7 (E = 1.6 keV + 0.04 keV x PI, 0 to 4095) and nuscreen (STATUS
b0000xx00xx0xx000). Suzaku XIS: Data Reduction Guide (PI of 3.65 eV, 0 to 4095; grades of ASCA) and
screening criteria 2.0 (STATUS below 2^19). XRISM Xtend: Data Reduction Guide (PI of 6 eV, 0 to
4095; STATUS[1] 0). eROSITA: eSASS, description of the event file (PI in eV, positive for the main
pixel only; PAT_TYP 1 to 4 are valid, below 0 invalid) and of the flag 0xC00FFF30. SIXTE: manual,
event files (SIGNAL and PI in keV; TYPE as EPIC's PATTERN). ASCA SIS: ABC guide (grades 0 to 7).
"""

from __future__ import annotations

from dataclasses import dataclass

from astropy.io.fits import Header

from .cards import text


@dataclass(frozen=True)
class Channels:
    """Law of the channels of PI.

    Attributes
    ----------
    width : float
        keV.
    zero : float
        Energy at the lower edge of channel 0, keV.
    first, last : int
        Numbers of the first and last channel.
    """

    width: float
    zero: float = 0.0
    first: int = 0
    last: int = 4095


@dataclass(frozen=True)
class Instrument:
    """A camera, as far as its event lists are concerned.

    Attributes
    ----------
    name : str
        For messages.
    channels : Channels, optional
    grades : str
        Name of what its grades are, see `grades.CONVENTIONS`: ``asca``, ``epic`` or ``windowed``.
    status, flag : int
        Bits of STATUS and FLAG that mark an event as bad.
    bits : tuple of int
        Places of the bits of STATUS that do not matter, where it is a column of bits; the first
        bit is 0.
    """

    name: str = "this instrument"
    channels: Channels | None = None
    grades: str = "asca"
    status: int = -1
    flag: int = -1
    bits: tuple[int, ...] = ()


UNKNOWN = Instrument()
_EPIC = Instrument("XMM EPIC", Channels(1e-3, last=20479), "epic")
_XIS = Instrument("Suzaku XIS", Channels(3.65e-3), status=~((1 << 19) - 1))
_ROSITA = Instrument("eROSITA", Channels(1e-3, last=20479), "epic", flag=0xC00FFF30)
_XRT = Channels(10e-3, last=1023)
_NUSTAR = Instrument(
    "NuSTAR", Channels(40e-3, 1.6), "epic", bits=(4, 5, 8, 9, 11, 12), status=0b1111001100100111
)
_SXI = Instrument("Xtend", Channels(6e-3), status=1 << 15, bits=tuple(range(1, 16)))
#: By the beginnings of TELESCOP and INSTRUME.
_KNOWN = (
    ("CHANDRA", "ACIS", Instrument("Chandra ACIS", Channels(14.6e-3, -14.6e-3, 1, 1024))),
    ("XMM", "E", _EPIC),
    ("SWIFT", "XRT", Instrument("Swift XRT", _XRT, "epic")),
    ("SUZAKU", "XIS", _XIS),
    ("XRISM", "XTEND", _SXI),
    ("HITOMI", "SXI", Instrument("Hitomi SXI", Channels(6e-3))),
    ("NUSTAR", "", _NUSTAR),
    ("EROSITA", "", _ROSITA),
    ("SRG", "EROSITA", _ROSITA),
    ("SRG", "TM", _ROSITA),
    ("ATHENA", "WFI", Instrument("Athena WFI")),
    ("ASCA", "SIS", Instrument("ASCA SIS")),
)


def instrument_of(header: Header) -> Instrument:
    """Instrument of an event list by its header; one without channels where it is not known."""
    name, camera = text(header, "TELESCOP").upper(), text(header, "INSTRUME").upper()
    if name.startswith("SWIFT") and camera.startswith("XRT"):
        mode = text(header, "DATAMODE").upper()
        if mode.startswith(("WINDOWED", "WT")):
            return Instrument("Swift XRT, windowed timing", _XRT, "windowed")
    for telescope, instrument, found in _KNOWN:
        if name.startswith(telescope) and camera.startswith(instrument):
            return found
    words = [text(header, card) for card in ("TELESCOP", "INSTRUME")]
    return Instrument(f"TELESCOP {words[0]!r}, INSTRUME {words[1]!r}")
