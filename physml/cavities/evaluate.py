"""Stage of the chain: trained weights on the held-out clusters and on the frozen sets.

Each set is detected once; all numbers come from the candidates, their label images and the
probability maps. Truth is what the simulator labelled as visible. See core/matching.py for the
rules, evaluation/metrics.py for the numbers, evaluation/ideal_observer.py for the limit that
stands beside them.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from physml import provenance
from physml.config import upstream
from physml.evaluation.products import write_evaluation

from .evaluation.found import find, frozen, frozen_expectations, held_out
from .evaluation.plots import figures
from .evaluation.set_metrics import evaluate_sets, ideal_metrics
from .evaluation.sets import NAMES, PARTNER
from .inference.detector import CavityDetector
from .settings import CavitiesSettings

log = logging.getLogger(__name__)


def run(
    *, settings: CavitiesSettings, data: Path, weights: Path, out: Path, threads: int = 1
) -> None:
    """Evaluate weights on the test split and the frozen sets: metrics.json and figures.

    A stage: arguments as in `physml.pipeline`.
    """
    torch.set_num_threads(threads)
    detector = CavityDetector.load(weights)
    s = settings.evaluate
    images = {name: frozen(name, s.n_images) for name in NAMES}
    images["test"] = held_out(Path(data) / "test.h5", s.n_images)
    found, scored = {}, {}
    for name, part in images.items():
        found[name] = find(detector, part)
        scored[name] = found[name].scored(part)
        log.info("%s: %d images, %.2f s of CPU each", name, len(part), found[name].cpu_seconds)
    result = evaluate_sets(images, found, scored, replicas=s.bootstrap, seed=settings.seed)
    result["ideal"] = {
        name: ideal_metrics(
            scored[name],
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
    write_evaluation(out, result, figures(images, found, scored, result), record)
