"""Event lists as missions write them, with made-up events: columns, cards and extensions after the
published descriptions of the formats (see `physml.background.data.missions.instruments`).
"""

from __future__ import annotations

import numpy as np
from astropy.io import fits

N = 60
START, STOP = 1000.0, 1600.0


def column(name, form, values, unit=None, **more):
    return fits.Column(name, form, unit=unit, array=np.asarray(values), **more)


def times(rng, step, n=N):
    """Middles of frames from START on, in order."""
    last = int((STOP - START) / step)
    return START + step * (np.sort(rng.choice(last, n, replace=False)) + 0.5)


def good_times(name, *rows, **cards):
    start, stop = np.array(rows, float).T
    hdu = fits.BinTableHDU.from_columns(
        [column("START", "D", start, "s"), column("STOP", "D", stop, "s")], name=name
    )
    hdu.header.update(cards)
    return hdu


def table(columns, **cards):
    hdu = fits.BinTableHDU.from_columns(columns, name="EVENTS")
    hdu.header.update(cards)
    return hdu


def bits(n, size, rows=(), bit=0):
    """Column of bits, one of which is set in some rows; the first bit is 0."""
    found = np.zeros((n, size), bool)
    found[list(rows), bit] = True
    return found


def limits(hdu, name, low, high):
    k = [n.upper() for n in hdu.columns.names].index(name) + 1
    hdu.header[f"TLMIN{k}"], hdu.header[f"TLMAX{k}"] = low, high


def chandra(n=N, outer=(), status=(3,)):
    """ACIS, level 1, very faint mode, two chips with good times of their own."""
    rng = np.random.default_rng(1)
    energy = rng.uniform(500, 9000, n)
    islands = rng.integers(-6, 8, (n, 5, 5))
    islands[:, 2, 2] = energy / 4
    islands[list(outer), 0, 3] = 40
    hdu = table(
        [
            column("time", "D", times(rng, 3.24104, n), "s"),
            column("ccd_id", "I", np.arange(n) % 2),
            column("expno", "J", np.arange(n)),
            column("chipx", "I", rng.integers(2, 1023, n), "pixel"),
            column("chipy", "I", rng.integers(2, 1023, n), "pixel"),
            column("x", "E", rng.uniform(3500, 4500, n), "pixel"),
            column("y", "E", rng.uniform(3500, 4500, n), "pixel"),
            column("phas", "25I", islands, "adu", dim="(5,5)"),
            column("pha", "J", energy / 4, "adu", null=0),
            column("energy", "E", energy, "eV"),
            column("pi", "J", energy / 14.6 + 1, "chan"),
            column("fltgrade", "I", rng.integers(0, 255, n)),
            column("grade", "I", np.arange(n) % 8),
            column("status", "32X", bits(n, 32, status, 8)),
        ],
        TELESCOP="CHANDRA", INSTRUME="ACIS", DATAMODE="VFAINT", MJDREF=50814.0, TIMESYS="TT",
        TIMEZERO=0.0, TIMEUNIT="s", TIMEPIXR=0.5, TIMEDEL=3.24104, TSTART=START, TSTOP=STOP,
        DTCOR=0.9874, ONTIME=600.0, LIVETIME=592.44, EXPOSURE=592.44, DSTYP1="EXPNO",
        DSVAL1="TABLE", DSREF1=":GTI", CREATOR="acis_process_events", DATE="2020-01-01T00:00:00",
    )  # fmt: skip
    limits(hdu, "PI", 1, 1024)
    each = (
        good_times("GTI", (START, 1300.0), (1310.0, STOP), CCD_ID=0, EXTVER=1),
        good_times("GTI", (START, STOP), CCD_ID=1, EXTVER=2),
    )
    return fits.HDUList([fits.PrimaryHDU(), hdu, *each])


def xmm(n=N, camera="EPN"):
    """EPIC-pn, in order of chip, with exposure and good times of each chip."""
    rng = np.random.default_rng(2)
    time, chip = times(rng, 0.0733645, n), np.sort(np.arange(n) % 3) + 1
    pattern = np.arange(n) % 13
    pattern[:3] = 40, 128, 205
    hdu = table(
        [
            column("TIME", "D", rng.permutation(time), "s"),
            column("RAWX", "I", rng.integers(1, 64, n), "pixel"),
            column("RAWY", "I", rng.integers(1, 200, n), "pixel"),
            column("DETX", "I", rng.integers(-18000, 18000, n), "0.05 arcsec"),
            column("DETY", "I", rng.integers(-18000, 18000, n), "0.05 arcsec"),
            column("X", "J", rng.integers(3401, 48400, n), "pixel", null=-99999999),
            column("Y", "J", rng.integers(3401, 48400, n), "pixel", null=-99999999),
            column("PHA", "I", rng.integers(50, 2400, n), "CHAN"),
            column("PI", "I", rng.integers(300, 12000, n), "CHAN"),
            column("FLAG", "J", np.where(np.arange(n) < 5, 65536, 0)),
            column("PATTERN", "B", pattern),
            column("CCDNR", "B", chip),
        ],
        TELESCOP="XMM", INSTRUME=camera, DATAMODE="IMAGING", SUBMODE="PrimeFullWindow",
        FILTER="Thin1", MJDREF=50814.0, TIMESYS="TT", TIMEZERO=0, FRMTIME=73, TSTART=START,
        TSTOP=STOP, LIVETIME=558.0, ONTIME=600.0, REFXCRPX=25921, REFXCRVL=10.0,
        REFXCTYP="RA---TAN", REFYCTYP="DEC--TAN", REVOLUT=1000,
    )  # fmt: skip
    limits(hdu, "PI", 0, 20479)
    exposures = fits.BinTableHDU.from_columns(
        [column("TIME", "D", time[:9], "s"), column("FRACEXP", "E", np.full(9, 0.9))],
        name="EXPOSU01",
    )
    each = [good_times(f"STDGTI{k:02d}", (START + 20 * (k - 1), STOP)) for k in (1, 2, 3)]
    return fits.HDUList([fits.PrimaryHDU(), hdu, exposures, *each])


def swift(n=N, mode="PHOTON"):
    """XRT; a row without PI."""
    rng = np.random.default_rng(3)
    pi = rng.integers(30, 1000, n)
    pi[7] = -1
    hdu = table(
        [
            column("TIME", "D", times(rng, 2.5073, n), "s"),
            column("X", "I", rng.integers(1, 1000, n), "pixel"),
            column("Y", "I", rng.integers(1, 1000, n), "pixel"),
            column("RAWX", "I", rng.integers(0, 600, n), "pixel"),
            column("RAWY", "I", rng.integers(0, 600, n), "pixel"),
            column("PHAS", "9I", rng.integers(0, 9, (n, 9)), "chan"),
            column("PI", "I", pi, "chan", null=-1),
            column("GRADE", "I", np.arange(n) % 14),
            column("STATUS", "16X", bits(n, 16, (4, 5), 3)),
        ],
        TELESCOP="SWIFT", INSTRUME="XRT", DATAMODE=mode, MJDREFI=51910, MJDREFF=7.428703703e-4,
        TIMESYS="TT", TIMEUNIT="s", TIMEPIXR=0.5, TIMEDEL=2.5073, TSTART=START, TSTOP=STOP,
        CLOCKAPP=True, UTCFINIT=-22.1, LIVETIME=590.0, EXPOSURE=590.0,
    )  # fmt: skip
    limits(hdu, "PI", 0, 1023)
    return fits.HDUList([fits.PrimaryHDU(), hdu, good_times("GTI", (START, 1590.0))])


def nustar(n=N):
    """FPMA: STATUS bits that matter and others, channels of 40 eV from 1.6 keV on."""
    rng = np.random.default_rng(4)
    status = bits(n, 16, (1, 2), 0)
    status[10:20, 4] = True  # does not matter
    hdu = table(
        [
            column("TIME", "D", np.sort(rng.uniform(START, STOP, n)), "s"),
            column("RAWX", "B", rng.integers(0, 31, n), "pixel"),
            column("RAWY", "B", rng.integers(0, 31, n), "pixel"),
            column("PI", "J", rng.integers(0, 400, n), "Chan"),
            column("GRADE", "B", np.arange(n) % 27),
            column("STATUS", "16X", status),
        ],
        TELESCOP="NuSTAR", INSTRUME="FPMA", MJDREFI=55197, MJDREFF=7.6601852e-4, TIMESYS="TDB",
        TIMEUNIT="s", TSTART=START, TSTOP=STOP, ONTIME=600.0, LIVETIME=570.0, EXPOSURE=570.0,
        DEADC=0.95,
    )  # fmt: skip
    return fits.HDUList([fits.PrimaryHDU(), hdu, good_times("GTI", (START, STOP))])


def suzaku(n=N):
    """XIS0 with STATUS as a number."""
    rng = np.random.default_rng(5)
    status = rng.integers(0, 1 << 17, n)
    status[[3, 9]] = 1 << 20, 1 << 21
    hdu = table(
        [
            column("TIME", "D", times(rng, 8.0, n), "s"),
            column("RAWX", "I", rng.integers(0, 1024, n), "pixel"),
            column("RAWY", "I", rng.integers(0, 1024, n), "pixel"),
            column("PI", "I", rng.integers(100, 3000, n), "chan"),
            column("GRADE", "I", np.arange(n) % 8),
            column("STATUS", "J", status),
        ],
        TELESCOP="SUZAKU", INSTRUME="XIS0", MJDREFI=51544, MJDREFF=7.42870370370370e-4,
        TIMESYS="TT", TIMEDEL=8.0, TIMEUNIT="s", TSTART=START, TSTOP=STOP, EXPOSURE=600.0,
    )  # fmt: skip
    return fits.HDUList([fits.PrimaryHDU(), hdu, good_times("GTI", (START, STOP))])


def erosita(n=N):
    """Two telescopes; PI in eV, scaled positions, a pixel that is not the main one."""
    rng = np.random.default_rng(6)
    pi, pixels = rng.uniform(300, 9000, n), np.arange(n) % 4 + 1
    pi[5], pixels[6] = -pi[5], -3
    hdu = table(
        [
            column("TIME", "D", times(rng, 0.05, n), "s"),
            column("RA", "J", rng.integers(10**7, 11 * 10**6, n), "deg"),
            column("DEC", "J", rng.integers(10**7, 11 * 10**6, n), "deg"),
            column("PI", "E", pi, "eV"),
            column("RAWX", "I", rng.integers(1, 384, n)),
            column("RAWY", "I", rng.integers(1, 384, n)),
            column("PAT_TYP", "I", pixels),
            column("PAT_INF", "B", rng.integers(0, 199, n)),
            column("TM_NR", "B", np.arange(n) % 2 + 1),
            column("FLAG", "J", np.where(np.arange(n) < 2, 1 << 13, 1)),
        ],
        TELESCOP="eROSITA", INSTRUME="merged", NINST=2, MJDREF=51543.875, TIMESYS="MT",
        FRAMETIM=50.0, TIMEUNIT="s", TIMEZERO=0.0, TSTART=START, TSTOP=STOP,
    )  # fmt: skip
    more = (
        good_times("GTI1", (START, STOP)),
        good_times("GTI2", (1100.0, STOP)),
        good_times("FLAREGTI1", (START, 1200.0)),
    )
    scales = {"TSCAL2": 1e-6, "TSCAL3": 1e-6, "TZERO2": 0.0, "TZERO3": 0.0}
    return retell(fits.HDUList([fits.PrimaryHDU(), hdu, *more]), **scales)


def sixte(n=N):
    """WFI: energies in SIGNAL and PI [keV], frames of 5 ms, shapes in TYPE, no frame time."""
    rng = np.random.default_rng(7)
    frame = np.sort(rng.choice(100_000, n, replace=False))
    energy = rng.uniform(0.3, 9, n)
    hdu = table(
        [
            column("TIME", "D", START + 0.005 * (frame + 0.5), "s"),
            column("FRAME", "J", frame),
            column("PHA", "J", energy * 100, "ADU"),
            column("PI", "E", energy, "keV"),
            column("SIGNAL", "E", energy, "keV"),
            column("RAWX", "I", rng.integers(0, 511, n), "pixel"),
            column("RAWY", "I", rng.integers(0, 511, n), "pixel"),
            column("PH_ID", "2J", rng.integers(1, 9, (n, 2))),
            column("TYPE", "I", np.arange(n) % 14 - 1),
            column("SIGNALS", "9E", rng.uniform(0, 1, (n, 9)), "keV"),
        ],
        TELESCOP="ATHENA", INSTRUME="WFI", MJDREF=54101.0, TIMESYS="TT", TIMEUNIT="s",
        TSTART=START, TSTOP=STOP, CREATOR="SIXTE",
    )  # fmt: skip
    return fits.HDUList([fits.PrimaryHDU(), hdu, good_times("STDGTI", (START, STOP))])


MISSIONS = {
    "chandra": chandra,
    "xmm": xmm,
    "swift": swift,
    "nustar": nustar,
    "suzaku": suzaku,
    "erosita": erosita,
    "sixte": sixte,
}


def retell(hdus, extension="EVENTS", **cards):
    """Say something else of the columns of a table, as the file is written (None: nothing).

    Of these cards astropy writes what it thinks right.
    """
    told = getattr(hdus, "told", {})
    hdus.told = {**told, extension: {**told.get(extension, {}), **cards}}
    return hdus


def place(hdus, name, extension="EVENTS"):
    """Number of a column."""
    return [n.upper() for n in hdus[extension].columns.names].index(name) + 1


def write(path, hdus):
    """Write a list with its checksums."""
    hdus.writeto(path, overwrite=True, checksum=True)
    with fits.open(path, mode="update") as file:
        for extension, cards in getattr(hdus, "told", {}).items():
            for name, value in cards.items():
                if value is None:
                    del file[extension].header[name]
                else:
                    file[extension].header[name] = value
            file[extension].add_checksum()
    return path
