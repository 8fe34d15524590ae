"""Parts of the training loop: batches, schedule, average, precision, warm start, state."""

from __future__ import annotations

import json
import logging
import math

import numpy as np
import pytest
import torch
from torch import nn

from physml.exceptions import InputError, SettingsError
from physml.io.weights import save_weights
from physml.training.data import ALIGNMENT, Batches, effective_batch_size, to_device
from physml.training.ema import WeightAverage
from physml.training.initialise import initialise
from physml.training.log import write_history
from physml.training.optimiser import FINAL_FRACTION, adamw, learning_rate_factor
from physml.training.precision import Autocast
from physml.training.state import FILENAME, AtomicSaver, Identity, read, remove_leftovers
from physml.training.warm_start import warm_start


class Numbers:
    """Sample i is the number i, plus noise where augmented."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def batch(self, indices, rng, augment):
        values = torch.tensor(indices, dtype=torch.float64)
        if augment:
            values = values + torch.from_numpy(rng.random(len(indices)))
        return {"x": values, "id": torch.tensor(indices)}


def take(batches: Batches, n: int) -> list:
    return [batch for batch, _ in zip(batches, range(n), strict=False)]


def test_an_epoch_has_each_sample_once_and_epochs_differ() -> None:
    batches = Batches(Numbers(12), 4, seed=1)
    epochs = [
        np.concatenate([batches.indices(step) for step in range(3 * e, 3 * e + 3)])
        for e in range(3)
    ]
    for order in epochs:
        assert sorted(order) == list(range(12))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])


def test_left_over_samples_are_left_out_of_an_epoch_but_not_of_all() -> None:
    batches = Batches(Numbers(10), 4, seed=1)
    assert batches.steps_per_epoch == 2
    seen = {int(i) for step in range(40) for i in batches.indices(step)}
    assert seen == set(range(10))


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("start", [0, 1, 5, 6, 13])
def test_batches_from_the_middle_equal_those_of_a_whole_run(start: int, workers: int) -> None:
    whole = take(Batches(Numbers(13), 4, seed=7), 18)
    part = take(Batches(Numbers(13), 4, seed=7, start=start, workers=workers), 5)
    for a, b in zip(whole[start:], part, strict=False):
        assert torch.equal(a.tensors["x"], b.tensors["x"])
        assert a.seed == b.seed


def test_augmentation_differs_between_steps_and_seeds() -> None:
    def noise(seed: int, step: int) -> torch.Tensor:
        tensors = Batches(Numbers(4), 4, seed=seed).make(step).tensors
        return tensors["x"] - tensors["id"]

    assert not torch.equal(noise(1, 0), noise(1, 1))
    assert not torch.equal(noise(1, 0), noise(2, 0))


def test_processes_share_out_the_batches_of_a_single_one() -> None:
    single = Batches(Numbers(24), 8, seed=3)
    shares = [Batches(Numbers(24), 8, seed=3, rank=r, processes=4) for r in range(4)]
    for step in range(7):
        whole = single.make(step)
        parts = [share.make(step) for share in shares]
        assert all(len(part.tensors["id"]) == 2 for part in parts)
        for name, values in whole.tensors.items():  # augmented alike, to the last bit
            together = torch.stack([part.tensors[name] for part in parts], 1).flatten(0, 1)
            assert torch.equal(together, values), name
        # Dropout is not the same in all of them.
        assert len({part.seed for part in parts}) == 4
        assert parts[0].seed == whole.seed


def test_batch_size_is_checked() -> None:
    assert effective_batch_size(32, 20, 1) == 20
    assert effective_batch_size(32, 23, 4) == 20
    with pytest.raises(SettingsError, match="multiple of the 3 processes, found 32"):
        effective_batch_size(32, 100, 3)
    with pytest.raises(SettingsError, match="each of 4 processes, found 3"):
        effective_batch_size(32, 3, 4)


def test_batches_are_aligned_and_channels_last() -> None:
    room = torch.zeros(2 * 3 * 5 * 5 + 1)
    crooked = room[1:].view(2, 3, 5, 5)
    ids = torch.arange(2)
    cpu = torch.device("cpu")
    placed = to_device({"x": crooked, "v": room[1:], "id": ids}, cpu, channels_last=True)
    assert placed["x"].is_contiguous(memory_format=torch.channels_last)
    assert placed["v"].data_ptr() % ALIGNMENT == 0
    assert torch.equal(placed["v"], room[1:])
    assert placed["id"] is ids


def test_learning_rate_warms_up_linearly_then_follows_the_cosine() -> None:
    factors = [learning_rate_factor(k, 10, 110) for k in range(110)]
    assert factors[:10] == pytest.approx([(k + 1) / 10 for k in range(10)])
    assert factors[10] == pytest.approx(1.0)
    middle = FINAL_FRACTION + (1 - FINAL_FRACTION) * 0.5
    assert factors[60] == pytest.approx(middle)
    assert np.all(np.diff(factors[10:]) < 0)
    assert learning_rate_factor(110, 10, 110) == pytest.approx(FINAL_FRACTION)
    assert learning_rate_factor(0, 0, 5) == pytest.approx(1.0)
    # A warm-up longer than the training must not divide by zero or overshoot.
    assert learning_rate_factor(4, 10, 5) == pytest.approx(0.5)


def test_norm_scales_and_biases_are_not_decayed() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4))
    model[0].weight.data.fill_(1.0)
    optimizer = adamw(model, learning_rate=0.1, weight_decay=0.5)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.step()
    # Decoupled decay: w <- w (1 - lr * decay), to the kernel alone.
    assert torch.allclose(model[0].weight, before[0] * (1 - 0.1 * 0.5))
    for p, old in list(zip(model.parameters(), before, strict=True))[1:]:
        assert torch.equal(p, old)


def test_average_follows_its_recurrence() -> None:
    from ignite.engine import Engine

    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = WeightAverage(model, decay=0.5)

    def step(engine: Engine, value: float) -> None:
        model[0].weight.data.fill_(value)
        model[1].running_mean.fill_(value)

    expected = float(model[0].weight.detach())
    values = [1.0, -2.0, 5.0, 3.0, 7.0, 2.0, 2.0, 9.0, 1.0, 4.0]
    for t, value in enumerate(values, start=1):
        decay = min(0.5, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * value
    engine = Engine(step)
    average.attach(engine)
    engine.run(values, max_epochs=1)
    assert float(average.ema_model[0].weight) == pytest.approx(expected, rel=1e-6)
    assert float(average.ema_model[1].running_mean) == 4.0  # statistics are copied
    assert float(model[0].weight.detach()) == 4.0
    assert not average.ema_model[0].weight.requires_grad


def test_no_average_keeps_the_last_weights() -> None:
    from ignite.engine import Engine

    model = nn.Linear(1, 1)
    average = WeightAverage(model, decay=0.0)
    engine = Engine(lambda _, value: model.weight.data.fill_(value))
    average.attach(engine)
    engine.run([3.0, 8.0], max_epochs=1)
    assert float(average.ema_model.weight) == 8.0


def test_bfloat16_is_used_inside_and_float32_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    able = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x):
            y = self.linear(x)
            seen.append(y.dtype)
            return {"y": y, "pair": (y, torch.arange(2)), "list": [y]}

    out = Autocast(Net(), "cpu", "bfloat16")(torch.ones(3, 2))
    assert seen == [torch.bfloat16]
    assert out["y"].dtype == out["pair"][0].dtype == out["list"][0].dtype == torch.float32
    assert out["pair"][1].dtype == torch.int64
    Autocast(Net(), "cpu", "float32")(torch.ones(3, 2))
    assert seen[-1] == torch.float32
    # A processor without the instructions would take several times as long with them imitated.
    able["avx512_bf16"] = False
    Autocast(Net(), "cpu", "bfloat16")(torch.ones(3, 2))
    assert seen[-1] == torch.float32


def test_first_weights_follow_from_the_seed_and_leave_torch_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    nets = [
        initialise(lambda: nn.Linear(3, 3), seed, replica)
        for seed, replica in [(1, 0), (1, 0), (2, 0), (1, 1)]
    ]
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(nets[0].weight, nets[1].weight)
    assert not torch.equal(nets[0].weight, nets[2].weight)
    assert not torch.equal(nets[0].weight, nets[3].weight)


def test_warm_start_takes_weights_and_lineage(tmp_path) -> None:
    first, second, third = (nn.Linear(3, 2) for _ in range(3))
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_weights(a, first.state_dict(), {"settings": {"epochs": 3}, "date": "2026-01-01"})
    lineage = warm_start(second, a)
    assert torch.equal(first.weight, second.weight)
    assert [entry["settings"] for entry in lineage] == [{"epochs": 3}]
    record = {"settings": {"epochs": 5}, "ended": "2026-02-02T00:00:00Z"}
    save_weights(b, second.state_dict(), {"provenance": record, "lineage": lineage})
    lineage = warm_start(third, b)
    assert [entry["date"] for entry in lineage] == ["2026-01-01", "2026-02-02T00:00:00Z"]
    assert [entry["settings"]["epochs"] for entry in lineage] == [3, 5]
    assert len({entry["sha256"] for entry in lineage}) == 2


def test_warm_start_refuses_another_network_and_says_what_differs(tmp_path) -> None:
    path = tmp_path / "other.safetensors"
    save_weights(path, {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}, {})
    model = nn.Linear(3, 2)
    before = model.weight.detach().clone()
    with pytest.raises(InputError) as caught:
        warm_start(model, path)
    message = str(caught.value)
    for part in (str(path), "bias is missing", "extra is not in the network", "(2, 4)", "(2, 3)"):
        assert part in message
    assert torch.equal(model.weight, before)


def test_warm_start_refuses_a_pickle(tmp_path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(nn.Linear(3, 2).state_dict(), path)
    with pytest.raises(InputError, match="safetensors"):
        warm_start(nn.Linear(3, 2), path)


CPU = torch.device("cpu")


def test_checkpoint_of_another_training_is_not_continued(tmp_path, caplog) -> None:
    AtomicSaver(tmp_path)({"identity": {"seed": "1", "epochs": "3"}, "x": torch.ones(2)}, FILENAME)
    same = read(tmp_path, Identity({"seed": "1", "epochs": "3"}), device=CPU)
    assert same is not None
    assert torch.equal(same["x"], torch.ones(2))
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path, Identity({"seed": "2", "epochs": "3"}), device=CPU) is None
    assert "changed: seed" in caplog.text
    assert read(tmp_path / "nowhere", Identity({}), device=CPU) is None


class Bomb:
    """Unpickled by an unsafe loader, this would make a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_checkpoint_that_runs_code_is_refused_and_does_not_run(tmp_path) -> None:
    evidence = tmp_path / "evidence"
    torch.save({"identity": {}, "x": Bomb(str(evidence))}, tmp_path / FILENAME)
    with pytest.raises(InputError, match="training state"):
        read(tmp_path, Identity({}), device=CPU)
    assert not evidence.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
def test_damaged_checkpoint_is_named(tmp_path, content: bytes) -> None:
    path = tmp_path / FILENAME
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(tmp_path, Identity({}), device=CPU)
    assert str(path) in str(caught.value)
    assert "Delete it" in str(caught.value)


def test_failed_save_keeps_the_old_checkpoint(tmp_path) -> None:
    saver = AtomicSaver(tmp_path)
    saver({"identity": {}, "x": 1}, FILENAME)
    saver.remove(FILENAME)  # ignite asks for this before it saves the next
    with pytest.raises(Exception, match="pickle"):
        saver({"identity": {}, "x": lambda: None}, FILENAME)
    content = read(tmp_path, Identity({}), device=CPU)
    assert content is not None
    assert content["x"] == 1
    assert [p.name for p in tmp_path.iterdir()] == [FILENAME]


def test_leftovers_of_killed_runs_are_removed(tmp_path) -> None:
    (tmp_path / ".checkpoint.another-host.partial.pt").write_bytes(b"half")
    (tmp_path / FILENAME).write_bytes(b"whole")
    remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [FILENAME]


def test_history_keeps_columns_that_come_later(tmp_path) -> None:
    path = tmp_path / "history.csv"
    write_history(path, [{"epoch": 1, "a": 0.5}, {"epoch": 2, "a": 0.25, "b": math.pi}])
    lines = path.read_text().splitlines()
    assert lines[0] == "epoch,a,b"
    assert lines[1] == "1,0.5,"
    assert float(lines[2].split(",")[2]) == math.pi


def test_settings_are_checked_and_serialise() -> None:
    from pydantic import ValidationError

    from physml.training.settings import TrainBase

    settings = TrainBase(epochs=3, precision="bfloat16")
    assert TrainBase(**json.loads(settings.model_dump_json())) == settings
    for bad in ({"epochs": 0}, {"ema_decay": 1.0}, {"precision": "float8"}, {"epoch": 3}):
        with pytest.raises(ValidationError):
            TrainBase(**bad)
    for name, field in TrainBase.model_fields.items():
        assert field.description, name
