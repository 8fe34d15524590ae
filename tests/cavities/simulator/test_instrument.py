"""Point spread function, exposure and noise of the simulated telescope."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physml.cavities.settings import SimulateSettings
from physml.cavities.simulator.batch import NO_EXPOSURE, POINT_SOURCE, simulate_batch
from physml.cavities.simulator.instrument import blur, convolve, exposure_map, psf_kernel
from physml.cavities.simulator.prior import broken_power_law, draw
from physml.cavities.simulator.render import build_scene, render

QUIET = dict.fromkeys(("sloshing", "front", "clump", "agn", "jet", "sources"), 0.0)


def kernels(*rows):
    columns = (torch.tensor(c, dtype=torch.float64) for c in zip(*rows, strict=True))
    return psf_kernel(*columns)


def test_psf_is_normalised_and_has_its_width():
    made = kernels((1.0, 0.0, 1.5), (3.0, 0.0, 1.5), (2.0, 0.3, 1.5))
    assert torch.allclose(made.sum((1, 2)), torch.ones(3, dtype=torch.float64))
    axis = torch.arange(-16, 17, dtype=torch.float64)
    spread = (made * axis[None, None, :] ** 2).sum((1, 2)).sqrt()
    # Pixels and 3 x 3 sampling add a variance of 1/12.
    assert float(spread[1]) == pytest.approx(np.hypot(3.0 / 2.3548, 12**-0.5), rel=0.01)
    assert spread[2] > 2 * spread[0]  # wings


def test_convolution_conserves_flux_and_leaves_a_flat_sky_flat():
    kernel = kernels((2.5, 0.2, 1.6))
    point = torch.zeros(1, 64, 64, dtype=torch.float64)
    point[0, 30, 34] = 7.0
    seen = convolve(point, kernel)
    assert float(seen.sum()) == pytest.approx(7.0, rel=1e-3)
    assert np.unravel_index(int(seen[0].argmax()), (64, 64)) == (30, 34)
    flat = torch.full((1, 64, 64), 3.0, dtype=torch.float64)
    assert torch.allclose(convolve(flat, kernel), flat, rtol=1e-9)
    wide = kernels((5.0, 0.2, 1.6))
    blurred = blur(flat, kernel, wide)
    assert torch.allclose(blurred[:, 16:-16, 16:-16], flat[:, 16:-16, 16:-16], rtol=0.01)
    # In the corners the shares of the two kernels meet the image's edge.
    assert torch.allclose(blurred, flat, rtol=0.04)


def test_expected_counts_add_up_to_the_drawn_total():
    settings = SimulateSettings.model_validate(
        {"nuisance": QUIET | {"sloshing": 0.5, "agn": 0.5}, "instrument": {"exposure": 0.0}}
    )
    draws = [draw(settings, 3, i) for i in range(12)]
    scene = build_scene(draws, dtype=torch.float64)
    shape = (12, 128, 128)
    made = render(scene, torch.zeros(shape).double(), torch.ones(shape).double())
    total = made.expected.sum((1, 2))
    # The PSF carries a little over the image's edge and back.
    assert torch.allclose(total, scene.params["counts"], rtol=0.02)
    share = made.background.sum((1, 2)) / scene.params["counts"]
    assert torch.allclose(share, scene.params["background"], rtol=1e-6)


def test_noise_is_poisson():
    settings = SimulateSettings.model_validate(
        {
            "nuisance": QUIET,
            "instrument": {"exposure": 0.0},
            "structure": {"share": 0.0},  # `render` is told of none
            "maps": {"round": 0.0},
        }
    )
    batch = simulate_batch(settings, 11, range(30))
    draws = [draw(settings, 11, i) for i in range(30)]
    scene = build_scene(draws)
    flat = torch.ones((30, 128, 128))
    mu = render(scene, 0 * flat, flat).expected.numpy().astype(np.float64)
    bright = mu > 5
    pulls = (batch.counts[bright] - mu[bright]) / np.sqrt(mu[bright])
    n = bright.sum()
    assert n > 50_000
    assert abs(pulls.mean()) < 5 / np.sqrt(n)
    assert abs(pulls.var() - 1) < 5 * np.sqrt(2.2 / n)
    skew = np.mean(pulls**3)
    assert skew == pytest.approx(np.mean(mu[bright] ** -0.5), rel=0.2)  # a Gaussian has none


def test_exposure_maps_have_gaps_columns_and_edges():
    base = {"vignetting": 150.0, "gaps": 0.0, "dead_columns": 0.0, "edge": 0.0}
    rng = np.random.default_rng
    plain = exposure_map(base, rng(0), 128)
    assert plain.max() == 1
    assert plain.min() > 0.5
    for flag in ("gaps", "dead_columns"):
        marked = exposure_map(base | {flag: 1.0}, rng(1), 128)
        assert marked.max() == 1
        assert (plain - marked).max() > 0.1
    outside = exposure_map(base | {"edge": 1.0}, rng(2), 128)
    assert 0.02 < (outside == 0).mean() < 0.8


def test_point_source_fluxes_follow_the_broken_power_law():
    flux = broken_power_law(np.random.default_rng(0), 200_000, 1.0, 1000.0, 20.0)
    assert flux.min() >= 1
    assert flux.max() <= 1000

    def above(s):  # integral of the density from s up, both branches equal to 1 at the break
        faint = 20 / 0.6 * ((np.minimum(s, 20) / 20) ** -0.6 - 1)
        bright = 20 / 1.5 * ((np.maximum(s, 20) / 20) ** -1.5 - 50**-1.5)
        return faint + bright

    for s in (2.0, 10.0, 20.0, 100.0):
        assert np.mean(flux > s) == pytest.approx(above(s) / above(1.0), rel=0.03)


def test_labels_follow_the_decrement_floor():
    settings = SimulateSettings.model_validate({"cavities": {"none": 0.0, "floor": 0.05}})
    batch = simulate_batch(settings, 4, range(40))
    seen = batch.mask > 0
    live = batch.exposure > 0
    decrement = batch.decrement.astype(np.float32)
    # A pixel may pass the floor by two cavities of which neither does alone, never the reverse.
    assert not (seen & (decrement < 0.0495)).any()
    assert ((decrement > 0.1005) & live & ~seen).mean() < 1e-3
    t = batch.cavities
    owns = np.stack([(batch.mask == k + 1).any((1, 2)) for k in range(6)], 1)
    assert np.array_equal(t["visible"], owns & t["present"])
    assert (t["present"] & ~t["visible"]).any()  # some are there and cannot be seen
    ok = t["visible"]
    assert (t["snr"][ok] > 0).all()
    assert (t["a"][ok] >= t["b"][ok]).all()


def test_marked_pixels_are_the_unexposed_and_the_masked_sources():
    settings = SimulateSettings.model_validate(
        {"nuisance": {"sources": 1.0}, "instrument": {"exposure": 1.0, "edge": 1.0}}
    )
    batch = simulate_batch(settings, 8, range(10))
    dark = (batch.invalid & NO_EXPOSURE) > 0
    assert np.array_equal(dark, batch.exposure <= 0)
    assert not batch.counts[dark].any()
    assert ((batch.invalid & POINT_SOURCE) > 0).any()
