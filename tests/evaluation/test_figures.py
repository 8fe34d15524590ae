"""Figures: what is drawn, where, in colours that can be told apart."""

from __future__ import annotations

import itertools
import threading

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from physml import provenance
from physml.evaluation import figures as fig
from physml.evaluation.bootstrap import Interval
from physml.evaluation.calibration import Reliability
from physml.exceptions import InputError
from physml.io import origin


@pytest.fixture
def ax():
    return fig.new_figure()[1][0, 0]


def filled(seed: int = 0) -> Reliability:
    rng = np.random.default_rng(seed)
    p = rng.random(5000)
    reliability = Reliability()
    reliability.add(p, rng.random(5000) < p)
    return reliability


X, Y = np.array([1.0, 2, 4]), np.array([0.2, 0.5, 0.9])
ENDS = np.stack([Y, Y - 0.1, Y + 0.05])


DRAWN = {
    "reliability": lambda ax: fig.reliability_diagram(ax, filled(), label="ours"),
    "completeness": lambda ax: fig.completeness_curve(
        ax, np.array([1.0, 10, 100, 1000]), Y, Y - 0.1, Y + 0.1, quantity="Counts", log=True
    ),
    "intervals": lambda ax: fig.interval_plot(ax, X, ENDS, label="x"),
    "rows": lambda ax: fig.interval_rows(ax, ["a", "b", "c"], ENDS),
    "coverage": lambda ax: fig.coverage_curve(ax, X, ENDS, 0.9, line="-"),
    "operating": lambda ax: fig.operating_curve(ax, X / 2, Y, label="ours"),
    "image": lambda ax: fig.image_with_contours(
        ax, np.arange(64.0).reshape(8, 8), [(np.eye(8), [0.5], "sky")]
    ),
    "pulls": lambda ax: fig.pull_histogram(ax, np.random.default_rng(0).normal(size=500)),
}


def test_figures_return_their_ax_and_can_be_saved(tmp_path) -> None:
    state = dict(mpl.rcParams)
    figure, axes = fig.panels(len(DRAWN), columns=len(DRAWN))
    for ax, draw in zip(axes, DRAWN.values(), strict=True):
        assert draw(ax) is ax
    pixels = mpl.image.imread(fig.save_figure(figure, tmp_path / "all.png"))
    for panel in np.array_split(pixels[..., :3], len(DRAWN), axis=1):
        assert panel.std() > 0.02  # not blank
    assert dict(mpl.rcParams) == state


def test_style_is_used_where_the_caller_has_another(ax) -> None:
    with mpl.rc_context({"legend.frameon": True, "lines.linewidth": 9}):
        fig.operating_curve(ax, X, Y, label="x")
    assert not ax.get_legend().get_frame_on()
    assert ax.lines[0].get_linewidth() == fig.STYLE["lines.linewidth"]


def test_same_figure_same_bytes_with_provenance_inside(tmp_path) -> None:
    record = provenance.record("evaluate", {"seed": 1}, {})
    for name in ("a.png", "b.png"):
        figure, axes = fig.new_figure()
        DRAWN["operating"](axes[0, 0])
        fig.save_figure(figure, tmp_path / name, provenance=record)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert origin.read(tmp_path / "a.png")["stage"] == "evaluate"
    with pytest.raises(InputError, match="existing file"):
        fig.save_figure(figure, tmp_path / "a.png")


def test_figures_can_be_made_in_threads(tmp_path) -> None:
    def make(k: int) -> None:
        figure, axes = fig.new_figure()
        DRAWN["operating"](axes[0, 0])
        fig.save_figure(figure, tmp_path / f"{k}.png")

    threads = [threading.Thread(target=make, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(tmp_path.glob("*.png"))) == 3


RECORDS = [{"value": v, "low": low, "high": high} for v, low, high in ENDS.T]


def bars(container) -> np.ndarray:
    """Ends of the error bars of which both are known, shape (bars, 2 ends, 2 axes)."""
    return np.array([ends for ends in container.lines[2][0].get_segments() if len(ends) == 2])


def test_ends_of_intervals_from_numbers_as_they_are_kept() -> None:
    undefined = {"value": None, "low": None, "high": None}
    found = fig.interval_ends([*RECORDS, undefined, None, Interval(1.0, 0.5, 2.0)])
    assert found[:, :3] == pytest.approx(ENDS)
    assert np.isnan(found[:, 3:5]).all()
    assert found[:, 5] == pytest.approx([1.0, 0.5, 2.0])
    assert fig.interval_ends([]).shape == (3, 0)


@pytest.mark.parametrize("rows", [False, True])
def test_bars_end_where_the_intervals_do(ax, rows: bool) -> None:
    fig.interval_plot(ax, X, [*RECORDS[:2], {**RECORDS[2], "low": None}], rows=rows, label="ours")
    places, values = (1, 0) if rows else (0, 1)
    drawn = np.array(ax.containers[0].lines[0].get_data())
    assert drawn[places] == pytest.approx(X)
    assert drawn[values] == pytest.approx(Y)
    # A value of which an end is not known has no bar: it would look certain.
    assert bars(ax.containers[0])[:, :, values] == pytest.approx(ENDS[1:, :2].T)
    assert ax.containers[0].get_label() == "ours"


def test_bins_are_bars_across(ax) -> None:
    fig.interval_plot(ax, X, ENDS, edges=[0.5, 1.5, 3.0, 5.0])
    assert bars(ax.containers[0])[:, :, 0] == pytest.approx(
        np.array([[0.5, 1.5], [1.5, 3], [3, 5]])
    )


@pytest.mark.parametrize("log", [False, True])
def test_series_side_by_side_keep_their_middle(log: bool) -> None:
    places = np.array([fig.beside(X, k, 3, log=log) for k in range(3)])
    assert (np.diff(places, axis=0) > 0).all()
    assert places[1] == pytest.approx(X)
    assert np.diff(fig.beside(np.arange(4.0), 0, 5)) == pytest.approx(1)


def test_the_first_row_is_at_the_top_and_the_first_series_in_it(ax) -> None:
    for k in range(2):
        fig.interval_rows(ax, ["a", "b", "c"], ENDS, k, 2, **fig.series_style(k))
    ticks = dict(zip((t.get_text() for t in ax.get_yticklabels()), ax.get_yticks(), strict=True))
    assert ticks["a"] > ticks["b"] > ticks["c"]
    first, second = (c.lines[0].get_ydata() for c in ax.containers)
    assert (first > second).all()
    assert (first + second) / 2 == pytest.approx(list(ticks.values()))
    assert ax.containers[0].lines[0].get_color() != ax.containers[1].lines[0].get_color()


def test_goal_is_a_line_with_bands_below_the_data(ax) -> None:
    for _ in range(2):
        fig.coverage_curve(ax, X, RECORDS, 0.9, within=0.03)
    goals = [line for line in ax.lines if line.get_gid() == "goal"]
    assert [list(line.get_ydata()) for line in goals] == [[0.9, 0.9]]
    assert len(ax.patches) == 1
    assert ax.patches[0].get_extents().transformed(ax.transData.inverted()).intervaly == (
        pytest.approx([0.87, 0.93])
    )
    assert max(goals[0].get_zorder(), ax.patches[0].get_zorder()) < ax.containers[0][0].get_zorder()


def test_reliability_diagram_shows_the_data_and_one_diagonal(ax) -> None:
    reliability = filled()
    fig.reliability_diagram(ax, reliability, label="ours")
    kept = {
        "count": reliability.count.tolist(),
        "predicted": reliability.predicted.tolist(),
        "observed": [
            {"value": v, "low": low, "high": high}
            for v, (low, high) in zip(
                reliability.observed, reliability.observed_interval(), strict=True
            )
        ],
    }
    fig.reliability_diagram(ax, kept, label="the same, kept as numbers", colour="orange")
    assert sum(line.get_gid() == "ideal" for line in ax.lines) == 1
    for container in ax.containers:
        assert container.lines[0].get_xdata() == pytest.approx(reliability.predicted)
        assert container.lines[0].get_ydata() == pytest.approx(reliability.observed)
        assert bars(container)[:, :, 1] == pytest.approx(reliability.observed_interval())
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["ours", "the same, kept as numbers"]


def test_bins_with_few_predictions_are_not_drawn(ax) -> None:
    reliability = Reliability(20)
    reliability.add(np.r_[np.full(50, 0.33), np.full(3, 0.97)], np.r_[np.ones(20), np.zeros(33)])
    fig.reliability_diagram(ax, reliability)
    assert ax.containers[0].lines[0].get_xdata() == pytest.approx([0.33])


def test_panels_are_as_many_as_asked_for() -> None:
    figure, axes = fig.panels(4, columns=3)
    assert [ax.axison for ax in figure.axes] == [True] * 4 + [False] * 2
    assert len(axes) == 4
    assert len(fig.panels(0)[0].axes) == 1
    for k, ax in enumerate(axes):
        ax.plot(X, Y, label=f"line {k % 2}")
    fig.legend_below(figure)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["line 0", "line 1"]


def test_overview_grows_with_its_notes(tmp_path) -> None:
    sizes = []
    for notes in ((), ["first", "second"]):
        with fig.style():
            figure, grid = fig.overview_figure("Title", notes, rows=1, columns=2)
            drawn = figure.add_subplot(grid[0, 1]).imshow(np.eye(3))
            fig.colour_bar(figure.axes[0], drawn, "counts")
        fig.save_figure(figure, tmp_path / f"{len(notes)}.png")
        sizes.append(figure.get_figheight())
    assert sizes[1] > sizes[0]
    heights = {t.get_text(): t.get_position()[1] for t in figure.texts}
    bottom = figure.axes[0].get_position().y0
    assert heights["Title"] > figure.axes[0].get_position().y1
    assert bottom > heights["first"] > heights["second"] > 0


def test_plain_ticks_are_written_as_they_are(ax) -> None:
    ax.set_xscale("log")
    fig.plain_ticks(ax, [0.5, 20], text="{:g} keV")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.5 keV", "20 keV"]
    assert len(ax.get_xticks(minor=True)) == 0


def test_completeness_is_at_the_centres_of_its_bins(ax) -> None:
    edges = np.array([1.0, 100.0, 10_000.0, 1e6])
    value = np.array([0.2, np.nan, 0.9])
    fig.completeness_curve(ax, edges, value, value - 0.1, value + 0.1, quantity="Counts", log=True)
    assert ax.lines[0].get_xdata() == pytest.approx([10, 1e5])
    assert ax.lines[0].get_ydata() == pytest.approx([0.2, 0.9])
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "Counts"
    band = ax.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((0.1, 1.0))


def test_image_has_row_zero_at_the_bottom_and_contours_where_they_are(ax) -> None:
    image = np.zeros((8, 8))
    image[1, 6] = 1.0
    mask = np.zeros((8, 8))
    mask[2:5, 3:6] = 1.0
    levels = [0.5, 7.0]  # the second is nowhere reached
    fig.image_with_contours(ax, image, [(mask, levels, "green")])
    assert ax.images[0].origin == "lower"
    segments = ax.collections[0].get_paths()[0].vertices
    assert segments.min(axis=0) == pytest.approx([2.5, 1.5])
    assert segments.max(axis=0) == pytest.approx([5.5, 4.5])


def test_odd_images_can_be_drawn(tmp_path) -> None:
    figure, axes = fig.panels(4)
    images = (np.linspace(-5, 50, 64).reshape(8, 8), *(np.full((8, 8), v) for v in (np.nan, 7, 0)))
    for ax, image in zip(axes, images, strict=True):
        fig.image_with_contours(ax, image)
    fig.save_figure(figure, tmp_path / "odd.png")


def test_pulls_are_a_density_and_none_is_lost(ax) -> None:
    fig.pull_histogram(ax, np.array([0.1, 0.2, 99.0, -99.0]))
    heights = np.array([patch.get_height() for patch in ax.patches])
    assert heights.sum() * 0.25 == pytest.approx(1.0)
    assert heights[0] == heights[-1] == pytest.approx(1.0)


# Viénot, Brettel & Mollon (1999), for linear RGB: how people without red or green cones see.
BLIND = {
    "protan": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
    "deutan": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
}


def lab(linear: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB under D65."""
    xyz = linear @ np.array(
        [[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]]
    )
    t = xyz / [0.9505, 1.0, 1.089]
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", ["normal", *BLIND])
def test_colours_can_be_told_apart_by_everyone(eyes: str) -> None:
    seen = {}
    for name, code in fig.COLOURS.items():
        rgb = np.array(to_rgb(code))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        if eyes != "normal":
            linear = np.clip(np.array(BLIND[eyes]) @ linear, 0, 1)
        seen[name] = lab(linear)
    for a, b in itertools.combinations(seen, 2):
        # 2.3 is a just noticeable difference.
        assert np.linalg.norm(seen[a] - seen[b]) > 10, (a, b)
