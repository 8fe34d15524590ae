"""Time a frame from pixels to probabilities, in all forms that the network comes in.

    python benchmarks/background_network_speed.py [--frames 4000] [--weights FILE] [--json FILE]

Frames are those of background_event_speed.py: 5 ms of a 512 x 512 detector. Measured on one core,
CPU time, the median of some rounds:

stream
    All frames at once: event finding, description of clusters, network, calibration, distances.
one by one
    The same, each frame as soon as it is there.
images
    From noisy 512 x 512 images, all at once.

The forms are torch, TorchScript, ONNX and ONNX with 8-bit integers; for each also how far its
P(background) is from torch's. Without --weights the shipped weights are taken, or random ones
where there are none. Also measured: how long it takes to measure the housing and to move the cuts,
and what it saves that the patch network runs once for all stand-offs.

Goal: 1.25 ms a frame (800 frames a second of four quadrants).
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from background_event_speed import NOISE, make_frames
from common.options import command, parse, write
from common.tables import table, verdict
from common.timing import cpu_seconds

from physml.background.core.events import SPLIT, find_events
from physml.background.core.frames import Frames
from physml.background.evaluation.sets import set_settings
from physml.background.inference import export
from physml.background.inference.detector import BackgroundDetector, Classified
from physml.background.inference.inputs import Members, particle_rate
from physml.background.inference.network import EventNet
from physml.background.settings import NetworkSettings
from physml.background.simulator.exposure import simulate_exposure
from physml.exceptions import InputError
from physml.training.initialise import initialise

GOAL = 1.25  # ms
RETENTION = 0.98
IMAGES = 100
SCIENCES = ("background",)
#: Forms whose times frame by frame are named together.
SINGLE = ("torch", "TorchScript", "ONNX")
#: Cosmic rays of the exposure that the housing is measured on, and its seed.
HOUSING_HITS, SEED = 300, 20_201_203
ROUNDS = 2


def load(path: Path | None) -> tuple[BackgroundDetector, str]:
    """Detector to measure, and what it is."""
    try:
        detector = BackgroundDetector.load(path)
        return detector, f"weights {detector.version}"
    except InputError:
        if path is not None:
            raise
    network = initialise(lambda: EventNet(NetworkSettings()), 0)
    return BackgroundDetector(network, {"pipeline": "background"}), "random weights"


def forms(detector: BackgroundDetector, folder: Path) -> dict[str, tuple[BackgroundDetector, int]]:
    """Detector in each form that can be made here, and the size of its file."""
    made = {"torch": (detector, 4 * sum(p.numel() for p in detector.network.parameters()))}
    export.to_torchscript(detector, folder / "network.pt")
    paths = {"TorchScript": folder / "network.pt"}
    if all(importlib.util.find_spec(p) for p in ("onnx", "onnxscript", "onnxruntime")):
        paths |= {"ONNX": folder / "network.onnx", "ONNX int8": folder / "network.int8.onnx"}
        export.to_onnx(detector, paths["ONNX"])
        export.to_int8(paths["ONNX"], paths["ONNX int8"])
    else:
        print("ONNX is left out: onnx, onnxscript and onnxruntime are not installed")
    for name, path in paths.items():
        read = export.torchscript_detector if path.suffix == ".pt" else export.onnx_detector
        made[name] = (read(path), path.stat().st_size)
    return made


def milliseconds(work: Callable[[], Any], frames: int, rounds: int = 5) -> float:
    """CPU time a frame, median of rounds after one that warms up."""
    return 1e3 * cpu_seconds(work, rounds, warm_up=True) / frames


def one_by_one(detector: BackgroundDetector, singles: list[Frames]) -> None:
    """Judge frames each by itself, with the particle rate known from before."""
    for frame in singles:
        detector.classify(frame, find_events(frame), rate=0.5)


def noisy_images(frames: Frames) -> np.ndarray:
    """Frames as read out, keV."""
    rng = np.random.default_rng(0)
    images = np.stack([frames.dense(int(k)) for k in frames.index])
    return images + rng.normal(0, NOISE, images.shape).astype(np.float32)


def from_images(detector: BackgroundDetector, images: np.ndarray) -> None:
    """Judge dense frames."""
    frames = Frames.from_dense(images, SPLIT)
    detector.classify(frames, find_events(frames), rate=0.5)


def differences(original: Classified, other: Classified, cut: np.ndarray) -> dict[str, float]:
    """Largest and mean difference of P(background) of valid events, and verdicts that change."""
    valid = original.found.events["valid"]
    p, q = original.p_bkg[valid], other.p_bkg[valid]
    return {
        "largest": float(np.abs(p - q).max()),
        "mean": float(np.abs(p - q).mean()),
        "verdicts_changed": float(((p > cut[valid]) != (q > cut[valid])).mean()),
    }


def housing_seconds(detector: BackgroundDetector) -> dict[str, Any]:
    """CPU time of measuring the housing and moving the cuts, on some hundred events.

    Returns
    -------
    dict
        ``events``, ``seconds``, and ``repeated``: the same where the patch network runs for each
        stand-off anew, as it need not; ``difference`` of the log-likelihoods.
    """

    class Repeated(BackgroundDetector):
        def embedded(self, m: Members, batch: int = 8192) -> Members:
            return m

    settings = set_settings("far", HOUSING_HITS).model_copy(update={"keep": 1.0})
    frames = simulate_exposure(settings, SEED, 0)
    found = find_events(frames)
    part = (frames, found, particle_rate(found, frames))
    made: dict[str, float] = {}
    measured: dict[str, Any] = {}
    for name, kind in (("seconds", BackgroundDetector), ("repeated", Repeated)):
        one = kind(detector.network, detector.card)

        def work(name: str = name, one: BackgroundDetector = one) -> None:
            measured[name] = one.settled([part])[1]

        made[name] = cpu_seconds(work, ROUNDS, of=min)
    one, other = measured["seconds"], measured["repeated"]
    return {
        "events": one.events,
        "seconds": made["seconds"],
        "repeated": made["repeated"],
        "difference": float(np.abs(one.log_likelihood - other.log_likelihood).max()),
    }


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown from the numbers."""
    n, forms_of = numbers, numbers["forms"]
    rows = [
        [
            name,
            f"{row['bytes'] / 1e3:.0f}",
            *(f"{row[k]:.3f}" for k in ("stream_ms", "one_by_one_ms", "images_ms")),
            f"{row['largest']:.1e}",
            f"{row['mean']:.1e}",
            f"{row['verdicts_changed']:.3%}",
        ]
        for name, row in forms_of.items()
    ]
    best, h = forms_of["torch"]["stream_ms"], n["housing"]
    caption = (
        f"Event finder and network with {n['weights']}, {n['parameters']:,} parameters: CPU time a "
        f"frame on one core, median of 5 rounds of {n['frames']:,} frames with "
        f"{n['clusters']:.2f} clusters each; of a stream {n['finding_ms']:.3f} ms find the events. "
        "Not in it: the measurement of the housing, once an observation."
    )
    head = ["", "kB", "stream, ms", "one by one, ms", "images, ms"]
    head += ["P: largest difference", "mean", "verdicts changed at 98 %"]
    single = [f"{forms_of[k]['one_by_one_ms']:.2f}" for k in SINGLE if k in forms_of]
    out = {
        "forms": f"{caption}\n\n{table(head, rows)}",
        "stream": f"{best:.3f}",
        "one_by_one": ", ".join(single) + " ms",
        "image": f"{forms_of['torch']['images_ms']:.2f}",
        "goal": f"event finder and network {verdict(best <= GOAL)}: {best:.3f} of {GOAL} ms",
        "housing": f"measuring the housing and moving the cuts on {h['events']:,} events takes "
        f"{h['seconds']:.1f} s of CPU time; {h['repeated'] / h['seconds']:.2f} times as much where "
        f"the patch network runs for each stand-off anew, with log-likelihoods that differ by "
        f"{h['difference']:.0e}",
    }
    if "ONNX int8" in forms_of:
        row = forms_of["ONNX int8"]
        out["int8"] = f"{row['largest']:.3f}, {row['mean']:.3f}"
    return out


def main() -> None:
    """Measure and print."""
    parser = command(__doc__, "weights", "json")
    parser.add_argument("--frames", type=int, default=4000)
    a = parse(parser)
    detector, what = load(a.weights)
    frames = make_frames(a.frames, seed=1)
    singles = [frames.select(frames.index[k : k + 1]) for k in range(200)]
    images = noisy_images(frames.select(frames.index[:IMAGES]))
    found = find_events(frames)
    original = detector.classify(frames, found)
    energy = found.events["energy"]
    cut = (
        detector.threshold(energy, RETENTION, rate=original.rate)
        if detector.thresholds is not None
        else np.full(len(energy), float(np.quantile(original.p_bkg, RETENTION)))
    )
    report: dict[str, Any] = {
        "weights": what,
        "parameters": sum(p.numel() for p in detector.network.parameters()),
        "frames": a.frames,
        "clusters": len(found.clusters) / a.frames,
        "forms": {},
    }
    report["finding_ms"] = milliseconds(lambda: find_events(frames), a.frames)
    with tempfile.TemporaryDirectory() as folder:
        for name, (form, size) in forms(detector, Path(folder)).items():
            row: dict[str, Any] = {
                "bytes": size,
                "stream_ms": milliseconds(
                    lambda d=form: d.classify(frames, find_events(frames)), a.frames
                ),
                "one_by_one_ms": milliseconds(lambda d=form: one_by_one(d, singles), len(singles)),
                "images_ms": milliseconds(lambda d=form: from_images(d, images), IMAGES),
                **differences(original, form.classify(frames, found), cut),
            }
            report["forms"][name] = row
    report["housing"] = housing_seconds(detector)
    write(a, report, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
