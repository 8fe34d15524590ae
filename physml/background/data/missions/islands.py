"""Very faint mode of ACIS: the outer pixels of 5 x 5 islands tell the ends of tracks.

References
----------
Vikhlinin 2001, "Reducing ACIS quiescent background using Very Faint mode" (CXC calibration memo,
updated 2002): an event is background where a border pixel of its 5 x 5 island is above the split
threshold. That takes the background down by 1.4 (front-lit) and 1.25 (back-lit) above 6 keV, by
1.1 to 1.4 from 1 to 5 keV and by 2 to 2.5 near 0.5 keV, and costs about 2 % of the X-rays at any
energy, provided that none pile up. CIAO, acis_process_events (check_vf_pha, spthresh = 13).
"""

from __future__ import annotations

import numpy as np
from astropy.io.fits import Header

from ...core.arrays import Bools, Floats, Rows
from ...core.very_faint import very_faint
from .cards import text

#: Split threshold of ACIS, ADU.
SPLIT_ADU = 13
#: Share of X-rays that stay under the rule, and how well that is known.
RETENTION, ERROR = 0.98, 0.005
#: Side of the cells in which a bright source is looked for, sky pixels of ACIS (0.49 arcsec).
CELL = 5.0
#: Events per frame in a cell from which pile-up is no longer rare: some 4 % of them pile up.
BRIGHT = 0.08


def outer_charge(phas: Rows | None, header: Header) -> Bools | None:
    """Events with charge in the outer 16 pixels of their islands; None without such islands.

    Parameters
    ----------
    phas : ndarray, shape (m, 5, 5) or (m, 25), or None
        Pulse heights, ADU.
    header : Header
    """
    if not text(header, "INSTRUME").upper().startswith("ACIS") or phas is None:
        return None
    if phas.dtype.kind not in "iuf" or int(np.prod(phas.shape[1:])) != 25:
        return None
    return very_faint(phas.reshape(-1, 5, 5), SPLIT_ADU)


def brightest_cell(x: Floats, y: Floats, frames: float) -> float:
    """Most events per frame in a cell of the sky of `CELL` pixels a side.

    Parameters
    ----------
    x, y : ndarray, shape (m,)
        Sky pixels.
    frames : float
        Number of frames of the observation.
    """
    good = np.isfinite(x) & np.isfinite(y)
    if not good.any() or not frames > 0:
        return 0.0
    best = 0
    # A source on the border of two cells is found in the grid that is moved by half a cell.
    for shift in (0.0, CELL / 2):
        i = np.floor((x[good] + shift) / CELL).astype(np.int64)
        j = np.floor((y[good] + shift) / CELL).astype(np.int64)
        _, count = np.unique(np.stack([i, j], axis=1), axis=0, return_counts=True)
        best = max(best, int(count.max()))
    return best / frames
