"""Marks on the panels of a picture: cavities with their numbers, scale bar, compass, outlines."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, Rectangle
from matplotlib.patheffects import withStroke

from .result import CavityResult
from .view import View

#: Lengths of scale bars [arcsec].
NICE = (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1800, 3600)


def _outlined(colour: str, width: float) -> list[withStroke]:
    """Edge that keeps a mark of a colour visible on any ground."""
    return [withStroke(linewidth=width, foreground="white" if colour == "black" else "black")]


def mark_cavities(result: CavityResult, view: View, ax: Axes, colour: str) -> None:
    """Draw the cavities with their numbers and the centre, and set the limits of the view."""
    ax.set_facecolor("0.6")
    for number, c in enumerate(result.cavities):
        ax.add_patch(
            Ellipse(
                (c.x, c.y),
                2 * c.semi_major,
                2 * c.semi_minor,
                angle=np.degrees(c.theta),
                fill=False,
                color=colour,
                linewidth=1.8,
                linestyle=(0, (3, 2)) if result.is_candidate(number) else "-",
                path_effects=_outlined(colour, 3.2),
            )
        )
        _label(result, number, view, ax, colour)
    ax.plot(
        *result.centre,
        marker="+",
        color=colour,
        markersize=9,
        markeredgewidth=1.4,
        path_effects=_outlined(colour, 2.6),
    )
    view.finish(ax)


def _label(result: CavityResult, number: int, view: View, ax: Axes, colour: str) -> None:
    """Write the number of a cavity beside its ellipse, on the side away from the centre."""
    c = result.cavities[number]
    outside = max(abs(c.x - view.x), abs(c.y - view.y)) > view.half
    if outside or c.semi_major < view.half / 22:  # then its number is in the closer view
        return
    ax.annotate(
        str(number + 1),
        _label_place(result, number, view),
        color=colour,
        size=13,
        weight="bold",
        ha="center",
        va="center",
        annotation_clip=True,
        path_effects=_outlined(colour, 2.6),
    )


def _label_place(result: CavityResult, number: int, view: View) -> tuple[float, float]:
    """Choose a place beside the ellipse: outwards if that is free, else around it."""
    c = result.cavities[number]
    outwards = np.arctan2(c.y - result.centre[1], c.x - result.centre[0])
    places = []
    for turn in (0, 40, -40, 80, -80, 180):
        angle = outwards + np.radians(turn)
        step = np.cos(angle), np.sin(angle)
        # Radius of the ellipse towards that side.
        reach = 1 / np.sqrt(max(float(c.squared_radius(c.x + step[0], c.y + step[1])), 1e-12))
        away = reach + 0.055 * view.half
        place = c.x + step[0] * away, c.y + step[1] * away
        u, v = (place[0] - view.x) / view.half, (place[1] - view.y) / view.half
        # The lower corners belong to the scale bar and the compass.
        if max(abs(u), abs(v)) < 0.95 and not (v < -0.55 and (u > 0.5 or u < -0.3)):
            return place
        places.append(place)
    return places[0]


def draw_contours(result: CavityResult, view: View, ax: Axes) -> None:
    """Draw where the probability of a cavity is one half."""
    rows, columns = view.slices(result.probability.shape)
    shown = view.part(result.probability)
    if shown.max() < 0.5 or min(shown.shape) < 2:
        return
    y, x = (
        first.start + (view.step - 1) / 2 + view.step * np.arange(side)
        for first, side in zip((rows, columns), shown.shape, strict=True)
    )
    ax.contour(x, y, shown, levels=[0.5], colors="black", linewidths=1.0, linestyles=":")


def mark_view(ax: Axes, view: View) -> None:
    """Draw the outline of a closer view."""
    corner, side = (view.x - view.half, view.y - view.half), 2 * view.half
    ax.add_patch(Rectangle(corner, side, side, fill=False, color="0.85", lw=1.0, ls=(0, (4, 3))))


def draw_scale_bar(result: CavityResult, view: View, ax: Axes) -> None:
    """Draw a bar of a round angle (and its length in kpc), or of pixels without a WCS."""
    sky = result.observation.sky
    pixel = np.sqrt(sky.pixel_area(view.x, view.y))
    wanted = 0.3 * 2 * view.half * pixel
    if sky.wcs is None:
        length = float(10 ** np.floor(np.log10(wanted)))
        text = f"{length:g} pixels"
    else:
        length = float(max([0.5, *(angle for angle in NICE if angle <= wanted)]))
        text = f'{length:g}"' if length < 60 else f"{length / 60:g}'"
        kpc = result.catalogue.meta.get("kpc_per_arcsec")
        if kpc:
            size = length * kpc
            text += f" = {size:.3g} kpc" if size < 1000 else f" = {size / 1000:.3g} Mpc"
    x, y = view.x - 0.92 * view.half, view.y - 0.90 * view.half
    bar: dict[str, Any] = {"lw": 2.5, "solid_capstyle": "butt", "color": "white"}
    ax.plot([x, x + length / pixel], [y, y], path_effects=_outlined("white", 4), **bar)
    label: dict[str, Any] = {"ha": "left", "va": "bottom", "size": 11, "color": "white"}
    place = (x, y + 0.03 * view.half)
    ax.annotate(text, place, path_effects=_outlined("white", 2.5), **label)


def draw_compass(result: CavityResult, view: View, ax: Axes) -> None:
    """Arrows to the north and the east, from the local WCS."""
    sky = result.observation.sky
    if sky.wcs is None:
        return
    steps = np.linalg.inv(sky.jacobian(view.x, view.y))
    unit = {name: steps[:, k] / np.hypot(*steps[:, k]) for k, name in enumerate("EN")}
    # Keep both arrows inside: start from the corner that they point away from.
    x, y = (
        middle + view.half * (sign * 0.80 - 0.08 * (unit["E"][k] + unit["N"][k]))
        for k, (middle, sign) in enumerate(((view.x, 1), (view.y, -1)))
    )
    outlined: dict[str, Any] = {"color": "white", "path_effects": _outlined("white", 2.8)}
    arrow = {"arrowstyle": "-|>", "lw": 1.8, "shrinkA": 0, "shrinkB": 0, **outlined}
    text = {"ha": "center", "va": "center", "size": 11, "weight": "bold", **outlined}
    for name, (dx, dy) in unit.items():
        tip, beyond = (
            (x + reach * view.half * dx, y + reach * view.half * dy) for reach in (0.16, 0.21)
        )
        ax.annotate("", tip, (x, y), arrowprops=arrow)
        ax.annotate(name, beyond, **text)
