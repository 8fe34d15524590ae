"""physml and CADET on identical images: the table of the cavities pipeline's README.

    python benchmarks/cavities_vs_cadet.py --rival-python cadet-venv/bin/python

Every evaluation set is simulated anew (always the same images), searched by both, and compared
with what the simulator labelled as visible. Beside both stands the ideal observer
(physml/cavities/evaluation/ideal_observer.py), the physical limit.

The rival needs an environment of its own, because of keras:

    python3.11 -m venv cadet-venv
    cadet-venv/bin/pip install -c constraints.txt torch pycadet==0.3.5

or, in one environment, ``pip install -e '.[bench]'`` and no ``--rival-python``. Its network runs
through the fast path of cadet_rival.py, which is compared with pycadet's own on ``--verify``
images first. CPU time stands in the table twice: one image a call (pycadet itself), and each
at its fastest (its fast path, and ours in batches).

Both get the same arrays: counts, with the observer's masked point sources filled by Poisson draws
from their surroundings. CADET gets them flat-fielded by the exposure map, which is what it
expects; physml gets counts and exposure map, no background map and no centre. CADET's
candidates are its clusters above 0.4 of more than 12 in summed probability; their score is their
peak, and 0.7 its threshold, as shipped.

Predictions are kept in ``--cache`` by the hash of the images (and of the weights and the program,
for ours): a run can be stopped and started again, and more images only cost the new ones.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import physml.cavities
from physml.cavities.core.matching import (
    CANDIDATE_DTYPE,
    COMPANION,
    LENIENT,
    STRICT,
    Rule,
    ScoredSet,
)
from physml.cavities.evaluation import metrics
from physml.cavities.evaluation.found import Found, Images, find, frozen, frozen_expectations
from physml.cavities.evaluation.set_metrics import ALARM_LEVEL, evaluate_sets, ideal_metrics
from physml.cavities.evaluation.sets import EMPTY, NAMES, PARTNER
from physml.io.atomic import write_text

log = logging.getLogger("cavities_vs_cadet")

RIVAL = Path(__file__).with_name("cadet_rival.py")
RIVAL_VERSION = "pycadet-0.3.5-fast-1"
RIVAL_THRESHOLD = 0.7
STACK = 25
TOLERANCE = 1e-4  # largest difference of a probability between the rival's two paths
SEED = 20171203  # of the bootstrap


# ------------------------------------------------------------------- predictions


def stacks(images: Images) -> Iterator[tuple[slice, str]]:
    """Parts of a set and the hash of what both methods are given there."""
    flat = images.flat_fielded()
    for start in range(0, len(images), STACK):
        part = slice(start, min(start + STACK, len(images)))
        digest = hashlib.sha256()
        for array in (flat, images.counts, images.exposure, images.invalid):
            digest.update(np.ascontiguousarray(array[part]).tobytes())
        yield part, digest.hexdigest()[:20]


def rival_environment() -> dict[str, str]:
    """Environment of the rival: torch behind keras, one thread."""
    return os.environ | {"KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}


def rival_found(images: Images, python: str, cache: Path) -> Found:
    """CADET's candidates in a set, from the cache where they are there."""
    folder = cache / RIVAL_VERSION
    folder.mkdir(parents=True, exist_ok=True)
    parts = list(stacks(images))
    missing = [(part, key) for part, key in parts if not (folder / f"{key}.npz").exists()]
    if missing:
        flat = images.flat_fielded()
        with tempfile.TemporaryDirectory() as inbox:
            for part, key in missing:
                np.save(Path(inbox) / f"{key}.npy", flat[part])
            command = [python, str(RIVAL), inbox, str(folder)]
            subprocess.run(command, check=True, env=rival_environment())
    probability, labels, rows, seconds = [], [], [], 0.0
    for part, key in parts:
        with np.load(folder / f"{key}.npz", allow_pickle=False) as stored:
            probability.append(stored["probability"])
            labels.append(stored["labels"])
            seconds += float(stored["cpu_seconds"])
            for row in json.loads(stored["rows"].tobytes()):
                # CADET's table gives the sum of probabilities as area; its pixels above 0.4 give
                # a radius closer to the truth, so they are taken. Its volume is its own: a body
                # of revolution about the line to the image's centre.
                radius = np.sqrt(row["area"] / np.pi)
                place = (part.start + row["image"], row["label"], row["score"], row["x"], row["y"])
                rows.append((*place, radius, np.nan, row["volume"]))
    n = len(images)
    return Found(
        np.array(rows, CANDIDATE_DTYPE),
        np.concatenate(labels),
        np.concatenate(probability),
        # Strictly greater than 0.7, as pycadet compares.
        np.full(n, np.nextafter(RIVAL_THRESHOLD, 1)),
        seconds / n,
    )


def program_hash() -> str:
    """Hash of the source files that decide what our detector finds."""
    digest = hashlib.sha256()
    room = Path(physml.cavities.__file__).parent
    for name in (
        *("inference/detector", "inference/crops", "inference/channels", "inference/networks"),
        *("evaluation/found", "core/ellipse", "core/energetics", "core/halo", "core/matching"),
    ):
        digest.update((room / f"{name}.py").read_bytes())
    return digest.hexdigest()[:12]


def our_found(images: Images, detector: Any, key: str, cache: Path) -> Found:
    """Our candidates in a set, from the cache where they are there."""
    folder = cache / f"physml-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for part, name in stacks(images):
        path = folder / f"{name}.npz"
        if not path.exists():
            some = Images(
                *(
                    getattr(images, field)[part]
                    for field in ("counts", "exposure", "invalid", "mask", "cavities")
                )
            )
            found = find(detector, some)
            temporary = folder / f".{name}.tmp"
            with temporary.open("wb") as file:
                np.savez_compressed(file, **vars(found))
            os.replace(temporary, path)
        with np.load(path, allow_pickle=False) as stored:
            one = Found(**{k: stored[k] for k in stored.files})
        one.candidates["image"] += part.start
        made.append(one)
    return Found(
        *(
            np.concatenate([getattr(m, k) for m in made])
            for k in ("candidates", "labels", "probability", "thresholds")
        ),
        float(np.mean([m.cpu_seconds for m in made])),
        COMPANION,
    )


def verify_rival(images: Images, python: str, cache: Path, n: int) -> dict[str, Any]:
    """Compare the rival's fast path with pycadet's own, and time both; kept in the cache."""
    spread = np.linspace(0, len(images) - 1, n).astype(int)
    stack = images.flat_fielded()[spread]
    key = hashlib.sha256(stack.tobytes()).hexdigest()[:20]
    out = cache / f"{RIVAL_VERSION}-verify-{key}.json"
    if not out.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "images.npy", stack)
            made = Path(folder) / "verified.json"
            command = [python, str(RIVAL), str(Path(folder) / "images.npy"), str(made), "--verify"]
            subprocess.run(command, check=True, env=rival_environment())
            write_text(out, made.read_text())
    return json.loads(out.read_text())


def time_ours(images: Images, detector: Any, n: int) -> dict[str, float]:
    """CPU seconds of this process for an image, averaging and smooth fit included.

    Returns
    -------
    dict
        ``single``: one image a call, as pycadet is called; ``batched``: all in one call.
    """
    spread = np.linspace(0, len(images) - 1, n).astype(int)

    def some(rows: Any) -> Images:
        return Images(*(getattr(images, k)[rows] for k in vars(images)))

    find(detector, some(spread[:4]))  # first call: kernels are chosen
    out = {}
    for name, parts in (("single", spread[:, None]), ("batched", spread[None, :])):
        find(detector, some(parts[0]))  # kernels of this batch size
        began = time.process_time()
        for rows in parts:
            find(detector, some(rows))
        out[name] = (time.process_time() - began) / n
    return out


def timing_of(check: dict[str, Any], ours: dict[str, float], threads: int) -> dict[str, Any]:
    """Compare like with like: both one image a call, and both at their fastest.

    pycadet itself reads one image a call. Its fastest is our rewriting of its network.
    """
    native, fast = check["native_cpu_seconds_per_image"], check["fast_cpu_seconds_per_image"]
    return {
        "threads": {"cadet": check["threads"], "physml": threads},
        "single": {
            "cadet": native,
            "cadet_without_model_loading": check["native_cpu_seconds_without_model_loading"],
            "physml": ours["single"],
            "ratio": native / ours["single"],
        },
        "fastest": {
            "cadet": fast,
            "physml": ours["batched"],
            "ratio": fast / ours["batched"],
        },
    }


# ------------------------------------------------------------------- numbers


def compare(
    images: dict[str, Images], found: dict[str, dict[str, Found]], replicas: int
) -> dict[str, Any]:
    """Numbers of each method on each set, and of the ideal observer.

    Parameters
    ----------
    images : dict
        Set -> images.
    found : dict
        Method -> set -> findings.
    replicas : int
        Resamples for the intervals; the same for both methods.
    """
    out: dict[str, Any] = {"methods": {}, "bare": {}}
    scenes: dict[str, dict[str, ScoredSet]] = {}
    for method, of_sets in found.items():
        scenes[method] = {k: f.scored(images[k]) for k, f in of_sets.items()}
        made = evaluate_sets(images, of_sets, scenes[method], replicas=replicas, seed=SEED)
        out["methods"][method] = made["sets"]
        # CADET has no rule for companions: what ours would find without it, for fairness.
        bare = replace(scenes[method]["clean"], companion=None)
        dark = scenes[method][PARTNER["clean"]]
        out["bare"][method] = metrics.completeness_at_alarm(
            bare,
            dark,
            metrics.image_weights(bare.n_images, replicas, SEED),
            metrics.image_weights(dark.n_images, replicas, SEED, index=1),
        )
    first = next(iter(scenes.values()))
    out["ideal"] = {}
    for name in PARTNER:
        if name not in images or PARTNER[name] not in images:
            continue
        dark = PARTNER[name]
        out["ideal"][name] = ideal_metrics(
            first[name],
            images[name],
            frozen_expectations(name, len(images[name])),
            (images[dark], frozen_expectations(dark, len(images[dark]))),
            replicas=replicas,
            seed=SEED,
        )
        log.info("ideal observer: %s", name)
    return out


# ------------------------------------------------------------------- tables


def show(summary: dict[str, Any] | None, style: str = ".3f") -> str:
    """Value with its interval, or a dash."""
    if summary is None or summary["value"] is None:
        return "-"
    text = format(summary["value"], style)
    if summary["low"] is not None:
        text += f" ({format(summary['low'], style)}-{format(summary['high'], style)})"
    return text


def bias(summary: dict[str, Any]) -> dict[str, Any]:
    """Ratio minus one."""
    return {k: None if v is None else v - 1 for k, v in summary.items()}


def dig(tree: Any, *keys: Any) -> Any:
    """Entry of nested dictionaries, or None."""
    for key in keys:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def goal_rows(result: dict[str, Any]) -> list[tuple[str, str, str, str, str, str]]:
    """Rows of the main table: metric, CADET, physml, ideal (known, search), goal."""
    methods, ideal = result["methods"], result["ideal"]
    faint = next(i for i, low in enumerate(metrics.COUNT_EDGES) if low == 4.5e3)  # 5-20k counts

    def both(*keys: Any, style: str = ".3f", shift: bool = False) -> tuple[str, str]:
        values = [dig(methods, m, *keys) for m in ("cadet", "physml")]
        if shift:
            values = [None if v is None else bias(v) for v in values]
        return show(values[0], style), show(values[1], style)

    def observer(*keys: Any) -> str:
        return " / ".join(
            show(dig(ideal, "clean", version, *keys)).split(" ")[0]
            for version in ("known", "search")
        )

    at = ("clean", "strict", "at_alarm")
    rows = [
        (
            "completeness at 5-20k counts, 5 % alarmed",
            *both(*at, "bins", faint, "completeness"),
            observer("bins", faint, "completeness"),
            ">= 0.70",
        ),
        (
            "completeness, all counts, 5 % alarmed, one threshold",
            *both(*at, "overall"),
            observer("overall"),
            ">= 0.87",
        ),
        (
            "the same, a threshold in each bin of counts",
            *both(*at, "binned"),
            observer("binned"),
            ">= 0.87",
        ),
    ]
    bare = [result["bare"][m] for m in ("cadet", "physml")]
    rows += [
        (
            "5-20k counts, one cavity judged without the others",
            *(show(b["bins"][faint]["completeness"]) for b in bare),
            "",
            "",
        ),
        (
            "all counts, one cavity judged without the others",
            *(show(b["overall"]) for b in bare),
            "",
            "",
        ),
    ]
    for name, goal in (("clean", ">= 0.94"), ("nuisance", ">= 0.92")):
        rows.append((f"cavity F1, {name}", *both(name, "strict", "f1"), "", goal))
    for name, goal in (("none", "<= 5 %"), ("none_nuisance", "<= 7 %")):
        label = "clean" if name == "none" else "nuisance"
        values = both(name, "strict", "alarmed", style=".1%")
        rows.append((f"cavity-less images with a false cavity, {label}", *values, "", goal))
    for name, goal in (("clean", ">= 0.96"), ("nuisance", ">= 0.94")):
        rows.append((f"pixel AP, {name}", *both(name, "pixels", "ap"), "", goal))
    for name, goal in (("clean", "<= 0.06"), ("nuisance", "<= 0.08")):
        rows.append((f"radius scatter, {name}", *both(name, "sizes", "radius_scatter"), "", goal))
    for name in ("clean", "nuisance"):
        values = both(name, "sizes", "radius_ratio", style="+.1%", shift=True)
        rows.append((f"radius bias, {name}", *values, "", "< 2 %"))
    for name in ("clean", "nuisance"):
        values = both(name, "sizes", "volume_error", style=".1%")
        rows.append((f"volume, median absolute error, {name}", *values, "", "<= 15 %"))
    for name in ("clean", "nuisance"):
        values = both(name, "sizes", "volume_ratio", style="+.1%", shift=True)
        rows.append((f"volume bias, {name}", *values, "", "< 5 %"))
    for name in ("clean", "nuisance"):
        values = both(name, "pixels", "calibration_error")
        rows.append((f"foreground calibration error, {name}", *values, "", "<= 0.03"))
    for name in ("clean", "nuisance"):
        values = both(name, "calibration", "error")
        rows.append((f"per-cavity calibration error, {name}", *values, "", "<= 0.03"))
    for name in ("clean", "nuisance"):
        values = both(name, "sizes", "coverage_68", style=".1%")
        rows.append((f"coverage of 68 % intervals, {name}", *values, "", "63-73 %"))
    for key, label in (
        ("single", "CPU time, one image a call"),
        ("fastest", "CPU time, each at its fastest (CADET rewritten, physml batched)"),
    ):
        t = result["timing"][key]
        values = (f"{t['cadet']:.2f} s", f"{t['physml']:.3f} s")
        goal = "<= 0.5 s, ratio >= 10" if key == "single" else ""
        rows.append((f"{label} (ratio {t['ratio']:.0f})", *values, "", goal))
    return [(a, b, c, d, e, "") for a, b, c, d, e in rows]


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Format a table of markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def set_table(result: dict[str, Any], rule: Rule) -> str:
    """One row for each set: detection at the shipped thresholds, ours and CADET's."""
    columns = {
        "completeness": ".3f",
        "purity": ".3f",
        "f1": ".3f",
        "false_per_image": ".3f",
        "alarmed": ".1%",
    }
    rows = []
    for name in NAMES:
        for method in ("cadet", "physml"):
            part = dig(result, "methods", method, name)
            if part is None:
                continue
            cells = [name, "CADET" if method == "cadet" else "physml", str(part["images"])]
            for column, style in columns.items():
                useless = (name in EMPTY and column in ("completeness", "purity", "f1")) or (
                    name not in EMPTY and column == "alarmed"
                )
                cells.append("-" if useless else show(part[rule.name][column], style))
            cells.append(show(dig(part, rule.name, "at_alarm", "binned")))
            rows.append(cells)
    header = [
        "set",
        "method",
        "images",
        "completeness",
        "purity",
        "F1",
        "false cavities an image",
        "images alarmed",
        "completeness at 5 % alarmed",
    ]
    return markdown_table(header, rows)


def size_table(result: dict[str, Any]) -> str:
    """One row for each set: sizes and pixels."""
    rows = []
    for name in PARTNER:
        for method in ("cadet", "physml"):
            part = dig(result, "methods", method, name)
            if part is None:
                continue
            s, p = part["sizes"], part["pixels"]
            rows.append(
                [
                    name,
                    "CADET" if method == "cadet" else "physml",
                    show(bias(s["radius_ratio"]), "+.1%"),
                    show(s["radius_scatter"]),
                    show(s["volume_ratio"]),
                    show(s["volume_error"], ".1%"),
                    show(s.get("coverage_68"), ".1%"),
                    show(p["auroc"]),
                    show(p["ap"]),
                    show(p["f1"]),
                    show(p["iou"]),
                    show(p["calibration_error"]),
                ]
            )
    header = [
        "set",
        "method",
        "radius bias",
        "radius scatter",
        "volume ratio",
        "volume error",
        "68 % coverage",
        "pixel AUROC",
        "pixel AP",
        "pixel F1",
        "pixel IoU",
        "pixel calibration",
    ]
    return markdown_table(header, rows)


def ideal_table(result: dict[str, Any], name: str) -> str:
    """Completeness at the alarm level in bins, ours and CADET's beside the ideal observer's."""
    rows = []
    for quantity in ("counts", "radius", "snr"):
        lines = {
            m: dig(result, "methods", m, name, "curves", quantity) for m in ("cadet", "physml")
        }
        limit = {v: dig(result, "ideal", name, v, "curves", quantity) for v in ("known", "search")}
        if None in (*lines.values(), *limit.values()):
            continue
        for k, one in enumerate(lines["physml"]):
            if one["cavities"] < 5:
                continue
            ideal = {v: limit[v][k]["completeness"]["value"] for v in limit}
            gap = ideal["search"] - one["completeness"]["value"]
            rows.append(
                [
                    quantity,
                    f"{one['low']:g}-{one['high']:g}",
                    str(one["cavities"]),
                    show(lines["cadet"][k]["completeness"], ".2f"),
                    show(one["completeness"], ".2f"),
                    f"{ideal['known']:.2f}",
                    f"{ideal['search']:.2f}",
                    f"{100 * gap:+.0f}",
                ]
            )
    header = [
        "property",
        "bin",
        "cavities",
        "CADET",
        "physml",
        "ideal, place known",
        "ideal, searching",
        "physml below searching [points]",
    ]
    return markdown_table(header, rows)


def report(result: dict[str, Any]) -> str:
    """Everything as markdown."""
    v, n = result["verification"], result["images"]
    header = ["metric, same images", "CADET", "physml", "ideal known / search", "goal"]
    parts = [
        "## physml and CADET on identical images",
        f"{n} images a set, frozen seeds (simulator version {result['simulator_version']}), "
        f"weights `{result['weights_sha256'][:12]}`; {metrics.LEVEL:.0%} intervals in brackets, "
        f"from {result['replicas']} resamples of whole images. Both methods get the same counts "
        "with masked point sources filled; CADET's are flat-fielded by the exposure map, as it "
        "expects. CADET's radius is that of the area above 0.4 (nearer to the truth than the "
        "summed probability in its table), its volume its own. Matching: strict is IoU of at "
        "least 0.3, one false detection is a false alarm; lenient is CADET's own, 5 % of the true "
        "area covered and two false detections.",
        f"CADET ran as pycadet {result['rival']}: its network by the fast path, compared with "
        f"pycadet's own on {v['images']} images (largest difference of a probability "
        f"{v['max_probability_difference']:.1e}, detections identical in "
        f"{v['images_with_the_same_detections']} of {v['images']}). Times are CPU seconds for an "
        "image of 128 x 128, all averaging included: pycadet in float32, which reads its model at "
        f"each call ({result['timing']['single']['cadet_without_model_loading']:.2f} s without), "
        f"physml in {result['precision']}, whose speed depends on the CPU.",
        markdown_table(header, [list(row[:5]) for row in goal_rows(result)]),
        "### Detection at the shipped thresholds, strict",
        set_table(result, STRICT),
        "### Detection at the shipped thresholds, lenient",
        set_table(result, LENIENT),
        "### Sizes and pixels",
        size_table(result),
    ]
    for name in result["ideal"]:
        parts += [
            f"### Completeness at 5 % alarmed beside the ideal observer: {name}",
            ideal_table(result, name),
        ]
    return "\n\n".join(parts) + "\n"


# ------------------------------------------------------------------- command line


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=500, help="images a set (default 500)")
    parser.add_argument(
        "--sets", nargs="+", choices=NAMES, default=list(NAMES), help="some sets only"
    )
    parser.add_argument("--rival-python", default=sys.executable, help="python with pycadet==0.3.5")
    parser.add_argument("--weights", type=Path, help="our weights (default: those shipped)")
    parser.add_argument(
        "--cache", type=Path, default=Path("results/bench"), help="predictions are kept here"
    )
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples (default 1000)")
    parser.add_argument(
        "--verify", type=int, default=20, help="images on which the rival's paths are compared"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of our network")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument("--markdown", type=Path, help="write the tables here (also printed)")
    parser.add_argument("--only-rival", action="store_true", help="fill the rival's cache and stop")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the comparison."""
    import torch

    from physml import provenance
    from physml.cavities import pipeline
    from physml.cavities.inference.detector import CavityDetector
    from physml.models import shipped_weights

    a = arguments_of(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    torch.set_num_threads(a.threads)
    images: dict[str, Images] = {}
    found: dict[str, dict[str, Found]] = {"cadet": {}, "physml": {}}
    for name in a.sets:
        images[name] = frozen(name, a.images)
        found["cadet"][name] = rival_found(images[name], a.rival_python, a.cache)
        log.info("CADET: %s", name)
    if a.only_rival:
        return 0
    check = verify_rival(images[a.sets[0]], a.rival_python, a.cache, a.verify)
    if (
        check["max_probability_difference"] > TOLERANCE
        or check["images_with_the_same_detections"] < check["images"]
    ):
        log.error("the rival's fast path differs from pycadet: %s", check)
        return 1
    detector = CavityDetector.load(a.weights)
    source = a.weights or shipped_weights("cavities")
    weights_hash = provenance.sha256(source)
    for name in a.sets:
        key = f"{weights_hash[:12]}-{program_hash()}"
        found["physml"][name] = our_found(images[name], detector, key, a.cache)
        log.info("physml: %s", name)
    ours = time_ours(images[a.sets[0]], detector, a.verify)
    result = compare(images, found, a.bootstrap)
    result |= {
        "images": a.images,
        "replicas": a.bootstrap,
        "alarm_level": ALARM_LEVEL,
        "confidence": metrics.LEVEL,
        "simulator_version": pipeline.version("simulate"),
        "weights_sha256": weights_hash,
        "rival": "0.3.5",
        "verification": check,
        "timing": timing_of(check, ours, a.threads),
        "precision": str(detector.precision).removeprefix("torch."),
    }
    text = report(result)
    print(text)
    if a.markdown:
        a.markdown.write_text(text)
    if a.json:
        a.json.write_text(json.dumps(provenance.jsonable(result), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
