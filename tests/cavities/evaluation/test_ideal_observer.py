"""The ideal observer against Monte Carlo and against the simulator that it mirrors."""

from __future__ import annotations

import numpy as np
import pytest

from physml.cavities.core.matching import true_cavities
from physml.cavities.evaluation import ideal_observer
from physml.cavities.settings import SimulateSettings
from physml.cavities.simulator.batch import simulate_batch


def halo(counts: float, size: int = 40) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    s = (1 + (x**2 + y**2) / 8**2) ** -1.2 + 0.01
    return s * counts / s.sum()


def dug(mu: np.ndarray, x: float, y: float, radius: float, depth: float) -> np.ndarray:
    yy, xx = np.mgrid[: mu.shape[0], : mu.shape[1]] - (mu.shape[0] - 1) / 2
    q2 = ((xx - x) ** 2 + (yy - y) ** 2) / radius**2
    return mu * (1 - depth * np.sqrt(np.clip(1 - q2, 0, None)))


def ratio(counts, mu0, mu1):
    """Log-likelihood ratio as a statistics book writes it."""
    from scipy.stats import poisson

    return (poisson.logpmf(counts, mu1) - poisson.logpmf(counts, mu0)).sum((1, 2))


@pytest.mark.parametrize("counts", [2e3, 3e5])
def test_moments_and_chances_agree_with_monte_carlo(counts):
    mu0 = halo(counts)
    mu1 = dug(mu0, 12, 4, 7, 0.3)
    m0, s0, m1, s1 = ideal_observer.moments(mu0, mu1, np.ones(mu0.shape, bool))
    rng = np.random.default_rng(1)
    n = 1000
    without = ratio(rng.poisson(mu0, (n, *mu0.shape)), mu0, mu1)
    with_it = ratio(rng.poisson(mu1, (n, *mu0.shape)), mu0, mu1)
    error = 4 / np.sqrt(n)
    assert without.mean() == pytest.approx(m0, abs=error * s0)
    assert with_it.mean() == pytest.approx(m1, abs=error * s1)
    assert without.std() == pytest.approx(s0, rel=0.08)
    assert with_it.std() == pytest.approx(s1, rel=0.08)
    table = np.array([(0, 1, m0, s0, m1, s1)], ideal_observer.MOMENTS_DTYPE)
    threshold = ideal_observer.known_threshold(table, 0.05)
    assert (without >= threshold).mean() == pytest.approx(0.05, abs=0.02)
    expected = ideal_observer.found_probability(threshold, table)[0]
    assert (with_it >= threshold).mean() == pytest.approx(expected, abs=0.04)


def test_signal_to_noise_is_that_of_the_sheet():
    """For a small uniform decrement D over N counts the separation is D sqrt(N) sigma."""
    mu0 = np.full((40, 40), 30.0)
    mu1 = mu0.copy()
    mu1[10:20, 10:25] *= 0.95
    m0, s0, m1, s1 = ideal_observer.moments(mu0, mu1, np.ones(mu0.shape, bool))
    assert (m1 - m0) / s0 == pytest.approx(0.05 * np.sqrt(30 * 150), rel=0.02)
    assert s1 == pytest.approx(s0, rel=0.03)


def test_unseen_pixels_tell_nothing():
    mu0 = halo(1e4)
    mu1 = dug(mu0, 10, 0, 6, 0.4)
    nothing = ideal_observer.moments(mu0, mu1, mu0 == mu1)
    assert nothing == (0.0, 0.0, 0.0, 0.0)


def test_alarm_rate_of_pairs_and_level():
    """Two independent tests an image: the share of quiet images is the product."""
    rows = [(i, k, -2.0, 2.0, 2.0, 2.0) for i in range(5) for k in (1, 2)]
    table = np.array(rows, ideal_observer.MOMENTS_DTYPE)
    p = 0.5 * (1 - np.array([0.6826894921]))[0]  # one test passes at mean + 1 sd
    assert ideal_observer.alarm_probability(0.0, table) == pytest.approx([1 - (1 - p) ** 2] * 5)
    t = ideal_observer.known_threshold(table, 0.05)
    assert ideal_observer.alarm_probability(t, table).mean() == pytest.approx(0.05, abs=1e-6)


def settings(**cavities) -> SimulateSettings:
    base = SimulateSettings()
    return base.model_copy(
        update={"cavities": base.cavities.model_copy(update={"none": 0.0, **cavities})}
    )


def test_renders_what_the_simulator_renders():
    """Same Poisson draws, so the expected counts are those behind the shard."""
    s = settings()
    batch = simulate_batch(s, 11, range(4))
    for i, made in enumerate(ideal_observer.expectations(s, 11, range(4))):
        assert (made.counts == batch.counts[i]).all()
        assert len(made.filled) == batch.cavities["present"][i].sum()
        assert (made.filled >= made.expected - 1e-6 * made.expected.max()).all()
        assert not made.filled[:, batch.exposure[i] == 0].any()


def test_filling_all_cavities_gives_the_image_without_them():
    """Against the simulator itself, told that nothing is emptied, behind a map with gaps."""
    import torch

    from physml.cavities.simulator.instrument import exposure_map
    from physml.cavities.simulator.prior import draw
    from physml.cavities.simulator.render import build_scene, render

    base = settings(rims=0.0)
    s = base.model_copy(
        update={
            "nuisance": base.nuisance.model_copy(update={"sources": 0.0}),
            "structure": base.structure.model_copy(update={"share": 0.0}),
            "maps": base.maps.model_copy(update={"round": 0.0}),
            "instrument": base.instrument.model_copy(
                update={"exposure": 1.0, "gaps": 1.0, "edge": 0.5, "psf_fwhm": (2.0, 3.5)}
            ),
        }
    )
    for index, made in zip(range(4), ideal_observer.expectations(s, 7, range(4)), strict=True):
        d = draw(s, 7, index)
        exposure = exposure_map(d.params, d.rng, s.image_size)[None]
        assert (exposure < 0.5).any()
        scene = build_scene([d])
        scene.emptied = torch.zeros_like(scene.emptied)
        nothing = render(scene, torch.zeros((1, 128, 128)), torch.as_tensor(exposure))
        background = nothing.background[0].numpy()
        empty = made.expected + (made.filled - made.expected).sum(0)
        wanted, got = nothing.expected[0].numpy() - background, empty - background
        # The simulator scales every image to its drawn total, so one factor is free.
        bright = wanted > 1e-3 * wanted.max()
        ratio_ = got[bright] / wanted[bright]
        assert ratio_ == pytest.approx(np.median(ratio_), rel=2e-3)


def test_observer_on_simulated_images():
    s = settings(none=0.0)
    n = 12
    batch = simulate_batch(s, 3, range(n))
    cavities = true_cavities(batch.cavities, batch.mask)
    table, shapes = ideal_observer.observe(
        ideal_observer.expectations(s, 3, range(n)), cavities, batch.invalid, bank=6
    )
    assert table[["image", "label"]].tolist() == cavities[["image", "label"]].tolist()
    assert shapes.shape == (6, 128, 128)
    assert (table["mean1"] >= 0).all()
    assert (table["mean0"] <= 0).all()
    # The expected separation follows the table's S/N wherever the PSF does not wash it out.
    separation = (table["mean1"] - table["mean0"]) / np.maximum(table["sd0"], 1e-9)
    strong = cavities["snr"] > 3
    assert np.median(separation[strong] / cavities["snr"][strong]) == pytest.approx(1, abs=0.35)
    counts = batch.counts.sum((1, 2)).astype(float)
    edges = (2e3, 2e4, 3e6)
    strict = ideal_observer.ideal_completeness(table, counts, level=0.05, edges=edges)
    loose = ideal_observer.ideal_completeness(table, counts, level=0.2, edges=edges)
    assert (loose["overall"] >= strict["overall"] - 1e-12).all()
    sharp = table["mean1"] > 20
    assert (strict["overall"][sharp] > 0.99).all()
    # A search over a bank costs completeness against a known place.
    empty = settings(none=1.0)
    dark = simulate_batch(empty, 4, range(n))
    scores = ideal_observer.search_scores(
        shapes, ideal_observer.expectations(empty, 4, range(n)), dark.invalid
    )
    assert scores.shape == (n,)
    assert np.isfinite(scores).all()
    searching = ideal_observer.ideal_completeness(
        table, counts, edges=edges, search=(scores, dark.counts.sum((1, 2)).astype(float))
    )
    assert np.isfinite(searching["threshold"])


def test_search_score_is_the_likelihood_ratio_of_the_best_shape():
    mu = halo(5e3)
    places = [(12, 4), (-10, 8)]
    shapes = np.stack([1 - dug(mu, *p, 7, 0.3) / mu for p in places])
    rng = np.random.default_rng(0)
    counts = rng.poisson(mu)
    made = ideal_observer.Expectation(mu, np.zeros((0, 40, 40)), counts)
    got = ideal_observer.search_scores(shapes, iter([made]), np.zeros((1, 40, 40), int))
    wanted = max(ratio(counts[None], mu, mu * (1 - s))[0] for s in shapes)
    assert got[0] == pytest.approx(wanted, abs=1e-2)
