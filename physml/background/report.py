"""The shipped weights on an example observation, and one page that shows all results.

There are no public frames of a silicon detector in orbit with the particles in them: the example
is simulated, and page and summary say so. Since its truth is known, what the cut did to it is
counted as well.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physml.evaluation.page import embedded, whole_page

if TYPE_CHECKING:
    from .core.frames import Frames
    from .predict import BackgroundPredictor
    from .results.result import BackgroundResult
    from .settings import BackgroundSettings, ReportSettings

log = logging.getLogger(__name__)

FRAMES = "frames.h5"
NAMES = {"extended_source": "simulated extended source"}
NOTE = (
    "Simulated: {seconds:g} s of one quadrant behind a wall at 15 mm, solar minimum; a faint "
    "extended source in the middle of other X-rays."
)
SHOWN = (
    *("removed", "bands", "promises", "reliability", "spectrum"),
    *("sensitivity", "stress", "bias", "examples"),
)


def write_example(path: Path, frames: Frames, provenance: Mapping[str, Any]) -> None:
    """Write frames as a user would have them: no truth, frames numbered from 0."""
    from physml.io.shards import write_shard

    from .core.frames import PIXEL

    assert frames.exposures is not None
    pixels = np.zeros(len(frames.pixels), PIXEL)
    for name in PIXEL.names or ():
        pixels[name] = frames.pixels[name]
    exposure = frames.exposures.copy()
    first = int(exposure["first_frame"][0])
    pixels["frame"] -= first
    exposure["first_frame"] = 0
    known = ["first_frame", "n_frames", "frame_time", "ny", "nx", "pixel_um", "thickness_um"]
    known += ["enc", "threshold"]
    table = np.zeros(1, [(name, exposure.dtype[name]) for name in known])
    for name in known:
        table[name] = exposure[name]
    write_shard(
        path,
        {"index": frames.index - first},
        tables={"pixels": pixels, "exposures": table},
        provenance=provenance,
    )


def against_truth(result: BackgroundResult, frames: Frames) -> dict[str, Any]:
    """Count what the cut did to an example whose truth is known.

    Returns
    -------
    dict
        ``xrays``, ``xrays_kept``, ``background``, ``background_removed``: numbers of events in
        0.3-10 keV; and ``promised``.
    """
    from .core.events import find_in_exposures
    from .evaluation.metrics import BANDS, WIDE, valid_events
    from .results.event_rows import REJECTED

    assert frames.exposures is not None
    found = find_in_exposures(frames)
    events = valid_events(found, frames)
    peak = found.events[events.row]
    first = int(frames.exposures["first_frame"][0])
    listed = result.store.read()
    gone = {
        (int(f), int(y), int(x))
        for f, y, x in zip(
            *(listed[name][(listed["FLAG"] & REJECTED) > 0] for name in ("FRAME", "RAWY", "RAWX")),
            strict=True,
        )
    }
    rejected = np.array(
        [
            (int(f) - first, int(y) + 1, int(x) + 1) in gone
            for f, y, x in zip(peak["frame"], peak["y"], peak["x"], strict=True)
        ],
        bool,
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


def run(
    *, settings: BackgroundSettings, evaluation: Path, weights: Path, out: Path, threads: int = 1
) -> None:
    """Clean the example and write its products, summary.json and index.html.

    Parameters
    ----------
    settings : BackgroundSettings
    evaluation : Path
        Folder of `evaluate.run`, shown beside the example.
    weights : Path
        Weights of this run; used only where none are shipped.
    out : Path
        Folder to write: frames.h5 (the example), what `physml background predict` makes of it,
        summary.json, index.html.
    threads : int
        Threads of the network.
    """
    import torch

    from physml import provenance
    from physml.config import upstream
    from physml.io.atomic import atomic_directory, read_json, write_json, write_text
    from physml.models import load_for_report

    from .evaluation.sets import example_frames

    torch.set_num_threads(threads)
    s = settings.report
    measured = read_json(Path(evaluation) / "metrics.json")
    predictor, whose = load_for_report("background", Path(weights))
    frames = example_frames(s.seconds, settings.seed)
    used = upstream(settings, "report")
    with atomic_directory(out) as folder:
        example = provenance.record("report", used, {}, {"simulated": True})
        write_example(folder / FRAMES, frames, example)
        retention = _possible(predictor, s.retention)
        result = predictor.predict(folder / FRAMES, retention=retention, progress=False)
        record = provenance.record(
            "report",
            used,
            {"evaluation": evaluation, "frames": folder / FRAMES},
            {"weights": whose, "simulated": True},
        )
        result.write_into(folder, {"example": s.example})
        cleaned = read_json(folder / "summary.json")
        cleaned.pop("provenance", None)
        summary = summarise(s, cleaned, against_truth(result, frames), whose, measured)
        write_json(
            folder / "summary.json",
            provenance.jsonable(summary | {"provenance": record}),
            overwrite=True,
        )
        pictures = {
            name: Path(evaluation) / "figures" / f"{name}.png"
            for name in SHOWN
            if (Path(evaluation) / "figures" / f"{name}.png").is_file()
        }
        write_text(
            folder / "index.html", page(summary, measured, folder / "overview.png", pictures)
        )
    log.info("%s", summary["cleaned"]["summary"])


def _possible(predictor: BackgroundPredictor, retention: float) -> float:
    """Nearest retention that the weights can promise."""
    low, high = predictor.detector.retentions
    return float(np.clip(retention, low, high))


def summarise(
    settings: ReportSettings,
    cleaned: Mapping[str, Any],
    truth: Mapping[str, Any],
    whose: str,
    measured: Mapping[str, Any],
) -> dict[str, Any]:
    """Collect the essentials of the example and of the evaluation.

    Returns
    -------
    dict
        ``example``, ``simulated``, ``note``, ``weights``, ``cleaned`` (what `predict` says),
        ``truth`` (what the cut did), ``evaluation`` (a few numbers of each set).
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
        "example": NAMES[settings.example],
        "simulated": True,
        "note": NOTE.format(seconds=settings.seconds),
        "weights": whose,
        "cleaned": dict(cleaned),
        "truth": dict(truth),
        "evaluation": numbers,
    }


# ----------------------------------------------------------------- page

WIDE_FIGURES = ("removed", "bands", "stress", "bias", "examples")
TITLES = {"close": "near wall (5 mm)", "far": "far wall (15 mm)", "geant4": "Geant4, far wall"}
CAPTIONS = {
    "removed": "Background removed against X-rays lost, 0.3-10 keV, equal energies; dotted trees "
    "learnt from the test's own frames.",
    "bands": "The same by energy band at 98 % retention, with 95 % intervals.",
    "promises": "X-rays that the fixed cuts kept, minus what they promise; grey: 0.3 points.",
    "reliability": "Do the probabilities mean what they say?",
    "spectrum": "What grading leaves, and what the cut leaves of that.",
    "sensitivity": "Exposure time saved on a faint extended source.",
    "stress": "Promises and removal under conditions out of the ordinary.",
    "bias": "Which X-rays are lost: by energy, by place, by nearness of a particle.",
    "examples": "The surest errors, then background that was removed.",
}


def page(
    summary: Mapping[str, Any],
    measured: Mapping[str, Any],
    overview: Path,
    pictures: Mapping[str, Path],
) -> str:
    """One self-contained page of HTML: no file or address outside it is needed."""
    name, truth = html.escape(str(summary["example"])), summary["truth"]
    parts = [
        f"<h1>{name.capitalize()}</h1>",
        f'<p class="note">{html.escape("Weights: " + str(summary["weights"]))}. '
        f"{html.escape(str(summary['note']))}</p>",
        '<p class="warning">This is a simulated observation, not a real one.</p>',
        f"<p>{html.escape(str(summary['cleaned'].get('summary', '')))}. "
        f"{html.escape(_truth_sentence(truth))}</p>",
        *(
            f'<p class="warning">Outside of the training: {html.escape(str(text))}</p>'
            for text in summary["cleaned"].get("not_trained_on", [])
        ),
        embedded(overview, "Kept and rejected events, spectra, probabilities, one frame"),
        '<p class="note">Event list: events.fits. Spectra: spectrum_kept.pha, '
        "spectrum_rejected.pha. Effective area: effective_area_correction.fits. Images: "
        "background.fits. What went in: frames.h5.</p>",
        "<h2>On simulated and Geant4 frames, with the weights trained in this run</h2>",
        _sets(summary["evaluation"]),
    ]
    saved = _saved_sentence(measured.get("sensitivity", {}))
    if saved:
        parts.append(f"<p>{html.escape(saved)}</p>")
    parts.append('<div class="figures">')
    for key, path in pictures.items():
        wide = ' class="wide"' if key in WIDE_FIGURES else ""
        caption = html.escape(CAPTIONS[key])
        parts.append(f'<div{wide}>{embedded(path, caption)}<p class="note">{caption}</p></div>')
    parts.append("</div>")
    body = "\n".join(parts)
    return whole_page(f"{summary['example']}: charged-particle background", body)


def _truth_sentence(truth: Mapping[str, Any]) -> str:
    def share(part: int, whole: int) -> str:
        return f"{part} of {whole}" + (f" ({part / whole:.1%})" if whole else "")

    return (
        f"In truth, in 0.3-10 keV: {share(truth['xrays_kept'], truth['xrays'])} X-rays were kept "
        f"where {truth['promised']:.1%} were promised, and "
        f"{share(truth['background_removed'], truth['background'])} background events that passed "
        "grading were removed."
    )


def _saved_sentence(example: Mapping[str, Any]) -> str:
    rows = [r for r in example.get("rows", []) if r["saved"]["value"] is not None]
    if not rows:
        return ""
    best = max(rows, key=lambda r: r["saved"]["value"])
    return (
        f"A faint extended source in {example['band']} keV that takes "
        f"{float(example['seconds']) / 1e3:.0f} ks takes {best['saved']['value']:.0%} less with "
        f"the cut for {best['retention']:.0%} retention."
    )


def _sets(numbers: Mapping[str, Mapping[str, Any]]) -> str:
    """One row for each method in each set: background removed where so many X-rays stay."""
    retentions = sorted({r for n in numbers.values() for r in n["kept"]}, key=float, reverse=True)
    rows = []
    for name, part in numbers.items():
        title = html.escape(TITLES.get(name, name))
        for method, removed in part["removed"].items():
            cells = [f"{title}: {html.escape(method)}"]
            cells += [_percent(removed.get(r)) for r in retentions]
            rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
        cells = [f"{title}: X-rays kept by the network's fixed cut"]
        cells += [_percent(part["kept"].get(r), 2) for r in retentions]
        rows.append("<tr>" + "".join(f"<td><i>{c}</i></td>" for c in cells) + "</tr>")
    head = "<th>background removed, 0.3-10 keV</th>" + "".join(
        f"<th>{100 * float(r):g} % kept</th>" for r in retentions
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _percent(value: float | None, digits: int = 1) -> str:
    return "&ndash;" if value is None else f"{100 * value:.{digits}f} %"
