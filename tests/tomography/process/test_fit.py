"""Estimates of processes: gradients, limits of many copies, intervals, fit, choice."""

from __future__ import annotations

import numpy as np
import pytest

from physml.exceptions import InputError
from physml.tomography import ProcessTomographer
from physml.tomography.core.process.channels import (
    average_gate_fidelity,
    check_choi,
    choi_of_kraus,
    output_trace,
    pauli_transfer,
    process_fidelity,
    unitarity,
)
from physml.tomography.core.process.preparations import input_state
from physml.tomography.evaluation.processes import (
    choi_errors,
    fixed_design,
    judge,
    measure,
    table_from,
)
from physml.tomography.inference.process.data import Table, table_of
from physml.tomography.inference.process.design import Candidate, candidates, choose
from physml.tomography.inference.process.fit import fit_process
from physml.tomography.inference.process.goodness import process_fit
from physml.tomography.inference.process.latent import Latent
from physml.tomography.inference.process.rivals import (
    completeness,
    linear_inversion,
    maximum_likelihood,
    project_to_processes,
)
from physml.tomography.inference.process.unbiased import fidelity_weights, least_squares
from physml.tomography.simulator import processes as sim


def data(choi, copies=20_000, seed=0, swap=None):
    """Table of a process; `swap` measures other axes than are said."""
    rng = np.random.default_rng(seed)
    n = 1 if len(choi) == 4 else 2
    chosen = fixed_design(n, copies, rng)
    real = chosen
    if swap:
        table = str.maketrans(*swap)
        real = [(Candidate(c.input, c.axes.translate(table)), k) for c, k in chosen]
    counts = measure(choi, real, rng)
    return table_from(list(zip([c for c, _ in chosen], counts, strict=True)))


@pytest.mark.parametrize("d", [2, 4])
def test_gradients_and_processes_of_the_chart(d):
    rng = np.random.default_rng(1)
    latent = Latent(sim.haar(d, rng)[0])
    x = rng.standard_normal((3, latent.size))
    parts = latent.parts(x)
    for choi in parts["choi"]:
        check_choi(choi)
    weights = rng.standard_normal(d**4)

    def value(x):
        found = latent.parts(x)
        return latent.pack(found["choi"]) @ weights + latent.log_prior(x, found)[0]

    gradient = latent.pull(x, parts, np.tile(weights, (3, 1))) + latent.log_prior(x, parts)[1]
    way = rng.standard_normal(latent.size)
    slope = (value(x + 1e-6 * way) - value(x - 1e-6 * way)) / 2e-6
    assert gradient @ way == pytest.approx(slope, rel=1e-5, abs=1e-5)
    choi = sim.draw("mixed_noise", d, rng)
    near = latent.parts(latent.start(choi, rng, 1))["choi"][0]
    assert np.abs(near - choi).max() < 2e-3


@pytest.mark.parametrize("family", ["depolarised", "damped", "random_rank"])
def test_rivals_find_the_process_of_exact_frequencies(family):
    rng = np.random.default_rng(2)
    choi = sim.draw(family, 2, rng)
    chosen = fixed_design(1, 18_000, rng)
    latent = Latent(np.eye(2, dtype=complex))
    table = table_from([(c, np.ones(2)) for c, _ in chosen])
    p = table.design @ latent.pack(choi[None])[0]
    exact = (table.design, 1e6 * p, np.full(len(p), 1e6))
    assert np.abs(linear_inversion(latent, *exact) - choi).max() < 1e-9
    found = maximum_likelihood(latent, *exact)
    assert np.abs(found - choi).max() < 2e-3
    check_choi(found)


def test_projection_is_the_nearest_process():
    rng = np.random.default_rng(3)
    choi = sim.draw("damped", 4, rng)
    a = rng.standard_normal((2, 16, 16))
    noise = a[0] + a[0].T + 1j * (a[1] - a[1].T)
    wrong = choi + 0.02 * noise
    found = project_to_processes(wrong)
    check_choi(found)
    assert np.abs(output_trace(found) - np.eye(4)).max() < 1e-9
    far = np.linalg.norm(found - wrong)
    for _ in range(20):  # no process on the way to another one is nearer
        other = sim.draw("random_rank", 4, rng)
        assert far < np.linalg.norm(found + 0.01 * (other - found) - wrong) + 1e-5
    assert far < np.linalg.norm(choi - wrong)


def test_intervals_without_a_prior_hold_for_every_family():
    """120 processes of six families, 90 % intervals of fidelity and unitarity."""
    held, scores = [], []
    for family in sim.FAMILIES:
        for k in range(20):
            truth = sim.draw(family, 2, np.random.default_rng(k))
            table = data(truth, 10_000, k)
            latent = Latent(np.eye(2, dtype=complex))
            squares = least_squares(latent, table)
            near = project_to_processes(
                linear_inversion(latent, table.design, table.counts, table.shots)
            )
            target = sim.small_unitary(2, 0.3, np.random.default_rng(k))[0]
            f = squares.linear(fidelity_weights(target), 0.0, 0.9)
            u = squares.unitarity(pauli_transfer(near), 0.9)
            row = []
            for (value, low, high), true in (
                (f, process_fidelity(truth, target)),
                (u, unitarity(truth)),
            ):
                row.append(low <= true <= high)
                scores.append((value - true) / (high - low))
            held.append(row)
    assert (np.mean(held, 0) > 0.83).all()
    assert (np.mean(held, 0) < 0.98).all()
    assert abs(np.mean(scores)) < 0.08  # no bias, in units of the interval


def test_least_squares_of_exact_frequencies_and_of_too_few_inputs():
    truth = sim.draw("mixed_noise", 4, np.random.default_rng(1))
    table = data(truth, 324)
    latent = Latent(np.eye(4, dtype=complex))
    p = table.design @ latent.pack(truth[None])[0]
    shots = np.full(len(p), 1e9)
    exact = Table(table.design, 1e9 * p, shots, table.place, table.names)
    found = least_squares(latent, exact)
    assert np.abs(found.transfer - pauli_transfer(truth)).max() < 1e-9
    target = sim.haar(4, np.random.default_rng(2))[0]
    value, low, high = found.linear(fidelity_weights(target), 0.0, 0.9)
    assert value == pytest.approx(process_fidelity(truth, target), abs=1e-9)
    assert 0 < high - low < 1e-3
    few = table_of(
        [input_state(("0",))], [np.stack([np.diag([1, 0]), np.diag([0, 1])]) + 0j],
        [np.array([3, 4])], [""],
    )  # fmt: skip
    assert least_squares(Latent(np.eye(2, dtype=complex)), few) is None


def test_posterior_of_one_qubit():
    truth = sim.draw("mixed_noise", 2, np.random.default_rng(4))
    found = fit_process(data(truth, 100_000), seed=1)
    check_choi(found.choi)
    assert found.samples.agreement < 1.2
    assert choi_errors(found.choi, truth)["frobenius2"] < 2e-3
    # The deviance of the samples exceeds the best by about the number of parameters, 12 at most.
    k = found.samples.deviance.mean() - found.samples.deviance.min()
    assert 2 < k < 24
    with pytest.raises(InputError, match="estimator"):
        fit_process(data(truth), "other")


def test_without_data_there_is_the_prior():
    """Counts of one setting say little: the intervals must be wide, not those of a point."""
    state, effects = input_state(("0",)), np.stack([np.diag([1, 0]), np.diag([0, 1])]) + 0j
    table = table_of([state], [effects], [np.array([3, 0])], ["0 > Z"])
    assert completeness(table.design, 2) == (1, 12)
    found = fit_process(table, seed=2)
    low, high = np.quantile(average_gate_fidelity(found.samples.choi, np.eye(2)), [0.05, 0.95])
    assert high - low > 0.3


def test_fit_finds_swapped_axes_and_lets_processes_pass():
    rng, wrong, right = np.random.default_rng(5), [], []
    for k, family in enumerate(("damped", "coherent", "mixed_noise")):
        truth = sim.draw(family, 2, rng)
        for swap, kept in ((("XY", "YX"), wrong), (None, right)):
            table = data(truth, 3000, k, swap)
            found = fit_process(table, seed=k, chains=8)
            fit = process_fit(found.latent, table, found.mean, found.samples.choi, rng)
            kept.append((fit.p_value, fit.widened))
    assert all(p > 1e-3 and wide == 1 for p, wide in right)
    assert sum(p < 1e-3 and wide > 1 for p, wide in wrong) >= 2


def test_too_few_inputs_cannot_be_tested():
    truth = sim.draw("damped", 2, np.random.default_rng(6))
    rng = np.random.default_rng(7)
    chosen = [(Candidate(i, a), 500) for i in ("0", "1", "+", "+i") for a in "XYZ"]
    counts = measure(truth, chosen, rng)
    table = table_from(list(zip([c for c, _ in chosen], counts, strict=True)))
    assert completeness(table.design, 2) == (12, 12)
    found = fit_process(table, seed=0, chains=8)
    fit = process_fit(found.latent, table, found.mean, found.samples.choi, rng)
    assert fit.p_value is None or fit.p_value > 1e-3
    assert fit.widened == 1


def test_choice_prefers_what_is_unknown():
    """All but the inputs +i are known well: these are chosen.

    The noise is strong: of a nearly unitary process the other inputs tell what becomes of +i.
    """
    truth = choi_of_kraus(sim.depolarising(2, 0.6))
    rng = np.random.default_rng(9)
    chosen = [(Candidate(i, a), 4000) for i in ("0", "1", "+", "-") for a in "XYZ"]
    counts = measure(truth, chosen, rng)
    table = table_from(list(zip([c for c, _ in chosen], counts, strict=True)))
    found = fit_process(table, seed=0)
    picked = choose(found.latent, found.samples.choi, candidates(1), 100, 6)
    assert sum(n for _, n in picked) == 100
    assert sum(n for c, n in picked if c.input in ("+i", "-i")) >= 80


def test_loop_begins_complete_and_goes_on():
    made = ProcessTomographer(1, seed=3)
    first = made.next_measurements(1201)
    assert sum(n for _, n in first) == 1201
    rng = np.random.default_rng(0)
    truth = sim.draw("damped", 2, rng)
    made.update(list(zip([c for c, _ in first], measure(truth, first, rng), strict=True)))
    second = made.next_measurements(500, 6)
    assert sum(n for _, n in second) == 500
    before = len(made.measurements)
    with pytest.raises(InputError):
        made.update([(second[0][0], [1, 2]), (second[0][0], [1, -2])])
    assert len(made.measurements) == before
    with pytest.raises(InputError, match="copies="):
        made.next_measurements(3, 6)
    with pytest.raises(InputError, match="1 or 2 qubits"):
        ProcessTomographer(3)


@pytest.mark.slow
def test_two_qubits_beat_maximum_likelihood_and_hold():
    rows = [judge(family, 2, 100_000, 1000) for family in ("depolarised", "coherent")]
    for row in rows:
        assert row["bayes"]["infidelity"] < 0.7 * row["maximum_likelihood"]["infidelity"]
        each = row["intervals"]["average gate fidelity"]
        assert each["high"] - each["low"] < 0.02
