"""Example of the report: its file, its truth, and the essentials for the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.recfunctions import repack_fields

from physml.io.shards import write_shard

from ..core.arrays import Ints, Rows
from ..core.events import find_in_exposures
from ..core.frames import PIXEL, Frames
from ..results.event_rows import REJECTED
from ..results.result import BackgroundResult
from ..settings import ReportSettings
from .metrics import BANDS, WIDE, valid_events

#: Where the example comes from.
NOTE = (
    "Simulated: {seconds:g} s of one quadrant with the housing at 15 mm, solar minimum; a faint "
    "extended source in the middle of other X-rays."
)


def write_example(path: Path, frames: Frames, provenance: Mapping[str, Any]) -> None:
    """Write frames as a user would have them: no truth, frames numbered from 0.

    Parameters
    ----------
    path : Path
        HDF5 file to write.
    frames : Frames
        Of one exposure.
    provenance : mapping
        Run record.
    """
    assert frames.exposures is not None
    known = ["first_frame", "n_frames", "frame_time", "ny", "nx", "pixel_um", "thickness_um"]
    pixels = repack_fields(frames.pixels[list(PIXEL.names or ())])
    table = repack_fields(frames.exposures[[*known, "enc", "threshold"]])
    first = int(table["first_frame"][0])
    pixels["frame"] -= first
    table["first_frame"] = 0
    write_shard(
        path,
        {"index": frames.index - first},
        tables={"pixels": pixels, "exposures": table},
        provenance=provenance,
    )


def against_truth(result: BackgroundResult, frames: Frames) -> dict[str, Any]:
    """Count X-rays and background that a cut kept and removed, where the truth is known.

    Parameters
    ----------
    result : BackgroundResult
    frames : Frames
        The example, with truth.

    Returns
    -------
    dict
        ``xrays``, ``xrays_kept``, ``background``, ``background_removed``: numbers of events in
        0.3-10 keV; and ``promised``.
    """
    assert frames.exposures is not None
    found = find_in_exposures(frames)
    events = valid_events(found, frames)
    peak, listed = found.events[events.row], result.store.read()
    gone = listed[(listed["FLAG"] & REJECTED) > 0]

    def place(frame: Ints, y: Rows, x: Rows) -> Ints:
        inside = y.astype(np.int64) * frames.shape[1] + x
        return frame * (frames.shape[0] * frames.shape[1]) + inside

    rejected = np.isin(
        place(peak["frame"] - frames.exposures["first_frame"][0], peak["y"], peak["x"]),
        place(gone["FRAME"], gone["RAWY"] - 1, gone["RAWX"] - 1),
    )
    inside = events.within(BANDS[WIDE])
    xray, background = inside & ~events.background, inside & events.background
    return {
        "promised": result.retention,
        "xrays": int(xray.sum()),
        "xrays_kept": int((xray & ~rejected).sum()),
        "background": int(background.sum()),
        "background_removed": int((background & rejected).sum()),
    }


def summarise(
    settings: ReportSettings,
    cleaned: Mapping[str, Any],
    truth: Mapping[str, Any],
    whose: str,
    measured: Mapping[str, Any],
) -> dict[str, Any]:
    """Essentials of the example and of the evaluation.

    Parameters
    ----------
    settings : ReportSettings
    cleaned : mapping
        Summary of the result.
    truth : mapping
        From `against_truth`.
    whose : str
        Whose weights were used, in words.
    measured : mapping
        Numbers of the evaluation.

    Returns
    -------
    dict
        ``example``, ``simulated``, ``note``, ``weights``, ``cleaned``, ``truth``, ``evaluation``
        (a few numbers of each set).
    """
    numbers = {}
    for name, part in measured.get("sets", {}).items():
        rows = {}
        for method, found in part["methods"].items():
            by = found.get("at_retention", {}).get("0.3-10", {})
            if by:
                rows[method] = {r: s["value"] for r, s in by.items()}
        numbers[name] = {
            "photons": part["photons"],
            "background": part["background"],
            "removed": rows,
            "kept": {
                r: f["0.3-10"]["retention"]["value"]
                for r, f in part["methods"]["network"]["fixed"].items()
            },
            "calibration_error": part["calibration"]["error"]["value"],
            "frames_found": part["frames_with_particle"]["most_probable"]["found"]["value"],
        }
    return {
        "example": f"simulated {settings.example.replace('_', ' ')}",
        "simulated": True,
        "note": NOTE.format(seconds=settings.seconds),
        "weights": whose,
        "cleaned": dict(cleaned),
        "truth": dict(truth),
        "evaluation": numbers,
    }
