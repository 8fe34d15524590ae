"""Random streams: one for each sample, the same for every seed, order and split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.config import SimulateBase
from physml.random import STAGES, seed_sequence, stream

seeds = st.integers(0, 2**64 - 1)
indices = st.integers(0, 2**32 - 1)
stages = st.sampled_from(sorted(STAGES))


def test_global_state_is_neither_read_nor_changed() -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    drawn = stream(1, "train", 2).random(3)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    np.testing.assert_array_equal(stream(1, "train", 2).random(3), drawn)


def test_known_values() -> None:
    """Frozen: a change here changes every data set that was ever made."""
    numbers = {"simulate": 0, "preprocess": 1, "train": 2, "evaluate": 3, "predict": 4}
    assert STAGES.items() >= numbers.items()
    assert len(set(STAGES.values())) == len(STAGES)
    drawn = stream(42, "simulate", 7).integers(1 << 32, size=3)
    assert drawn.tolist() == [3277042270, 1112865840, 2897017365]
    expected = np.random.SeedSequence(42, spawn_key=(2, 9)).generate_state(4)
    np.testing.assert_array_equal(seed_sequence(42, "train", 9).generate_state(4), expected)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0, "simulat", 0), "unknown stage"),
        ((-1, "train", 0), "negative"),
        ((0, "train", -1), "negative"),
    ],
)
def test_bad_arguments(arguments: tuple[int, str, int], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        stream(*arguments)


@settings(deadline=None)
@given(seed=seeds, stage=stages, order=st.permutations(range(12)))
def test_order_does_not_matter(seed: int, stage: str, order: list[int]) -> None:
    drawn = {i: stream(seed, stage, i).random() for i in order}
    assert [drawn[i] for i in range(12)] == [stream(seed, stage, i).random() for i in range(12)]


@settings(deadline=None)
@given(
    seed=seeds,
    samples=st.integers(1, 60),
    sizes=st.tuples(*[st.integers(1, 70)] * 2),
)
def test_shard_size_does_not_matter(seed: int, samples: int, sizes: tuple[int, int]) -> None:
    def simulate(size: int) -> list[float]:
        plan = SimulateBase(n_samples=samples, shard_size=size)
        # Shards in the reverse order, as another scheduler might run them.
        shards = {s: plan.indices(s) for s in reversed(range(plan.n_shards))}
        drawn = {i: stream(seed, "simulate", i).normal() for s in shards for i in shards[s]}
        return [drawn[i] for i in range(samples)]

    assert simulate(sizes[0]) == simulate(sizes[1])


@settings(deadline=None)
@given(a=st.tuples(seeds, stages, indices), b=st.tuples(seeds, stages, indices))
def test_different_streams_differ(a: tuple, b: tuple) -> None:
    same = (seed_sequence(*a).generate_state(4) == seed_sequence(*b).generate_state(4)).all()
    assert same == (a == b)


@settings(deadline=None)
@given(seed=seeds, index=indices)
def test_stages_share_no_stream(seed: int, index: int) -> None:
    states = {tuple(seed_sequence(seed, stage, index).generate_state(4)) for stage in STAGES}
    assert len(states) == len(STAGES)


@settings(deadline=None, max_examples=5)
@given(seed=seeds)
def test_neighbouring_streams_are_not_correlated(seed: int) -> None:
    drawn = np.stack([stream(seed, "simulate", i).normal(size=2000) for i in range(12)])
    correlation = np.corrcoef(drawn) - np.eye(12)
    assert np.abs(correlation).max() < 6 / np.sqrt(2000)
