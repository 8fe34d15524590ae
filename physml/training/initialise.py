"""Make a network whose random first weights follow from the run's seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from physml.random import seed_sequence

Network = TypeVar("Network", bound=nn.Module)


def initialise(factory: Callable[[], Network], seed: int, replica: int = 0) -> Network:
    """Call ``factory`` with torch's random state set from the seed, and restore that state.

    Parameters
    ----------
    factory : callable
        Returns a network.
    seed : int
        The run's seed.
    replica : int
        Number of the network, where an ensemble is trained from one seed.
    """
    key = int(seed_sequence(seed, "initialise", replica).generate_state(1, np.uint64)[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key)
        return factory()
