"""One independent random stream for each sample of each stage.

The stream of a sample depends on the seed, the stage and the index of the sample, and on nothing
else. Hence the data are the same for every shard size, number of workers and order of work.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

#: First word of the spawn key of each stage. Numbers are never reused: they are part of the data.
STAGES: Mapping[str, int] = MappingProxyType(
    {
        "simulate": 0,
        "preprocess": 1,
        "train": 2,
        "evaluate": 3,
        "predict": 4,
        "report": 5,
        "initialise": 6,  # network weights before training
        "split": 7,  # physical objects to train, valid, test
        "augment": 8,
        "bootstrap": 9,
        "test": 10,  # data made by tests and benchmarks
        "structure": 11,  # large-scale structure of gas, errors of maps
    }
)


def seed_sequence(seed: int, stage: str, index: int) -> np.random.SeedSequence:
    """Seed of one sample, also for generators other than numpy's.

    Parameters
    ----------
    seed : int
        Seed of the run, >= 0.
    stage : str
        One of `STAGES`.
    index : int
        Index of the sample (or epoch, or replica), >= 0.

    Raises
    ------
    ValueError
        For an unknown stage, or a negative seed or index.
    """
    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}: expected one of {', '.join(STAGES)}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must not be negative, got {seed} and {index}")
    return np.random.SeedSequence(int(seed), spawn_key=(STAGES[stage], int(index)))


def stream(seed: int, stage: str, index: int) -> np.random.Generator:
    """Random generator of one sample; see `seed_sequence` for the arguments."""
    return np.random.default_rng(seed_sequence(seed, stage, index))
