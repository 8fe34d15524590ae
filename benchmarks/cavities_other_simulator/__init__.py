"""Cavities on the images of a second generator, which no training or calibration has seen.

    python benchmarks/cavities_other_simulator --cache results/other [--images 500]

`cavities_other_simulator.scenes` shares no line with the simulator of the training; its families
of haloes and disturbances for judging differ from those on which methods were chosen. Each image is
searched as `physml cavities predict` does, likelihood included. Printed are what is found where 5 %
of the images without cavities alarm, the alarms at the shipped thresholds (lopsided haloes, a round
field of view without an exposure map and events that count several times among them), and sizes
with their errors, of the networks alone and as they are printed. Images that were done are kept
in ``--cache``, by the hash of the weights and of the program.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from common.options import command, parse, write
from common.tables import goals, interval, table

from physml.cavities.core.matching import STRICT
from physml.cavities.evaluation import metrics
from physml.cavities.evaluation.set_metrics import ALARM_LEVEL
from physml.cavities.predict import CavityPredictor
from physml.evaluation.sealed import remark
from physml.models import shipped_weights
from physml.provenance import sha256

from . import scenes
from .scenes import Kind
from .searched import Searched, search_set

log = logging.getLogger("benchmarks")

SCIENCES = ("cavities",)
SEED = 20171203  # of the bootstrap
#: Sets with cavities, and the set without whose alarms fix the threshold.
KINDS: Mapping[str, Kind] = {
    "clean": Kind(),
    "nuisance": Kind(nuisance=True),
    "partial": Kind(partial=True),
    "asymmetric": Kind(nuisance=True, strength=1.5),
    "none": Kind(empty=True),
    "none_nuisance": Kind(nuisance=True, empty=True),
    "none_asymmetric": Kind(nuisance=True, empty=True, strength=1.5),
    "none_round": Kind(empty=True, round=True),
    "none_noisy": Kind(empty=True, noisy=True),
}
PARTNER = {
    "clean": "none",
    "partial": "none",
    "nuisance": "none_nuisance",
    "asymmetric": "none_asymmetric",
}
#: Sets in words.
WORDS = {
    "clean": "clean",
    "nuisance": "with nuisances",
    "partial": "partly evacuated cavities",
    "asymmetric": "strongly lopsided haloes",
    "none": "clean, no cavities",
    "none_nuisance": "with nuisances, no cavities",
    "none_asymmetric": "strongly lopsided haloes, no cavities",
    "none_round": "round field, no exposure map, no cavities",
    "none_noisy": "each event counted 1.5 to 3 times, no cavities",
}
#: Place of 4.5 to 20 thousand counts among the bins.
FAINT = metrics.COUNT_EDGES.index(4.5e3)


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command(__doc__, "weights", "json", "markdown", bootstrap=1000)
    parser.add_argument("--images", type=int, default=500, help="images a set")
    parser.add_argument("--sets", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--cache", type=Path, default=Path("results/other"))
    return parse(parser, argv, quiet=True)


def program_hash() -> str:
    """Hash of what decides findings: the rooms of the search, and these scenes."""
    digest = hashlib.sha256()
    room = Path(str(files("physml") / "cavities"))
    for part in ("core", "data", "inference"):
        for path in sorted((room / part).rglob("*.py")):
            digest.update(path.read_bytes())
    digest.update(Path(scenes.__file__).read_bytes())
    return digest.hexdigest()[:12]


def numbers_of(found: Mapping[str, Searched], replicas: int) -> dict[str, Any]:
    """All numbers of the record.

    Parameters
    ----------
    found : mapping
        Set -> findings.
    replicas : int
        Resamples of whole images.
    """
    scored = {name: one.scored() for name, one in found.items()}
    sets: dict[str, Any] = {}
    for name, one in found.items():
        weights = metrics.image_weights(len(one.totals), replicas, SEED)
        part = metrics.detection_metrics(scored[name], one.thresholds, weights, STRICT)
        own: dict[str, Any] = {"images": len(one.totals), "cavities": len(one.cavities)}
        own["cpu_seconds"] = float(np.mean(one.seconds))
        own["sure"] = metrics.summarise(weights @ (one.sure > 0) / weights.sum(axis=1))
        if not len(one.cavities):
            sets[name] = own | {"alarmed": part["alarmed"]}
            continue
        own |= {k: part[k] for k in ("completeness", "purity", "f1")}
        for method, network in (("printed", False), ("network", True)):
            own[method] = metrics.size_metrics(one.scored(network), one.thresholds, weights)
        if PARTNER[name] in found:
            empty = scored[PARTNER[name]]
            other = metrics.image_weights(empty.n_images, replicas, SEED, index=1)
            at = metrics.completeness_at_alarm(
                scored[name], empty, weights, other, level=ALARM_LEVEL
            )
            own |= {"overall": at["overall"], "binned": at["binned"]}
            own["faint"] = at["bins"][FAINT]["completeness"]
        sets[name] = own
    return {"sets": sets, "replicas": replicas, "alarm_level": ALARM_LEVEL}


def detection_table(sets: Mapping[str, Any]) -> str:
    """What is found, set by set."""
    heads = ["set", "images", "cavities", "completeness, 5 % alarmed, one threshold"]
    heads += ["a threshold in each bin of counts", "below 20,000 counts"]
    heads += ["F1, shipped thresholds", "CPU s an image"]
    rows = [
        [
            *(WORDS[name], one["images"], one["cavities"]),
            *(interval(one.get(k)) for k in ("overall", "binned", "faint", "f1")),
            f"{one['cpu_seconds']:.2f}",
        ]
        for name, one in sets.items()
        if one["cavities"]
    ]
    return table(heads, rows)


def alarm_table(sets: Mapping[str, Any]) -> str:
    """Alarms of the sets without cavities."""
    heads = ["set", "images", "alarmed by the networks alone", "with a sure row"]
    rows = [
        [WORDS[name], one["images"], *(interval(one[k], ".1%") for k in ("alarmed", "sure"))]
        for name, one in sets.items()
        if not one["cavities"]
    ]
    return table(heads, rows)


def size_table(sets: Mapping[str, Any]) -> str:
    """Sizes of what was found."""
    heads = ["set", "radii", "cavities", "radius scatter", "radius bias"]
    heads += ["68 % intervals that hold", "volume, median absolute error", "volume bias"]
    rows = []
    for name, one in sets.items():
        for method, words in (("network", "network alone"), ("printed", "printed")):
            if not (part := one.get(method)):
                continue
            less = [
                {k: None if v is None else v - 1 for k, v in part[b].items()}
                for b in ("radius_ratio", "volume_ratio")
            ]
            rows.append(
                [
                    *(WORDS[name], words, part["matched"], interval(part["radius_scatter"])),
                    *(interval(less[0], "+.1%"), interval(part.get("coverage_68"), ".1%")),
                    *(interval(part["volume_error"], ".1%"), interval(less[1], "+.1%")),
                ]
            )
    return table(heads, rows)


def goal_table(sets: Mapping[str, Any]) -> str:
    """Goals of this generator."""
    wanted: list[tuple[str, str, tuple[str, ...], str, float, float]] = [
        ("completeness, 5 % alarmed, clean", "clean", ("overall",), ".3f", 0.91, 1),
        ("the same with nuisances", "nuisance", ("overall",), ".3f", 0.87, 1),
        ("below 20,000 counts, clean", "clean", ("faint",), ".3f", 0.80, 1),
        ("the same with nuisances", "nuisance", ("faint",), ".3f", 0.76, 1),
        ("radius scatter, clean", "clean", ("printed", "radius_scatter"), ".3f", 0, 0.06),
        ("the same with nuisances", "nuisance", ("printed", "radius_scatter"), ".3f", 0, 0.085),
        ("volume error, clean", "clean", ("printed", "volume_error"), ".1%", 0, 0.12),
        ("the same with nuisances", "nuisance", ("printed", "volume_error"), ".1%", 0, 0.15),
        ("68 % intervals hold, clean", "clean", ("printed", "coverage_68"), ".1%", 0.63, 0.73),
        ("with nuisances", "nuisance", ("printed", "coverage_68"), ".1%", 0.63, 0.73),
        ("partly evacuated", "partial", ("printed", "coverage_68"), ".1%", 0.63, 0.73),
        ("lopsided, no cavities: a sure row", "none_asymmetric", ("sure",), ".1%", 0, 0.07),
        ("round field, no map: a sure row", "none_round", ("sure",), ".1%", 0, 0.07),
    ]
    rows = []
    for what, name, path, style, low, high in wanted:
        found: Any = sets.get(name)
        for key in path:
            found = None if found is None else found.get(key)
        if found is None or found["value"] is None:
            continue
        text = f"{low:{style}} to {high:{style}}" if low > 0 and high < 1 else (
            f">= {low:{style}}" if low else f"<= {high:{style}}"
        )  # fmt: skip
        rows.append((what, text, interval(found, style), low <= found["value"] <= high))
    if seconds := [one["cpu_seconds"] for one in sets.values() if one["cavities"]]:
        most = max(seconds)
        rows.append(("CPU an image, all steps", "<= 0.6 s", f"{most:.2f} s", most <= 0.6))
    return goals(rows)


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """All blocks by name."""
    sets = numbers["sets"]
    about = (
        f"Sets: {numbers['ledger']}. 95 % intervals from {numbers['replicas']:,} resamples of "
        "whole images in brackets."
    )
    return {
        "goals": goal_table(sets),
        "detection": f"{about}\n\n{detection_table(sets)}",
        "alarms": f"{about}\n\n{alarm_table(sets)}",
        "sizes": f"{about}\n\n{size_table(sets)}",
    }


def main(argv: list[str] | None = None) -> None:
    """Search, score and write."""
    a = arguments_of(argv)
    predictor = CavityPredictor.load(a.weights)
    key = f"{sha256(a.weights or shipped_weights('cavities'))[:12]}-{program_hash()}"
    found = {}
    for name in a.sets:
        kind = KINDS[name]
        found[name] = search_set(predictor, kind, range(a.images), a.cache / key)
        log.info("%s: %.2f CPU seconds an image", name, found[name].seconds.mean())
    numbers = numbers_of(found, a.bootstrap) | {"ledger": remark("cavities", "other")}
    write(a, numbers, tables=tables, sciences=SCIENCES)
