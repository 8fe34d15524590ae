"""The loop as a whole, on a network that trains in a second."""

from __future__ import annotations

import csv
import logging
import multiprocessing
import os
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fakes.training_worker import Images, loss, train_together, work
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from physml.exceptions import Checkpointed, InputError, NonFiniteError, SettingsError
from physml.io.weights import save_weights
from physml.training.initialise import initialise
from physml.training.loop import fit
from physml.training.settings import TrainBase


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.Dropout(0.1),  # so that torch's random state matters
        nn.Flatten(),
        nn.Linear(4 * 64, 1),
    )


def train(tmp_path: Path, *, seed: int = 3, data=None, model=None, **options):
    kept = {"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "ema_decay": 0.9}
    names = {k: options.pop(k) for k in list(options) if k in TrainBase.model_fields}
    settings = TrainBase(**(kept | names))
    training, validation = data or (Images(36, 0), Images(10, 1))
    model = model or initialise(network, seed)
    the_loss = options.pop("loss", loss)
    state = options.pop("state", tmp_path / "state")
    return fit(model, the_loss, training, validation, settings, state=state, seed=seed, **options)


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_it_learns_and_reports(tmp_path) -> None:
    model = initialise(network, 3)
    data = Images(256, 0), Images(64, 1)
    result = train(tmp_path, data=data, model=model, epochs=8, learning_rate=0.02)
    first, last = result.history[0], result.history[-1]
    assert last["valid_loss"] < 0.5 * first["valid_loss"]
    assert [r["epoch"] for r in result.history] == list(range(1, 9))
    assert last["iteration"] == 8 * (256 // 8)
    assert last["images_per_second"] > 0
    best = min(result.history, key=lambda r: r["valid_loss"])
    assert (result.best_epoch, result.best_value) == (best["epoch"], best["valid_loss"])
    with (tmp_path / "state" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["valid_root"]) for r in rows] == [r["valid_root"] for r in result.history]
    # Validation sees all samples, in order, as they are.
    asked = [indices for indices, augment in data[1].asked if not augment]
    assert np.array_equal(np.concatenate(asked[:8]), np.arange(64))
    assert not any(augment for _, augment in data[1].asked)
    assert all(augment for _, augment in data[0].asked)


def test_result_is_the_averaged_network_of_the_best_epoch(tmp_path) -> None:
    kept = {}

    def keep(record, averaged):
        kept[record["epoch"]] = {k: v.clone() for k, v in averaged.state_dict().items()}
        return {"score": [5.0, 1.0, 2.0][record["epoch"] - 1]}

    model = initialise(network, 3)
    result = train(tmp_path, model=model, on_epoch=keep, metric="score")
    assert result.best_epoch == 2
    assert result.best_value == 1.0
    assert same(result.weights, kept[2])
    assert not same(kept[2], kept[3])
    assert same(dict(model.state_dict()), result.weights)  # the caller's network has them, too
    assert [r["valid_score"] for r in result.history] == [5.0, 1.0, 2.0]


def test_validation_value_is_that_of_the_result(tmp_path) -> None:
    validation = Images(10, 1)
    model = initialise(network, 3)
    result = train(tmp_path, data=(Images(36, 0), validation), model=model)
    model.eval()
    with torch.no_grad():
        batch = validation.batch(np.arange(10), np.random.default_rng(), augment=False)
        assert float(loss(model, batch)["loss"]) == pytest.approx(result.best_value, rel=1e-5)


def test_the_same_call_gives_the_same_weights_whatever_the_global_state(tmp_path) -> None:
    a = train(tmp_path, state=tmp_path / "a")
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002  the point is that it does not matter
    before = torch.get_rng_state()
    b = train(tmp_path, state=tmp_path / "b")
    assert same(a.weights, b.weights)
    assert torch.equal(torch.get_rng_state(), before)
    c = train(tmp_path, state=tmp_path / "c", seed=4, model=initialise(network, 3))
    assert not same(a.weights, c.weights)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_stopped_at_every_step_it_ends_with_the_same_weights(tmp_path, precision) -> None:
    whole = train(tmp_path, state=tmp_path / "whole", precision=precision)
    stops = 0
    while True:
        try:
            parts = train(
                tmp_path, state=tmp_path / "parts", precision=precision, time_limit_s=1e-3
            )
            break
        except Checkpointed:
            stops += 1
    assert Checkpointed.exit_code == 75
    assert stops == 3 * 4 - 1  # one step a run, and the last run needs no other
    assert same(whole.weights, parts.weights)
    measured = {"seconds", "images_per_second"}
    for a, b in zip(whole.history, parts.history, strict=True):
        assert {k: v for k, v in a.items() if k not in measured} == {
            k: v for k, v in b.items() if k not in measured
        }


def test_a_finished_training_is_not_done_again(tmp_path) -> None:
    first = train(tmp_path)
    data = Images(36, 0), Images(10, 1)
    again = train(tmp_path, data=data)
    assert same(first.weights, again.weights)
    assert again.history == first.history
    assert data[0].asked == []


@pytest.mark.parametrize("change", ["setting", "seed", "data", "network"])
def test_a_changed_training_starts_anew(tmp_path, caplog, change) -> None:
    def changed(state: str):
        options = {
            "setting": {"learning_rate": 0.02},
            "seed": {"seed": 4},
            "data": {"data": (Images(36, 5, "b"), Images(10, 1))},
            "network": {"model": initialise(lambda: nn.Sequential(network(), nn.Linear(1, 1)), 3)},
        }[change]
        return train(tmp_path, state=tmp_path / state, **options)

    train(tmp_path)
    with caplog.at_level(logging.WARNING):
        after = changed("state")
    assert "starting anew" in caplog.text
    assert same(after.weights, changed("fresh").weights)


def test_time_between_checkpoints_changes_nothing(tmp_path) -> None:
    with pytest.raises(Checkpointed):
        train(tmp_path, time_limit_s=1e-3, checkpoint_minutes=5)
    often = train(tmp_path, checkpoint_minutes=0)  # continues
    seldom = train(tmp_path, state=tmp_path / "b", checkpoint_minutes=5)
    assert same(often.weights, seldom.weights)


def test_a_long_epoch_shows_that_it_is_alive(tmp_path, caplog, monkeypatch) -> None:
    monkeypatch.setattr("physml.training.run.QUIET_S", 0.0)
    with caplog.at_level(logging.INFO, logger="physml"):
        train(tmp_path, epochs=2, checkpoint_minutes=0)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(",")[0] for line in lines if "steps" in line] == [
        f"epoch {epoch}: {step} of 4 steps" for epoch in (1, 2) for step in (1, 2, 3)
    ]
    assert sum(line.startswith("epoch 2/2: train loss") for line in lines) == 1


def test_it_stops_when_nothing_gets_better(tmp_path) -> None:
    values = iter([3.0, 2.0, 2.0, 2.5, 9.0, 9.0])
    result = train(
        tmp_path,
        epochs=10,
        patience=2,
        metric="score",
        on_epoch=lambda *_: {"score": next(values)},
    )
    assert len(result.history) == 4
    assert result.best_epoch == 2
    # A later call finds it finished.
    again = train(tmp_path, epochs=10, patience=2, metric="score")
    assert again.history == result.history


def test_patience_survives_a_stop(tmp_path) -> None:
    scores = [3.0, 2.0, 2.0, 2.5, 9.0, 9.0]

    def on_epoch(record, _):
        return {"score": scores[record["epoch"] - 1]}

    stops = 0
    while True:
        try:
            result = train(
                tmp_path, epochs=6, patience=2, metric="score", on_epoch=on_epoch, time_limit_s=1e-3
            )
            break
        except Checkpointed:
            stops += 1
    assert len(result.history) == 4
    assert stops == 4 * 4 - 1


def test_long_gradients_are_clipped(tmp_path) -> None:
    def steep(model, batch):
        return {"loss": 1e4 * F.mse_loss(model(batch["x"]), batch["y"])}

    used = []

    def spy(optimizer, *_):
        gradients = [p.grad.norm() for g in optimizer.param_groups for p in g["params"]]
        used.append(float(torch.linalg.vector_norm(torch.stack(gradients))))

    handle = register_optimizer_step_pre_hook(spy)
    try:
        result = train(tmp_path, loss=steep, gradient_clip=0.5, epochs=1)
    finally:
        handle.remove()
    assert result.history[0]["gradient_norm"] > 100  # logged as it was before
    assert used == pytest.approx([0.5] * 4, rel=1e-3)


def test_non_finite_loss_names_step_sample_and_checkpoint(tmp_path) -> None:
    data = Images(36, 0), Images(10, 1)
    data[0].x[17] = np.nan
    model = initialise(network, 3)
    with pytest.raises(NonFiniteError) as caught:
        train(tmp_path, data=data, model=model, checkpoint_minutes=0)
    error = caught.value
    assert error.sample_ids == (1017,)
    steps = [k for k, (indices, _) in enumerate(data[0].asked) if 17 in indices]
    assert error.step == steps[0] + 1
    assert error.checkpoint == (tmp_path / "state" / "checkpoint.pt" if error.step > 1 else None)
    assert "1017" in str(error)
    assert "loss is nan" in str(error)
    # Checked before the optimiser's step: nothing in memory is spoilt.
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_the_checkpoint_before_a_nan_can_be_continued(tmp_path) -> None:
    def fails_at(step):
        count = iter(range(1000))

        def failing(model, batch):
            parts = loss(model, batch)
            bad = model.training and next(count) == step
            return {**parts, "loss": parts["loss"] * float("nan")} if bad else parts

        return failing

    whole = train(tmp_path, state=tmp_path / "whole")
    with pytest.raises(NonFiniteError) as caught:
        train(tmp_path, loss=fails_at(6), checkpoint_minutes=0)
    # No sample does it alone: the whole batch is named.
    assert len(caught.value.sample_ids) == 8
    assert caught.value.step == 7
    assert same(train(tmp_path, checkpoint_minutes=0).weights, whole.weights)


def test_infinite_gradient_of_a_finite_loss_stops_it(tmp_path) -> None:
    def spiky(model, batch):
        # sqrt at zero: value 0, slope infinite.
        return {"loss": (model(batch["x"]) * 0).abs().sum().sqrt()}

    with pytest.raises(NonFiniteError, match="gradient_norm is"):
        train(tmp_path, loss=spiky)


def test_non_finite_validation_names_the_sample(tmp_path) -> None:
    data = Images(36, 0), Images(10, 1)
    data[1].x[4] = np.inf
    with pytest.raises(NonFiniteError, match="validation: valid_loss is") as caught:
        train(tmp_path, data=data)
    assert caught.value.sample_ids == (1004,)
    assert caught.value.step == 4


def test_unknown_metric_is_refused(tmp_path) -> None:
    with pytest.raises(SettingsError, match="one of loss, root; found 'auc'"):
        train(tmp_path, metric="auc")


def test_warm_start_begins_where_the_weights_were(tmp_path) -> None:
    parent = tmp_path / "parent.safetensors"
    first = train(tmp_path, state=tmp_path / "first", epochs=4)
    save_weights(parent, first.weights, {"settings": {"epochs": 4}, "date": "2026-01-01"})
    warm = train(
        tmp_path,
        state=tmp_path / "warm",
        init=str(parent),
        learning_rate=1e-5,
        epochs=1,
        model=initialise(network, 77),
    )
    assert warm.history[0]["valid_loss"] == pytest.approx(first.best_value, rel=0.02)
    assert [entry["settings"] for entry in warm.lineage] == [{"epochs": 4}]
    assert first.lineage == []
    # Other parents, other training: the state is not continued.
    save_weights(parent, initialise(network, 5).state_dict(), {}, overwrite=True)
    other = train(tmp_path, state=tmp_path / "warm", init=str(parent), learning_rate=1e-5, epochs=1)
    assert other.history[0]["valid_loss"] != warm.history[0]["valid_loss"]


def test_wrong_warm_start_leaves_nothing(tmp_path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"x": torch.ones(1)}, {})
    with pytest.raises(InputError, match=r"0\.weight is missing"):
        train(tmp_path, init=str(path))
    assert not (tmp_path / "state").exists()


def test_sigterm_saves_and_asks_to_be_run_again(tmp_path) -> None:
    def request(model, batch):
        if model.training:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(model, batch)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Checkpointed, match="Run the same command again"):
        train(tmp_path, loss=request)
    assert signal.getsignal(signal.SIGTERM) is before
    whole = train(tmp_path, state=tmp_path / "whole")
    assert same(train(tmp_path).weights, whole.weights)


def test_threads_are_set_for_the_training_only(tmp_path) -> None:
    before = torch.get_num_threads()
    seen = []
    train(tmp_path, epochs=1, threads=2, on_epoch=lambda *_: seen.append(torch.get_num_threads()))
    assert seen == [2]
    assert torch.get_num_threads() == before


WORKER = Path(__file__).parents[1] / "fakes" / "training_worker.py"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_processes_take_the_same_steps_as_one(tmp_path) -> None:
    """Batches shared out, gradients averaged: the losses agree with those of a single process."""
    # What torchrun sets.
    common = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "WORLD_SIZE": "2"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["physml.training.loop", "torch._dynamo", "pytest"])
    processes = [
        context.Process(
            target=work,
            args=(tmp_path / "two", common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}),
        )
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    one = train_together(tmp_path / "one")
    for process in processes:
        process.join(120)
        process.kill()
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    two = torch.load(tmp_path / "two" / "result.pt", weights_only=True)
    assert two["is_main"] == [True, False]
    for a, b in zip(one.history, two["history"], strict=True):
        # "root" is the square root of each process's share of the loss, no mean over samples.
        for key in ("train_loss", "valid_loss", "valid_root", "gradient_norm", "lr", "iteration"):
            assert b[key] == pytest.approx(a[key], rel=1e-5), key
    first, second = two["weights"]
    assert same(first, second)  # every process has the result
    for name, weight in one.weights.items():
        assert torch.allclose(weight, first[name], rtol=1e-3, atol=1e-5)
