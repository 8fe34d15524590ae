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


HISTORY = [
    {"epoch": 1, "train_loss": 3.0, "valid_loss": 2.0},
    {"epoch": 2, "train_loss": 2.0, "valid_loss": 1.0},
    {"epoch": 3, "train_loss": 1.0, "valid_loss": 1.5},
]
X, Y = np.array([0.0, 1, 2]), np.array([0.2, 0.5, 0.9])


DRAWN = {
    "reliability": lambda ax: fig.reliability_diagram(ax, filled(), label="ours"),
    "completeness": lambda ax: fig.completeness_curve(
        ax, np.array([1.0, 10, 100, 1000]), Y, Y - 0.1, Y + 0.1, quantity="Counts", log=True
    ),
    "history": lambda ax: fig.training_history(ax, HISTORY),
    "operating": lambda ax: fig.operating_curve(ax, X / 2, Y, label="ours", point=(0.5, 0.5)),
    "image": lambda ax: fig.image_with_contours(
        ax, np.arange(64.0).reshape(8, 8), [(np.eye(8), [0.5], "sky")], title="noise"
    ),
    "pulls": lambda ax: fig.pull_histogram(ax, np.random.default_rng(0).normal(size=500)),
    "band": lambda ax: fig.curve_with_band(ax, X, Y, Y - 0.1, Y + 0.1, label="x"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_figures_return_their_ax_and_can_be_saved(name: str, ax, tmp_path) -> None:
    state = dict(mpl.rcParams)
    assert DRAWN[name](ax) is ax
    path = fig.save_figure(ax.figure, tmp_path / f"{name}.png")
    pixels = mpl.image.imread(path)
    assert pixels.shape[0] > 300
    assert pixels[..., :3].std() > 0.02  # not blank
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
        fig.training_history(axes[0, 0], HISTORY)
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


def test_reliability_diagram_shows_the_data_and_one_diagonal(ax) -> None:
    reliability = filled()
    fig.reliability_diagram(ax, reliability, label="ours")
    fig.reliability_diagram(ax, filled(1), label="theirs", colour="orange")
    assert sum(line.get_gid() == "ideal" for line in ax.lines) == 1
    drawn = ax.containers[0].lines[0]
    assert drawn.get_xdata() == pytest.approx(reliability.predicted)
    assert drawn.get_ydata() == pytest.approx(reliability.observed)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[0] == f"ours: foreground error {reliability.foreground_ece():.3f}"


def test_bins_with_few_predictions_are_not_drawn(ax) -> None:
    reliability = Reliability(10)
    reliability.add(np.r_[np.full(50, 0.35), np.full(3, 0.95)], np.r_[np.ones(20), np.zeros(33)])
    with pytest.raises(ValueError, match="lower edge"):  # 10 bins have no edge at 0.05
        fig.reliability_diagram(ax, reliability)
    reliability = Reliability(20)
    reliability.add(np.r_[np.full(50, 0.33), np.full(3, 0.97)], np.r_[np.ones(20), np.zeros(33)])
    fig.reliability_diagram(ax, reliability)
    assert ax.containers[0].lines[0].get_xdata() == pytest.approx([0.33])


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


def test_history_marks_the_best_epoch(ax) -> None:
    fig.training_history(ax, HISTORY)
    star = ax.lines[-1]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (2, 1.0)
    with pytest.raises(ValueError, match="empty"):
        fig.training_history(ax, [])


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


@pytest.mark.parametrize("scale", ["linear", "log", "asinh"])
@pytest.mark.parametrize("kind", ["negative", "blank", "constant", "zero"])
def test_odd_images_can_be_drawn(ax, tmp_path, scale, kind) -> None:
    image = {
        "negative": np.linspace(-5, 50, 64).reshape(8, 8),
        "blank": np.full((8, 8), np.nan),
        "constant": np.full((8, 8), 7.0),
        "zero": np.zeros((8, 8)),
    }[kind]
    fig.image_with_contours(ax, image, scale=scale)
    fig.save_figure(ax.figure, tmp_path / "odd.png")


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
