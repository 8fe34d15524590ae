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
where there are none.

Goal: 1.25 ms a frame (800 frames a second of four quadrants).
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from background_event_speed import NOISE, make_frames
from common.options import command, parse, write
from common.tables import verdict
from common.timing import cpu_seconds

from physml.background.core.events import SPLIT, find_events
from physml.background.core.frames import Frames
from physml.background.inference import export
from physml.background.inference.detector import BackgroundDetector, Classified
from physml.background.inference.network import EventNet
from physml.background.settings import NetworkSettings
from physml.exceptions import InputError
from physml.training.initialise import initialise

GOAL = 1.25  # ms
RETENTION = 0.98
IMAGES = 100


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
    print(
        f"{what}, {sum(p.numel() for p in detector.network.parameters()):,} parameters, "
        f"{a.frames:,} frames, {len(found.clusters) / a.frames:.2f} clusters each"
    )
    print(
        f"{'':12} {'kB':>6} {'stream':>8} {'one by one':>11} {'images':>8}  ms a frame   "
        "P(background): largest, mean difference, verdicts changed at 98 %"
    )
    report: dict[str, Any] = {"weights": what, "goal_ms": GOAL}
    finding = milliseconds(lambda: find_events(frames), a.frames)
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
            report[name] = row
            print(
                f"{name:12} {size / 1e3:6.0f} {row['stream_ms']:8.3f} {row['one_by_one_ms']:11.3f} "
                f"{row['images_ms']:8.3f}               {row['largest']:.1e} {row['mean']:.1e} "
                f"{100 * row['verdicts_changed']:.3f} %"
            )
    print(f"of which event finding: {finding:.3f} ms (stream)")
    best = report["torch"]["stream_ms"]
    print(f"goal {GOAL} ms a frame, event finder and network: {verdict(best <= GOAL)} ({best:.3f})")
    write(a, report | {"finding_ms": finding})


if __name__ == "__main__":
    main()
