"""Training of the particle cell on simulated experiments."""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from physml.exceptions import Checkpointed
from physml.random import stream
from physml.training.initialise import initialise
from physml.training.state import FILENAME, AtomicSaver, Identity, read

from ..core.estimator import Estimator
from ..core.operators import fidelity, root, to_coordinates
from ..core.schedule import ends, schedule
from ..inference.cell.cell import Bank, Cell, CellEstimate, square_root
from ..inference.cell.estimator import CellEstimator, arm
from ..settings import CellSettings
from ..simulator.experiment import experiment

log = logging.getLogger(__name__)

#: What a batch of experiments measures, in turn: one cell is to serve all of them.
DESIGNS = (
    *(("bases", "adaptive"), ("product", "adaptive"), ("bases", "adaptive"), ("sic", "adaptive")),
    *(("bases", "adaptive"), ("sic", "fixed"), ("bases", "random"), ("mub", "adaptive")),
    *(("bases", "adaptive"), ("bases", "fixed"), ("bases", "adaptive"), ("pairwise", "adaptive")),
    *(("bases", "adaptive"), ("pairwise", "fixed"), ("mub", "random"), ("mub", "fixed")),
)
#: What is validated.
VALIDATED = (("bases", "adaptive"), ("mub", "fixed"))
#: Number of the random stream of the first batch, and of validation, times the dimension.
RUNS, VALID = 2**32, 2**33
#: Gradients longer than this are cut: a choice among moves may jump.
LONGEST = 1.0
#: Shares of the bank's score and of the confidence in the loss.
SCORE, CONFIDENCE = 0.3, 0.1


def smooth_infidelity(rho: Tensor, sigma: Tensor) -> Tensor:
    """Infidelity (S,) with its exact gradient to the second argument.

    With rho = A A^+ the root fidelity is tr sqrt(A^+ sigma A), of which the gradient is
    A (A^+ sigma A)^(-1/2) A^+ / 2. That is finite where derivatives of eigenvectors are not, on
    the support of rho.

    Parameters
    ----------
    rho : Tensor (S, d, d)
        True states, without gradient.
    sigma : Tensor (S, d, d)
        Estimates.
    """
    with torch.no_grad():
        a = root(rho)
        inner = a.mH @ sigma @ a
        values, vectors = torch.linalg.eigh(0.5 * (inner + inner.mH))
        # Where rho has no support there is nothing to invert.
        inverse = torch.where(values > 1e-14, values.clamp(min=1e-14).rsqrt(), 0.0)
        half = a @ (vectors * inverse[:, None].to(a.dtype)) @ vectors.mH @ a.mH
        f = fidelity(rho, sigma)
    slope = f.sqrt() * (half.mT * sigma).sum((-2, -1)).real
    return 1 - f - (slope - slope.detach())


def within_reach(rho: Tensor, copies: Tensor) -> Tensor:
    """Infidelity (S,) in which errors are counted, so that all states and copies count.

    What N copies allow runs from the limit of pure states, (d - 1) / N, to that of full rank,
    (d^2 - 1) (d + 1) / 4N, as they tell more of the eigenvalues from zero. The unit is the
    geometric mean of that and the limit of full rank: in units of what is allowed alone, states are
    taken for pure as long as they might be.
    """
    d = rho.shape[-1]
    values = torch.linalg.eigvalsh(rho).clamp(min=0)[:, : d - 1] * copies[:, None]
    resolved = (values / (values + d)).mean(-1)
    full = (d * d - 1) * (d + 1) / 4
    allowed = (d - 1) + resolved * (full - (d - 1))
    return (allowed * full).sqrt() / (copies + d * d)


def energy_score(rho: Tensor, bank: Bank, copies: Tensor) -> Tensor:
    """Energy score (S,) of a bank: least, on average, for a bank that is the posterior.

    The mean distance of particles from the truth less half of that among themselves, between roots
    and in units of what one copy in N tells of all coordinates.

    References
    ----------
    Gneiting, Raftery, J. Am. Stat. Assoc. 102, 359 (2007).
    """
    truth = square_root(to_coordinates(rho))[:, None]
    weight = bank.log_weight.exp()
    far = ((bank.roots - truth).square().sum(-1) + 1e-18).sqrt()
    products = bank.roots @ bank.roots.mT
    among = ((2 - 2 * products).clamp(min=0) + 1e-12 / copies[:, None, None]).sqrt()
    inner = (weight * (among @ weight[..., None])[..., 0]).sum(-1)
    score = (weight * far).sum(-1) - 0.5 * inner
    return score * (4 * copies).sqrt() / rho.shape[-1]


def loss(rho: Tensor, estimate: CellEstimate, bank: Bank, copies: Tensor) -> Tensor:
    """Mean over experiments of the infidelity in its unit, the bank's score, the confidence's cost.

    The confidence s costs log s + (1 - F) / s, least where s is the mean of 1 - F.
    """
    missed = smooth_infidelity(rho, estimate.state)
    scaled = missed / within_reach(rho, copies)
    cost = estimate.log_infidelity + missed.detach() * (-estimate.log_infidelity).exp()
    return (scaled + SCORE * energy_score(rho, bank, copies) + CONFIDENCE * cost).mean()


def make_cell(settings: CellSettings, seed: int, d: int) -> Cell:
    """A cell before training."""
    return initialise(
        lambda: Cell(settings.width, settings.rounds, settings.proposals), seed, replica=1_000 + d
    )


@dataclass
class _Progress:
    """State of a training, which a checkpoint holds."""

    cell: Cell
    optimiser: torch.optim.Optimizer
    average: Cell
    kept: dict[str, Tensor]
    best: float
    history: list[dict[str, float]] = field(default_factory=list)

    def state(self) -> dict[str, object]:
        return {
            "cell": self.cell.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict(),
            "kept": self.kept,
            "best": self.best,
            "history": self.history,
        }

    def restore(self, found: dict) -> None:
        self.cell.load_state_dict(found["cell"])
        self.optimiser.load_state_dict(found["optimiser"])
        self.average.load_state_dict(found["average"])
        self.kept, self.best, self.history = found["kept"], found["best"], found["history"]


def train_cell(
    settings: CellSettings,
    states: Tensor,
    valid_states: Tensor,
    seed: int,
    state: Path | None = None,
    left: Callable[[], float | None] = lambda: None,
) -> tuple[Cell, list[dict[str, float]]]:
    """Train a cell while it measures.

    Batches of true states are measured block by block, as the cell designs; after each block comes
    one step down the gradient of `loss`, which does not go further back than this block. The copies
    of an experiment are log-uniform up to the largest number. What is kept are the averaged weights
    that validate best, those before training included.

    Parameters
    ----------
    settings : CellSettings
    states, valid_states : Tensor (S, d, d)
        True states.
    seed : int
        Of everything random.
    state : Path, optional
        Folder of a checkpoint after each batch, from which the same call goes on.
    left : callable
        Seconds that are left, or None.

    Returns
    -------
    cell
    history
        For each batch its loss; where it was validated, the value of `validate`.

    Raises
    ------
    Checkpointed
        Less time is left than a batch and a validation take.
    """
    d = states.shape[-1]
    cell = make_cell(settings, seed, d)
    optimiser = torch.optim.Adam(cell.parameters(), settings.learning_rate, betas=(0.9, 0.99))
    progress = _Progress(cell, optimiser, copy.deepcopy(cell).requires_grad_(False), {}, math.inf)
    identity = _identity(settings, states, valid_states, seed)
    cpu = torch.device("cpu")
    found = None if state is None else read(state, Identity(identity), device=cpu)
    if found is None:
        progress.best = validate(cell, settings, valid_states, seed)
        progress.kept = copy.deepcopy(cell.state_dict())
        progress.history = [{"run": 0.0, "valid": progress.best}]
    else:
        progress.restore(found)
    slowest = 0.0
    for run in range(len(progress.history) - 1, settings.runs):
        began = time.monotonic()
        remaining = left()
        if remaining is not None and remaining < 1.5 * slowest:
            where = "" if state is None else f"; state in {state}"
            raise Checkpointed(f"stopped after {run} batches of experiments of the cell{where}")
        _one_batch(progress, settings, states, valid_states, seed, run)
        log.info(
            "d = %d, cell, batch %d of %d: %s", d, run + 1, settings.runs, progress.history[-1]
        )
        if state is not None:
            AtomicSaver(state)({"identity": identity, **progress.state()}, FILENAME)
        slowest = max(slowest, time.monotonic() - began)
    cell.load_state_dict(progress.kept)
    return cell.eval(), progress.history


def _identity(
    settings: CellSettings, states: Tensor, valid_states: Tensor, seed: int
) -> dict[str, str]:
    """Settings, seed and data that a checkpoint is of."""
    data = hashlib.sha256(states.numpy().tobytes() + valid_states.numpy().tobytes())
    return {"settings": settings.model_dump_json(), "seed": str(seed), "data": data.hexdigest()}


def _one_batch(
    progress: _Progress,
    settings: CellSettings,
    states: Tensor,
    valid_states: Tensor,
    seed: int,
    run: int,
) -> None:
    d = states.shape[-1]
    rate = 0.5 * (1 + math.cos(math.pi * run / settings.runs))
    for group in progress.optimiser.param_groups:
        group["lr"] = max(rate, 0.05) * settings.learning_rate
    rng = stream(seed, "train", RUNS * d + run)
    rho = states[torch.from_numpy(rng.integers(0, len(states), settings.experiments))]
    value = _follow(progress, settings, rho, DESIGNS[run % len(DESIGNS)], rng)
    progress.history.append({"run": run + 1.0, "loss": value})
    if (run + 1) % settings.validate_every == 0 or run + 1 == settings.runs:
        found = validate(progress.average, settings, valid_states, seed)
        progress.history[-1]["valid"] = found
        if found < progress.best:
            progress.best, progress.kept = found, copy.deepcopy(progress.average.state_dict())


def _follow(
    progress: _Progress,
    settings: CellSettings,
    rho: Tensor,
    design: tuple[str, str],
    rng: np.random.Generator,
) -> float:
    """Learn from one batch of experiments; the mean of the loss."""
    cell, values = progress.cell, []
    n = rho.shape[-1].bit_length() - 1
    estimator, how = arm(cell, settings.n_particles, *design, n, learning=True)
    copies = round(math.exp(rng.uniform(math.log(100), math.log(settings.copies))))
    decay = settings.average

    def learn(spent: int, followed: Estimator) -> None:
        assert isinstance(followed, CellEstimator)
        cost = loss(rho, followed.latest(), followed.bank, followed.tally.copies())
        progress.optimiser.zero_grad()
        cost.backward()
        torch.nn.utils.clip_grad_norm_(cell.parameters(), LONGEST)
        progress.optimiser.step()
        for mean, now in zip(progress.average.parameters(), cell.parameters(), strict=True):
            mean.lerp_(now.detach(), 1 - decay)
        followed.forget()
        values.append(float(cost.detach()))

    blocks = schedule(copies)
    marks = [int(end) for end in ends(blocks)]
    experiment(estimator, rho, how, blocks, rng, marks=marks, observe=learn)
    return sum(values) / len(values)


@torch.no_grad()
def validate(cell: Cell, settings: CellSettings, states: Tensor, seed: int) -> float:
    """Mean infidelity in units of `within_reach`, over the decades of copies and `VALIDATED`."""
    d, found = states.shape[-1], []
    rho = states[: settings.valid]
    for number, design in enumerate(VALIDATED):
        estimator, how = arm(cell, settings.n_particles, *design, d.bit_length() - 1)
        rng = stream(seed, "train", VALID * d + number)
        result = experiment(estimator, rho, how, schedule(settings.copies), rng)
        for mark, missed in zip(result.marks, result.infidelity.T, strict=True):
            unit = within_reach(rho, torch.full((len(rho),), float(mark)).double())
            found.append(float((torch.from_numpy(missed) / unit).mean()))
    return sum(found) / len(found)
