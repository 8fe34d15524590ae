"""Prepared data: experiments that were checked, and what an estimator saw of them on the way.

A folder holds for each split a file of experiments, `train.h5` with the true states and so on, and
for each split that is learned from and each number of qubits a file of moments; see `replay`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physml.exceptions import InputError
from physml.io.shards import Shard, Spec, open_shard, read_shard
from physml.random import stream

from ..core.schedule import schedule
from ..inference.neural.corrector import n_features
from ..settings import PreprocessSettings, TomographySettings
from ..simulator.experiments import DESIGNS
from ..simulator.histories import groups, noise_of
from .replay import Arrays, replay

#: What is learned from; the experiments of the test split are simulated anew when they are needed.
LEARNED = ("train", "valid", "calibrate")
SPLITS = (*LEARNED, "test")

#: Contents of a raw shard.
RAW = {
    "index": Spec(np.int64, (None,)),
    "n_qubits": Spec(np.int8, (None,)),
    "ensemble": Spec(np.int8, (None,)),
    "design": Spec(np.int8, (None,)),
    "state": Spec(np.float64, (None, None, None, 2)),
    "confusion": Spec(np.float64, (None, None, 2, 2)),
    "bases": Spec(np.float32, (None, None, None, None, 2)),
    "counts": Spec(np.int32, (None, None, None)),
}
#: What is kept of each experiment; see `describe` for what is added.
KEPT = ("index", "n_qubits", "ensemble", "design", "state", "confusion")
#: Contents of a file of experiments.
PREPARED = {name: RAW[name] for name in KEPT} | {
    "eigenvalues": Spec(np.float64, (None, None)),
    "purity": Spec(np.float64, (None,)),
}

#: One of so many experiments to calibrate with keeps all its moments in any case.
WHOLE = 2
#: How far a state may be from Hermitian, positive and of trace one.
TOLERANCE = 1e-9
#: Largest prepared file, bytes.
MAX_BYTES = 8 << 30


def moments_spec(d: int) -> dict[str, Spec]:
    """Contents of a file of moments of dimension d."""
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "feature": (np.float32, (n_features(d),)),
        "values": (np.float32, (d,)),
        "deviation": (np.float32, (d,)),
        "binding": (np.float32, (d * d - d, d)),
        "parts": (np.float32, (d * (d + 1) // 2,)),
        "truth": (np.float32, (d, d, 2)),
        "copies": (np.float64, ()),
        "experiment": (np.int64, ()),
        "n_qubits": (np.int8, ()),
        "design": (np.int8, ()),
        "ensemble": (np.int8, ()),
        "spectrum": (np.float64, (d,)),
    }
    return {name: Spec(dtype, (None, *shape)) for name, (dtype, shape) in shapes.items()}


def moments_name(split: str, n_qubits: int) -> str:
    """Name of a file of moments in the folder, without its ending."""
    return f"{split}_moments_{n_qubits}"


def file_names(settings: TomographySettings) -> list[str]:
    """All files of a folder, without their ending."""
    qubits = sorted(settings.simulate.n_qubits)
    return [*SPLITS, *(moments_name(split, n) for split in LEARNED for n in qubits)]


def split_of(index: int, seed: int, s: PreprocessSettings) -> str:
    """Split of an experiment, the same at any size of the data set."""
    return _place(index, seed, s)[0]


def is_whole(index: int, seed: int, s: TomographySettings) -> bool:
    """Whether all moments of an experiment are kept: of some that are calibrated with.

    These are each second one of a number of qubits, and a share of the others: how often a radius
    was looked at matters where one stops by it.

    Parameters
    ----------
    index : int
        Number of the experiment.
    seed : int
    s : TomographySettings
    """
    turn = index // len(s.simulate.n_qubits)
    split, draw = _place(index, seed, s.preprocess)
    share = s.preprocess.whole * s.preprocess.calibrate
    return split == "calibrate" and (turn % WHOLE == 0 or draw < share)


def _place(index: int, seed: int, s: PreprocessSettings) -> tuple[str, float]:
    """Split of an experiment, and its place in the split's share."""
    draw = stream(seed, "split", int(index)).random()
    for split in ("test", "valid", "calibrate"):
        share = getattr(s, split)
        if draw < share:
            return split, draw
        draw -= share
    return "train", draw


def describe(arrays: Mapping[str, NDArray[Any]], place: Path) -> Arrays:
    """Check states, and add what they are looked up by.

    Parameters
    ----------
    arrays : mapping of ndarray
        Those of `experiments.Experiments`.
    place : Path
        Named in errors.

    Returns
    -------
    dict
        The same, with eigenvalues (S, d), falling, zero beyond a state's dimension; purity (S,).

    Raises
    ------
    InputError
        A matrix is no density matrix of its number of qubits, a confusion matrix holds no
        probabilities, or there is no such design.
    """
    state = arrays["state"][..., 0] + 1j * arrays["state"][..., 1]
    size, largest = state.shape[:2]
    dimension = 1 << arrays["n_qubits"].astype(np.int64)
    if size and (arrays["n_qubits"].min() < 1 or dimension.max() > largest):
        raise InputError.expected(place, f"states of at most d = {largest}", "larger ones")
    beyond = np.arange(largest) >= dimension[:, None]
    values = np.linalg.eigvalsh(0.5 * (state + state.conj().swapaxes(-1, -2)))[:, ::-1]
    own = np.arange(arrays["confusion"].shape[1]) < arrays["n_qubits"][:, None]
    sums = np.abs(arrays["confusion"].sum(-2) - 1).max(-1) - np.minimum(
        arrays["confusion"].min((-2, -1)), 0
    )
    faults = {
        "Hermitian matrices": np.abs(state - state.conj().swapaxes(-1, -2)).max((1, 2)),
        "matrices of trace one": np.abs(np.einsum("sii->s", state) - 1),
        "positive matrices": -values.min(-1),
        "zeros beyond the dimension of a state": np.abs(
            state * (beyond[:, :, None] | beyond[:, None, :])
        ).max((1, 2)),
        "confusion matrices of probabilities": np.where(own, sums, 0).max(1),
    }
    for wanted, amount in faults.items():
        if size and amount.max() > TOLERANCE:
            number = int(arrays["index"][amount.argmax()])
            raise InputError.expected(
                place, wanted, f"experiment {number}, off by {amount.max():.2g}"
            )
    if size and not 0 <= arrays["design"].min() <= arrays["design"].max() < len(DESIGNS):
        raise InputError.expected(place, f"designs below {len(DESIGNS)}", "others")
    return {name: arrays[name] for name in KEPT} | {
        "eigenvalues": np.where(beyond, 0, np.clip(values, 0, None)),
        "purity": np.square(np.abs(state)).sum((1, 2)),
    }


def check_counts(arrays: Mapping[str, NDArray[Any]], copies: int, place: Path) -> None:
    """Raise `InputError` unless each block holds the counts of its copies."""
    blocks, counts = schedule(copies), arrays["counts"]
    if counts.shape[1] != len(blocks) or arrays["bases"].shape[1] != len(blocks):
        raise InputError.expected(
            place, f"{len(blocks)} blocks of measurements", f"{counts.shape[1]}"
        )
    if counts.size and counts.min() < 0:
        raise InputError.expected(place, "counts >= 0", str(counts.min()))
    off = (counts.sum(-1) != np.asarray(blocks)).any(1)
    if off.any():
        number = int(arrays["index"][off.argmax()])
        raise InputError.expected(
            place, "counts that add up to the copies of each block", f"experiment {number}"
        )


def prepare(
    path: Path, first: int, last: int, *, settings: TomographySettings
) -> dict[str, Arrays]:
    """Experiments of a raw shard, checked, replayed and split: arrays by name of a file.

    Parameters
    ----------
    path : Path
    first, last : int
        Rows, without the last.
    settings : TomographySettings
    """
    torch.set_num_threads(1)
    s = settings.preprocess
    with open_shard(path, RAW) as shard:
        raw = {name: shard.read(name, slice(first, last)) for name in RAW}
    kept = describe(raw, path)
    check_counts(raw, settings.simulate.copies, path)
    split = np.array([split_of(i, settings.seed, s) for i in raw["index"]], dtype=object)
    out = {name: {k: v[split == name] for k, v in kept.items()} for name in SPLITS}
    found: dict[str, list[Arrays]] = {}
    for n in sorted(settings.simulate.n_qubits):
        for name in LEARNED:
            found[moments_name(name, n)] = [_none(1 << n)]
    for n, design, rows in groups(raw["n_qubits"], raw["design"]):
        rows = rows[split[rows] != "test"]
        if not len(rows):
            continue
        moments, at = _moments(raw, kept, rows, n, design, settings)
        where = split[at]
        for name in LEARNED:
            found[moments_name(name, n)].append({k: v[where == name] for k, v in moments.items()})
    for name, parts in found.items():
        joined = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
        order = np.argsort(joined["experiment"], kind="stable")
        out[name] = {k: v[order] for k, v in joined.items()}
    return out


def _none(d: int) -> Arrays:
    spec = moments_spec(d)
    # All lengths but the first are fixed.
    shapes = {name: [int(n or 0) for n in (s.shape or ())[1:]] for name, s in spec.items()}
    return {name: np.zeros((0, *shapes[name]), s.dtype) for name, s in spec.items()}


def _moments(
    raw: Arrays,
    kept: Arrays,
    rows: NDArray[np.int64],
    n: int,
    design: int,
    settings: TomographySettings,
) -> tuple[Arrays, NDArray[np.int64]]:
    """Moments of experiments of one number of qubits and design, and the row of each.

    Parameters
    ----------
    raw, kept : dict of ndarray
    rows : ndarray (m,)
        Of the experiments.
    n, design : int
    settings : TomographySettings
    """
    s, d = settings.preprocess, 1 << n
    blocks = schedule(settings.simulate.copies)
    index = raw["index"][rows]
    turns = len(settings.simulate.n_qubits)
    block = np.arange(len(blocks))
    # Each experiment has a phase of its own, so that all numbers of copies are learned alike.
    keep = (block + (index // turns)[:, None]) % s.thin == 0
    keep |= np.array([is_whole(int(i), settings.seed, settings) for i in index])[:, None]
    keep &= np.cumsum(blocks) >= s.first
    state = np.ascontiguousarray(kept["state"][rows][:, :d, :d])
    found, row = replay(
        DESIGNS[design],
        torch.view_as_complex(torch.from_numpy(state)),
        raw["bases"][rows][:, :, :d, :d],
        raw["counts"][rows],
        noise_of(kept["confusion"][rows, :n]),
        keep,
    )
    at = rows[row]
    more = {
        "experiment": raw["index"][at],
        **{name: raw[name][at] for name in ("n_qubits", "design", "ensemble")},
        "spectrum": kept["eigenvalues"][at, :d],
    }
    return found | more, at


def states_of(arrays: Mapping[str, NDArray[Any]] | Shard, n_qubits: int) -> Tensor:
    """States (S, d, d), complex128, of one number of qubits in the arrays of a file."""
    d = 1 << n_qubits
    chosen = arrays["state"][arrays["n_qubits"] == n_qubits, :d, :d]
    return torch.view_as_complex(torch.from_numpy(np.ascontiguousarray(chosen)))


def read_states(path: Path, n_qubits: int) -> Tensor:
    """True states (S, d, d) of a file of experiments.

    Parameters
    ----------
    path : Path
    n_qubits : int

    Raises
    ------
    InputError
        It is not such a file, or it has none of so many qubits.
    """
    found = states_of(read_shard(path, PREPARED, max_bytes=MAX_BYTES), n_qubits)
    if not len(found):
        raise InputError.expected(path, f"states of {n_qubits} qubits", "none")
    return found


def read_moments(folder: Path, split: str, n_qubits: int) -> Arrays:
    """Moments of one number of qubits and split, by the names of `moments_spec`.

    Raises
    ------
    InputError
        There is no such file, or nothing in it.
    """
    path = folder / f"{moments_name(split, n_qubits)}.h5"
    found = read_shard(path, moments_spec(1 << n_qubits), max_bytes=MAX_BYTES).arrays
    if not len(found["copies"]):
        raise InputError.expected(
            path,
            f"experiments of {n_qubits} qubits in the split {split}",
            "none",
            f"Raise simulate.n_samples or the share of preprocess.{split}.",
        )
    return dict(found)
