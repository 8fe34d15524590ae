"""The benchmark of cavities against CADET: its cache, its tables, and the rival's fast network."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fakes.cavities_evaluation import Oracle

from physml import provenance
from physml.cavities.evaluation.found import Images, frozen

N = {"empty": 5, "cavities": 4}


@pytest.fixture(scope="module")
def images():
    from physml.cavities.evaluation.sealed_set import sealed

    made = {name: frozen(name, 6) for name in ("clean", "none", "nuisance", "none_nuisance")}
    return made | {name: sealed(name, 3) for name in ("sealed", "sealed_none")}


@pytest.fixture
def parts(script):
    script("cavities_vs_cadet")
    names = ("blocks", "fitted", "numbers", "predictions", "rows", "timing")
    return SimpleNamespace(**{name: script(f"cavities_parts.{name}") for name in names})


def rival_that_writes(calls):
    """Stand in for the rival's process: the same files, one square candidate an image.

    At a lower threshold for the pixels the square is larger, by a pixel on each side for a tenth.
    """

    def save(path, n, pixel):
        side = slice(40 - round((0.4 - pixel) * 10), 60 + round((0.4 - pixel) * 10))
        labels = np.zeros((n, 128, 128), np.uint8)
        labels[:, side, side] = 1
        area = float((labels[0] > 0).sum())
        row = {"label": 1, "x": 50, "y": 50, "area": area, "area_summed": 0.8 * area}
        rows = [{"image": i, **row, "volume": 1000.0, "score": 0.8 - 0.01 * i} for i in range(n)]
        np.savez(
            path,
            probability=np.where(labels, 0.8, 0.05).astype(np.float16),
            labels=labels,
            rows=np.frombuffer(json.dumps(rows).encode(), np.uint8),
            cpu_seconds=2.0 * n,
        )

    def run(command, check, env):
        inbox, folder = map(Path, command[2:4])
        if "--pixel" in command:
            pixel = float(command[command.index("--pixel") + 1])
            for path in inbox.glob("*.npz"):
                with np.load(path) as stored:
                    save(folder / path.name, len(stored["labels"]), pixel)
            return
        for path in sorted(inbox.glob("*.npy")):
            calls.append(path.stem)
            save(folder / f"{path.stem}.npz", len(np.load(path)), 0.4)

    return run


@pytest.fixture
def rival(parts, monkeypatch):
    calls: list[str] = []
    monkeypatch.setattr(parts.predictions.subprocess, "run", rival_that_writes(calls))
    monkeypatch.setattr(parts.predictions, "STACK", 4)
    return calls


def test_predictions_are_kept_by_content(parts, rival, images, tmp_path):
    found = {
        name: parts.predictions.rival_found(images[name], "python", tmp_path)
        for name in ("clean", "none")
    }
    assert len(rival) == len(set(rival)) == 4  # two stacks a set
    again = parts.predictions.rival_found(images["clean"], "python", tmp_path)
    assert len(rival) == 4
    assert again.candidates["image"].tolist() == [0, 1, 2, 3, 4, 5]
    assert again.candidates["radius"] == pytest.approx(np.sqrt(400 / np.pi))
    assert again.cpu_seconds == pytest.approx(2)
    assert (again.labels == found["clean"].labels).all()
    lower = parts.predictions.rival_found_again(images["clean"], "python", tmp_path, 0.2, 5.0)
    assert lower.candidates["radius"] == pytest.approx(np.sqrt(24 * 24 / np.pi))
    none = parts.predictions.rival_found_again(images["clean"], "python", tmp_path, 0.2, 500.0)
    assert len(none.candidates) == 0

    oracle = Oracle(images["clean"])
    ours = parts.predictions.our_found(images["clean"], oracle, "w", tmp_path)
    once_more = parts.predictions.our_found(images["clean"], None, "w", tmp_path)  # the cache only
    assert (once_more.candidates == ours.candidates).all()
    assert (once_more.candidates["image"] >= 4).any()


def test_sealed_images_are_drawn_once(parts, images, tmp_path, monkeypatch):
    monkeypatch.setattr(
        parts.predictions.sealed_set,
        "sealed",
        lambda name, n: parts.predictions.some(one, range(n)),
    )
    one = images["sealed"]
    for _ in range(2):
        got = parts.predictions.images_of("sealed", 2, tmp_path)
        assert (got.counts == one.counts[:2]).all()
        assert (got.cavities == one.cavities[:2]).all()
        monkeypatch.setattr(parts.predictions.sealed_set, "sealed", None)  # only the file is left


def test_thresholds_are_fitted_for_the_alarm_level(parts):
    rng = np.random.default_rng(0)
    totals = 10 ** rng.uniform(3.7, 6, 3000)
    # Faint images have the higher peaks.
    tops = rng.uniform(0, 1, 3000) * (6.5 - np.log10(totals)) / 3
    nodes = parts.fitted.peak_thresholds(totals, tops)
    alarmed = tops >= parts.fitted.limits(totals, *nodes)
    assert alarmed.mean() == pytest.approx(0.05, abs=0.012)
    assert (np.diff(nodes[1]) < 0).all()


def test_fit_prefers_what_matches_the_truth(parts, rival, tmp_path, monkeypatch):
    """The truth is made a square of 24 pixels: the pixel threshold 0.2 draws just that."""
    fitted = parts.fitted

    def validation(kind, n):
        mask = np.zeros((n, 128, 128), np.uint8)
        cavities = np.zeros((n, 1), [("present", "?"), ("visible", "?"), ("radius", "f4")])
        if kind == "cavities":
            mask[:, 38:62, 38:62] = 1
            mask[2] = np.roll(mask[2], 50, axis=0)  # a cavity that CADET misses
            cavities["present"] = cavities["visible"] = True
        counts = np.random.default_rng(len(kind)).poisson(5, mask.shape).astype(np.float32)
        ones = np.ones(mask.shape, np.float32)
        return Images(counts, ones, ones < 0, mask, cavities)

    monkeypatch.setattr(fitted, "validation", validation)
    monkeypatch.setattr(fitted, "f1_of", lambda images, found, nodes: iou_of(images, found))
    made = fitted.fit("python", tmp_path, N)
    assert made.pixel == pytest.approx(0.2)
    assert made.shipped_f1 == pytest.approx(3 * 400 / (3 * 576 + 400 + 576))
    assert made.f1 == pytest.approx(3 * 576 / (5 * 576))
    applied = fitted.apply(made, validation("cavities", 4), "python", tmp_path)
    assert applied.candidates["radius"] == pytest.approx(np.sqrt(576 / np.pi))
    # Calibration changes no decision: a peak is above or below the threshold as before.
    peaks = 0.8 - 0.01 * np.arange(4)
    raw = fitted.limits(np.full(4, 5 * 128**2), made.log10_counts, made.peak)
    assert ((applied.candidates["score"] >= applied.thresholds) == (raw <= peaks)).all()


def iou_of(images, found):
    both = (images.mask > 0) & (found.labels > 0)
    return both.sum() / ((images.mask > 0) | (found.labels > 0)).sum()


def test_blocks_of_all_numbers(parts, rival, images, tmp_path, monkeypatch, script):
    oracle = Oracle(*images.values())
    shipped = {k: parts.predictions.rival_found(v, "python", tmp_path) for k, v in images.items()}
    ours = {k: parts.predictions.our_found(v, oracle, "w", tmp_path) for k, v in images.items()}
    found = {"cadet": shipped, "cadet_fitted": shipped, "physml": ours}
    numbers = parts.numbers.compare(images, found, replicas=10)
    sets = numbers["sets"]
    assert sets["physml"]["clean"]["strict"]["f1"]["value"] == 1
    assert sets["cadet"]["none"]["strict"]["alarmed"]["value"] == 1
    assert sets["cadet"]["clean"]["strict"]["completeness"]["value"] < 0.5
    gap = numbers["differences"]["cadet"]["clean/strict/f1"]
    assert gap["value"] == pytest.approx(1 - sets["cadet"]["clean"]["strict"]["f1"]["value"])
    ideal = parts.numbers.ideal(images, ours["clean"].scored(images["clean"]), "clean", 10)
    check = {
        "images": 4,
        "threads": 1,
        "max_probability_difference": 1e-6,
        "images_with_the_same_detections": 4,
        "cpu_seconds": {"native": [4.0] * 4, "native_loaded": [3.0, 1.0, 3, 1], "fast": [0.5] * 4},
    }
    times = {
        "shipped": [0.1] * 4,
        "refined": [0.4] * 4,
        "float32": [0.2] * 4,
        "batched": [0.05] * 4,
    }
    timing = parts.timing.timing_of(check, times, 1)
    assert timing["native"]["ratio"]["value"] == pytest.approx(40)  # never 4.0 / 0.05
    assert timing["loaded"]["ratio"]["value"] == pytest.approx(20)
    assert timing["loaded"]["ratio"]["low"] < 20 < timing["loaded"]["ratio"]["high"]
    assert timing["same_precision"]["ratio"]["value"] == pytest.approx(10)
    assert timing["fastest"]["ratio"]["value"] == pytest.approx(10)
    numbers |= {
        "replicas": 10,
        "confidence": 0.95,
        "rival": "0.3.5",
        "verification": {k: v for k, v in check.items() if k != "cpu_seconds"},
        "timing": timing,
        "precision": "bfloat16",
        "ideal": {"clean": ideal},
        "ledger": dict.fromkeys(images, "sealed: not yet looked at"),
        "fitted": {
            **{"pixel": 0.2, "area": 4.0, "f1": 0.8, "shipped_f1": 0.7, "images": N},
            **{"log10_counts": [4.0], "peak": [0.6]},
        },
    }
    short = parts.numbers.short(numbers)
    plain = json.loads(json.dumps(provenance.jsonable(short), allow_nan=False))
    blocks = script("cavities_vs_cadet").tables(plain)
    assert blocks == script("cavities_vs_cadet").tables(plain)
    assert len(json.dumps(plain)) < 100_000
    row = next(
        line for line in blocks["main"].splitlines() if line.startswith("| cavity F1, clean")
    )
    assert row.count("|") == 9
    assert "1.000" in row
    assert "ideal, searching" in blocks["ideal-clean"]
    assert set(blocks["short"].splitlines()) < set(blocks["main"].splitlines())
    assert blocks["ratio-loaded"] == "20"
    assert "sealed: not yet looked at" in blocks["sealed"]
    assert "1.000 (CADET" in blocks["sealed-sentence"]
    assert "coverage of 68 % intervals, clean (100.0% for 63-73 %)" in blocks["missed"]
    assert "cavity F1" not in blocks["missed"]
    assert len([line for line in blocks["sets"].splitlines() if line.startswith("|")]) == 2 + 4 * 3
    assert "0.60 at 10,000 counts" in blocks["fitted"]
    assert "detections identical in 4 of 4" in blocks["verified"]


def test_our_times_are_taken_image_by_image(parts, images):
    oracle = Oracle(images["clean"])
    oracle.precision = "shipped"
    seconds = parts.timing.time_ours(images["clean"], oracle, 3)
    assert set(seconds) == {"shipped", "refined", "float32", "batched"}
    assert all(len(values) == 3 for values in seconds.values())
    assert oracle.precision == "shipped"


def test_rivals_fast_network_equals_plain_convolutions(script):
    """The FFT path against torch's own convolutions, for kernels of all its sizes."""
    import torch
    import torch.nn.functional as F

    cadet_rival = script("cavities_parts.cadet_rival")
    rng = np.random.default_rng(0)
    weights: dict[str, list[np.ndarray]] = {}
    numbers = {"conv2d": 0, "batch_normalization": 0}

    def add(kind, *arrays):
        i = numbers[kind]
        weights[f"{kind}_{i}" if i else kind] = [a.astype(np.float32) for a in arrays]
        numbers[kind] += 1

    def norm(n):
        add("batch_normalization", *(rng.uniform(0.5, 1.5, n) for _ in range(4)))

    def conv(k, n_in, n_out):
        kernel = rng.normal(0, 1 / np.sqrt(k * k * n_in), (k, k, n_in, n_out))
        add("conv2d", kernel, rng.normal(0, 0.1, n_out))

    # All kernels of the rival, with a quarter of its channels.
    wide = ((1, 8), (3, 8), (5, 4), (7, 2), (9, 1), (11, 1), (13, 1))
    last = ((8, 2), (16, 1), (32, 1), (64, 1))
    norm(1)
    for n_in, n_out, branches in (
        (1, 8, wide),
        (8, 16, wide),
        (16, 16, wide),
        (16, 8, wide),
        (8, 1, last),
    ):
        for k, n in branches:
            conv(k, n_in, n)
        for _, n in branches:
            norm(n)
        conv(1, sum(n for _, n in branches), n_out)
        if branches is wide:
            norm(n_out)

    def plain(x):
        left = {"conv2d": 0, "batch_normalization": 0}

        def take(kind):
            i = left[kind]
            left[kind] += 1
            return [torch.from_numpy(a) for a in weights[f"{kind}_{i}" if i else kind]]

        def normalised(x):
            gamma, beta, mean, variance = take("batch_normalization")
            return F.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)

        def convolved(x):
            kernel, bias = take("conv2d")
            before, after = (kernel.shape[0] - 1) // 2, kernel.shape[0] // 2
            x = F.pad(x, (before, after, before, after))
            return F.conv2d(x, kernel.permute(3, 2, 0, 1), bias)

        x = normalised(x)
        for branches in (wide, wide, wide, wide, last):
            parts = [convolved(x).relu() for _ in branches]
            x = convolved(torch.cat([normalised(p) for p in parts], 1))
            if branches is wide:
                x = normalised(x.relu())
        return torch.sigmoid(x)[:, 0]

    x = torch.from_numpy(rng.random((1, 1, 128, 128), np.float32))
    with torch.no_grad():
        got, wanted = cadet_rival.FastCadet(weights)(x), plain(x)
    assert wanted.std() > 1e-3
    assert torch.allclose(got, wanted, atol=1e-5)
