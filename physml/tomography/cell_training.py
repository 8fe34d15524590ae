"""Training of the particle cell on simulated experiments; its weights files."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography.cell import Cell, Outlook
from physml.tomography.cell_estimator import CellEstimator, whole_measurement
from physml.tomography.measure import probabilities, sample_counts
from physml.tomography.operators import fidelity, root
from physml.tomography.run import experiment
from physml.tomography.sets import schedule

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from torch import Tensor

    from physml.tomography.estimator import BasisKind
    from physml.tomography.learning_settings import CellSettings

log = logging.getLogger(__name__)

#: What a batch of experiments measures, in turn: one cell is to serve all of them.
DESIGNS = ("global", "product", "global", "sic", "global", "mub", "global", "pairwise")
#: Number of the random stream of the first batch, and of validation, times the dimension.
RUNS, VALID = 2**32, 2**33
#: Gradients longer than this are cut: a choice among moves may jump.
LONGEST = 1.0


def smooth_infidelity(rho: Tensor, sigma: Tensor) -> Tensor:
    """Infidelity (S,) with its exact gradient to the second argument.

    With rho = A A^+ the root fidelity is tr sqrt(A^+ sigma A), of which the gradient is
    A (A^+ sigma A)^(-1/2) A^+ / 2. That is finite where derivatives of eigenvectors are not, on
    the support of rho.

    Parameters
    ----------
    rho
        (S, d, d) true states, without gradient.
    sigma
        (S, d, d) estimates.
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


def loss(rho: Tensor, outlook: Outlook, copies: Tensor) -> Tensor:
    """Mean over experiments of the infidelity in units of its limit, and of the confidence's cost.

    The unit is that of Gill and Massar, (d^2 - 1) (d + 1) / 4 N, so that all numbers of copies
    count. The confidence s costs log s + (1 - F) / s, least where s is the mean of 1 - F.
    """
    d = rho.shape[-1]
    missed = smooth_infidelity(rho, outlook.state)
    scaled = missed * (copies + d * d) * 4 / ((d * d - 1) * (d + 1))
    cost = outlook.log_infidelity + missed.detach() * (-outlook.log_infidelity).exp()
    return (scaled + 0.1 * cost).mean()


def make_cell(settings: CellSettings, seed: int, d: int) -> Cell:
    """A cell before training."""
    from physml.training.initialise import initialise

    return initialise(
        lambda: Cell(settings.width, settings.rounds, settings.proposals), seed, replica=1_000 + d
    )


def estimator_for(
    cell: Cell, design: str, d: int, n_particles: int, learning: bool = False
) -> CellEstimator:
    """Estimator that adapts bases (``"global"``, ``"product"``) or turns a fixed measurement."""
    povm = None
    if design not in ("global", "product"):
        povm = whole_measurement(design, d.bit_length() - 1)
    return CellEstimator(cell, n_particles, povm, learning)


def train_cell(
    settings: CellSettings,
    states: Tensor,
    valid_states: Tensor,
    seed: int,
    left: Callable[[], float | None] = lambda: None,
) -> tuple[Cell, list[dict[str, float]]]:
    """Train a cell while it measures.

    Batches of true states are measured block by block, as the cell designs; after each few blocks
    the loss of their estimates is followed back through these blocks. The copies of an experiment
    are log-uniform up to the largest number.

    Parameters
    ----------
    settings
    states, valid_states
        (S, d, d) true states.
    seed
        Of everything random.
    left
        Seconds that are left, or None; where fewer are left than a batch took, training ends.

    Returns
    -------
    cell
    history
        For each batch its loss; where it was validated, the value of `validate`.
    """
    d = states.shape[-1]
    cell = make_cell(settings, seed, d)
    optimiser = torch.optim.Adam(cell.parameters(), settings.learning_rate)
    # Gradients reach a few blocks back only, so that the loss may fall while long experiments get
    # worse: what is kept is what validates best, the cell before training included.
    best = validate(cell, settings, valid_states, seed)
    kept = copy.deepcopy(cell.state_dict())
    history = [{"run": 0.0, "valid": best}]
    for run in range(settings.runs):
        began = time.monotonic()
        rate = 0.5 * (1 + math.cos(math.pi * run / settings.runs))
        for group in optimiser.param_groups:
            group["lr"] = max(rate, 0.05) * settings.learning_rate
        rng = stream(seed, "train", RUNS * d + run)
        rho = states[torch.from_numpy(rng.integers(0, len(states), settings.experiments))]
        value = _follow(cell, optimiser, settings, rho, DESIGNS[run % len(DESIGNS)], rng)
        history.append({"run": run + 1.0, "loss": value})
        remaining = left()
        last = remaining is not None and remaining < 3 * (time.monotonic() - began)
        if last or (run + 1) % settings.validate_every == 0 or run + 1 == settings.runs:
            found = validate(cell, settings, valid_states, seed)
            history[-1]["valid"] = found
            if found < best:
                best, kept = found, copy.deepcopy(cell.state_dict())
        log.info("d = %d, batch %d of %d: %s", d, run + 1, settings.runs, history[-1])
        if last:
            log.warning("no time for more than %d batches", run + 1)
            break
    cell.load_state_dict(kept)
    return cell.eval(), history


def _follow(
    cell: Cell,
    optimiser: torch.optim.Optimizer,
    settings: CellSettings,
    rho: Tensor,
    design: str,
    rng: np.random.Generator,
) -> float:
    """Learn from one batch of experiments; the mean of the loss."""
    d = rho.shape[-1]
    estimator = estimator_for(cell, design, d, settings.n_particles, learning=True)
    own, choice, luck = rng.spawn(3)
    estimator.start(len(rho), d, own)
    copies = round(math.exp(luck.uniform(math.log(100), math.log(settings.copies))))
    total = torch.zeros((), dtype=torch.float64)
    values: list[float] = []
    blocks = schedule(copies)
    for number, shots in enumerate(blocks, 1):
        with torch.no_grad():
            kind: BasisKind = "product" if design == "product" else "global"
            effects = estimator.next_basis(kind, choice, shots).effects
            counts = sample_counts(probabilities(effects, rho), shots, luck)
        estimator.update(effects, counts)
        total = total + loss(rho, estimator.outlook(), estimator.tally.copies())
        values.append(float(total.detach()))
        if number % settings.window == 0 or number == len(blocks):
            optimiser.zero_grad()
            (total / settings.window).backward()
            torch.nn.utils.clip_grad_norm_(cell.parameters(), LONGEST)
            optimiser.step()
            estimator.bank = estimator.bank.detach()
            estimator.forget_outlook()
            total = torch.zeros((), dtype=torch.float64)
    ends = values[settings.window - 1 :: settings.window]
    return sum(ends) / max(1, len(ends)) / settings.window


@torch.no_grad()
def validate(cell: Cell, settings: CellSettings, states: Tensor, seed: int) -> float:
    """Mean infidelity in units of Gill and Massar's, over the decades of copies; global bases."""
    d = states.shape[-1]
    result = experiment(
        CellEstimator(cell, settings.n_particles),
        states[: settings.valid],
        "global",
        schedule(settings.copies),
        stream(seed, "train", VALID * d),
    )
    units = (d * d - 1) * (d + 1) / (4 * (result.marks + d * d))
    return float((result.infidelity / units).mean())


def save_cell(
    path: str | PathLike[str],
    cells: dict[int, Cell],
    settings: CellSettings,
    card: dict[str, Any],
    overwrite: bool = False,
) -> None:
    """Write cells by dimension as safetensors, with the settings and whatever the card tells."""
    from physml.io.weights import save_weights

    tensors = {
        f"{d}.{name}": value
        for d, cell in cells.items()
        for name, value in cell.state_dict().items()
    }
    header = {
        "pipeline": "tomography_cell",
        "dimensions": sorted(cells),
        "settings": settings.model_dump(mode="json"),
        **card,
    }
    save_weights(path, tensors, header, overwrite=overwrite)


def load_cell(path: str | PathLike[str], d: int) -> tuple[Cell, dict[str, Any]]:
    """Cell of a dimension from a weights file, and the file's card.

    Raises
    ------
    InputError
        Not weights of particle cells, or none of this dimension.
    """
    from physml.io.weights import load_weights
    from physml.tomography.learning_settings import CellSettings

    tensors, card = load_weights(path)
    if card.get("pipeline") != "tomography_cell" or d not in card.get("dimensions", []):
        raise InputError.expected(path, f"a particle cell of dimension {d}", "none")
    settings = CellSettings.model_validate(card["settings"])
    cell = Cell(settings.width, settings.rounds, settings.proposals)
    own = f"{d}."
    part = {k.removeprefix(own): v for k, v in tensors.items() if k.startswith(own)}
    try:
        cell.load_state_dict(part)
    except RuntimeError as error:
        raise InputError.expected(path, f"a particle cell of dimension {d}", str(error)) from None
    return cell.eval().requires_grad_(False), card
