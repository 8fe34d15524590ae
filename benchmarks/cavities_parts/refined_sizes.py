"""Sizes of listed cavities, network alone and refined, on images of a second generator.

    PYTHONPATH=benchmarks python -m cavities_parts.refined_sizes --images 160

prints radius scatter and bias, intervals that hold, volume errors, matches and CPU seconds for
clean images, images with nuisances, and cavities emptied in part, with 95 % intervals by resamples
of whole images. Nothing is fitted on these images.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from physml.cavities.core.ellipse import Ellipse, overlap
from physml.cavities.core.energetics import volume
from physml.cavities.data.observation import Observation
from physml.cavities.data.sky import Sky
from physml.cavities.predict import CavityPredictor

from .other_simulator import DEVELOPMENT, JUDGING, Scene, draw_scene

#: Sets: nuisances, and cavities emptied in part.
SETS = {"clean": (False, False), "nuisance": (True, False), "partial": (False, True)}
#: Least intersection over union of a match.
MATCH = 0.3
#: Resamples of whole images.
RESAMPLES = 1000

Array = NDArray[np.float64]


def observation(scene: Scene) -> Observation:
    """Image of a scene as the search takes it."""
    exposed = scene.exposure > 0
    return Observation(
        np.where(exposed, scene.counts, 0.0),
        scene.exposure,
        None,
        scene.invalid & exposed,
        Sky(None, None),
    )


def true_cavities(scene: Scene) -> list[tuple[Ellipse, float]]:
    """Cavities that can be seen, with their volumes [pixel^3]."""
    x, y = scene.place
    return [
        (Ellipse(x + b.centre[0], y + b.centre[1], *b.outline()), b.volume)
        for k, b in enumerate(scene.bodies, start=1)
        if (scene.labels == k).any()
    ]


def rows_of(
    image: int, counts: float, cavities: Sequence[Any], true: Sequence[tuple[Ellipse, float]]
) -> list[tuple[float, ...]]:
    """Matched cavities: errors of ln R and their sigmas, of ln V, and overlaps.

    Each row is image, counts, then for the network alone and for what is printed: error of ln R,
    its sigma, relative error of the volume, intersection over union, offset over the true radius.
    """
    free, rows = set(range(len(true))), []
    for c in sorted(cavities, key=lambda c: -c.probability):
        network = getattr(c, "network", None) or c
        shared = {j: overlap(network, true[j][0])[0] for j in free}
        best = max(shared, key=lambda j: shared[j], default=None)
        if best is None or shared[best] < MATCH:
            continue
        free.discard(best)
        ellipse, space = true[best]
        radius = np.sqrt(ellipse.semi_major * ellipse.semi_minor)
        row = [float(image), counts]
        for one in (network, c):
            off = np.hypot(one.x - ellipse.x, one.y - ellipse.y) / radius
            row += [
                float(np.log(one.radius / radius)),
                one.radius_err / one.radius,
                float(volume(one.semi_major, one.semi_minor)) / space - 1,
                overlap(one, ellipse)[0],
                float(off),
            ]
        rows.append(tuple(row))
    return rows


def scatter(x: Array) -> float:
    """Half of the central 68 %."""
    low, high = np.quantile(x, [0.1587, 0.8413])
    return float(high - low) / 2


#: Figures of rows whose columns are those of `rows_of` after the first two.
FIGURES: dict[str, Callable[[Array], float]] = {
    "scatter": lambda r: scatter(r[:, 0]),
    "bias": lambda r: float(np.median(r[:, 0])),
    "covered": lambda r: float(np.mean(np.abs(r[:, 0]) <= r[:, 1])),
    "volume": lambda r: float(np.median(np.abs(r[:, 2]))),
    "overlap": lambda r: float(np.median(r[:, 3])),
    "offset": lambda r: float(np.median(r[:, 4])),
}


def summary(rows: Array, images: int, seed: int = 0) -> dict[str, dict[str, tuple[float, ...]]]:
    """Each figure of network and print with its 95 % interval by resamples of whole images."""
    of_image = [np.flatnonzero(rows[:, 0] == i) for i in range(images)]
    rng = np.random.default_rng(seed)
    draws = [
        np.concatenate([of_image[i] for i in rng.integers(0, images, images)])
        for _ in range(RESAMPLES)
    ]
    out: dict[str, dict[str, tuple[float, ...]]] = {}
    for k, name in enumerate(("network", "printed")):
        own = rows[:, 2 + 5 * k : 7 + 5 * k]
        out[name] = {
            figure: (f(own), *np.quantile([f(own[d]) for d in draws if len(d)], [0.025, 0.975]))
            for figure, f in FIGURES.items()
        }
    return out


def lines(name: str, rows: Array, images: int) -> list[str]:
    """Rows of a table of Markdown."""
    made = summary(rows, images)
    return [
        f"| {name}, {len(rows)} cavities | {method} | "
        + " | ".join(f"{v:.3f} ({a:.3f} to {b:.3f})" for v, a, b in figures.values())
        + " |"
        for method, figures in made.items()
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=160, help="images a set")
    parser.add_argument("--development", action="store_true", help="families of development")
    parser.add_argument("--weights", help="weights (safetensors); the shipped ones by default")
    a = parser.parse_args()
    torch.set_num_threads(1)
    predictor = CavityPredictor.load(a.weights)
    print("| set | method | " + " | ".join(FIGURES) + " |\n|---|---|" + "---|" * len(FIGURES))
    for name, (nuisance, partial) in SETS.items():
        rows, seconds = [], 0.0
        for i in range(a.images):
            scene = draw_scene(i, DEVELOPMENT if a.development else JUDGING, nuisance, partial)
            began = time.process_time()
            result = predictor.predict_observations([observation(scene)], scales=1)[0]
            seconds += time.process_time() - began
            rows += rows_of(i, scene.counts.sum(), result.cavities, true_cavities(scene))
        print("\n".join(lines(name, np.array(rows), a.images)))
        print(f"{name}: {seconds / a.images:.2f} CPU seconds an image", flush=True)


if __name__ == "__main__":
    main()
