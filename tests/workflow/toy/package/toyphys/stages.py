"""The five stages of the toy."""

from __future__ import annotations

import logging
import os
import signal
import struct
import subprocess
import time
import zlib
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from physml.io.atomic import atomic_directory, atomic_path, read_json, write_json
from physml.io.shards import Spec, read_shard, write_shard
from physml.provenance import record
from physml.random import stream

# Below "physml": the command line shows the progress of these loggers.
log = logging.getLogger(f"physml.{__name__}")
TIMES = np.arange(8.0)
SERIES = {"counts": Spec("i8", (None, len(TIMES))), "index": Spec("i8", (None,))}


def simulate(*, settings, shard, out):
    """Counts a second of every series of this shard."""
    sim = settings.simulate
    first = shard * sim.shard_size
    index = np.arange(first, min(first + sim.shard_size, sim.n_samples))
    expected = sim.counts * np.exp(-sim.rate * TIMES)
    counts = np.stack([stream(settings.seed, "simulate", int(i)).poisson(expected) for i in index])
    write_shard(out, {"counts": counts, "index": index}, provenance={})


def preprocess(*, settings, raw, out, threads, mem_mb):
    """Sort the series and split them."""
    log.info("%d shards, %d thread(s), %d MB", len(raw), threads, mem_mb)
    shards = [read_shard(path, SERIES) for path in raw]
    index = np.concatenate([shard["index"] for shard in shards])
    order = np.argsort(index)
    counts = np.concatenate([shard["counts"] for shard in shards])
    n_test = max(1, round(settings.preprocess.test * len(counts)))
    with atomic_directory(out) as folder:
        for name, rows in (("test", order[:n_test]), ("train", order[n_test:])):
            part = {"counts": counts[rows], "index": index[rows]}
            write_shard(folder / f"{name}.h5", part, provenance={})


def train(*, settings, data, out, threads, time_limit_s):
    """Newton's method on the Poisson likelihood, with a state that outlives a kill."""
    state = Path(f"{out}.state") / "state.json"
    state.parent.mkdir(parents=True, exist_ok=True)
    now = read_json(state) if state.exists() else {"step": 0, "rate": settings.train.start}
    began = now["step"]
    log.info("begins at step %d, time limit %s s", began, time_limit_s)
    mean = read_shard(data / "train.h5", SERIES)["counts"].mean(axis=0)
    if settings.train.hog_mb:
        held = np.ones((settings.train.hog_mb, 1 << 17))  # in use, page by page
        time.sleep(8)
        del held
    while now["step"] < settings.train.steps:
        weight = np.exp(-now["rate"] * TIMES)
        # The amplitude is fitted along; the gradient is in ln(likelihood) of the shape.
        p = weight / weight.sum()
        gradient = (p * TIMES).sum() - (mean * TIMES).sum() / mean.sum()
        curvature = (p * TIMES**2).sum() - (p * TIMES).sum() ** 2
        rate = now["rate"] + 0.2 * float(gradient / curvature)
        now = {"step": now["step"] + 1, "rate": rate}
        write_json(state, now, overwrite=True)
        time.sleep(settings.train.step_s)
        if began == 0 and now["step"] == settings.train.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
    provenance = record(
        "train", settings.model_dump(mode="json"), inputs={"train": data / "train.h5"}
    )
    shown = out.with_name("late") if settings.train.late_s else out
    with atomic_path(shown, overwrite=True) as path:
        save_file({"rate": np.float64([now["rate"]])}, path, {"provenance": str(provenance)})
    os.utime(shown, (time.time() + settings.train.clock_s,) * 2)
    if settings.train.late_s:
        # Outlives this job, whose output is nowhere when it ends.
        later = ["sh", "-c", 'sleep "$0"; mv "$1" "$2"', f"{settings.train.late_s}", shown, out]
        quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        subprocess.Popen(later, start_new_session=True, **quiet)


def evaluate(*, settings, data, weights, out, threads):
    """Residuals on the test series."""
    rate = float(load_file(weights)["rate"][0])
    counts = read_shard(data / "test.h5", SERIES)["counts"]
    shape = np.exp(-rate * TIMES)
    expected = counts.sum(axis=1, keepdims=True) * shape / shape.sum()
    pulls = (counts - expected) / np.sqrt(expected)
    histogram, _ = np.histogram(pulls, settings.evaluate.bins)
    with atomic_directory(out) as folder:
        write_json(folder / "metrics.json", {"rate": rate, "pull_rms": float(pulls.std())})
        (folder / "figures").mkdir()
        _bars(folder / "figures" / "pulls.png", histogram)


def report(*, settings, evaluation, weights, out, threads):
    """A page with the rate."""
    metrics = read_json(evaluation / "metrics.json")
    shape = np.exp(-metrics["rate"] * TIMES)
    with atomic_directory(out) as folder:
        write_json(folder / "summary.json", {**metrics, "series": settings.report.series})
        (folder / "index.html").write_text(f"<h1>Decay rate {metrics['rate']:.4f} / s</h1>\n")
        _bars(folder / "decay.png", shape)


def _bars(path, heights, size=64):
    """Write a bar chart as PNG, by hand: importing matplotlib would take a second a stage."""
    heights = np.asarray(heights) / np.max(heights) * size
    columns = np.repeat(heights, size // len(heights) + 1)[:size]
    pixels = np.where(np.arange(size, 0, -1)[:, None] <= columns, 60, 245).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
