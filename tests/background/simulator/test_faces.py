"""Faces of the housing: an opening, electrons of their own number, fluorescence."""

from __future__ import annotations

import numpy as np
import pytest

from physml.background.core.camera import CameraSettings, FluorescenceLine
from physml.background.core.detectors import load_detector
from physml.background.settings import ConditionsPrior
from physml.background.simulator.conditions import draw
from physml.background.simulator.fluorescence import line_photons
from physml.background.simulator.geometry import Geometry
from physml.background.simulator.housing_electrons import Setup, by_nuclei
from physml.background.simulator.materials import ALUMINIUM, SILICON
from physml.background.simulator.primaries import draw_primaries
from physml.background.simulator.tracks import library
from physml.random import stream

SIZE = np.array([66_560.0, 66_560.0, 450.0])


def box(**change) -> Geometry:
    return Geometry(SIZE, 15e3, 12e3, 20e3, **change)


def cosmic_rays(geometry: Geometry, live: float = 40.0):
    return draw_primaries(geometry, ALUMINIUM, 0.4, 0.0, live, np.random.default_rng(1))


def test_default_faces_are_all_alike() -> None:
    plain, camera = load_detector("wfi"), CameraSettings()
    drawn = draw(ConditionsPrior(), plain, stream(1, "test", 0))
    with_camera = draw(ConditionsPrior(), plain, stream(1, "test", 0), camera)
    for name in ("low", "high", "opening", "yields"):
        np.testing.assert_array_equal(
            getattr(drawn.geometry, name), getattr(with_camera.geometry, name)
        )


def test_a_cycle_is_one_of_those_given() -> None:
    camera = CameraSettings(cycles=(2.0, 5.0), across=2, down=2)
    base = load_detector("wfi")
    drawn = [draw(ConditionsPrior(), base, stream(1, "test", k), camera) for k in range(12)]
    assert {round(1e3 * c.detector.frame_time, 6) for c in drawn} == {2.0, 5.0}
    assert {c.readout.detector.frame_time for c in drawn} != set()
    assert all(len(c.others) == 3 for c in drawn)
    assert not np.array_equal(drawn[0].readout.offset, drawn[0].others[0].offset)
    np.testing.assert_allclose(drawn[0].geometry.size[:2], 2 * 66_560)


@pytest.mark.parametrize("front", [False, True])
def test_an_opening_lets_in_what_lies_in_it(front: bool) -> None:
    g = box(above=60e3, opening=0.25, front=front)
    assert (g.low[2], g.high[2]) == ((-60e3, 450 + 15e3) if front else (-15e3, 450 + 60e3))
    p = cosmic_rays(g)
    light = np.isclose(p.position[:, 2], g.low[2] if front else g.high[2])
    free = light & (p.path == 0)
    # Of those that come through solid parts some are stopped, so that counts are compared by area:
    # an isotropic intensity crosses each surface pi I times its area.
    rate = np.pi * intensity_of(0.01) * 40.0
    area = 0.25 * (g.high - g.low)[:2].prod() * 1e-8
    assert free.sum() == pytest.approx(rate * area, abs=4 * np.sqrt(rate * area))
    assert p.outside[free].min() < 40e3  # keV: less than passes 2 cm of aluminium
    assert p.outside[~free].min() > 60e3
    assert not g.open(p.position[~light]).any()


def intensity_of(above: float) -> float:
    from physml.background.simulator.primaries import intensity

    return intensity(0.4, above)


def test_faces_set_free_electrons_in_their_own_number() -> None:
    lib = library(ALUMINIUM)
    plain = box()
    p = cosmic_rays(plain)

    def numbers(geometry: Geometry) -> np.ndarray:
        held = by_nuclei(Setup(geometry, lib, library(SILICON)), p, np.random.default_rng(2))
        z = held.normal[:, 2]
        return np.array([(z == 0).sum(), (z > 0).sum(), (z < 0).sum()])

    one, own = numbers(plain), numbers(box(yields=(0.0, 3.0, 0.5)))
    turned = numbers(box(yields=(0.0, 0.5, 3.0), front=True))
    np.testing.assert_array_equal(own, turned)
    assert own[0] == 0
    for k, factor in ((1, 3.0), (2, 0.5)):
        assert own[k] / one[k] == pytest.approx(factor, abs=5 * factor * np.sqrt(2 / own[k]))


def test_lines_shine_on_the_slab_as_on_any_surface() -> None:
    """In a cavity that shines evenly by the cosine law, each area inside receives as much."""
    g = box()
    p = cosmic_rays(g)
    line = FluorescenceLine(energy=1.487, photons=1.0)
    left = line_photons(g, p, [line], np.random.default_rng(3))
    a, b, c = SIZE
    expected = 2 * len(p) * 2 * (a * b + b * c + c * a) / g.area
    # As many come in as go out, evenly: what is not even averages out over the slab to 2 %.
    assert len(left) == pytest.approx(expected, rel=0.02, abs=4 * np.sqrt(expected))
    assert (left.energy == 1.487).all()
    depth = np.minimum(left.position, SIZE - left.position).min(1)
    free = 1 / float(SILICON.photoelectric(1.487))
    assert np.median(depth) < free  # most stop within one free path of a surface
    assert len(line_photons(g, p, [], np.random.default_rng(3))) == 0


def test_hard_lines_go_through() -> None:
    g, rng = box(), np.random.default_rng(4)
    p = cosmic_rays(g)
    counts = [
        len(line_photons(g, p, [FluorescenceLine(energy=e, photons=1.0)], rng)) for e in (1.5, 30.0)
    ]
    assert 0 < counts[1] < 0.4 * counts[0]
