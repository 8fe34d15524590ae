"""The benchmark of cavities against CADET: its cache, its tables, and the rival's fast network."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fakes.cavities_evaluation import Oracle

from physml import provenance
from physml.cavities.evaluation.found import frozen


@pytest.fixture(scope="module")
def images():
    return {name: frozen(name, 6) for name in ("clean", "none")}


@pytest.fixture
def benchmark(script):
    return script("cavities_vs_cadet")


def rival_that_writes(benchmark, counter):
    """Stand in for the rival's process: the same files, one square candidate an image."""

    def run(command, check, env):
        inbox, folder = command[2:4]
        for path in sorted(benchmark.Path(inbox).glob("*.npy")):
            counter.append(path.stem)
            images = np.load(path)
            labels = np.zeros(images.shape, np.uint8)
            labels[:, 40:60, 40:60] = 1
            row = {"label": 1, "x": 50, "y": 50, "score": 0.8, "area": 314.159}
            rows = [
                {"image": i, **row, "area_summed": 300.0, "volume": 1000.0}
                for i in range(len(images))
            ]
            np.savez(
                benchmark.Path(folder) / f"{path.stem}.npz",
                probability=np.where(labels, 0.8, 0).astype(np.float16),
                labels=labels,
                rows=np.frombuffer(json.dumps(rows).encode(), np.uint8),
                cpu_seconds=2.0 * len(images),
            )

    return run


def test_benchmark_caches_by_content_and_prints_all_tables(
    benchmark, images, tmp_path, monkeypatch
):
    calls: list[str] = []
    monkeypatch.setattr(benchmark.subprocess, "run", rival_that_writes(benchmark, calls))
    monkeypatch.setattr(benchmark, "STACK", 4)
    rival = {k: benchmark.rival_found(v, "python", tmp_path) for k, v in images.items()}
    assert len(calls) == len(set(calls)) == 4  # two stacks a set
    again = benchmark.rival_found(images["clean"], "python", tmp_path)
    assert len(calls) == 4
    assert again.candidates["image"].tolist() == [0, 1, 2, 3, 4, 5]
    assert again.candidates["radius"] == pytest.approx(10, rel=1e-4)
    assert again.cpu_seconds == pytest.approx(2)

    oracle = Oracle(*images.values())
    ours = {k: benchmark.our_found(v, oracle, "w", tmp_path) for k, v in images.items()}
    once_more = benchmark.our_found(images["clean"], None, "w", tmp_path)  # only the cache is left
    assert (once_more.candidates == ours["clean"].candidates).all()
    assert (once_more.candidates["image"] >= 4).any()

    result = benchmark.compare(images, {"cadet": rival, "physml": ours}, replicas=10)
    result |= {
        "images": 6,
        "replicas": 10,
        "simulator_version": 1,
        "weights_sha256": "0" * 64,
        "rival": "0.3.5",
        "verification": {
            "images": 2,
            "max_probability_difference": 1e-6,
            "images_with_the_same_detections": 2,
        },
        "precision": "bfloat16",
    }
    check = {
        "native_cpu_seconds_per_image": 4.0,
        "native_cpu_seconds_without_model_loading": 3.8,
        "fast_cpu_seconds_per_image": 0.5,
        "threads": 1,
    }
    ours_seconds = benchmark.time_ours(images["clean"], oracle, 4)
    assert set(ours_seconds) == {"single", "batched"}
    result["timing"] = benchmark.timing_of(check, {"single": 0.1, "batched": 0.05}, 1)
    assert result["timing"]["single"]["ratio"] == pytest.approx(40)  # never 4.0 / 0.05
    assert result["timing"]["fastest"]["ratio"] == pytest.approx(10)
    sets = result["methods"]
    assert sets["physml"]["clean"]["strict"]["f1"]["value"] == 1
    assert sets["cadet"]["none"]["strict"]["alarmed"]["value"] == 1
    assert sets["cadet"]["clean"]["strict"]["completeness"]["value"] < 0.5
    text = benchmark.report(result)
    assert "completeness at 5-20k counts" in text
    assert "ideal, searching" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) > 30
    row = next(line for line in lines if line.startswith("| cavity F1, clean"))
    assert "1.000" in row
    json.dumps(provenance.jsonable(result), allow_nan=False)


def test_rivals_fast_network_equals_plain_convolutions(script):
    """The FFT path against torch's own convolutions, for kernels of all its sizes."""
    import torch
    import torch.nn.functional as F

    cadet_rival = script("cadet_rival")
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
