"""Random streams: one for each sample, whatever the order."""

from __future__ import annotations

import numpy as np
import pytest

from physml.random import STAGES, seed_sequence, stream


def test_global_state_is_neither_read_nor_changed() -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    drawn = stream(1, "train", 2).random(3)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    np.testing.assert_array_equal(stream(1, "train", 2).random(3), drawn)


def test_known_values() -> None:
    """Frozen: a change here changes every data set that was ever made."""
    assert STAGES["simulate"] == 0
    assert STAGES["preprocess"] == 1
    assert STAGES["train"] == 2
    assert STAGES["evaluate"] == 3
    assert STAGES["predict"] == 4
    assert len(set(STAGES.values())) == len(STAGES)
    assert stream(42, "simulate", 7).integers(1 << 32, size=3).tolist() == [
        3277042270,
        1112865840,
        2897017365,
    ]
    expected = np.random.SeedSequence(42, spawn_key=(2, 9)).generate_state(4)
    np.testing.assert_array_equal(seed_sequence(42, "train", 9).generate_state(4), expected)


@pytest.mark.parametrize(
    ("seed", "stage", "index", "match"),
    [
        (0, "simulat", 0, "unknown stage"),
        (-1, "train", 0, "negative"),
        (0, "train", -1, "negative"),
    ],
)
def test_bad_arguments(seed: int, stage: str, index: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        stream(seed, stage, index)
