"""Events that the mission itself marks as bad: STATUS, FLAG, pixels that are no event."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from astropy.io.fits import Header

from ...core.arrays import Bools, Rows
from .instruments import Instrument

#: Bits of FLAG of our own lists: rejected, bad, out of good time, without energy; see
#: `results.event_rows`. The others tell of an event that counts.
OWN = 16 | 64 | 128 | 256


def flagged(
    column: Callable[..., Rows | None], header: Header, instrument: Instrument, n: int
) -> tuple[Bools, str]:
    """Events that the mission marks as bad, and by what.

    Parameters
    ----------
    column : callable
        Gives a column by its name.
    header : Header
    instrument : Instrument
        Which bits matter; any by default.
    n : int
        Number of events.

    Returns
    -------
    bad : ndarray of bool, shape (n,)
    words : str
        Columns that say so, for people.
    """
    bad = np.zeros(n, bool)
    words = []
    # A list that we wrote: its FLAG is ours, unless the mission's was there before.
    own = "MODELSHA" in header and column("FLAG_BKG") is None
    for name, mask in (("STATUS", instrument.status), ("FLAG", instrument.flag)):
        values = column(name)
        if values is None or len(values) != n:
            continue
        if own and name == "FLAG":
            mask = OWN
        found = _bits(values, mask, instrument.bits)
        if found is not None and found.any():
            bad |= found
            words.append(name)
    pattern = column("PAT_TYP")
    if pattern is not None and pattern.dtype.kind in "iu":
        pi = column("PI")
        other = pattern <= 0
        if pi is not None and pi.dtype.kind in "if":
            # eROSITA lists the other pixels of a pattern with negative energies.
            other |= np.nan_to_num(pi) < 0
        if other.any():
            bad |= other
            words.append("PAT_TYP and PI: no main pixel of a valid pattern")
    return bad, ", ".join(words)


def _bits(values: Rows, mask: int, skipped: tuple[int, ...]) -> Bools | None:
    """Rows in which a bit is set that matters; None for a column that holds no bits."""
    if values.dtype.kind == "b":
        if values.ndim == 1:
            return values
        kept = [k for k in range(values.shape[1]) if k not in skipped]
        return np.asarray(values[:, kept].any(axis=1))
    if values.dtype.kind not in "iu" or values.ndim > 2:
        return None
    if values.ndim == 2:  # bytes of bits: any that is set
        return np.asarray((values != 0).any(axis=1))
    return np.asarray((values.astype(np.int64) & mask) != 0)
