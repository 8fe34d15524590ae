"""The rule of the very faint mode of ACIS."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr

from physml.background.core.very_faint import very_faint


def test_only_the_outer_pixels_count() -> None:
    islands = np.zeros((25, 5, 5))
    islands[np.arange(25), np.arange(25) // 5, np.arange(25) % 5] = 0.06
    found = very_faint(islands, 0.05).reshape(5, 5)
    assert found.sum() == 16
    assert not found[1:4, 1:4].any()
    assert not very_faint(islands, 0.06).any()  # at the threshold is not above it


def test_noise_alone() -> None:
    """Of islands of Gaussian noise as many are flagged as the sixteen pixels say."""
    n, level = 40_000, 2.5
    islands = np.random.default_rng(1).standard_normal((n, 5, 5))
    expected = 1 - ndtr(level) ** 16
    found = very_faint(islands, level).mean()
    assert found == pytest.approx(expected, abs=4 * np.sqrt(expected / n))


def test_a_second_event_beside_it_is_flagged() -> None:
    island = np.zeros((1, 5, 5), np.int16)
    island[0, 2, 2], island[0, 2, 3] = 900, 300
    assert not very_faint(island, 13)[0]
    island[0, 0, 4] = 14
    assert very_faint(island, 13)[0]


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="5 x 5"):
        very_faint(np.zeros((4, 3, 3)), 0.05)
    assert very_faint(np.zeros((0, 5, 5)), 0.05).shape == (0,)
