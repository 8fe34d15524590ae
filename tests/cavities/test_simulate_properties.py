"""The data do not depend on how the work is cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.cavities.settings import CavitiesSettings, SimulateSettings
from physml.cavities.simulate import run
from physml.cavities.simulator.batch import simulate_batch
from physml.io.shards import read_shard

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
    from physml.cavities.learning.prepared import RAW

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
