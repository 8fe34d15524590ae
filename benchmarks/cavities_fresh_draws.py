"""Cavities: images drawn anew at each step, beside a prepared set: what they cost and bring.

What they cost is CPU time on one core. What they bring is measured with a small U-Net from nothing:
with the same seeds, the same number of steps and the same validation images, it learns from
prepared sets of several sizes and from new images (`train.fresh`), none of which it sees twice.
The losses of each validation image are compared with each other.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.options import command, parse, write
from common.tables import interval, table
from common.timing import cpu_seconds
from numpy.typing import NDArray

from physml.cavities.inference.networks import CavityNet
from physml.cavities.learning.fresh import FreshImages
from physml.cavities.learning.image_sets import CavityImages
from physml.cavities.learning.losses import CavityLoss
from physml.cavities.learning.prepared import prepare_batch
from physml.cavities.settings import CavitiesSettings, NetworkSettings, SimulateSettings
from physml.cavities.simulator.batch import simulate_batch
from physml.evaluation.bootstrap import bootstrap_sums
from physml.random import stream
from physml.training.initialise import initialise
from physml.training.loop import fit
from physml.training.settings import TrainBase

log = logging.getLogger("benchmarks")

#: No shipped weights are used: all networks begin from nothing.
SCIENCES = ()
#: Images of a step whose cost is measured, as in the training.
STEP = 32
#: Number of the first validation image; the sets that are learned from begin at 0.
VALID = 1_000_000


@dataclass(frozen=True)
class Plan:
    """Size of the comparison."""

    sizes: Sequence[int] = (128, 512)
    samples: int = 2048
    valid: int = 192
    seeds: int = 2
    side: int = 64
    batch: int = 16
    widths: tuple[int, ...] = (12, 24, 32)
    learning_rate: float = 4e-3


def prepared(settings: SimulateSettings, seed: int, numbers: range) -> CavityImages:
    """Images as the preprocessing leaves them, in memory."""
    parts = []
    for first in range(numbers.start, numbers.stop, 64):
        some = simulate_batch(settings, seed, range(first, min(first + 64, numbers.stop)))
        truth = {name: getattr(some, name) for name in ("mask", "cavities", "index", "cluster")}
        parts.append(prepare_batch(some, seed) | truth)
    return CavityImages({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


def costs(rounds: int) -> dict[str, float]:
    """CPU time of one image, ms, by what is done to it; at the size of the training."""
    s = CavitiesSettings()
    where = {"rethin": s.train.rethin, "flatten": s.train.flatten}
    known, fresh = prepared(s.simulate, 1, range(STEP)), FreshImages(s.simulate, 1, STEP, **where)
    known.rethin, known.flatten = s.train.rethin, s.train.flatten
    index = np.arange(STEP)

    def ms(work: Any) -> float:
        return 1e3 / STEP * cpu_seconds(work, rounds, warm_up=True)

    raw = fresh.part(index, stream(1, "test", 0), True)
    some = simulate_batch(s.simulate, 1, range(STEP))
    network = CavityNet(s.train.network).to(memory_format=torch.channels_last)
    loss, batch = CavityLoss(s.train.loss), known.batch(index, stream(1, "test", 0), True)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss(network, batch)["loss"].backward()

    return {
        "prepared": ms(lambda: known.batch(index, stream(1, "test", 0), True)),
        "drawn": ms(lambda: fresh.part(index, stream(1, "test", 0), True)),
        "rendered": ms(lambda: fresh.rendered(raw)),
        "observed": ms(lambda: prepare_batch(some, 1)),
        "fresh": ms(lambda: fresh.batch(index, stream(1, "test", 0), True)),
        "step": ms(step),
    }


def learned(plan: Plan, train: Any, valid: CavityImages, seed: int) -> NDArray[np.float64]:
    """Losses (n,) of the validation images after a training of `plan.samples` images."""
    settings = TrainBase(
        epochs=max(1, plan.samples // len(train)),
        batch_size=plan.batch,
        learning_rate=plan.learning_rate,
        ema_decay=0.99,
        # The last weights are those that count, whatever they are: none is chosen.
        patience=10**6,
        checkpoint_minutes=1e6,
    )
    network = NetworkSettings(widths=plan.widths)
    model, loss = (
        initialise(lambda: CavityNet(network), seed),
        CavityLoss(CavitiesSettings().train.loss),
    )
    last: dict[str, torch.Tensor] = {}

    def keep(_: Any, averaged: torch.nn.Module) -> None:
        last.update({k: v.detach().clone() for k, v in averaged.state_dict().items()})

    few = CavityImages({k: v[: plan.batch] for k, v in valid.arrays.items()})
    with tempfile.TemporaryDirectory() as state:
        fit(model, loss, train, few, settings, state=Path(state), seed=seed, on_epoch=keep)
    model.load_state_dict(last)
    model.eval()
    found = []
    with torch.inference_mode():
        for k in range(len(valid)):
            one = valid.batch(np.array([k]), stream(seed, "test", 0), False)
            found.append(float(loss(model, one)["loss"]))
    return np.array(found)


def compare(plan: Plan) -> dict[str, Any]:
    """Losses by what was learned from, and their differences from those with new images."""
    s = CavitiesSettings()
    simulate = s.simulate.model_copy(update={"image_size": plan.side})
    valid = prepared(simulate, 1, range(VALID, VALID + plan.valid))
    pool = prepared(simulate, 1, range(max(plan.sizes)))
    losses: dict[str, list[NDArray[np.float64]]] = {}
    for seed in range(1, plan.seeds + 1):
        arms: dict[str, Any] = {
            str(n): CavityImages({k: v[:n] for k, v in pool.arrays.items()}) for n in plan.sizes
        }
        arms["fresh"] = FreshImages(simulate, seed, max(plan.sizes))
        for name, data in arms.items():
            data.rethin, data.flatten = s.train.rethin, s.train.flatten
            losses.setdefault(name, []).append(learned(plan, data, valid, seed))
            log.info("seed %d, %s: %.4f", seed, name, losses[name][-1].mean())
    # The same resamples of images for all: columns of one array.
    names = list(losses)
    means = np.stack([np.mean(losses[name], 0) for name in names], 1)

    def summary(weights: Sequence[float]) -> dict[str, float]:
        of = np.column_stack([means @ np.array(weights), np.ones(len(means))])
        rng = stream(1, "bootstrap", 0)
        return bootstrap_sums(of, lambda x: x[..., 0] / x[..., 1], rng=rng)._asdict()

    unit = np.eye(len(names))
    rows = {}
    for k, name in enumerate(names):
        each = [float(one.mean()) for one in losses[name]]
        rows[name] = {"loss": summary(unit[k]), "seeds": each}
        rows[name]["difference"] = summary(unit[k] - unit[names.index("fresh")])
    return {"plan": vars(plan), "rows": rows}


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of Markdown: ``cost``, ``loss``, and the numbers ``fresh_rate``, ``prepared_rate``."""
    c, plan = numbers["costs"], numbers["comparison"]["plan"]
    rest = max(0.0, c["fresh"] - c["drawn"] - c["rendered"] - c["observed"])
    steps = [
        ("prepared image read, augmented, targets made", c["prepared"]),
        ("new image, all", c["fresh"]),
        ("- numbers drawn, exposure map", c["drawn"]),
        ("- rendered, where the network is", c["rendered"]),
        ("- sources filled, centred, smooth model fitted", c["observed"]),
        ("- Poisson noise, labels, augmentation, targets", rest),
        ("forward and backward pass of the shipped size of network", c["step"]),
    ]
    cost = table(
        ["128 x 128 pixels, one core", "ms an image", "images/s"],
        [(what, f"{ms:.1f}", f"{1e3 / ms:.0f}" if ms else "-") for what, ms in steps],
    )
    caption = (
        f"CPU time on one core, batches of {STEP}, median of {numbers['rounds']} measurements."
    )
    rows = []
    for name, row in numbers["comparison"]["rows"].items():
        fresh = name == "fresh"
        seen = "once" if fresh else f"{plan['samples'] // int(name)} times"
        rows.append(
            (
                "new at each step" if fresh else f"prepared, {name}",
                seen,
                interval(row["loss"]),
                "-" if fresh else interval(row["difference"]),
                ", ".join(f"{x:.3f}" for x in row["seeds"]),
            )
        )
    header = ["learned from", "each image seen", "validation loss", "less that of new", "by seed"]
    said = (
        f"Loss on {plan['valid']} prepared validation images of {plan['side']} x {plan['side']} "
        f"pixels, mean of {plan['seeds']} seeds; a U-Net of widths "
        f"{', '.join(map(str, plan['widths']))} from nothing, {plan['samples']:,} images seen in "
        f"steps of {plan['batch']}. In brackets 95 % intervals, bootstrap over validation images; "
        "those of the differences are paired: the same images, the same resamples."
    )
    return {
        "cost": f"{cost}\n\n{caption}",
        "loss": f"{table(header, rows)}\n\n{said}",
        "fresh_rate": f"{1e3 / c['fresh']:.0f}",
        "prepared_rate": f"{1e3 / c['prepared']:.0f}",
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = command(__doc__, "json", "rounds")
    parser.add_argument("--samples", type=int, default=Plan.samples, help="images seen by each")
    parser.add_argument("--seeds", type=int, default=Plan.seeds)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=Plan.sizes, help="images of the prepared sets"
    )
    parser.add_argument("--valid", type=int, default=Plan.valid, help="validation images")
    arguments = parse(parser, argv, quiet=True)
    write(arguments, measure(arguments), tables=tables, sciences=SCIENCES)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All numbers of the benchmark."""
    a = arguments
    plan = Plan(tuple(a.sizes), a.samples, a.valid, a.seeds)
    return {"rounds": a.rounds, "costs": costs(a.rounds), "comparison": compare(plan)}


if __name__ == "__main__":
    main()
