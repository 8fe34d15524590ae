"""OGIP event lists and spectra: their keywords, and tables of any length written as a stream.

References
----------
Corcoran et al., OGIP/93-003 (event lists) and Angelini et al., OGIP/93-003 on mandatory keywords;
Arnaud & George, OGIP/92-007 (spectra); George et al., OGIP/92-002 (effective areas); FITS
standard 4.0, appendix J (checksums).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from astropy.io.fits import BinTableHDU, Header
from astropy.time import Time, TimeDelta

from physml.exceptions import InputError

from ..core.arrays import Floats, Rows
from ..data.missions.cards import number, seconds, text, truth

BLOCK = 2880
#: MJDREF where no date is known: 2000-01-01T00:00:00 TT.
UNKNOWN_EPOCH = (51544, 0.0)
_COPIED = (
    *("TELESCOP", "INSTRUME", "FILTER", "DETNAM", "DATAMODE", "OBJECT", "OBS_ID", "OBSERVER"),
    *("TITLE", "RA_PNT", "DEC_PNT", "RA_NOM", "DEC_NOM", "RA_OBJ", "DEC_OBJ", "ROLL_NOM", "PA_PNT"),
)
#: Time scales by TIMESYS; TT where it names none that is known.
_SCALES = {"UTC": "utc", "TAI": "tai", "TDB": "tdb", "TCB": "tcb", "TCG": "tcg"}
_FORMATS = {"f4": "E", "f8": "D", "i2": "I", "i4": "J", "i8": "K", "u1": "B", "b1": "L"}


# Name -> (value, comment).
Cards = dict[str, tuple[Any, str]]


def keywords(
    header: Header | None,
    instrument: str,
    intervals: Floats,
    live_time: float,
    start: str | None = None,
) -> Cards:
    """Mandatory keywords of an observation, with comments: mission, object, times.

    Parameters
    ----------
    header : Header or None
        Of the input, whose keywords are kept.
    instrument : str
        Name of the detector where the input tells none.
    intervals : ndarray, shape (k, 2)
        Good time, s.
    live_time : float
        s.
    start : str, optional
        Date of TIME 0, ISO 8601 in UTC.

    Raises
    ------
    InputError
        The date cannot be read.
    """
    known: Mapping[str, Any] = header if header is not None else {}
    defaults = {
        "TELESCOP": ("UNKNOWN", "mission"),
        "INSTRUME": (instrument.upper()[:60], "instrument"),
        "FILTER": ("NONE", "filter"),
        "OBJECT": ("UNKNOWN", "target"),
        "OBS_ID": ("UNKNOWN", "observation"),
    }
    cards: Cards = {}
    for name in _COPIED:
        if name in known and not isinstance(known[name], bool):
            cards[name] = (known[name], "from the input")
        elif name in defaults:
            cards[name] = defaults[name]
    first = float(intervals[0, 0]) if len(intervals) else 0.0
    last = float(intervals[-1, 1]) if len(intervals) else 0.0
    with warnings.catch_warnings():
        # Leap seconds of the future are not known; to a second it does not matter.
        warnings.simplefilter("ignore")
        zero, whole, part, note = _epoch(header, intervals, start)
        dates = [(zero + TimeDelta(t, format="sec")).isot for t in (first, last)]
    system = "" if header is None or start is not None else text(header, "TIMESYS")
    on_time = float(np.diff(intervals, axis=1).sum()) if len(intervals) else 0.0
    unit = seconds(known.get("TIMEUNIT")) or 1.0
    offset = 0.0 if header is None else unit * (number(header, "TIMEZERO") or 0.0)
    cards |= {
        "DATE-OBS": (dates[0], f"start of observation{note}"),
        "DATE-END": (dates[1], f"end of observation{note}"),
        "TSTART": (first, "[s] start"),
        "TSTOP": (last, "[s] end"),
        "TELAPSE": (last - first, "[s] from start to end"),
        "MJDREFI": (whole, f"[d] MJD of TIME 0{note}"),
        "MJDREFF": (part, "[d] and their fraction"),
        "TIMESYS": (system or zero.scale.upper(), "time system"),
        "TIMEUNIT": ("s", "unit of times"),
        "TIMEREF": (str(known.get("TIMEREF", "LOCAL")).strip() or "LOCAL", "no barycentring here"),
        "TIMEZERO": (offset, "[s] to add to TIME"),
        "CLOCKAPP": (
            header is not None and truth(header, "CLOCKAPP") is True,
            "clock correction applied",
        ),
        "ONTIME": (on_time, "[s] sum of the good time"),
        "LIVETIME": (live_time, "[s] the same, dead time corrected"),
        "EXPOSURE": (live_time, "[s] exposure"),
        "DEADC": (live_time / on_time if on_time else 1.0, "dead time correction"),
        "RADECSYS": (str(known.get("RADESYS", known.get("RADECSYS", "ICRS"))), "sky coordinates"),
        "EQUINOX": (2000.0, "their equinox"),
    }
    return cards


def _epoch(
    header: Header | None, intervals: Floats, start: str | None
) -> tuple[Time, int, float, str]:
    """Time 0 with TIMEZERO, the whole and the rest of its MJD without, and what is unknown of it.

    Known by ``start``, else by MJDREFI and MJDREFF, MJDREF, or by the date of the first good time
    (DATE-OBS, MJD-OBS).
    """
    offset = 0.0
    if header is not None:
        offset = (number(header, "TIMEZERO") or 0.0) * (seconds(header.get("TIMEUNIT")) or 1.0)
    if start is not None:
        try:
            zero = Time(start, format="isot", scale="utc").tt
        except ValueError as error:
            raise InputError.expected(
                "start=", "a date such as 2031-03-01T12:00:00 (UTC)", repr(start)
            ) from error
        return zero, *_days(zero, offset), ""
    if header is None:
        return Time(*UNKNOWN_EPOCH, format="mjd", scale="tt"), *UNKNOWN_EPOCH, " (unknown)"
    scale = _SCALES.get(text(header, "TIMESYS").upper(), "tt")
    days, rest = number(header, "MJDREFI"), number(header, "MJDREFF")
    if days is None:
        reference, rest = number(header, "MJDREF"), 0.0
        days = None if reference is None else float(np.floor(reference))
        rest = 0.0 if reference is None or days is None else reference - days
    if days is not None and 0 <= days < 1e6:
        zero = Time(days, rest or 0.0, format="mjd", scale=scale)
        return zero + TimeDelta(offset, format="sec"), int(days), float(rest or 0.0), ""
    begin = number(header, "TSTART")
    first = float(intervals[0, 0]) if len(intervals) else 0.0
    if begin is not None:
        first = begin * (seconds(header.get("TIMEUNIT")) or 1.0)
    known = _date_of(header, scale if text(header, "TIMESYS") else "utc")
    if known is None:
        return Time(*UNKNOWN_EPOCH, format="mjd", scale=scale), *UNKNOWN_EPOCH, " (unknown)"
    zero = known - TimeDelta(first, format="sec")
    return zero, *_days(zero, offset), ""


def _days(zero: Time, offset: float) -> tuple[int, float]:
    """Whole days and the rest of the MJD that is TIMEZERO, s, before a time."""
    reference = zero - TimeDelta(offset, format="sec")
    whole = int(np.floor(reference.mjd))
    part = (reference - Time(whole, format="mjd", scale=reference.scale)).to_value("jd")
    return whole, round(float(part), 12)


def _date_of(header: Header, scale: str) -> Time | None:
    """Date of the start of an observation by its cards; None where they tell none."""
    words = text(header, "DATE-OBS").removesuffix("Z").replace(" ", "T")
    clock = text(header, "TIME-OBS")
    if words and "T" not in words and ":" in clock:
        words = f"{words}T{clock}"
    try:
        if words:
            return Time(words, format="isot", scale=scale)
    except ValueError:
        pass
    mjd = number(header, "MJD-OBS")
    return None if mjd is None or not 0 < mjd < 1e6 else Time(mjd, format="mjd", scale=scale)


def epoch_known(header: Header | None, start: str | None = None) -> bool:
    """Whether the date of TIME 0 is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _epoch(header, np.empty((0, 2)), start)[3] == ""


@dataclass
class ColumnCards:
    """Cards of one column beside its name and format."""

    unit: str = ""
    comment: str = ""
    low: float | int | None = None
    high: float | int | None = None
    null: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def table_header(dtype: np.dtype[Any], rows: int, columns: Mapping[str, ColumnCards]) -> Header:
    """Header of a binary table with its columns.

    Parameters
    ----------
    dtype : dtype
        Of a row: numbers, truth values, texts of fixed length, or short vectors of numbers.
    rows : int
        Number of rows.
    columns : mapping
        Cards by column, where there are any; ``extra`` holds more, by keyword without number.
    """
    packed = packed_type(dtype)
    header = fits.Header()
    header["XTENSION"] = ("BINTABLE", "binary table")
    header["BITPIX"] = (8, "bytes")
    header["NAXIS"] = (2, "two axes")
    header["NAXIS1"] = (packed.itemsize, "bytes in a row")
    header["NAXIS2"] = (rows, "rows")
    header["PCOUNT"] = (0, "no heap")
    header["GCOUNT"] = (1, "one group")
    header["TFIELDS"] = (len(dtype.names or ()), "columns")
    for place, name in enumerate(dtype.names or (), start=1):
        cards = columns.get(name, ColumnCards())
        header[f"TTYPE{place}"] = (name, cards.comment[:47])
        header[f"TFORM{place}"] = fits_format(packed[name])
        if cards.unit:
            header[f"TUNIT{place}"] = cards.unit
        for key, value in (("TLMIN", cards.low), ("TLMAX", cards.high), ("TNULL", cards.null)):
            if value is not None:
                header[f"{key}{place}"] = value
        for key, value in cards.extra.items():
            header[f"{key}{place}"] = value
    return header


def fits_format(dtype: np.dtype[Any]) -> str:
    """TFORM of a column."""
    base = dtype.base
    count = int(np.prod(dtype.shape, dtype=int)) if dtype.shape else 1
    if base.kind == "S":
        return f"{base.itemsize * count}A"
    return f"{count}{_FORMATS[base.str[1:]]}"


def packed_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The row as FITS stores it: big-endian, without gaps."""
    fields = []
    for name in dtype.names or ():
        inner = dtype[name]
        fields.append((name, inner.base.newbyteorder(">"), inner.shape))
    return np.dtype(fields)


def stream_table(
    file: BinaryIO,
    header: Header,
    dtype: np.dtype[Any],
    chunks: Callable[[], Iterable[Rows]],
    heap: bytes = b"",
) -> None:
    """Write a binary table chunk by chunk, with its checksums.

    Parameters
    ----------
    file : binary file
        Open for writing at the end of the extension before.
    header : Header
        From `table_header`, with whatever else belongs in it.
    dtype : dtype
        Of the rows.
    chunks : callable
        Gives all rows in order, as often as it is called: the sum comes before the data.
    heap : bytes
        What belongs behind the rows: vectors of variable length.
    """
    packed = packed_type(dtype)

    def bytes_of() -> Iterator[bytes]:
        total = 0
        for rows in chunks():
            out = rows.astype(packed)
            for name in packed.names or ():
                if packed[name].base.kind == "b":
                    out = _logical(out)
                    break
            raw = out.tobytes()
            total += len(raw)
            yield raw
        yield heap + bytes(-(total + len(heap)) % BLOCK)

    datasum, held = 0, b""
    for raw in bytes_of():
        raw = held + raw
        cut = len(raw) - len(raw) % 4
        datasum = add_words(datasum, raw[:cut])
        held = raw[cut:]
    header["CHECKSUM"] = ("0" * 16, "checksum of the extension")
    header["DATASUM"] = (str(datasum), "checksum of the data")
    total = add_words(datasum, header.tostring().encode("ascii"))
    header["CHECKSUM"] = (encode_checksum(total), "checksum of the extension")
    file.write(header.tostring().encode("ascii"))
    for raw in bytes_of():
        file.write(raw)


def _logical(rows: Rows) -> Rows:
    """Truth values as FITS writes them, T and F."""
    fields = [
        (n, np.dtype("u1") if rows.dtype[n].base.kind == "b" else rows.dtype[n].base,
         rows.dtype[n].shape)
        for n in rows.dtype.names or ()
    ]  # fmt: skip
    out = np.empty(rows.shape, fields)
    for name in rows.dtype.names or ():
        values = rows[name]
        if values.dtype.kind == "b":
            values = np.where(values, ord("T"), ord("F"))
        out[name] = values
    return out


def add_words(total: int, raw: bytes) -> int:
    """Ones' complement sum of 32-bit words, continued."""
    total += int(np.frombuffer(raw, ">u4").sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def encode_checksum(total: int) -> str:
    """Sixteen letters and digits that bring the sum of an extension to minus zero."""
    value = 0xFFFFFFFF - total
    excluded = set(range(0x3A, 0x41)) | set(range(0x5B, 0x61))
    letters = [0] * 16
    for i in range(4):
        byte = value >> (24 - 8 * i) & 0xFF
        four = [byte // 4 + 0x30] * 4
        four[0] += byte % 4
        while excluded & set(four):
            # Pairs move apart until no punctuation is left; their sum stays.
            for j in (0, 2):
                if {four[j], four[j + 1]} & excluded:
                    four[j] += 1
                    four[j + 1] -= 1
        for j in range(4):
            letters[4 * j + i] = four[j]
    # The value begins at the last byte of a word.
    return "".join(map(chr, letters[15:] + letters[:15]))


def gti_table(intervals: Floats, shared: Cards) -> BinTableHDU:
    """Extension GTI with the good time."""
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("START", "D", unit="s", array=intervals[:, 0]),
            fits.Column("STOP", "D", unit="s", array=intervals[:, 1]),
        ],
        name="GTI",
    )
    hdu.header.update(shared)
    hdu.header["HDUCLASS"] = ("OGIP", "format of the file")
    hdu.header["HDUCLAS1"] = ("GTI", "good time intervals")
    hdu.header["HDUCLAS2"] = ("STANDARD", "of the whole detector")
    hdu.header["HDUVERS"] = ("1.2.0", "version of that format")
    return hdu


def spectrum_table(
    counts: Floats, error: Floats | None, first: int, kind: str, shared: Cards
) -> BinTableHDU:
    """Extension SPECTRUM: counts by PI channel.

    Parameters
    ----------
    counts : ndarray, shape (n_channels,)
        Whole numbers, unless there are errors.
    error : ndarray or None
        Statistical errors of weighted counts; Poisson where None.
    first : int
        Number of the first channel.
    kind : str
        HDUCLAS2: ``TOTAL`` or ``BKG``.
    shared : dict
    """
    n = len(counts)
    columns = [
        fits.Column("CHANNEL", "J", unit="chan", array=np.arange(first, first + n, dtype=np.int32))
    ]
    if error is None:
        columns.append(fits.Column("COUNTS", "J", unit="count", array=counts.astype(np.int32)))
    else:
        columns.append(fits.Column("COUNTS", "E", unit="count", array=counts))
        columns.append(fits.Column("STAT_ERR", "E", unit="count", array=error))
    hdu = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    hdu.header.update(shared)
    hdu.header["TLMIN1"], hdu.header["TLMAX1"] = first, first + n - 1
    for name, value, comment in (
        ("HDUCLASS", "OGIP", "format of the file"),
        ("HDUCLAS1", "SPECTRUM", "a spectrum"),
        ("HDUVERS", "1.2.1", "version of that format"),
        ("HDUVERS1", "1.2.1", "the same, obsolescent"),
        ("HDUCLAS2", kind, "source and background, or background"),
        ("HDUCLAS3", "COUNT", "counts, not a rate"),
        ("PHAVERSN", "1992a", "obsolescent"),
        ("CHANTYPE", "PI", "channels of energy"),
        ("DETCHANS", n, "channels there can be"),
        ("POISSERR", error is None, "Poisson errors"),
        ("SYS_ERR", 0, "no systematic error"),
        ("QUALITY", 0, "all channels are good"),
        ("GROUPING", 0, "no grouping"),
        ("AREASCAL", 1.0, "area scaling"),
        ("BACKSCAL", 1.0, "background scaling"),
        ("CORRSCAL", 0.0, "correction scaling"),
        ("BACKFILE", "none", "background file"),
        ("CORRFILE", "none", "correction file"),
        ("RESPFILE", "none", "redistribution matrix"),
        ("ANCRFILE", "none", "effective area"),
    ):
        hdu.header[name] = (value, comment)
    return hdu
