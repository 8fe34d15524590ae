"""Files of a result: event list, spectra, effective-area correction, images, figure, summary."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header

from physml import provenance as prov
from physml.evaluation.figures import save_figure
from physml.exceptions import InputError
from physml.io.atomic import atomic_path, write_json
from physml.io.fits import open_hdus, write_hdus

from ..core.arrays import Floats, Rows, bin_of
from .event_rows import CHANNEL_KEV, FLAGS, N_CHANNELS
from .list_file import write_list
from .maps import images, selected, sky_cards
from .model_cards import describe
from .ogip import Cards, gti_table, keywords, spectrum_table, stream_table, table_header
from .overview import plot_overview
from .result import BackgroundResult
from .summary import summarise

EVENTS, KEPT, CUT = "events.fits", "spectrum_kept.pha", "spectrum_rejected.pha"
AREA, IMAGE = "effective_area_correction.fits", "background.fits"


def write_products(result: BackgroundResult, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write everything that belongs to a result into an existing folder.

    `events.fits`, `spectrum_kept.pha`, `spectrum_rejected.pha`,
    `effective_area_correction.fits`, `background.fits`, `overview.png`, `summary.json`.

    Parameters
    ----------
    result : BackgroundResult
        What to write.
    folder : Path
        Where to.
    provenance : mapping
        Run record that each file carries.
    """
    shared = keywords(
        result.header,
        "" if result.camera is None else result.camera.name,
        result.intervals,
        result.live_time,
        result.start,
    )
    write_events(folder / EVENTS, result, shared, provenance)
    for name, rejected in ((KEPT, False), (CUT, True)):
        write_spectrum(folder / name, result, rejected, shared, provenance)
    write_area(folder / AREA, result, shared, provenance)
    write_image_of_background(folder / IMAGE, result, shared, provenance)
    save_figure(plot_overview(result), folder / "overview.png", provenance=provenance)
    write_json(folder / "summary.json", {**summarise(result), "provenance": dict(provenance)})


def write_events(
    path: Path, result: BackgroundResult, shared: Cards, provenance: Mapping[str, Any]
) -> None:
    """OGIP event list with GTI, thresholds and run record; rows go from disk to disk.

    A list that existed stays its mission's, with our columns behind its own.
    """
    if result.listed is not None:
        write_list(path, result, result.listed, shared, provenance)
        return
    primary = fits.PrimaryHDU()
    primary.header.update(shared)
    for name, value, comment in prov.fits_cards(provenance):
        primary.header[name] = (value, comment)
    header = table_header(result.store.dtype, len(result.store), result.columns)
    header.update(shared)
    _events_cards(header, result, provenance)
    others = fits.HDUList([fits.PrimaryHDU(), gti_table(result.intervals, shared)])
    if result.with_frames:
        others.append(thresholds_table(result))
    others.append(prov.fits_table(provenance))
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(_bytes(fits.HDUList([primary])))
        stream_table(file, header, result.store.dtype, result.store.chunks)
        rest = _bytes(others)
        file.write(rest[rest.index(b"XTENSION") :])


def _bytes(hdus: Any) -> bytes:
    buffer = io.BytesIO()
    hdus.writeto(buffer, checksum=True)
    return buffer.getvalue()


def _events_cards(header: Header, result: BackgroundResult, record: Mapping[str, Any]) -> None:
    header["EXTNAME"] = ("EVENTS", "name of this table")
    header["HDUCLASS"] = ("OGIP", "format of the file")
    header["HDUCLAS1"] = ("EVENTS", "an event list")
    header["HDUCLAS2"] = ("ALL", "kept (WEIGHT > 0) and rejected")
    header["HDUVERS"] = ("1.2.0", "version of that format")
    if np.isfinite(result.frame_time):
        header["TIMEDEL"] = (result.frame_time, "[s] frame time")
    header["TIMEPIXR"] = (0.5, "TIME is the middle of a frame")
    describe(header, result, record)
    header["ORIGIN"] = ("physml", "where this file was made")
    for bit, text in FLAGS.items():
        header.add_comment(f"FLAG bit {bit}: {text}")
    for text in result.remarks:
        header.add_history(text.encode("ascii", "replace").decode())


def thresholds_table(result: BackgroundResult) -> Any:
    """Extension THRESHOLDS: cut on P_BKG by energy and particle rate."""
    c = result.correction
    n = len(c.energy) - 1
    m = len(c.rate) - 1
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("RATE_LO", "D", array=np.repeat(c.rate[:-1], n)),
            fits.Column("RATE_HI", "D", array=np.repeat(_finite(c.rate[1:]), n)),
            fits.Column("ENERG_LO", "D", unit="keV", array=np.tile(c.energy[:-1], m)),
            fits.Column("ENERG_HI", "D", unit="keV", array=np.tile(c.energy[1:], m)),
            fits.Column("P_CUT", "D", array=c.cut.ravel()),
        ],
        name="THRESHOLDS",
    )
    hdu.header["RETENTIO"] = (c.promised, "promised share of X-rays that stay")
    hdu.header.add_comment("Events with P_BKG above P_CUT are rejected, interpolated between the")
    hdu.header.add_comment("middles of the bins; rates are particle tracks per frame.")
    return hdu


def _finite(values: Floats) -> Floats:
    # FITS has no infinity that all readers understand.
    return np.minimum(values, 1e6)


def channels(result: BackgroundResult) -> tuple[int, int, bool]:
    """First channel of the spectra, their number, and whether they are ours, 10 eV wide.

    An event list keeps the channels of its instrument: its response goes with them.
    """
    if result.listed is None or result.listed.channels is None:
        return 0, N_CHANNELS, True
    first, last = result.listed.channels
    return first, last - first + 1, False


def spectrum(result: BackgroundResult, rejected: bool) -> tuple[Rows, Rows | None]:
    """Counts by channel, and their errors where events have weights of a simulation."""
    first, n, ours = channels(result)
    counts, squares = np.zeros(n), np.zeros(n)
    for rows, weight in selected(result, rejected):
        value = rows["ENERGY"] / CHANNEL_KEV if ours else rows["PI"] - first
        place = np.clip(value, 0, n - 1).astype(np.int64)
        counts += np.bincount(place, weight, minlength=n)
        squares += np.bincount(place, weight**2, minlength=n)
    return counts, np.sqrt(squares) if result.weighted else None


def write_spectrum(
    path: Path,
    result: BackgroundResult,
    rejected: bool,
    shared: Cards,
    provenance: Mapping[str, Any],
) -> None:
    """OGIP spectrum of the kept or rejected events."""
    counts, error = spectrum(result, rejected)
    first, n, ours = channels(result)
    table = spectrum_table(counts, error, first, "BKG" if rejected else "TOTAL", shared)
    primary = fits.PrimaryHDU()
    for hdu in (primary, table):
        describe(hdu.header, result, provenance)
    if not rejected:
        table.header["ARFCORR"] = (AREA, "multiply the effective area by this")
    hdus = [primary, table]
    if ours:
        hdus.append(_bounds(n, shared))
    write_hdus(path, fits.HDUList([*hdus, prov.fits_table(provenance)]))


def _bounds(n: int, shared: Cards) -> Any:
    """Extension EBOUNDS: energies of the channels."""
    edges = np.arange(n + 1) * CHANNEL_KEV
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("CHANNEL", "J", unit="chan", array=np.arange(n, dtype=np.int32)),
            fits.Column("E_MIN", "E", unit="keV", array=edges[:-1]),
            fits.Column("E_MAX", "E", unit="keV", array=edges[1:]),
        ],
        name="EBOUNDS",
    )
    hdu.header.update(shared)
    hdu.header.update(
        {"HDUCLASS": "OGIP", "HDUCLAS1": "RESPONSE", "HDUCLAS2": "EBOUNDS", "HDUVERS": "1.2.0"}
    )
    hdu.header.update({"CHANTYPE": "PI", "DETCHANS": n, "TLMIN1": 0, "TLMAX1": n - 1})
    return hdu


def write_area(
    path: Path, result: BackgroundResult, shared: Cards, provenance: Mapping[str, Any]
) -> None:
    """Retention against energy in this observation, and against energy and particle rate.

    The effective area of the kept events is that of all events times RETENTION.
    """
    c, rates = result.correction, result.tally.rate or [0.0]
    value, error = c.of(rates)
    k = len(value)
    mean = fits.BinTableHDU.from_columns(
        [
            fits.Column("ENERG_LO", "E", unit="keV", array=c.energy[:-1]),
            fits.Column("ENERG_HI", "E", unit="keV", array=c.energy[1:]),
            fits.Column("RETENTION", "E", array=value),
            fits.Column("ERROR", "E", array=error),
            fits.Column("PROMISED", "E", array=np.full(k, c.promised)),
        ],
        name="RETENTION",
    )
    share = np.histogram(rates, np.append(c.rate[:-1], np.inf))[0] / len(rates)
    each = fits.BinTableHDU.from_columns(
        [
            fits.Column("RATE_LO", "E", array=c.rate[:-1]),
            fits.Column("RATE_HI", "E", array=_finite(c.rate[1:])),
            fits.Column("TIME_SHARE", "E", array=share),
            fits.Column("RETENTION", f"{k}E", array=c.retention),
            fits.Column("ERROR", f"{k}E", array=c.error),
        ],
        name="RETENTION_RATE",
    )
    each.header.add_comment("Rates are particle tracks above 15 keV per frame; TIME_SHARE is the")
    each.header.add_comment("share of this observation at each; energies as in RETENTION.")
    primary = fits.PrimaryHDU()
    for hdu in (mean, each):
        hdu.header.update(shared)
        hdu.header["HDUCLASS"] = ("PHYSML", "format of the extension")
        hdu.header["HDUCLAS1"] = ("RETENTION", "multiplies SPECRESP of an ARF")
    describe(primary.header, result, provenance)
    write_hdus(path, fits.HDUList([primary, mean, each, prov.fits_table(provenance)]))


def corrected_area(
    energy_lo: Floats, energy_hi: Floats, area: Floats, correction: str | Path
) -> Floats:
    """Effective area of the kept events.

    Parameters
    ----------
    energy_lo, energy_hi : ndarray, shape (n,)
        Edges of the bins of an ARF, keV.
    area : ndarray, shape (n,)
        SPECRESP.
    correction : path
        `effective_area_correction.fits`.

    Returns
    -------
    ndarray, shape (n,)
        Area times retention, constant beyond the energies of the correction.

    Raises
    ------
    InputError
        The correction is no such file.
    """
    edges, value = _retention(Path(correction))
    middle = 0.5 * (np.asarray(energy_lo, float) + np.asarray(energy_hi, float))
    return np.asarray(area, float) * value[bin_of(edges, middle)]


def _retention(path: Path) -> tuple[Floats, Floats]:
    """Edges of the bins in energy, and what is retained in each."""
    names = ("ENERG_LO", "ENERG_HI", "RETENTION")
    with open_hdus(path) as hdus:
        try:
            data = hdus["RETENTION"].data
            low, high, value = (np.array(data[name], np.float64) for name in names)
        except Exception as error:  # astropy fails in many ways on damaged tables
            raise InputError.expected(
                path, f"a table RETENTION with the numbers {', '.join(names)}", f"{error}"
            ) from error
    shapes = {low.shape, high.shape, value.shape}
    if len(shapes) > 1 or value.ndim != 1 or not value.size:
        raise InputError.expected(path, "one number a row in the table RETENTION", f"{shapes}")
    edges = np.append(low, high[-1])
    if not (np.isfinite(edges).all() and np.isfinite(value).all() and (np.diff(edges) > 0).all()):
        raise InputError.expected(path, "finite numbers at rising energies in RETENTION", "others")
    return edges, value


def write_image_of_background(
    path: Path, result: BackgroundResult, shared: Cards, provenance: Mapping[str, Any]
) -> None:
    """Images of `images`, the expected background first."""
    hdus = fits.HDUList()
    sky = sky_cards(result)
    for name, image in images(result).items():
        hdu = fits.PrimaryHDU(image) if not hdus else fits.ImageHDU(image, name=name)
        hdu.header.update(shared)
        hdu.header.update(sky)
        hdu.header["BUNIT"] = "count"
        hdu.header["CONTENT"] = (name, "see HISTORY")
        hdus.append(hdu)
    describe(hdus[0].header, result, provenance)
    for text in (
        "BACKGROUND: sum of P_BKG over all events; RESIDUAL: over the kept ones.",
        "P_BKG holds at equal numbers of X-rays and background of each energy.",
    ):
        hdus[0].header.add_history(text)
    hdus.append(prov.fits_table(provenance))
    write_hdus(path, hdus)
