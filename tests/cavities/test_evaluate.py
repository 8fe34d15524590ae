"""The evaluation with detectors whose answers are known, and the benchmark's bookkeeping."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table

from physml import provenance
from physml.cavities import evaluate
from physml.cavities.evaluation.found import (
    Images,
    find,
    frozen,
    frozen_expectations,
    held_out,
    observed,
)
from physml.cavities.evaluation.set_metrics import evaluate_sets, ideal_metrics
from physml.cavities.evaluation.sets import NAMES, SEED, evaluation_set, numbers, set_settings
from physml.cavities.settings import CavitiesSettings
from physml.cavities.simulator.batch import simulate_batch
from physml.io import origin
from physml.io.shards import write_shard


class Oracle:
    """Finds what the truth says: the first cavities of each image with a given probability.

    It recognises images by their counts, so that it works through `find`.
    """

    def __init__(self, *known: Images, false_alarms: bool = False):
        self.truth = {
            images.counts[i].tobytes(): (images.mask[i], images.cavities[i])
            for images in known
            for i in range(len(images))
        }
        self.false_alarms = false_alarms
        self.card = {"version": "oracle"}

    def detect(self, counts, exposure=None, invalid=None):
        out = []
        for image in counts:
            mask, table = self.truth[image.tobytes()]
            rows = [r for k, r in enumerate(table) if r["visible"] and (mask == k + 1).any()]
            labels = np.zeros(mask.shape, np.int32)
            for number, k in enumerate([k for k in np.unique(mask) if k], start=1):
                labels[mask == k] = number
            columns = {
                "x": [r["x"] for r in rows],
                "y": [r["y"] for r in rows],
                "semi_major": [r["a"] for r in rows],
                "semi_minor": [r["b"] for r in rows],
                "radius": [r["radius"] for r in rows],
                "radius_err": [0.1 * r["radius"] for r in rows],
                "probability": [0.9 for _ in rows],
            }
            if self.false_alarms:
                labels[:5, :5] = len(rows) + 1
                for name, value in zip(columns, (2, 2, 3, 3, 3, 1, 0.7), strict=True):
                    columns[name].append(value)
            probability = np.where(mask > 0, 0.97, 0.01).astype(np.float32)
            out.append(
                SimpleNamespace(
                    labels=labels, probability=probability, table=Table(columns), threshold=0.5
                )
            )
        return out


@pytest.fixture(scope="module")
def images():
    return {name: frozen(name, 6) for name in ("clean", "none", "nuisance")}


def test_observed_fills_masked_sources_and_nothing_else():
    few = numbers("nuisance", 22)[13:22:8]
    batch = simulate_batch(set_settings("nuisance"), SEED, few)
    images = observed(batch, seed=1)
    masked = (batch.invalid & 2) > 0
    assert masked.any()
    assert (images.counts[~masked] == batch.counts[~masked]).all()
    assert (images.counts[masked] != batch.counts[masked]).any()
    assert (images.counts == observed(batch, seed=1).counts).all()
    assert (images.counts[images.exposure == 0] == 0).all()
    flat = images.flat_fielded()
    assert np.isfinite(flat).all()
    assert (flat[images.exposure == 0] == 0).all()
    seen = images.exposure > 0.5
    assert np.allclose(flat[seen] * images.exposure[seen], images.counts[seen], rtol=1e-3)


def test_a_bright_source_vanishes_into_its_surroundings():
    counts = np.random.default_rng(0).poisson(10, (1, 128, 128))
    invalid, exposure = np.zeros((1, 128, 128), np.uint8), np.ones((1, 128, 128))
    counts[0, 60:66, 60:66] += 500
    invalid[0, 59:67, 59:67] = 2
    exposure[0, :, :62] = 0  # half of it lies in a gap
    counts[exposure == 0] = 0
    batch = SimpleNamespace(
        counts=counts, invalid=invalid, exposure=exposure, index=[5], mask=None, cavities=None
    )
    got = observed(batch, seed=1).counts[0]
    assert got[59:67, 62:67].max() < 40
    assert (got[:, :62] == 0).all()


def test_a_larger_set_begins_with_the_smaller_one():
    small, large = frozen("clean", 2), frozen("clean", 3)
    assert (small.counts == large.counts[:2]).all()


def test_oracle_is_perfect_and_false_alarms_are_counted(images):
    for false_alarms in (False, True):
        oracle = Oracle(*images.values(), false_alarms=false_alarms)
        found = {k: find(oracle, v) for k, v in images.items()}
        scenes = {k: found[k].scored(images[k]) for k in images}
        result = evaluate_sets(images, found, scenes, replicas=20, seed=1)
        clean, none = result["sets"]["clean"], result["sets"]["none"]
        assert clean["cavities"] > 6
        assert clean["strict"]["completeness"]["value"] == 1
        assert clean["sizes"]["radius_ratio"]["value"] == pytest.approx(1, abs=1e-6)
        assert clean["sizes"]["coverage_68"]["value"] == 1
        assert clean["pixels"]["ap"]["value"] == pytest.approx(1)
        assert none["strict"]["alarmed"]["value"] == float(false_alarms)
        assert none["lenient"]["alarmed"]["value"] == 0  # one detection is forgiven
        assert clean["strict"]["false_per_image"]["value"] == float(false_alarms)
        # True ones have the higher probability: a threshold between them exists and is found.
        at = clean["strict"]["at_alarm"]
        assert at["overall"]["value"] == 1
        assert (0.7 < at["threshold"] <= 0.9) if false_alarms else (at["threshold"] == 0)
        json.dumps(provenance.jsonable(result), allow_nan=False)


def test_ideal_observer_of_a_frozen_set(images):
    found = find(Oracle(*images.values()), images["clean"])
    scene = found.scored(images["clean"])
    ideal = ideal_metrics(
        scene,
        images["clean"],
        frozen_expectations("clean", 6),
        (images["none"], frozen_expectations("none", 6)),
        replicas=20,
        seed=1,
    )
    for version in ("known", "search"):
        assert 0 < ideal[version]["binned"]["value"] <= 1
        assert sum(b["cavities"] for b in ideal[version]["curves"]["snr"]) == len(scene.cavities)


def test_expectations_belong_to_the_frozen_images(images):
    batch = evaluation_set("clean", 6)
    for i, made in enumerate(frozen_expectations("clean", 2)):
        assert (made.counts == batch.counts[i]).all()


def test_stage_writes_metrics_and_figures(tmp_path, monkeypatch):
    """The whole stage on two images a set, with the oracle in place of trained weights."""
    n = 2
    batch = evaluation_set("one_or_many", 8)
    made = {
        "counts": np.minimum(batch.counts, 65535).astype(np.uint16),
        "root_model": np.zeros(batch.counts.shape, np.float16),
        "exposure": batch.exposure,
        "invalid": batch.invalid,
        "mask": batch.mask,
        "centre": np.full((8, 2), 63.5, np.float32),
        "index": batch.index,
        "cluster": batch.cluster,
    }
    (tmp_path / "data").mkdir()
    write_shard(
        tmp_path / "data" / "test.h5", made, tables={"cavities": batch.cavities}, provenance={}
    )
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"stands in for weights: only its hash is used")
    known = [frozen(name, n) for name in NAMES]
    known.append(held_out(tmp_path / "data" / "test.h5", n))
    monkeypatch.setattr(
        "physml.cavities.inference.detector.CavityDetector.load", lambda path: Oracle(*known)
    )
    settings = CavitiesSettings.model_validate({"evaluate": {"n_images": n, "bootstrap": 20}})
    out = tmp_path / "evaluation"
    evaluate.run(settings=settings, data=tmp_path / "data", weights=weights, out=out, threads=1)
    result = json.loads((out / "metrics.json").read_text())
    assert set(result["sets"]) == {*NAMES, "test"}
    assert result["sets"]["test"]["images"] == n
    assert result["sets"]["clean"]["strict"]["f1"]["value"] == 1
    assert set(result["ideal"]) == {"clean", "nuisance"}
    assert result["provenance"]["inputs"]["weights"]["sha256"] == provenance.sha256(weights)
    names = {p.stem for p in (out / "figures").glob("*.png")}
    assert names == {"completeness", "alarms", "reliability", "sizes", "pulls", "examples"}
    assert origin.read(out / "figures" / "alarms.png")["stage"] == "evaluate"


@pytest.fixture
def benchmark(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    monkeypatch.delitem(sys.modules, "cavities_vs_cadet", raising=False)
    import cavities_vs_cadet

    return cavities_vs_cadet


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
    used = {k: images[k] for k in ("clean", "none")}
    rival = {k: benchmark.rival_found(v, "python", tmp_path) for k, v in used.items()}
    assert len(calls) == len(set(calls)) == 4  # two stacks a set
    again = benchmark.rival_found(used["clean"], "python", tmp_path)
    assert len(calls) == 4
    assert again.candidates["image"].tolist() == [0, 1, 2, 3, 4, 5]
    assert again.candidates["radius"] == pytest.approx(10, rel=1e-4)
    assert again.cpu_seconds == pytest.approx(2)

    oracle = Oracle(*used.values())
    ours = {k: benchmark.our_found(v, oracle, "w", tmp_path) for k, v in used.items()}
    once_more = benchmark.our_found(used["clean"], None, "w", tmp_path)  # only the cache is left
    assert (once_more.candidates == ours["clean"].candidates).all()
    assert (once_more.candidates["image"] >= 4).any()

    result = benchmark.compare(used, {"cadet": rival, "physml": ours}, replicas=10)
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
    ours_seconds = benchmark.time_ours(used["clean"], oracle, 4)
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


def test_benchmark_help_says_how_to_install_the_rival(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark.arguments_of(["--help"])
    text = capsys.readouterr().out
    assert "pycadet==0.3.5" in text
    assert "--rival-python" in text


def test_rivals_fast_network_equals_plain_convolutions(root, monkeypatch):
    """The FFT path against torch's own convolutions, for kernels of all its sizes."""
    import torch
    import torch.nn.functional as F

    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    import cadet_rival

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

    wide = ((1, 32), (3, 32), (5, 16), (7, 8), (9, 4), (11, 2), (13, 1))
    last = ((8, 8), (16, 4), (32, 2), (64, 1))
    norm(1)
    for n_in, n_out, branches in (
        (1, 32, wide),
        (32, 64, wide),
        (64, 64, wide),
        (64, 32, wide),
        (32, 1, last),
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
