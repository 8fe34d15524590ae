"""The picture says what the catalogue says: scale bar, compass, ellipses, views."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.nddata import CCDData
from fakes.cavities import Cavity, TruthDetector, beta_image, tan_wcs
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from scipy.ndimage import gaussian_filter

from physml.cavities.predict import CavityPredictor
from physml.cavities.results.overview import View, choose_views, plot_counts, plot_overview

SHAPE, CENTRE = (300, 300), (150.0, 148.0)
CAVITIES = [Cavity(190.0, 160.0, 22.0, 15.0, 0.4, 0.9), Cavity(108.0, 140.0, 18.0, 14.0, 2.0, 0.69)]


def result(wcs=None, cavities=CAVITIES, **more):
    image = beta_image(SHAPE, CENTRE, cavities=cavities)
    given = image if wcs is None else CCDData(image, unit="count", wcs=wcs)
    detector = TruthDetector(list(cavities), CENTRE, scales=(1, 2), cut=0.7)
    options = {"centre": CENTRE, "scales": "1,2", "threshold": 0.1} | more
    return CavityPredictor(detector).predict(given, **options)


def counts_panel(made):
    ax = Figure().add_subplot()
    view = choose_views(made)[0]
    plot_counts(made, view, ax)
    return ax, view


def scale_bar(ax):
    line = next(line for line in ax.lines if line.get_linewidth() == 2.5)
    text = next(t.get_text() for t in ax.texts if any(c in t.get_text() for c in "\"'p"))
    return np.ptp(line.get_xdata()), text


@pytest.mark.parametrize("pixel", [0.1, 0.492, 4.0, 30.0])
def test_the_scale_bar_has_the_length_it_says(pixel):
    made = result(tan_wcs(SHAPE, pixel=pixel), redshift=0.05)
    ax, view = counts_panel(made)
    length, text = scale_bar(ax)
    angle, kpc = text.split(" = ")
    arcsec = float(angle[:-1]) * (60 if angle.endswith("'") else 1)
    assert length * pixel == pytest.approx(arcsec, rel=1e-3)
    assert 0.02 < length / (2 * view.half) < 0.35
    size = float(kpc.split()[0]) * (1000 if kpc.endswith("Mpc") else 1)
    assert size == pytest.approx(arcsec * made.catalogue.meta["kpc_per_arcsec"], rel=0.01)


def test_without_wcs_the_scale_bar_is_in_pixels_and_there_is_no_compass():
    ax, _ = counts_panel(result())
    length, text = scale_bar(ax)
    assert text == f"{length:g} pixels"
    assert not {"N", "E"} & {t.get_text() for t in ax.texts}


@pytest.mark.parametrize("system", [{}, {"rotation": 70.0}, {"rotation": -130, "stretch": -1.0}])
def test_the_compass_points_north_and_east(system):
    made = result(tan_wcs(SHAPE, **system))
    ax, view = counts_panel(made)
    places = {t.get_text(): np.array(t.get_position()) for t in ax.texts}
    arrows = [t for t in ax.texts if t.get_text() == "" and t.arrow_patch is not None]
    foot = np.array(arrows[0].get_position())
    here = made.observation.sky.coordinates(*CENTRE)
    for name, angle in (("N", 0), ("E", 90)):
        step = places[name] - foot
        there = made.observation.sky.coordinates(*(np.array(CENTRE) + step))
        turned = (here.position_angle(there).deg - angle + 180) % 360 - 180
        assert abs(turned) < 0.5
        assert np.abs(places[name] - (view.x, view.y)).max() < view.half


def test_ellipses_and_labels_are_those_of_the_catalogue():
    made = result(tan_wcs(SHAPE))
    ax, _ = counts_panel(made)
    drawn = [p for p in ax.patches if isinstance(p, Ellipse)]
    assert len(drawn) == len(made.catalogue) == 2
    for row, patch in zip(made.catalogue, drawn, strict=True):
        assert patch.get_center() == pytest.approx((row["x"], row["y"]))
        assert patch.get_angle() % 180 == pytest.approx(row["theta"].value)
        assert (patch.get_linestyle() == "-") == ("candidate" not in str(row["flags"]))
    assert {"1", "2"} <= {t.get_text() for t in ax.texts}


def test_the_view_holds_all_cavities_and_zooms_on_small_ones():
    wide = result()
    views = choose_views(wide)
    assert len(views) == 1
    small = [*CAVITIES, Cavity(158.0, 150.0, 4.0, 3.0, 0.0, 0.9)]
    views = choose_views(result(cavities=small))
    assert len(views) == 2
    assert views[1].half < 0.5 * views[0].half
    for c in small:
        assert np.hypot(c.x - views[0].x, c.y - views[0].y) + c.a < views[0].half * 1.01


def test_the_summary_tells_sure_from_doubtful():
    assert result().summary == "1 cavity, 1 candidate"
    assert result(threshold=0.99).summary == "no cavity"


def test_it_can_be_drawn_with_nothing_found_and_with_holes_in_the_data():
    empty = result(threshold=0.99)
    assert len(plot_overview(empty).axes) >= 3
    image = beta_image(SHAPE, CENTRE)
    image[100:130] = np.nan
    detector = TruthDetector(CAVITIES, CENTRE, scales=(1, 2))
    holes = CavityPredictor(detector).predict(image, centre=CENTRE, scales="1,2")
    plot_overview(holes).canvas.draw()


@pytest.mark.parametrize("view", [View(150.0, 140.0, 60.0), View(20.0, 290.0, 80.0)])
@pytest.mark.parametrize("sigma", [0.7, 3.0, 11.0])
def test_smoothing_in_view_is_that_of_the_whole_image(view, sigma):
    image = np.random.default_rng(3).poisson(4.0, SHAPE).astype(float)
    whole = gaussian_filter(image, sigma)[view.slices(SHAPE)]
    np.testing.assert_allclose(view.smooth(image, sigma), whole, rtol=1e-12)


def test_a_large_view_shows_means():
    """Of 3 x 3 pixels here, at the places where they are; the last of fewer."""
    side = 3500
    y, x = np.ogrid[:side, :side]
    plane = 2.0 * x + 5.0 * y
    view = View(side / 2, side / 2, side / 2)
    assert view.step == 3
    part = view.part(plane)
    assert part.shape == (1167, 1167)
    assert part[10, 20] == plane[30:33, 60:63].mean()
    assert part[-1, -1] == plane[3498:, 3498:].mean()
    assert view.part(plane > 9000.0)[700, 600] == (plane[2100:2103, 1800:1803] > 9000.0).mean() > 0
    shown = view.show(Figure().add_subplot(), part, plane.shape)
    assert shown.get_extent() == pytest.approx([-0.5, 3500.5, -0.5, 3500.5])
    # A plane stays itself under any smoothing, away from the border.
    np.testing.assert_allclose(view.smooth(plane, 9.0)[40:-40, 40:-40], part[40:-40, 40:-40])
