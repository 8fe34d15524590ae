"""Processor time of both methods on identical images, like with like."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from physml.cavities.evaluation.found import Images, find
from physml.cavities.evaluation.metrics import summarise
from physml.io.atomic import write_text
from physml.random import stream

from .predictions import RIVAL_VERSION, run_rival, some, spread

SEED = 20171203  # of the bootstrap over images
REPLICAS = 1000


def verify_rival(images: Images, python: str, cache: Path, n: int) -> dict[str, Any]:
    """Compare the rival's fast path with pycadet's own, and time both; kept in the cache."""
    stack = images.flat_fielded()[spread(images, n)]
    key = hashlib.sha256(stack.tobytes()).hexdigest()[:20]
    out = cache / f"{RIVAL_VERSION}-verified-{key}.json"
    if not out.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "images.npy", stack)
            made = Path(folder) / "verified.json"
            run_rival(python, Path(folder) / "images.npy", made, "--verify")
            write_text(out, made.read_text())
    return json.loads(out.read_text())


def time_ours(images: Images, detector: Any, n: int) -> dict[str, list[float]]:
    """CPU seconds of this process for each image, averaging and smooth fit included.

    Returns
    -------
    dict
        ``shipped``: one image a call, in the detector's precision, sizes by the networks;
        ``refined``: the same with the likelihood of what is listed; ``float32``: as ``shipped`` in
        float32, which is CADET's; ``batched``: all in one call, each image its share.
    """
    chosen = spread(images, n)
    shipped, out = getattr(detector, "precision", None), {}
    for name, precision in (("shipped", shipped), ("float32", None)):
        detector.precision = precision
        find(detector, some(images, chosen[:1]), refine=False)  # first call: kernels are chosen
        out[name] = [_seconds(detector, some(images, [k])) for k in chosen]
    detector.precision = shipped
    out["refined"] = [_seconds(detector, some(images, [k]), refine=True) for k in chosen]
    all_of_them = some(images, chosen)
    find(detector, all_of_them, refine=False)  # kernels of this batch size
    out["batched"] = [_seconds(detector, all_of_them) / n] * n
    return out


def _seconds(detector: Any, images: Images, refine: bool = False) -> float:
    began = time.process_time()
    find(detector, images, refine=refine)
    return time.process_time() - began


def timing_of(check: dict[str, Any], ours: dict[str, list[float]], threads: int) -> dict[str, Any]:
    """Ratios of the times, each with an interval from resampling the images.

    Parameters
    ----------
    check : dict
        From `verify_rival`.
    ours : dict
        From `time_ours`, on the same images.
    threads : int

    Returns
    -------
    dict
        ``native``: a call of pycadet as it is, which reads its model each time, beside ours;
        ``loaded``: without that; ``refined``: that beside ours with the likelihood;
        ``same_precision``: float32 both; ``fastest``: our rewriting of its network, and ours in
        batches. Each with ``cadet`` and ``physml`` [s] and ``ratio``.
    """
    cadet = check["cpu_seconds"]
    pairs = {
        "native": (cadet["native"], ours["shipped"]),
        "loaded": (cadet["native_loaded"], ours["shipped"]),
        "refined": (cadet["native_loaded"], ours["refined"]),
        "same_precision": (cadet["native_loaded"], ours["float32"]),
        "fastest": (cadet["fast"], ours["batched"]),
    }
    n = check["images"]
    drawn = stream(SEED, "bootstrap", 4).multinomial(n, np.full(n, 1 / n), size=REPLICAS)
    weights = np.concatenate([np.ones((1, n)), drawn])
    out: dict[str, Any] = {"threads": {"cadet": check["threads"], "physml": threads}}
    for name, (theirs, own) in pairs.items():
        out[name] = {
            "cadet": float(np.mean(theirs)),
            "physml": float(np.mean(own)),
            "ratio": summarise((weights @ np.array(theirs)) / (weights @ np.array(own))),
        }
    return out
