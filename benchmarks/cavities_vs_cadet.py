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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.options import command, parse, write
from common.tables import interval as show
from common.tables import table
from common.timing import cpu_seconds

from physml import provenance
from physml.cavities import pipeline
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
from physml.cavities.inference.detector import CavityDetector
from physml.io.atomic import atomic_path, write_text
from physml.models import shipped_weights

log = logging.getLogger("benchmarks")

RIVAL = Path(__file__).with_name("cadet_rival.py")
RIVAL_VERSION = "pycadet-0.3.5-fast-1"
RIVAL_THRESHOLD = 0.7
STACK = 25
TOLERANCE = 1e-4  # largest difference of a probability between the rival's two paths
SEED = 20171203  # of the bootstrap


def stacks(images: Images) -> Iterator[tuple[slice, str]]:
    """Parts of a set and the hash of what both methods are given there."""
    flat = images.flat_fielded()
    for start in range(0, len(images), STACK):
        part = slice(start, min(start + STACK, len(images)))
        digest = hashlib.sha256()
        for array in (flat, images.counts, images.exposure, images.invalid):
            digest.update(np.ascontiguousarray(array[part]).tobytes())
        yield part, digest.hexdigest()[:20]


def some(images: Images, rows: Any) -> Images:
    """Some of a set's images."""
    return Images(*(getattr(images, k)[rows] for k in vars(images)))


def spread(images: Images, n: int) -> np.ndarray:
    """Numbers of some images from all over a set, shape (n,)."""
    return np.linspace(0, len(images) - 1, n).astype(int)


def run_rival(python: str, *arguments: str | Path) -> None:
    """Run the rival in its environment: torch behind keras, one thread."""
    environment = os.environ | {"KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    subprocess.run([python, RIVAL, *arguments], check=True, env=environment)


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
            run_rival(python, inbox, folder)
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
    room = files("physml") / "cavities"
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
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **vars(find(detector, some(images, part))))
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
    stack = images.flat_fielded()[spread(images, n)]
    key = hashlib.sha256(stack.tobytes()).hexdigest()[:20]
    out = cache / f"{RIVAL_VERSION}-verify-{key}.json"
    if not out.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "images.npy", stack)
            made = Path(folder) / "verified.json"
            run_rival(python, Path(folder) / "images.npy", made, "--verify")
            write_text(out, made.read_text())
    return json.loads(out.read_text())


def time_ours(images: Images, detector: Any, n: int) -> dict[str, float]:
    """CPU seconds of this process for an image, averaging and smooth fit included.

    Returns
    -------
    dict
        ``single``: one image a call, as pycadet is called; ``batched``: all in one call.
    """
    chosen, out = spread(images, n), {}
    find(detector, some(images, chosen[:4]))  # first call: kernels are chosen
    for name, parts in (("single", chosen[:, None]), ("batched", chosen[None, :])):
        find(detector, some(images, parts[0]))  # kernels of this batch size
        work = partial(lambda parts: [find(detector, some(images, rows)) for rows in parts], parts)
        out[name] = cpu_seconds(work, 1) / n
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


#: Rows of the main table for each of two sets: metric, place in the numbers, style, goals.
METRICS: tuple[tuple[str, tuple[str, str], str, tuple[str, str]], ...] = (
    ("cavity F1", ("strict", "f1"), ".3f", (">= 0.94", ">= 0.92")),
    ("cavity-less images with a false cavity", ("strict", "alarmed"), ".1%", ("<= 5 %", "<= 7 %")),
    ("pixel AP", ("pixels", "ap"), ".3f", (">= 0.96", ">= 0.94")),
    ("radius scatter", ("sizes", "radius_scatter"), ".3f", ("<= 0.06", "<= 0.08")),
    ("radius bias", ("sizes", "radius_ratio"), "+.1%", ("< 2 %",) * 2),
    ("volume, median absolute error", ("sizes", "volume_error"), ".1%", ("<= 15 %",) * 2),
    ("volume bias", ("sizes", "volume_ratio"), "+.1%", ("< 5 %",) * 2),
    ("foreground calibration error", ("pixels", "calibration_error"), ".3f", ("<= 0.03",) * 2),
    ("per-cavity calibration error", ("calibration", "error"), ".3f", ("<= 0.03",) * 2),
    ("coverage of 68 % intervals", ("sizes", "coverage_68"), ".1%", ("63-73 %",) * 2),
)


def goal_rows(result: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Rows of the main table: metric, CADET, physml, ideal (known / search), goal."""
    methods, ideal = result["methods"], result["ideal"]
    faint = next(i for i, low in enumerate(metrics.COUNT_EDGES) if low == 4.5e3)  # 5-20k counts

    def both(*keys: Any, style: str = ".3f") -> tuple[str, str]:
        values = [dig(methods, m, *keys) for m in ("cadet", "physml")]
        if style.startswith("+"):
            values = [None if v is None else bias(v) for v in values]
        return show(values[0], style), show(values[1], style)

    rows = []
    for label, keys, goal in (
        ("completeness at 5-20k counts, 5 % alarmed", ("bins", faint, "completeness"), ">= 0.70"),
        ("completeness, all counts, 5 % alarmed, one threshold", ("overall",), ">= 0.87"),
        ("the same, a threshold in each bin of counts", ("binned",), ">= 0.87"),
    ):
        limits = (dig(ideal, "clean", version, *keys) for version in ("known", "search"))
        observer = " / ".join(show(limit).split(" ")[0] for limit in limits)
        rows.append((label, *both("clean", "strict", "at_alarm", *keys), observer, goal))
    bare = [result["bare"][m] for m in ("cadet", "physml")]
    for text, keys in (("5-20k", ("bins", faint, "completeness")), ("all", ("overall",))):
        label = f"{text} counts, one cavity judged without the others"
        rows.append((label, *(show(dig(b, *keys)) for b in bare), "", ""))
    for label, keys, style, wanted in METRICS:
        sets = ("none", "none_nuisance") if keys[1] == "alarmed" else ("clean", "nuisance")
        for name, kind, goal in zip(sets, ("clean", "nuisance"), wanted, strict=True):
            rows.append((f"{label}, {kind}", *both(name, *keys, style=style), "", goal))
    for key, label, goal in (
        ("single", "CPU time, one image a call", "<= 0.5 s, ratio >= 10"),
        ("fastest", "CPU time, each at its fastest (CADET rewritten, physml batched)", ""),
    ):
        t = result["timing"][key]
        values = (f"{t['cadet']:.2f} s", f"{t['physml']:.3f} s")
        rows.append((f"{label} (ratio {t['ratio']:.0f})", *values, "", goal))
    return rows


def by_set(
    result: dict[str, Any], sets: Sequence[str]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Set, method and numbers of those that were run."""
    for name in sets:
        for method, title in (("cadet", "CADET"), ("physml", "physml")):
            found = dig(result, "methods", method, name)
            if found is not None:
                yield name, title, found


def set_table(result: dict[str, Any], rule: Rule) -> str:
    """One row for each set: detection at the shipped thresholds, ours and CADET's."""
    columns = {
        "completeness": ("completeness", ".3f"),
        "purity": ("purity", ".3f"),
        "f1": ("F1", ".3f"),
        "false_per_image": ("false cavities an image", ".3f"),
        "alarmed": ("images alarmed", ".1%"),
    }
    with_cavities = ("completeness", "purity", "f1")
    rows = []
    for name, method, part in by_set(result, NAMES):
        useless = with_cavities if name in EMPTY else ("alarmed",)
        cells = [
            "-" if column in useless else show(part[rule.name][column], style)
            for column, (_, style) in columns.items()
        ]
        at_alarm = show(dig(part, rule.name, "at_alarm", "binned"))
        rows.append([name, method, part["images"], *cells, at_alarm])
    heads = [head for head, _ in columns.values()]
    return table(["set", "method", "images", *heads, "completeness at 5 % alarmed"], rows)


def size_table(result: dict[str, Any]) -> str:
    """One row for each set: sizes and pixels."""
    sizes = {
        "radius scatter": ("radius_scatter", ".3f"),
        "volume ratio": ("volume_ratio", ".3f"),
        "volume error": ("volume_error", ".1%"),
        "68 % coverage": ("coverage_68", ".1%"),
    }
    pixels = {"AUROC": "auroc", "AP": "ap", "F1": "f1", "IoU": "iou"}
    pixels["calibration"] = "calibration_error"
    rows = [
        [
            name,
            method,
            show(bias(part["sizes"]["radius_ratio"]), "+.1%"),
            *(show(part["sizes"].get(key), style) for key, style in sizes.values()),
            *(show(part["pixels"][key]) for key in pixels.values()),
        ]
        for name, method, part in by_set(result, tuple(PARTNER))
    ]
    heads = [*sizes, *(f"pixel {head}" for head in pixels)]
    return table(["set", "method", "radius bias", *heads], rows)


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
    head = ["property", "bin", "cavities", "CADET", "physml", "ideal, place known"]
    return table([*head, "ideal, searching", "physml below searching [points]"], rows)


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
        table(header, goal_rows(result)),
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


def arguments_of(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command(__doc__, "weights", "threads", "json", "markdown", bootstrap=1000)
    parser.add_argument("--images", type=int, default=500, help="images a set (default 500)")
    parser.add_argument(
        "--sets", nargs="+", choices=NAMES, default=list(NAMES), help="some sets only"
    )
    parser.add_argument("--rival-python", default=sys.executable, help="python with pycadet==0.3.5")
    parser.add_argument(
        "--cache", type=Path, default=Path("results/bench"), help="predictions are kept here"
    )
    parser.add_argument(
        "--verify", type=int, default=20, help="images on which the rival's paths are compared"
    )
    parser.add_argument("--only-rival", action="store_true", help="fill the rival's cache and stop")
    return parse(parser, argv)


def main(argv: list[str] | None = None) -> int:
    """Run the comparison."""
    a = arguments_of(argv)
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
    write(a, result, report(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
