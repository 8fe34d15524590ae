"""The data do not depend on how the work is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.cavities import preprocess
from physml.cavities.learning.prepared import PREPARED, RAW
from physml.cavities.settings import CavitiesSettings, SimulateSettings
from physml.cavities.simulate import run
from physml.cavities.simulator.batch import simulate_batch
from physml.io.shards import read_shard
from physml.stages.preprocess import SPLITS

N = 10
SETTINGS = SimulateSettings(n_samples=N, shard_size=4, images_per_cluster=3)


@pytest.fixture(scope="module")
def whole():
    return simulate_batch(SETTINGS, 42, range(N))


def same(batch, whole, rows):
    for name in vars(whole):
        got, expected = getattr(batch, name), getattr(whole, name)[rows]
        assert got.tobytes() == expected.tobytes(), name


@given(rows=st.lists(st.integers(0, N - 1), min_size=1, max_size=4))
@settings(max_examples=8, deadline=None)
def test_any_batch_in_any_order_gives_the_same_images(whole, rows):
    same(simulate_batch(SETTINGS, 42, rows), whole, rows)


@given(size=st.integers(1, N))
@settings(max_examples=3, deadline=None)
def test_any_shard_size_gives_the_same_images(whole, tmp_path_factory, size):
    s = CavitiesSettings(seed=42, simulate=SETTINGS.model_copy(update={"shard_size": size}))
    folder = tmp_path_factory.mktemp("raw")
    parts = []
    for shard in range(s.simulate.n_shards):
        run(settings=s, shard=shard, out=folder / f"{shard}.h5")
        parts.append(read_shard(folder / f"{shard}.h5", RAW))
    for name in RAW:
        joined = np.concatenate([p[name] for p in parts])
        assert joined.tobytes() == getattr(whole, name).tobytes(), name


def test_observations_of_one_cluster_share_their_physics(whole):
    physics = ["core_radius", "beta", "ellipticity", "theta", "slosh_amplitude", "front_jump"]
    first = whole.cluster == 0
    assert first.sum() == 3
    for name in physics:
        assert len(np.unique(whole.params[name][first])) == 1
    assert len(np.unique(whole.params["counts"])) == N
    assert len(np.unique(whole.cluster)) == 4


def test_another_seed_gives_other_data(whole):
    other = simulate_batch(SETTINGS, 43, range(2))
    assert not np.array_equal(other.counts, whole.counts[:2])


def test_images_of_a_cluster_share_a_split_that_larger_data_sets_keep(tmp_path):
    s = CavitiesSettings.model_validate(
        {
            "simulate": {"n_samples": 16, "shard_size": 8, "images_per_cluster": 2},
            "preprocess": {"valid": 0.3, "test": 0.3, "batch": 3},
        }
    )
    shards = [tmp_path / "0.h5", tmp_path / "1.h5"]
    for number, path in enumerate(shards):
        run(settings=s, shard=number, out=path)
    found = {}
    for name, raw in (("small", shards[:1]), ("large", shards[::-1])):
        preprocess.run(settings=s, raw=raw, out=tmp_path / name, threads=1)
        parts = {k: read_shard(tmp_path / name / f"{k}.h5", PREPARED) for k in SPLITS}
        found[name] = {k: part["index"].tolist() for k, part in parts.items()}
        clusters = [set(part["cluster"].tolist()) for part in parts.values()]
        assert sum(map(len, clusters)) == len(set.union(*clusters)) == 4 * len(raw)
    assert all(found["large"].values())
    assert sorted(i for indices in found["large"].values() for i in indices) == list(range(16))
    assert found["small"] == {k: [i for i in v if i < 8] for k, v in found["large"].items()}
