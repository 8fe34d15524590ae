"""Findings of both methods in a set, kept in a cache by the hash of what they were given."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from physml.cavities.core.matching import CANDIDATE_DTYPE, COMPANION
from physml.cavities.evaluation import sealed_halo, sealed_set
from physml.cavities.evaluation.found import Found, Images, find, frozen
from physml.cavities.evaluation.sealed_set import FIRST
from physml.cavities.evaluation.sets import NAMES, PARTNER
from physml.io.atomic import atomic_path

RIVAL = Path(__file__).with_name("cadet_rival.py")
RIVAL_VERSION = "pycadet-0.3.5-fast-1"
#: CADET's own detection threshold (on the peak) and minimal sum of probabilities.
RIVAL_THRESHOLD, RIVAL_AREA = 0.7, 12.0
STACK = 25

#: Cavity-less partner of each set with cavities, the sealed ones included.
PARTNERS = {**PARTNER, "sealed": "sealed_none"}
#: All sets.
ALL = (*NAMES, *FIRST)


def images_of(name: str, n: int, cache: Path) -> Images:
    """First images of a frozen or sealed set; the latter take long to draw and are kept."""
    if name not in FIRST:
        return frozen(name, n)
    digest = hashlib.sha256()
    for module in (sealed_halo, sealed_set):
        digest.update(Path(module.__file__).read_bytes())
    path = cache / f"{name}-{n}-{digest.hexdigest()[:12]}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **vars(sealed_set.sealed(name, n)))
    with np.load(path, allow_pickle=False) as stored:
        return Images(**{k: stored[k] for k in stored.files})


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
    # The folder of the script holds a module `numbers`, which is not Python's.
    environment["PYTHONSAFEPATH"] = "1"
    subprocess.run([python, RIVAL, *arguments], check=True, env=environment)


def rival_found(images: Images, python: str, cache: Path) -> Found:
    """CADET's candidates in a set as shipped, from the cache where they are there."""
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
    return read_rival(parts, folder, RIVAL_AREA)


def rival_found_again(
    images: Images, python: str, cache: Path, pixel: float, area: float, volumes: bool = True
) -> Found:
    """CADET's candidates at another threshold for the pixels and another minimal sum.

    Its predictions have to be in the cache.
    """
    name = f"{RIVAL_VERSION}-pixel-{pixel:g}" + ("" if volumes else "-no-volumes")
    folder = cache / name
    folder.mkdir(parents=True, exist_ok=True)
    parts = list(stacks(images))
    if missing := [key for _, key in parts if not (folder / f"{key}.npz").exists()]:
        with tempfile.TemporaryDirectory() as inbox:
            for key in missing:
                source = cache / RIVAL_VERSION / f"{key}.npz"
                (Path(inbox) / source.name).symlink_to(source.resolve())
            extra = () if volumes else ("--no-volumes",)
            run_rival(python, inbox, folder, "--pixel", str(pixel), *extra)
    return read_rival(parts, folder, area)


def read_rival(parts: list[tuple[slice, str]], folder: Path, area: float) -> Found:
    """CADET's candidates from the files of its stacks.

    Parameters
    ----------
    parts : list
        From `stacks`.
    folder : Path
    area : float
        Sum of probabilities that a cavity has to exceed.
    """
    probability, labels, rows, seconds = [], [], [], 0.0
    for part, key in parts:
        with np.load(folder / f"{key}.npz", allow_pickle=False) as stored:
            probability.append(stored["probability"])
            labels.append(stored["labels"])
            seconds += float(stored["cpu_seconds"])
            for row in json.loads(stored["rows"].tobytes()):
                if row["area_summed"] <= area:
                    continue
                # CADET's table gives the sum of probabilities as area; its pixels above the
                # threshold give a radius closer to the truth, so they are taken. Its volume is its
                # own: a body of revolution about the line to the image's centre.
                radius = np.sqrt(row["area"] / np.pi)
                place = (part.start + row["image"], row["label"], row["score"], row["x"], row["y"])
                rows.append((*place, radius, np.nan, row["volume"]))
    n = parts[-1][0].stop
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
    room = Path(str(files("physml") / "cavities"))
    names = ("evaluation/found", "core/ellipse", "core/energetics", "core/halo", "core/matching")
    for path in (
        *sorted((room / "inference").rglob("*.py")),
        *(room / f"{name}.py" for name in (*names, "../nn/folding")),
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def our_found(
    images: Images, detector: Any, key: str, cache: Path, *, refine: bool = True
) -> Found:
    """Our candidates in a set, from the cache where they are there.

    Without `refine` the networks' sizes stay; nothing else changes.
    """
    folder = cache / f"physml-{key}{'' if refine else '-networks'}"
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for part, name in stacks(images):
        path = folder / f"{name}.npz"
        if not path.exists():
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez_compressed(file, **vars(find(detector, some(images, part), refine=refine)))
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
