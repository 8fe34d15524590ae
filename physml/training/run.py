"""Steps of a training, hung on the events of ignite's engine."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, EarlyStopping
from torch import Tensor, nn

from physml.exceptions import Checkpointed, SettingsError
from physml.nn.sharing import shared_step
from physml.training import distributed
from physml.training.data import Batch, Batches, TrainData, effective_batch_size, to_device
from physml.training.ema import WeightAverage
from physml.training.failure import guilty_samples, non_finite
from physml.training.log import attach_progress_bar, log_epoch, write_history
from physml.training.optimiser import adamw, learning_rate_factor
from physml.training.precision import Autocast
from physml.training.settings import TrainBase
from physml.training.state import (
    FILENAME,
    AtomicSaver,
    Identity,
    Progress,
    architecture,
    read,
    remove_leftovers,
)
from physml.training.validation import Loss, mean_losses, over_processes
from physml.training.warm_start import warm_start

logger = logging.getLogger(__name__)

OnEpoch = Callable[[dict[str, float], nn.Module], Mapping[str, float] | None]

# Settings that change how long a training takes or how often it is saved, not what comes out.
NOT_IDENTITY = {"resources", "checkpoint_minutes", "init"}

QUIET_S = 60.0  # between lines of log inside an epoch

#: Longest time, s, and most steps, between two looks at losses and gradients, which stay on the
#: device until then: to bring them over at each step would let a GPU wait for the next.
LOOK_S, LOOK_STEPS = 1.0, 50


@dataclass(frozen=True)
class FitResult:
    """Result of a training.

    Attributes
    ----------
    weights : dict of str to Tensor
        Averaged (EMA) weights of the best epoch; float32, contiguous, on the CPU.
    history : list of dict
        One record an epoch: ``epoch``, ``iteration``, ``lr``, ``train_*``, ``valid_*``,
        ``gradient_norm``, ``seconds``, ``images_per_second``.
    lineage : list of dict
        Ancestors by warm start, oldest first; see `physml.training.warm_start`.
    best_epoch : int
        Counted from 1.
    best_value : float
        The validation metric there.
    is_main : bool
        True on the one process that writes files.
    """

    weights: dict[str, Tensor]
    history: list[dict[str, float]]
    lineage: list[dict[str, Any]]
    best_epoch: int
    best_value: float
    is_main: bool


@dataclass
class Run:
    """One call of `physml.training.loop.fit`, whose arguments it has."""

    model: nn.Module
    loss: Loss
    train: TrainData
    valid: TrainData
    settings: TrainBase
    state: Path
    seed: int
    threads: int
    on_epoch: OnEpoch | None
    metric: str
    deadline: float | None
    asked: threading.Event

    def __post_init__(self) -> None:
        self.device = idist.device()
        self.rank, self.processes = idist.get_rank(), idist.get_world_size()
        wanted, samples = self.settings.batch_size, len(self.train)
        self.batch_size = effective_batch_size(wanted, samples, self.processes)
        self.steps_per_epoch = max(1, samples // self.batch_size)
        self.names: list[str] = []  # of the values of a step
        self.unread: list[Tensor] = []  # values of the steps since the last look
        self.spoilt: Tensor | None = None  # 1 on the device from the first that is not finite on
        self.look_after = 1  # steps
        self.last_loss = float("nan")
        self.lineage = warm_start(self.model, self.settings.init) if self.settings.init else []
        self._build_network()
        self._build_engine()

    @property
    def workers(self) -> int:
        """Workers that prepare batches; on a CPU the network's own threads use the cores."""
        return self.threads if self.device.type == "cuda" else 0

    def _build_network(self) -> None:
        self.model.to(self.device)
        if self.settings.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = WeightAverage(self.model, self.settings.ema_decay)
        self.optimizer = idist.auto_optim(
            adamw(self.model, self.settings.learning_rate, self.settings.weight_decay)
        )
        # Left alone in a single process: there auto_model would take every GPU it sees.
        network = idist.auto_model(self.model) if self.processes > 1 else self.model
        if self.settings.compile:
            network.compile()
        kind, precision = self.device.type, self.settings.precision
        self.network = Autocast(network, kind, precision)
        self.averaged_network = Autocast(self.average.ema_model, kind, precision).eval()
        if precision == "bfloat16" and not self.network.enabled:
            logger.info("this processor only imitates bfloat16: the network computes in float32")
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]

    def _build_engine(self) -> None:
        self.trainer = Engine(self._step)
        # Its only messages above "debug" are errors that we raise, and would say twice.
        self.trainer.logger = logging.getLogger(f"{__name__}.engine")
        self.trainer.logger.setLevel(logging.CRITICAL)
        self.progress = Progress()
        self.early_stopping = EarlyStopping(
            self.settings.patience,
            lambda _: self.progress.history[-1][f"valid_{self.metric}"],
            self.trainer,
            mode="min",
        )
        self.identity = Identity(self._identity())
        self.checkpoint = Checkpoint(
            {
                "identity": self.identity,
                "model": self.model,
                "average": self.average.ema_model,
                "optimizer": self.optimizer,
                "trainer": self.trainer,
                "early_stopping": self.early_stopping,
                "progress": self.progress,
            },
            AtomicSaver(self.state),
            filename_pattern=FILENAME,
        )
        self.average.attach(self.trainer)
        on = self.trainer.add_event_handler
        on(Events.ITERATION_STARTED, self._set_learning_rate)
        on(Events.EPOCH_COMPLETED, self._finish_epoch)
        on(Events.EPOCH_COMPLETED, self.early_stopping)
        on(Events.EPOCH_COMPLETED, self._after_epoch)
        on(Events.ITERATION_COMPLETED, self._after_step)
        if self.rank == 0:
            attach_progress_bar(self.trainer)

    def _identity(self) -> dict[str, str]:
        settings = self.settings.model_dump(mode="json", exclude=NOT_IDENTITY)
        content = {f"train.{k}": json.dumps(v, sort_keys=True) for k, v in settings.items()}
        content["seed"] = str(self.seed)
        for name, data in (("training data", self.train), ("validation data", self.valid)):
            content[name] = f"{len(data)} {getattr(data, 'fingerprint', '')}"
        content["network"] = architecture(self.model)
        content["train.init"] = self.lineage[-1]["sha256"] if self.lineage else ""
        return content

    def __call__(self) -> FitResult:
        """Train from where the state is to the end."""
        self._resume()
        self.batches = Batches(
            self.train,
            self.batch_size,
            self.seed,
            start=self.trainer.state.iteration,
            rank=self.rank,
            processes=self.processes,
            workers=self.workers,
            pin=self.device.type == "cuda",
        )
        self.last_save = self.last_line = self.last_look = self.tick = time.monotonic()
        if not self._finished():
            self.model.train()
            self.trainer.run(
                self.batches, max_epochs=self.settings.epochs, epoch_length=self.steps_per_epoch
            )
        return self._result()

    def _resume(self) -> None:
        self.validation_s = 0.0
        if self.rank == 0:
            remove_leftovers(self.state)
        content = read(self.state, self.identity, device=self.device)
        if content is None:
            return
        Checkpoint.load_objects(self.checkpoint.to_save, content)
        epoch, step = divmod(self.trainer.state.iteration, self.steps_per_epoch)
        logger.info("continuing in epoch %d after %d steps", epoch + 1, step)

    def _finished(self) -> bool:
        return (
            len(self.progress.history) >= self.settings.epochs
            or self.early_stopping.counter >= self.settings.patience
        )

    def _result(self) -> FitResult:
        progress = self.progress
        if self.rank == 0:  # a kill may have come between the checkpoint and this file
            write_history(self.state / "history.csv", progress.history)
        self.model.load_state_dict(progress.best_weights)
        weights = {
            k: v.detach().to("cpu", copy=True).contiguous()
            for k, v in progress.best_weights.items()
        }
        return FitResult(
            weights,
            progress.history,
            self.lineage,
            progress.best_epoch,
            progress.best_value,
            self.rank == 0,
        )

    def _set_learning_rate(self) -> None:
        settings = self.settings
        factor = learning_rate_factor(
            self.trainer.state.iteration - 1,
            settings.warmup_epochs * self.steps_per_epoch,
            settings.epochs * self.steps_per_epoch,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * factor

    def _step(self, engine: Engine, batch: Batch) -> float:
        self._seed(batch.seed)
        tensors = self._place(batch.tensors)
        self.optimizer.zero_grad(set_to_none=True)
        with shared_step(self.processes):
            parts = self.loss(self.network, tensors)
            parts["loss"].backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        values = torch.stack([*(v.detach().float() for v in parts.values()), norm.float()])
        self.names = [*parts, "gradient_norm"]
        self.unread.append(values)
        # From the first value on that is not finite no step changes the weights, until `_look`
        # finds it: weights in memory and on disk stay good. The fused optimiser asks on the
        # device.
        bad = 1.0 - torch.isfinite(values).all().float()
        self.spoilt = bad if self.spoilt is None else torch.maximum(self.spoilt, bad)
        self.optimizer.found_inf = self.spoilt  # type: ignore[attr-defined]
        self.optimizer.step()
        return self.last_loss

    def _look(self, engine: Engine) -> bool:
        """Bring over what the steps since the last look have given; whether to stop in time.

        All processes look after the same steps, and agree on when to look next.

        Raises
        ------
        NonFiniteError
            A loss or a gradient is not finite; the weights are those before that step.
        """
        rows = torch.stack(self.unread).tolist()
        first = engine.state.iteration - len(rows) + 1
        mine = next((k for k, row in enumerate(rows) if not np.isfinite(row).all()), len(rows))
        bad, go_on, steps = distributed.least(
            [
                float(mine),
                float(not self._time_is_up()),
                float(self._steps_to_next_look(len(rows))),
            ],
            self.device,
        )
        if bad < len(rows):
            self._name_non_finite(first + int(bad), rows[int(bad)])
        sums = self.progress.sums
        for row in rows:
            for name, value in zip(self.names, row, strict=True):
                sums[name] = sums.get(name, 0.0) + value
        self.progress.steps += len(rows)
        self.last_loss = rows[-1][self.names.index("loss")]
        self.unread, self.look_after = [], int(steps)
        return not go_on

    def _name_non_finite(self, step: int, values: list[float]) -> None:
        """Raise `NonFiniteError` for a step, whose batch is made again."""
        batch = self.batches.make(step - 1)
        self._seed(batch.seed)
        tensors = self._place(batch.tensors)
        network = Autocast(self.model, self.device.type, self.settings.precision)
        raise non_finite(
            "training",
            dict(zip(self.names, values, strict=True)),
            step=step,
            sample_ids=distributed.gather(guilty_samples(self.loss, network, tensors))
            or distributed.gather(tensors["id"].tolist()),
            checkpoint=self.state / FILENAME,
        )

    def _time_is_up(self) -> bool:
        now = time.monotonic()
        return self.asked.is_set() or (
            self.deadline is not None and now + self._reserve() >= self.deadline
        )

    def _steps_to_next_look(self, steps: int) -> int:
        """Steps that take about `LOOK_S`, or less where a checkpoint is due or the time is up."""
        now = time.monotonic()
        left = 60 * self.settings.checkpoint_minutes - (now - self.last_save)
        if self.deadline is not None:
            left = min(left, self.deadline - self._reserve() - now)
        each = max((now - self.last_look) / steps, 1e-6)
        self.last_look = now
        return max(1, min(LOOK_STEPS, int(min(LOOK_S, left) / each)))

    def _seed(self, seed: int) -> None:
        # torch.manual_seed would note a stack trace for each absent kind of device.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _place(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return self._placed(self.train, tensors)

    def _placed(self, data: TrainData, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return to_device(
            tensors,
            self.device,
            channels_last=self.settings.channels_last,
            finish=getattr(data, "finish", None),
        )

    def _finish_epoch(self, engine: Engine) -> None:
        begun = time.monotonic()
        progress, state = self.progress, engine.state
        progress.seconds += begun - self.tick
        record: dict[str, float] = {
            "epoch": state.epoch,
            "iteration": state.iteration,
            "lr": self.optimizer.param_groups[0]["lr"],
        }
        share = progress.steps * self.processes
        means = {k: v / share for k, v in over_processes(progress.sums).items()}
        record["gradient_norm"] = means.pop("gradient_norm")
        record |= {f"train_{k}": v for k, v in means.items()}
        validated, guilty = mean_losses(
            self.loss,
            self.averaged_network,
            self.valid,
            self.batch_size,
            lambda tensors: self._placed(self.valid, tensors),
            workers=self.workers,
            pin=self.device.type == "cuda",
        )
        record |= {f"valid_{k}": v for k, v in validated.items()}
        record["images_per_second"] = round(
            progress.steps * self.batch_size / max(progress.seconds, 1e-9), 2
        )
        if self.on_epoch is not None:
            extra = self.on_epoch(dict(record), self.averaged_network.network) or {}
            record |= {f"valid_{k}": float(v) for k, v in extra.items()}
        self.tick = self.last_look = time.monotonic()
        self.validation_s = self.tick - begun
        record["seconds"] = round(progress.seconds + self.validation_s, 3)
        if not np.isfinite([*record.values()]).all():
            raise non_finite(
                "validation",
                record,
                step=state.iteration,
                sample_ids=guilty,
                checkpoint=self.state / FILENAME,
            )
        progress.history.append(record)
        progress.sums, progress.steps, progress.seconds = {}, 0, 0.0
        self._keep_best(record)
        if self.rank == 0:
            log_epoch(record, self.settings.epochs, self.metric, progress.best_epoch)

    def _keep_best(self, record: dict[str, float]) -> None:
        key = f"valid_{self.metric}"
        if key not in record:
            known = ", ".join(k.removeprefix("valid_") for k in record if k.startswith("valid_"))
            raise SettingsError(f"metric must be one of {known}; found {self.metric!r}")
        if record[key] < self.progress.best_value:
            self.progress.best_value, self.progress.best_epoch = record[key], int(record["epoch"])
            self.progress.best_weights = {
                k: v.detach().clone() for k, v in self.average.ema_model.state_dict().items()
            }

    def _after_step(self, engine: Engine) -> None:
        end = engine.state.iteration % self.steps_per_epoch == 0
        if not end and len(self.unread) < self.look_after:
            return
        stop = self._look(engine)
        if not end:  # there validation comes first
            self._save_and_stop(engine, stop, every_s=60 * self.settings.checkpoint_minutes)

    def _after_epoch(self, engine: Engine) -> None:
        stop = distributed.any_process(self._time_is_up(), self.device)
        self._save_and_stop(engine, stop, every_s=0.0)

    def _save_and_stop(self, engine: Engine, stop: bool, every_s: float) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self.tick
        self.tick = now
        if stop or now - self.last_save >= every_s:
            self._save(engine)
            self._log_progress(engine, now)
        if stop and not self._finished():
            # The first process to end has the others terminated: not before the state is saved.
            distributed.wait_for_all()
            raise Checkpointed(
                f"stopped at epoch {engine.state.epoch}, step {engine.state.iteration}; "
                f"state in {self.state}. Run the same command again to continue."
            )

    def _log_progress(self, engine: Engine, now: float) -> None:
        """Show that a long epoch is alive, where no progress bar does."""
        done = engine.state.iteration % self.steps_per_epoch
        if self.rank == 0 and done and now - self.last_line >= QUIET_S:
            self.last_line = now
            mean = self.progress.sums["loss"] / self.progress.steps
            logger.info(
                "epoch %d: %d of %d steps, mean loss %.4f",
                *(engine.state.epoch, done, self.steps_per_epoch, mean),
            )

    def _save(self, engine: Engine) -> None:
        if self.rank == 0:
            self.checkpoint(engine)
            if self.progress.history:
                write_history(self.state / "history.csv", self.progress.history)
        self.last_save = time.monotonic()

    def _reserve(self) -> float:
        """Seconds to leave for what cannot be interrupted: a validation, a step and a save."""
        steps = max(1, self.progress.steps)
        step = self.progress.seconds / steps if self.progress.steps else 0.0
        # Before the first validation: a forward pass costs about a third of a training step.
        validation = self.validation_s or step / 3 * len(self.valid) / self.batch_size
        return 1.2 * (validation + step) + 1.0
