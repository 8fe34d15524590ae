"""The evaluation with detectors whose answers are known."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from fakes.cavities_evaluation import Oracle

from physml import provenance
from physml.cavities import evaluate
from physml.cavities.evaluation.found import (
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
