"""The constants of the comparison of two bands, fitted on simulated pairs, and their test.

    python -m physml.cavities.learning.band_pairs --first 0 --number 300

prints the constants that make the true kinds of simulated structures most probable, and for those
that stand in the code how often a verdict is right, by its probability. Outlines are the true ones
moved and stretched as a detector's are.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ..core.plasma import Band
from ..data.observation import Observation
from ..data.sky import Sky
from ..inference.aperture import Aperture, coloured_model, measure_aperture, undisturbed_model
from ..inference.two_bands import (
    COMMON,
    HYPOTHESES,
    SURE,
    SYSTEMATIC,
    decide,
    decrement_likelihood,
    hypothesis_evidence,
)
from ..settings import CavityPrior, SimulateSettings
from ..simulator.band_pairs import STRUCTURES, BandPair, simulate_pair

#: Seed of the pairs that the constants are fitted on; tests use others.
SEED = 1
#: Relative errors of a model that are tried.
ERRORS = (0.01, 0.02, 0.04, 0.1, 0.2)
#: Error of an outline's centre and of ln(radius), over the radius.
MISPLACED = 0.08
#: Least signal to noise of the soft deficit: what a detector would list.
LISTED = 4.0


@dataclass(frozen=True)
class Sample:
    """One structure of a pair, as it is measured.

    Attributes
    ----------
    pair : int
        Number of the pair.
    kind : str
        Its true kind.
    soft, hard : Aperture
    bands : tuple of Band
    decrement : tuple of float
        Its true decrements.
    """

    pair: int
    kind: str
    soft: Aperture
    hard: Aperture
    bands: tuple[Band, Band]
    decrement: tuple[float, float]


def prior() -> SimulateSettings:
    """Clusters with structures in every image; bright rims are left out, which are of other gas."""
    return SimulateSettings(cavities=CavityPrior(none=0.0, rims=0.0))


def samples(seed: int, indices: Iterable[int], background: bool = True) -> list[Sample]:
    """Structures of simulated pairs, one kind after the other.

    Parameters
    ----------
    seed : int
    indices : iterable of int
        Numbers of the pairs.
    background : bool
        Whether the background maps are known.
    """
    out: list[Sample] = []
    for index in indices:
        pair = simulate_pair(prior(), seed, index, STRUCTURES[index % len(STRUCTURES)])
        rng = np.random.default_rng([seed, index])
        out += [s for s in measure(index, pair, rng, background) if s.soft.snr >= LISTED]
    return out


def measure(
    index: int, pair: BandPair, rng: np.random.Generator, background: bool = True
) -> list[Sample]:
    """Apertures of the structures of one pair."""
    images = [
        _observation(counts, flat if background else None)
        for counts, flat in (
            (pair.soft, pair.soft_background),
            (pair.hard, pair.hard_background),
        )
    ]
    outlines = [_misplaced(o, pair.soft.shape, rng) for o in pair.outlines]
    structure = np.any(outlines, axis=0)
    models = [undisturbed_model(images[0], pair.centre, (1,), structure)]
    models.append(coloured_model(images[1], images[0], models[0], structure))
    out = []
    for outline, true in zip(outlines, pair.outlines, strict=True):
        soft, hard = (
            measure_aperture(image, model, pair.centre, outline, structure)
            for image, model in zip(images, models, strict=True)
        )
        if soft is not None and hard is not None:
            out.append(Sample(index, pair.kind, soft, hard, pair.bands, true["decrement"]))
    return out


def _observation(counts: NDArray[Any], background: NDArray[Any] | None) -> Observation:
    return Observation(
        counts=counts,
        relative_exposure=np.ones(counts.shape),
        background=background,
        filled=np.zeros(counts.shape, bool),
        sky=Sky(None),
    )


def _misplaced(
    outline: dict[str, Any], shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.bool_]:
    y, x = np.indices(shape)
    radius = np.sqrt(outline["a"] * outline["b"])
    u, v = (
        np.array([x - outline["x"], y - outline["y"]])
        - (MISPLACED * radius * rng.normal(size=2))[:, None, None]
    )
    stretch = np.exp(MISPLACED * rng.normal())
    cos, sin = np.cos(outline["theta"]), np.sin(outline["theta"])
    along, across = u * cos + v * sin, v * cos - u * sin
    return (along / outline["a"]) ** 2 + (across / outline["b"]) ** 2 <= stretch**2


def fit(chosen: list[Sample], common: float = COMMON) -> dict[str, float]:
    """Errors of the model, and how often the large one is met, that make the truth most probable.

    Parameters
    ----------
    chosen : list of Sample
    common : float
        See `two_bands.COMMON`.

    Returns
    -------
    dict
        ``small``, ``large``, ``share`` of the large one, and ``score``, the mean of the logarithm
        of the probability of the true kind.
    """
    evidence = np.array(
        [
            [
                hypothesis_evidence(
                    [decrement_likelihood(a, error) for a in (s.soft, s.hard)], s.bands, common
                )
                for error in ERRORS
            ]
            for s in chosen
        ]
    )
    true = np.array([HYPOTHESES.index(s.kind) for s in chosen])
    best: dict[str, float] = {"score": -np.inf}
    for i, small in enumerate(ERRORS):
        for j in range(i + 1, len(ERRORS)):
            for share in (0.05, 0.1, 0.15, 0.2, 0.3, 0.5):
                both = np.logaddexp(
                    np.log(1 - share) + evidence[:, i], np.log(share) + evidence[:, j]
                )
                score = np.mean(both[np.arange(len(true)), true] - logsumexp(both, axis=1))
                if score > best["score"]:
                    best = {"small": small, "large": ERRORS[j], "share": share, "score": score}
    return {name: float(value) for name, value in best.items()}


def reliability(chosen: list[Sample]) -> dict[str, Any]:
    """How often verdicts are right.

    Returns
    -------
    dict
        ``structures``; ``right``: share whose most probable kind is the true one; ``told``: share
        with a verdict; ``told_right``: of these, the right ones; ``score``; and ``bins``: mean
        probability, share that is right and number, in bins of the largest probability.
    """
    told = [decide(s.soft, s.hard, s.bands).probability for s in chosen]
    probability = np.array([[p[name] for name in HYPOTHESES] for p in told])
    true = np.array([HYPOTHESES.index(s.kind) for s in chosen])
    best, right = probability.max(1), probability.argmax(1) == true
    sure = best >= SURE
    edges = (1 / 3, 0.5, 0.65, 0.8, 0.9, 1.001)
    bins = []
    for low, high in pairwise(edges):
        inside = (best >= low) & (best < high)
        if inside.any():
            bins.append(
                (float(best[inside].mean()), float(right[inside].mean()), int(inside.sum()))
            )
    return {
        "structures": len(chosen),
        "right": float(right.mean()),
        "told": float(sure.mean()),
        "told_right": float(right[sure].mean()) if sure.any() else None,
        "score": float(np.log(probability[np.arange(len(true)), true]).mean()),
        "bins": bins,
    }


def main() -> None:
    """Fit on pairs of a seed and print the constants, then the reliability of those in the code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--number", type=int, default=300)
    parser.add_argument("--unknown-background", action="store_true")
    parser.add_argument("--only-check", action="store_true", help="no fit")
    given = parser.parse_args()
    indices = range(given.first, given.first + given.number)
    chosen = samples(given.seed, indices, not given.unknown_background)
    if not given.only_check:
        print("fitted:", fit(chosen))
    print("in the code:", SYSTEMATIC)
    for name, value in reliability(chosen).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
