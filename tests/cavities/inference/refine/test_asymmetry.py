"""The asymmetry of an image is found beside its cavities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physml.cavities.inference.refine.asymmetry import asymmetry

from .test_listed import searched


def lopsided_factor(shape: tuple[int, int], amplitude: float) -> np.ndarray:
    y, x = np.indices(shape) - (np.array(shape) - 1)[:, None, None] / 2
    r = np.hypot(x, y)
    return 1 + amplitude * np.tanh(r / (0.2 * shape[0])) * x / np.maximum(r, 1e-9)


@pytest.mark.parametrize("scale", [1, 2])
def test_a_dipole_is_found_beside_cavities(scale):
    search, listed = searched(scale, total=1e6)
    symmetric = asymmetry(search, listed)
    field = search.fields[0]
    truth = lopsided_factor(field.counts.shape, 0.3)
    rng = np.random.default_rng(3)
    counts = rng.poisson(field.counts * truth).astype(float)
    found = asymmetry(replace(search, fields=[replace(field, counts=counts)]), listed)
    assert found.shape == search.shape
    there = field.interpolate(truth, search.shape)
    y, x = np.indices(search.shape) - (np.array(search.shape) - 1)[:, None, None] / 2
    inner = np.hypot(x, y) < 0.35 * search.shape[0]
    # Without the dipole next to nothing is left over, cavities of a third of the light included.
    assert np.abs(np.log(symmetric[inner])).mean() < 0.03
    assert np.abs(np.log(found / there)[inner]).mean() < 0.04
    assert np.corrcoef(np.log(found[inner]), np.log(there[inner]))[0, 1] > 0.97


def test_without_a_halo_there_is_none():
    search, listed = searched()
    search.detections[0].halo = None
    np.testing.assert_array_equal(asymmetry(search, listed), np.ones(search.shape))
