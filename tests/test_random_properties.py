"""For every seed, order and split: the same numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from physml.config import SimulateBase
from physml.random import STAGES, seed_sequence, stream

seeds = st.integers(0, 2**64 - 1)
indices = st.integers(0, 2**32 - 1)
stages = st.sampled_from(sorted(STAGES))


@settings(deadline=None)
@given(seed=seeds, stage=stages, order=st.permutations(range(12)))
def test_order_does_not_matter(seed: int, stage: str, order: list[int]) -> None:
    drawn = {i: stream(seed, stage, i).random() for i in order}
    assert [drawn[i] for i in range(12)] == [stream(seed, stage, i).random() for i in range(12)]


@settings(deadline=None)
@given(
    seed=seeds,
    samples=st.integers(1, 60),
    sizes=st.lists(st.integers(1, 70), min_size=2, max_size=2),
)
def test_shard_size_does_not_matter(seed: int, samples: int, sizes: list[int]) -> None:
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
