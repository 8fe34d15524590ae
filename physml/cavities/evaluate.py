"""Evaluate trained weights: on the held-out clusters and on the frozen sets.

Each set is detected once; all numbers come from the candidates, their label images and the
probability maps. Truth is what the simulator labelled as visible. See matching.py for the rules,
metrics.py for the numbers, observer.py for the limit that stands beside them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physml.random import stream

from .core import matching
from .core.matching import CANDIDATE_DTYPE, LENIENT, STRICT, Scene
from .evaluation import metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .evaluation.ideal_observer import Expectation
    from .inference.detector import CavityDetector
    from .settings import CavitiesSettings

log = logging.getLogger(__name__)

ALARM_LEVEL = 0.05
BLOCK = 20  # images detected together
BANK = 300  # shapes that the searching ideal observer tries on each image

#: Frozen sets and the cavity-less set whose false alarms fix the threshold for each.
PARTNER: Mapping[str, str] = {
    "clean": "none",
    "nuisance": "none_nuisance",
    "off_centre": "none",
    "one_or_many": "none",
    "partial": "none",
    "unseen_halo": "none",
}
EMPTY = ("none", "none_nuisance")
SETS = (*PARTNER, *EMPTY)


@dataclass(frozen=True)
class Images:
    """Images as an observer has them, and the truth.

    Attributes
    ----------
    counts : ndarray of float32, shape (n, H, W)
        Counts, masked point sources filled.
    exposure : ndarray of float32, shape (n, H, W)
        Relative exposure.
    invalid : ndarray of bool, shape (n, H, W)
        No exposure, or a filled source.
    mask : ndarray of uint8, shape (n, H, W)
        True instances.
    cavities : structured ndarray, shape (n, k)
        The simulator's table.
    """

    counts: NDArray[np.float32]
    exposure: NDArray[np.float32]
    invalid: NDArray[np.bool_]
    mask: NDArray[np.uint8]
    cavities: NDArray[Any]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.counts)

    @property
    def totals(self) -> NDArray[np.float64]:
        """Total counts of each image, shape (n,)."""
        return self.counts.sum(axis=(1, 2), dtype=np.float64)

    def flat_fielded(self, floor: float = 0.05) -> NDArray[np.float32]:
        """Return counts over relative exposure; 0 below the ``floor``, where noise reigns."""
        seen = self.exposure > floor
        flat = np.divide(self.counts, self.exposure, out=np.zeros_like(self.counts), where=seen)
        return flat.astype(np.float32)


def observed(batch: Any, seed: int) -> Images:
    """Do what an observer does before the search: fill the masked point sources.

    Parameters
    ----------
    batch : simulate.Batch
    seed : int
        With the number of each image, it fixes the filling draws.
    """
    from .core.halo import fill_sources
    from .simulate import POINT_SOURCE

    counts = np.empty(batch.counts.shape, np.float32)
    for row, number in enumerate(batch.index):
        rng = stream(seed, "evaluate", int(number))
        # Where a source's circle reaches into a gap there is nothing to fill.
        source = (batch.invalid[row] & POINT_SOURCE > 0) & (batch.exposure[row] > 0)
        counts[row] = fill_sources(batch.counts[row], source, rng)
    return Images(
        counts,
        np.asarray(batch.exposure, np.float32),
        np.asarray(batch.invalid) > 0,
        batch.mask,
        batch.cavities,
    )


def frozen(name: str, n: int) -> Images:
    """Images of a frozen set, always the same."""
    from .evaluation.sets import SEED, evaluation_set

    return observed(evaluation_set(name, n), SEED)


def frozen_expectations(name: str, n: int) -> Iterator[Expectation]:
    """Render a frozen set again, with what the ideal observer knows."""
    from .evaluation import ideal_observer
    from .evaluation.sets import SEED, SETS, STRIDE, set_settings

    first = STRIDE * list(SETS).index(name)
    return ideal_observer.expectations(set_settings(name), SEED, range(first, first + n))


def held_out(path: Path, limit: int) -> Images:
    """Read the first images of a preprocessed file."""
    from physml.io.shards import open_shard

    from .preprocess import processed_spec

    names = ("counts", "exposure", "invalid", "mask", "cavities")
    with open_shard(path, processed_spec(), verify=True) as shard:
        rows = slice(0, min(limit, len(shard)))
        read = {name: shard.read(name, rows) for name in names}
    return Images(
        read["counts"].astype(np.float32),
        read["exposure"].astype(np.float32),
        read["invalid"] > 0,
        read["mask"],
        read["cavities"],
    )


@dataclass(frozen=True)
class Found:
    """What a detector finds in a set.

    Attributes
    ----------
    candidates : structured ndarray
        `matching.CANDIDATE_DTYPE`.
    labels : ndarray of uint8, shape (n, H, W)
        Label image of all candidates.
    probability : ndarray of float16, shape (n, H, W)
        Pixel probabilities.
    thresholds : ndarray, shape (n,)
        The detector's own threshold for each image.
    cpu_seconds : float
        CPU time of an image.
    companion : float, optional
        The detector's rule for further cavities in an image (`matching.decision_scores`).
    """

    candidates: NDArray[Any]
    labels: NDArray[np.uint8]
    probability: NDArray[np.float16]
    thresholds: NDArray[np.float64]
    cpu_seconds: float
    companion: float | None = None


def find(
    detector: CavityDetector, images: Images, advance: Callable[[int], None] | None = None
) -> Found:
    """Run the detector over a set, without a background map and without a given centre."""
    from .core.energetics import volume

    rows: list[tuple] = []
    labels = np.zeros(images.counts.shape, np.uint8)
    probability = np.zeros(images.counts.shape, np.float16)
    thresholds = np.zeros(len(images))
    began = time.process_time()
    for start in range(0, len(images), BLOCK):
        part = slice(start, min(start + BLOCK, len(images)))
        made = detector.detect(
            images.counts[part], exposure=images.exposure[part], invalid=images.invalid[part]
        )
        for i, detection in enumerate(made, start=start):
            labels[i] = detection.labels
            probability[i] = detection.probability
            thresholds[i] = detection.threshold
            for k, row in enumerate(detection.table, start=1):
                size = volume(float(row["semi_major"]), float(row["semi_minor"]))
                numbers = [float(row[c]) for c in ("probability", "x", "y", "radius", "radius_err")]
                rows.append((i, k, *numbers, size))
        if advance is not None:
            advance(len(made))
    seconds = (time.process_time() - began) / max(len(images), 1)
    candidates = np.array(rows, CANDIDATE_DTYPE)
    return Found(candidates, labels, probability, thresholds, seconds, matching.COMPANION)


def make_scene(images: Images, found: Found) -> Scene:
    """Bring truth and findings together."""
    cavities = matching.true_cavities(images.cavities, images.mask)
    return matching.make_scene(
        images.totals, cavities, images.mask, found.candidates, found.labels, found.companion
    )


def set_metrics(
    scene: Scene,
    thresholds: NDArray[np.float64],
    *,
    replicas: int,
    seed: int,
    empty: Scene | None = None,
) -> dict[str, Any]:
    """All numbers about the cavities of one set.

    Parameters
    ----------
    scene : Scene
    thresholds : ndarray, shape (n,)
        Shipped threshold of each image.
    replicas, seed : int
        Bootstrap.
    empty : Scene, optional
        Set without cavities, for completeness at a fixed alarm level.
    """
    weights = metrics.image_weights(scene.n_images, replicas, seed)
    out: dict[str, Any] = {"images": scene.n_images, "cavities": len(scene.cavities)}
    for rule in (STRICT, LENIENT):
        out[rule.name] = metrics.detection_metrics(scene, thresholds, weights, rule)
    if len(scene.cavities) == 0:
        return out
    out["sizes"] = metrics.size_metrics(scene, thresholds, weights)
    out["calibration"] = metrics.calibration(scene, replicas=replicas, seed=seed)
    if empty is not None:
        empty_weights = metrics.image_weights(empty.n_images, replicas, seed, index=1)
        for rule in (STRICT, LENIENT):
            out[rule.name]["at_alarm"] = metrics.completeness_at_alarm(
                scene, empty, weights, empty_weights, level=ALARM_LEVEL, rule=rule
            )
        out["curves"] = completeness_curves(scene, out["strict"]["at_alarm"], weights)
    return out


def completeness_curves(
    scene: Scene, at_alarm: Mapping[str, Any], weights: metrics.Weights
) -> dict[str, list[dict[str, Any]]]:
    """Completeness against each property, at the alarm level set in bins of counts."""
    limit = np.array(at_alarm["thresholds"])[np.digitize(scene.counts, metrics.COUNT_EDGES[1:-1])]
    hit = metrics.hit_scores(scene) >= limit[scene.cavities["image"]]
    return {
        name: metrics.completeness_curve(scene, hit, weights, name) for name in metrics.CURVE_EDGES
    }


def ideal_metrics(
    truth: Scene,
    images: Images,
    rendered: Iterator[Expectation],
    empty: tuple[Images, Iterator[Expectation]] | None = None,
    *,
    replicas: int,
    seed: int,
) -> dict[str, Any]:
    """Completeness of the ideal observers on a set, in the bins of our own curves.

    Parameters
    ----------
    truth : Scene
        For its cavities and counts; candidates are not used.
    images : Images
        Its images, for their invalid pixels.
    rendered : iterator of Expectation
        What the observer knows of them.
    empty : tuple, optional
        Images and expectations of the cavity-less partner, which the searching observer needs;
        without it only the version ``known``.
    replicas, seed : int
        Bootstrap.

    Returns
    -------
    dict
        Version -> ``threshold``, ``thresholds``, ``overall``, ``binned`` (completeness with one
        threshold, and with one in each bin of counts), ``bins`` and ``curves``.
    """
    from .evaluation import ideal_observer

    if len(truth.cavities) == 0:
        return {}
    table, bank = ideal_observer.observe(rendered, truth.cavities, images.invalid, bank=BANK)
    versions: dict[str, Any] = {"known": None}
    if empty is not None:
        scores = ideal_observer.search_scores(bank, empty[1], empty[0].invalid)
        versions["search"] = (scores, empty[0].totals)
    weights = metrics.image_weights(truth.n_images, replicas, seed)
    per_cavity = weights[:, truth.cavities["image"]]
    out: dict[str, Any] = {}
    for version, search in versions.items():
        ideal = ideal_observer.ideal_completeness(
            table, truth.counts, level=ALARM_LEVEL, edges=metrics.COUNT_EDGES, search=search
        )
        own = ideal["binned"]
        out[version] = {
            "threshold": ideal["threshold"],
            "thresholds": ideal["thresholds"],
            "overall": metrics.summarise(metrics.weighted_share(per_cavity, ideal["overall"])),
            "binned": metrics.summarise(metrics.weighted_share(per_cavity, own)),
            "bins": metrics.completeness_curve(truth, own, weights, "counts", metrics.COUNT_EDGES),
            "curves": {
                name: metrics.completeness_curve(truth, own, weights, name)
                for name in metrics.CURVE_EDGES
            },
        }
    return out


def evaluate_sets(
    images: Mapping[str, Images],
    found: Mapping[str, Found],
    scenes: Mapping[str, Scene],
    *,
    replicas: int,
    seed: int,
) -> dict[str, Any]:
    """All numbers of all sets, ready for JSON.

    The test split is mixed: its images without visible cavities are its own cavity-less partner.
    """
    sets: dict[str, Any] = {}
    for name, scene in scenes.items():
        if name in PARTNER:
            empty = scenes.get(PARTNER[name])
        elif name in EMPTY:
            empty = None
        else:
            without = np.bincount(scene.cavities["image"], minlength=scene.n_images) == 0
            empty = scene.subset(without) if without.any() else None
        sets[name] = set_metrics(
            scene, found[name].thresholds, replicas=replicas, seed=seed, empty=empty
        )
        sets[name]["pixels"] = metrics.pixel_metrics(
            found[name].probability,
            images[name].mask > 0,
            images[name].exposure > 0,
            replicas=replicas,
            seed=seed,
        )
    seconds = [f.cpu_seconds for f in found.values()]
    return {
        "alarm_level": ALARM_LEVEL,
        "confidence": metrics.LEVEL,
        "cpu_seconds_per_image": float(np.median(seconds)),
        "sets": sets,
    }


def figures(
    images: Mapping[str, Images],
    found: Mapping[str, Found],
    scenes: Mapping[str, Scene],
    result: Mapping[str, Any],
) -> dict[str, Figure]:
    """Figures of an evaluation by name."""
    from physml.evaluation.figures import new_figure

    from .evaluation import plots

    sets = result["sets"]
    curves = {
        k: {
            name: sets[name]["curves"][k]
            for name in ("clean", "nuisance", "unseen_halo")
            if "curves" in sets.get(name, {})
        }
        for k in metrics.CURVE_EDGES
    }
    for version, ideal in result.get("ideal", {}).get("clean", {}).items():
        for k in metrics.CURVE_EDGES:
            curves[k][f"ideal observer ({version})"] = ideal["curves"][k]
    out = {"completeness": plots.completeness_figure(curves)}

    figure, axes = new_figure()
    plots.plot_alarms(
        axes[0, 0],
        {
            name: metrics.alarm_curve(scenes[name], scenes[PARTNER[name]])
            for name in ("clean", "nuisance")
            if name in scenes and PARTNER[name] in scenes
        },
        ALARM_LEVEL,
    )
    out["alarms"] = figure

    figure, axes = new_figure()
    plots.plot_reliability(
        axes[0, 0],
        {
            name: sum(metrics.candidate_reliability(scenes[name]), metrics.no_candidates())
            for name in ("clean", "nuisance", "test")
            if name in scenes
        },
    )
    out["reliability"] = figure

    truth, measured = matched(scenes["nuisance"], found["nuisance"].thresholds)
    figure, axes = new_figure()
    plots.plot_sizes(axes[0, 0], truth["radius"], measured["radius"])
    out["sizes"] = figure
    figure, axes = new_figure()
    error = np.maximum(measured["radius_err"], 1e-9)
    plots.plot_pulls(axes[0, 0], (measured["radius"] - truth["radius"]) / error)
    out["pulls"] = figure
    out["examples"] = plots.examples_figure(
        examples(images["nuisance"], found["nuisance"], scenes["nuisance"])
    )
    return out


def matched(scene: Scene, thresholds: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows of the true cavities that were found and of the candidates that found them."""
    c = scene.candidates
    pair = matching.match(scene)
    used = (pair >= 0) & (scene.decision >= thresholds[c["image"]])
    return scene.cavities[pair[used]], c[used]


def examples(
    images: Images, found: Found, scene: Scene, each: int = 5
) -> list[tuple[NDArray, NDArray, NDArray, str]]:
    """Images with the worst errors, then some at random places of the list.

    The first row holds the cavities of highest S/N that were missed, the second the most
    probable false ones, the third images spread evenly over the counts.
    """
    kept = scene.decision >= found.thresholds[scene.candidates["image"]]
    pair = matching.match(scene)
    hit = np.zeros(len(scene.cavities), bool)
    hit[pair[kept & (pair >= 0)]] = True
    missed = np.flatnonzero(~hit)
    missed = missed[np.argsort(-scene.cavities["snr"][missed])]
    false = np.flatnonzero(kept & (pair < 0))
    false = false[np.argsort(-scene.candidates["score"][false])]
    order = np.argsort(scene.counts)
    spread = order[np.linspace(0, len(order) - 1, 2 * each).astype(int)]
    lists = [
        [
            (scene.cavities["image"][i], f"missed, S/N {scene.cavities['snr'][i]:.0f}")
            for i in missed
        ],
        [
            (scene.candidates["image"][i], f"false, p = {scene.candidates['score'][i]:.2f}")
            for i in false
        ],
        [(i, f"{scene.counts[i]:.1e} counts") for i in spread],
    ]
    chosen: dict[int, str] = {}
    for part in lists:
        new: dict[int, str] = {}
        for i, text in part:
            if len(new) < each and int(i) not in chosen:
                new.setdefault(int(i), text)
        chosen |= new
    panels = []
    for i, text in chosen.items():
        good = scene.candidates[(scene.candidates["image"] == i) & kept]["label"]
        labels = np.where(np.isin(found.labels[i], good), found.labels[i], 0)
        panels.append((images.counts[i], images.mask[i], labels, text))
    return panels


def run(
    *, settings: CavitiesSettings, data: Path, weights: Path, out: Path, threads: int = 1
) -> None:
    """Evaluate weights and write metrics.json and figures.

    Parameters
    ----------
    settings : CavitiesSettings
    data : Path
        Folder of `preprocess.run`; its test split is evaluated beside the frozen sets.
    weights : Path
        Trained weights.
    out : Path
        Folder to write.
    threads : int
        Threads of the network.
    """
    import torch

    from physml import provenance
    from physml.config import upstream
    from physml.evaluation.products import write_evaluation

    from .inference.detector import CavityDetector

    torch.set_num_threads(threads)
    detector = CavityDetector.load(weights)
    s = settings.evaluate
    images = {name: frozen(name, s.n_images) for name in SETS}
    images["test"] = held_out(Path(data) / "test.h5", s.n_images)
    found, scenes = {}, {}
    for name, part in images.items():
        found[name] = find(detector, part)
        scenes[name] = make_scene(part, found[name])
        log.info("%s: %d images, %.2f s of CPU each", name, len(part), found[name].cpu_seconds)
    result = evaluate_sets(images, found, scenes, replicas=s.bootstrap, seed=settings.seed)
    result["ideal"] = {
        name: ideal_metrics(
            scenes[name],
            images[name],
            frozen_expectations(name, s.n_images),
            (images[PARTNER[name]], frozen_expectations(PARTNER[name], s.n_images)),
            replicas=s.bootstrap,
            seed=settings.seed,
        )
        for name in ("clean", "nuisance")
    }
    record = provenance.record(
        "evaluate", upstream(settings, "evaluate"), {"data": data, "weights": weights}
    )
    write_evaluation(out, result, figures(images, found, scenes, result), record)
