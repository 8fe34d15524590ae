"""Maps of several binnings on the pixels of the image, against the formula pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.cavities import beta_image

from physml.cavities.data.observation import Observation
from physml.cavities.data.sky import Sky
from physml.cavities.inference import mosaic
from physml.cavities.inference.candidate import Candidate
from physml.cavities.inference.fields import cut_field

SHAPE, CENTRE = (420, 380), (170.3, 233.8)


@pytest.fixture(scope="module")
def fields():
    image = beta_image(SHAPE, CENTRE)
    exposure = np.random.default_rng(2).uniform(0.5, 1, SHAPE)
    observation = Observation(image, exposure, None, np.zeros(SHAPE, bool), Sky(None, None))
    return exposure, [cut_field(observation, k, CENTRE) for k in (1, 2, 4)]


@pytest.fixture(params=[1 << 20, 9000], ids=["one band", "bands of 23 rows"])
def bands(request, monkeypatch):
    monkeypatch.setattr(mosaic, "BAND_PIXELS", request.param)


def step(field, x, y):
    """Smooth step to a field's border at one place, as it is defined; None outside."""
    size = 128
    (X,), (Y,) = field.from_image([x], [y])
    if not (-0.5 < X < size - 0.5 and -0.5 < Y < size - 0.5):
        return None
    ramps = [np.clip((1 - abs(v - 63.5) / 64) / 0.4, 0, 1) for v in (X, Y)]
    r = ramps[0] * ramps[1]
    return r * r * (3 - 2 * r)


def bilinear(field, image, x, y):
    (X,), (Y,) = field.from_image([x], [y])
    X, Y = np.clip(X, 0, 127), np.clip(Y, 0, 127)
    i, j = min(int(Y), 126), min(int(X), 126)
    v, u = Y - i, X - j
    low = (1 - u) * image[i, j] + u * image[i, j + 1]
    high = (1 - u) * image[i + 1, j] + u * image[i + 1, j + 1]
    return (1 - v) * low + v * high


PLACES = [(170, 233), (0, 0), (379, 419), (228, 180), (107, 296), (40, 330), (299, 233), (42, 106)]


def test_probabilities_are_means_over_the_fields(fields, bands):
    _, fields = fields
    rng = np.random.default_rng(4)
    maps = [rng.uniform(0, 1, (128, 128)).astype(np.float32) for _ in fields]
    cavity = Candidate(190.0, 240.0, 30.0, 20.0, 0.6, 24.5, 1.0, 1885.0, 0.3, 9.0, 0.9, 2, 0)
    made = mosaic.join_probabilities(SHAPE, fields, maps, [cavity])
    assert made.dtype == np.float32
    for x, y in [*PLACES, (190, 240), (205, 255), (215, 262)]:
        total = weights = 0.0
        for field, image in zip(fields, maps, strict=True):
            soft = step(field, x, y)
            if soft is None:
                continue
            soft += mosaic.BORDER
            weight = mosaic.ELSEWHERE * soft
            if field.scale == 2:
                rho = np.sqrt(float(cavity.squared_radius(x, y)))
                weight += np.clip((1.8 - rho) / 0.6, 0, 1) * 0.9 * soft
            total += weight * bilinear(field, image, x, y)
            weights += weight
        assert made[y, x] == pytest.approx(total / weights, abs=1e-5), (x, y)


def test_models_go_over_from_the_finest_outwards(fields, bands):
    exposure, fields = fields
    rng = np.random.default_rng(5)
    models = [rng.uniform(1, 2, (128, 128)) * f.exposure for f in fields]
    made = mosaic.join_models(SHAPE, fields, models, exposure)
    for x, y in PLACES:
        left, total = 1.0, 0.0
        for field, model in zip(fields, models, strict=True):
            soft = step(field, x, y) or 0.0
            weight = left * (1.0 if field is fields[-1] else soft)
            depth = np.where(field.exposure > 0.05, field.exposure, np.nan)
            rate = mosaic.fill_undefined(model / depth) / field.scale**2
            total += weight * bilinear(field, rate, x, y)
            left -= weight
        assert made[y, x] == pytest.approx(total * exposure[y, x], rel=1e-4), (x, y)


def test_the_order_of_the_binnings_does_not_matter(fields):
    exposure, fields = fields
    rng = np.random.default_rng(6)
    models = [rng.uniform(1, 2, (128, 128)) for _ in fields]
    one = mosaic.join_models(SHAPE, fields, models, exposure)
    other = mosaic.join_models(SHAPE, fields[::-1], models[::-1], exposure)
    np.testing.assert_array_equal(one, other)
