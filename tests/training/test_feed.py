"""Batches from a file: the same whoever prepares them, whatever happens meanwhile."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import training_stream
from fakes.training_stream import Streamed

from physml.exceptions import InputError, NonFiniteError
from physml.io.shards import PackedShard
from physml.io.weights import load_weights
from physml.training.data import BLOCK, WINDOW, Batch, Batches, shuffled
from physml.training.run import Run

PATIENCE_S = 240


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    training_stream.write(folder / "train.h5", 44)
    training_stream.write(folder / "valid.h5", 19)
    return folder


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_order_has_each_sample_once_and_reads_few_places_at_a_time() -> None:
    n = 3 * WINDOW + 1000
    order = shuffled(n, np.random.default_rng(0))
    assert np.array_equal(np.sort(order), np.arange(n))
    assert not np.array_equal(order, shuffled(n, np.random.default_rng(1)))
    for first in range(0, n, WINDOW):
        window = order[first : first + WINDOW]
        assert len(np.unique(window // BLOCK)) <= len(window) / BLOCK + 2
        # Within it, neighbours in the file are as far from each other as by chance.
        assert np.mean(np.abs(np.diff(np.argsort(window)))) == pytest.approx(
            len(window) / 3, rel=0.05
        )


def test_few_samples_are_shuffled_as_a_whole() -> None:
    order = shuffled(WINDOW, np.random.default_rng(4))
    assert np.array_equal(order, np.random.default_rng(4).permutation(WINDOW))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_make_the_same_batches(folder: Path, workers: int) -> None:
    def batches(**how):
        made = Batches(Streamed(folder / "train.h5"), 8, 3, start=4, rank=1, processes=2, **how)
        return list(islice(made, 7))

    for a, b in zip(batches(), batches(workers=workers), strict=True):
        assert a.seed == b.seed
        assert same(a.tensors, b.tensors)


def test_batches_travel_without_the_data(folder: Path) -> None:
    batches = Batches(Streamed(folder / "train.h5"), 8, 3)
    sent = pickle.dumps(batches)
    assert len(sent) < 20_000 < 44 * 16 * 16 * 4
    assert same(pickle.loads(sent).make(9).tensors, batches.make(9).tensors)


def test_the_next_window_is_asked_for_ahead(monkeypatch) -> None:
    monkeypatch.setattr("physml.training.data.WINDOW", 16)
    asked: list[np.ndarray] = []

    class Data:
        def __len__(self) -> int:
            return 64

        def will_need(self, indices) -> None:
            asked.append(indices)

        def batch(self, indices, rng, augment):
            return {"id": torch.from_numpy(indices)}

    batches = Batches(Data(), 8, 1)
    made = [batches.make(step) for step in range(8)]
    seen = np.concatenate([b.tensors["id"].numpy() for b in made])
    # The first two windows at once, then one at the beginning of each; none is behind the last.
    assert [len(a) for a in asked] == [32, 16, 16, 0]
    assert np.array_equal(np.concatenate(asked), seen)
    asked.clear()
    Batches(Data(), 8, 1, start=5).make(5)
    assert np.array_equal(asked[0], seen[32:])


def test_a_damaged_file_is_named_by_a_worker(folder: Path, tmp_path: Path) -> None:
    raw = bytearray((folder / "train.h5").read_bytes())
    x = PackedShard(folder / "train.h5", training_stream.SPEC)["x"]
    for start in x.start:
        raw[int(start) + 40] ^= 1
    (tmp_path / "bad.h5").write_bytes(raw)
    batches = Batches(Streamed(tmp_path / "bad.h5"), 8, 3, workers=1)
    with pytest.raises(InputError, match=r"bad\.h5: expected a readable chunk of 'x'"):
        next(iter(batches))


def test_streamed_with_workers_it_ends_with_the_weights_of_data_in_memory(
    folder: Path, tmp_path: Path, monkeypatch
) -> None:
    near = training_stream.train(folder, tmp_path / "near", in_memory=1 << 20)
    far = training_stream.train(folder, tmp_path / "far")
    assert same(near.weights, far.weights)
    monkeypatch.setattr(Run, "workers", 2)
    worked = training_stream.train(folder, tmp_path / "worked")
    assert same(near.weights, worked.weights)
    measured = {"seconds", "images_per_second"}
    for a, b in zip(near.history, worked.history, strict=True):
        assert {k: v for k, v in a.items() if k not in measured} == {
            k: v for k, v in b.items() if k not in measured
        }


def test_a_bad_sample_is_named_however_late_it_is_looked_for(
    folder: Path, tmp_path: Path, monkeypatch
) -> None:
    """Losses stay on the device for many steps; the step and the sample are found all the same."""
    monkeypatch.setattr("physml.training.run.LOOK_S", 1e9)
    kept: dict[str, torch.Tensor] = {}
    steps = []

    class Spoilt(Streamed):
        def part(self, indices, rng, augment, mine):
            made = super().part(indices, rng, augment, mine)
            if augment:
                steps.append(1)
                made["x"][made["id"] == 1017] = float("nan")
            return made

    def train(data):
        model = training_stream.initialise(training_stream.network, 5)
        settings = training_stream.TrainBase(epochs=3, batch_size=2)

        def loss(network, batch):
            if not bool((batch["id"] == 1017).any()):
                kept.update({k: v.detach().clone() for k, v in model.state_dict().items()})
            return training_stream.loss(network, batch)

        valid = Streamed(folder / "valid.h5")
        training_stream.fit(model, loss, data, valid, settings, state=tmp_path / "s", seed=5)
        return model

    data = Spoilt(folder / "train.h5")
    batches = Batches(data, 2, 5)
    first = next(k for k in range(22) if 17 in batches.indices(k)) + 1
    assert first < 20
    with pytest.raises(NonFiniteError) as caught:
        train(data)
    assert caught.value.step == first
    assert caught.value.sample_ids == (1017,)
    assert "loss is nan" in str(caught.value)
    assert len(steps) > first + 2  # it went on, and was told later
    assert caught.value.checkpoint is None  # nothing was saved after it


def test_no_step_is_made_after_a_value_that_is_not_finite(folder: Path, tmp_path, monkeypatch):
    monkeypatch.setattr("physml.training.run.LOOK_S", 1e9)
    weights: list[torch.Tensor] = []

    def loss(network, batch):
        if network.training:
            weights.append(model[-1].weight.detach().clone())
        value = training_stream.loss(network, batch)["loss"]
        return (
            {"loss": value * float("nan")}
            if len(weights) == 6 and network.training
            else {"loss": value}
        )

    model = training_stream.initialise(training_stream.network, 5)
    settings = training_stream.TrainBase(epochs=3, batch_size=2)
    data = [Streamed(folder / f"{name}.h5") for name in ("train", "valid")]
    with pytest.raises(NonFiniteError) as caught:
        training_stream.fit(model, loss, *data, settings, state=tmp_path / "s", seed=5)
    assert caught.value.step == 6
    assert not torch.equal(weights[4], weights[5])
    for later in weights[6:]:
        assert torch.equal(later, weights[5])
    assert len(weights) > 10
    assert torch.equal(model[-1].weight, weights[5])


def children(of: int) -> list[int]:
    """Processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == of and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def test_killed_with_workers_it_leaves_none_and_carries_on(folder: Path, tmp_path: Path) -> None:
    def start(out: Path, pause_s: float) -> subprocess.Popen[bytes]:
        root = Path(training_stream.__file__).parents[1]
        return subprocess.Popen(
            [sys.executable, "-m", "fakes.training_stream", folder, out, str(pause_s)],
            cwd=root,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    out = tmp_path / "a.safetensors"
    process = start(out, 0.2)
    checkpoint = out.with_suffix(".state") / "checkpoint.pt"
    end = time.monotonic() + PATIENCE_S
    while not checkpoint.exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    assert len(children(process.pid)) >= 3  # itself, and two workers at least
    process.kill()
    process.wait()
    while children(process.pid):  # they ask every few seconds whether it lives
        assert time.monotonic() < end, "workers are left"
        time.sleep(0.2)
    assert not out.exists()
    again = start(out, 0.001)
    assert again.wait(PATIENCE_S) == 0
    whole = training_stream.train(folder, tmp_path / "whole")
    assert same(load_weights(out)[0], whole.weights)


def test_a_batch_in_one_piece_is_the_same() -> None:
    tensors = {
        "x": torch.randn(3, 5, 7)[:, ::2],
        "flag": torch.tensor([True, False, True]),
        "counts": torch.from_numpy(np.arange(6, dtype=np.uint16).reshape(3, 2)),
        "half": torch.randn(3).half(),
        "none": torch.zeros((0, 2), dtype=torch.int64),
        "id": torch.arange(3),
    }
    packed = Batch(tensors, 2**62 + 1).packed()
    made = pickle.loads(pickle.dumps(packed)).unpacked()
    assert made.seed == 2**62 + 1
    assert made.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert made.tensors[name].dtype == tensor.dtype
        assert made.tensors[name].shape == tensor.shape
        assert np.array_equal(made.tensors[name].numpy(), tensor.numpy()), name
        assert packed.unpacked().tensors[name].data_ptr() % 64 == 0
