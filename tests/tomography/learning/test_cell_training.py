"""The particle cell's training and its place in the weights file."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from physml.exceptions import Checkpointed, InputError
from physml.io.weights import save_weights
from physml.random import stream
from physml.tomography.core.operators import infidelity, to_coordinates
from physml.tomography.core.states import draw
from physml.tomography.evaluation.methods import method
from physml.tomography.inference.cell.cell import Bank, Cell, square_root
from physml.tomography.inference.cell.estimator import CellEstimator, load_cells
from physml.tomography.inference.neural.corrector import Corrector
from physml.tomography.inference.neural.radii import Regions
from physml.tomography.inference.weights import named, prefix
from physml.tomography.learning.cell_training import (
    energy_score,
    make_cell,
    smooth_infidelity,
    train_cell,
    validate,
    within_reach,
)
from physml.tomography.settings import CELL, CellSettings

TINY = CellSettings(
    **{"width": 8, "rounds": 1, "proposals": 2, "n_particles": 5, "experiments": 2},
    **{"runs": 3, "copies": 100, "valid": 2, "validate_every": 1},
)
SIZES = TINY.model_dump(include={"width", "rounds", "proposals"})


def states_of(d: int = 2, n: int = 20) -> torch.Tensor:
    return draw("mixture", n, d, stream(0, "test", 18))


@pytest.mark.parametrize("name", ["hs", "pure"])
def test_infidelity_and_its_gradient(name: str) -> None:
    rng = stream(0, "test", 9)
    rho, sigma = draw(name, 5, 4, rng), draw("hs", 5, 4, rng).requires_grad_()
    value = smooth_infidelity(rho, sigma)
    torch.testing.assert_close(value.detach(), infidelity(rho, sigma.detach()))
    (gradient,) = torch.autograd.grad(value.sum(), sigma)
    change = draw("hs", 5, 4, rng) - draw("hs", 5, 4, rng)
    along = (gradient.conj() * change).sum((-2, -1)).real
    step = 1e-5
    found = infidelity(rho, sigma.detach() + step * change)
    numeric = (found - infidelity(rho, sigma.detach() - step * change)) / (2 * step)
    torch.testing.assert_close(along, numeric, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("d", [2, 4])
def test_unit_of_the_infidelity_runs_between_the_limits(d: int) -> None:
    many = torch.full((5,), 1e9).double()
    pure = within_reach(draw("pure", 5, d, stream(0, "test", 1)), many) * many
    top = (d * d - 1) * (d + 1) / 4
    expected = torch.full_like(pure, ((d - 1) * top) ** 0.5)
    torch.testing.assert_close(pure, expected, rtol=1e-4, atol=0)
    mixed = torch.eye(d, dtype=torch.complex128).expand(5, d, d) / d
    full = within_reach(mixed, many) * many
    torch.testing.assert_close(full, torch.full_like(full, top), rtol=1e-4, atol=0)


def test_energy_score_prefers_the_law_of_the_truth() -> None:
    """Truths and particles about one state: neither narrower nor wider banks score better."""
    rng, n = stream(0, "test", 2), 400
    middle = square_root(to_coordinates(draw("hs", 1, 4, rng)))[:, None]

    def about(size: float, shape: tuple[int, int]) -> torch.Tensor:
        b = middle + size * torch.as_tensor(rng.standard_normal((*shape, 16)))
        return b / b.norm(dim=-1, keepdim=True)

    truth = about(0.01, (n, 1))[:, 0]
    from physml.tomography.core.operators import from_coordinates
    from physml.tomography.inference.cell.cell import square

    rho, copies = from_coordinates(square(truth)), torch.full((n,), 1_000.0).double()
    equal = -torch.full((n, 50), 50.0).double().log()
    score = [
        float(energy_score(rho, Bank(about(size, (n, 50)), equal, 4), copies).mean())
        for size in (0.003, 0.01, 0.03)
    ]
    assert score[1] < score[0]
    assert score[1] < score[2]


@pytest.fixture(scope="module")
def whole() -> tuple[Cell, list[dict[str, float]]]:
    """A training that was not stopped."""
    states = states_of()
    return train_cell(TINY, states, states[:4], 3)


def test_training_keeps_what_validates_best(whole: tuple) -> None:
    cell, history = whole
    assert [row["run"] for row in history] == [0, 1, 2, 3]
    assert all(np.isfinite(list(row.values())).all() for row in history)
    best = min(row["valid"] for row in history)
    assert validate(cell, TINY, states_of()[:4], 3) == best


def test_a_training_goes_on_where_it_stopped(whole: tuple, tmp_path: Path) -> None:
    """And ends with the same numbers, so that these follow from the seed."""
    states, (cell, expected) = states_of(), whole
    asked = []

    def left() -> float:
        asked.append(0)
        return 1e9 if len(asked) < 3 else 0.0

    with pytest.raises(Checkpointed, match="after 2 batches"):
        train_cell(TINY, states, states[:4], 3, tmp_path, left)
    done, history = train_cell(TINY, states, states[:4], 3, tmp_path)
    assert history == expected
    for name, value in cell.state_dict().items():
        assert torch.equal(value, done.state_dict()[name])
    # Nothing is left to be done; with another seed everything is.
    assert train_cell(TINY, states, states[:4], 3, tmp_path, lambda: 0.0)[1] == expected
    with pytest.raises(Checkpointed, match="after 1 batches"):
        train_cell(TINY, states, states[:4], 4, tmp_path, lambda: 0.0)


@pytest.mark.slow
def test_training_helps() -> None:
    """Two qubits, of which the untrained cell knows little."""
    settings = CellSettings(
        width=16, n_particles=20, experiments=16, runs=16, copies=300, valid=60, validate_every=16
    )
    train = draw("mixture", 500, 4, stream(0, "test", 27))
    valid = draw("mixture", 60, 4, stream(0, "test", 28))
    _, history = train_cell(settings, train, valid, 3)
    assert history[-1]["valid"] < 0.8 * history[0]["valid"]


def test_cells_come_back_from_the_weights_of_the_pipeline(tmp_path: Path) -> None:
    cell, path = make_cell(TINY, 0, 2), tmp_path / "cell.safetensors"
    card = {"pipeline": "tomography", "networks": {}, "cell": {"1": SIZES}}
    save_weights(path, named(2, cell), card)
    loaded = load_cells(path)
    assert list(loaded) == [2]
    for name, value in cell.state_dict().items():
        # Stored in single precision.
        torch.testing.assert_close(value, loaded[2].state_dict()[name], rtol=1e-6, atol=1e-7)
    made = CellEstimator.load(path, n_particles=7)
    made.start(1, 2, stream(0, "test", 3))
    assert made.bank.roots.shape == (1, 7, 4)
    with pytest.raises(InputError, match=r"cells for \(1\)"):
        made.start(1, 4, stream(0, "test", 3))
    how = method(CELL[0], path)
    assert isinstance(how.make(100), CellEstimator)
    assert how.design == "global"


@pytest.mark.parametrize(
    ("cell", "d", "message"),
    [({}, 2, "weights with a particle cell"), ({"1": SIZES}, 4, "network 1_qubits.cell")],
)
def test_weights_without_a_cell(tmp_path: Path, cell: dict, d: int, message: str) -> None:
    card = {"pipeline": "tomography", "networks": {}, "cell": cell}
    save_weights(tmp_path / "other.safetensors", named(d, make_cell(TINY, 0, 2)), card)
    with pytest.raises(InputError, match=message):
        CellEstimator.load(tmp_path / "other.safetensors")


def test_names_of_tensors_of_the_parts_do_not_meet() -> None:
    beginnings = [prefix(4, kind) for kind in (Cell, Corrector, Regions)]
    assert beginnings[0] == "2_qubits.cell."
    for one, other in itertools.permutations(beginnings, 2):
        assert not one.startswith(other)
