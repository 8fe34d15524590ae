"""Evaluation of tomography: numbers against closed forms, the stage, its figures, the benchmark."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fakes.tomography_evaluation import COPIES, a_result, power_law
from pydantic import ValidationError

from physml.evaluation.figures import new_figure, save_figure
from physml.models import shipped_weights
from physml.random import stream
from physml.tomography import evaluate
from physml.tomography.core import limits
from physml.tomography.core.schedule import ends, marks_of, schedule
from physml.tomography.evaluation import compare, latency, methods, plots
from physml.tomography.evaluation.baselines import BASELINES
from physml.tomography.evaluation.scores import coverage, scores, slope
from physml.tomography.evaluation.sets import LISTS, evaluation_list
from physml.tomography.inference.classical.linear import LinearInversion
from physml.tomography.inference.classical.particle_filter import ParticleFilter
from physml.tomography.inference.neural.estimator import NeuralEstimator
from physml.tomography.settings import (
    COMPARED,
    INFORMED,
    NEURAL,
    RIVALS,
    EvaluateSettings,
    TomographySettings,
)
from physml.tomography.simulator.experiment import ADAPTIVE, RANDOM, STATIC


@pytest.fixture(scope="module")
def weights():
    return shipped_weights("tomography")


def test_radius_holds_the_share_and_no_more():
    rng = np.random.default_rng(0)
    far, raw = torch.from_numpy(rng.random((5, 200))), torch.from_numpy(rng.random((5, 200)))
    weight = raw / raw.sum(1, keepdim=True)
    radius = methods.share_radius(far, weight, 0.9)
    inside = (weight * (far <= radius[:, None])).sum(1)
    without_last = (weight * (far < radius[:, None])).sum(1)
    assert (inside >= 0.9 - 1e-12).all()
    assert (without_last < 0.9).all()


def test_slope_of_a_power_law():
    n = np.array([1e3, 1e4, 1e5])
    assert slope(np.stack([3 * n**-1.0, 0.2 * n**-0.5]), n) == pytest.approx([-1, -0.5])


def test_scores_are_those_of_the_data():
    outcome = power_law(0.05, -1.0)
    found = scores(outcome, COPIES, replicas=200, rng=np.random.default_rng(0))
    x = outcome.infidelity
    for k in range(len(COPIES)):
        assert found["mean"][k]["value"] == pytest.approx(x[:, k].mean())
        assert found["median"][k]["value"] == pytest.approx(np.median(x[:, k]))
        assert found["percentile_95"][k]["value"] == pytest.approx(np.percentile(x[:, k], 95))
        # Of 40 exponential numbers the mean is known to 16 %: 95 % are within about twice that.
        width = found["mean"][k]["high"] - found["mean"][k]["low"]
        assert 0.4 < width / found["mean"][k]["value"] < 0.9
    assert found["slope"]["value"] == pytest.approx(-1)
    assert [c["value"] for c in found["coverage"]] == [0.9] * 4
    assert found["expected"] == pytest.approx(x.mean(0))


def test_without_regions_and_late_marks_nothing_is_made_up():
    outcome = power_law(0.05, -1.0, regions=False)
    short = methods.Outcome(
        outcome.infidelity[:, :2], outcome.radius[:, :2], *[outcome.spread[:, :2]], 0, 0
    )
    found = scores(short, COPIES[:2], replicas=50, rng=np.random.default_rng(0))
    assert found["slope"] is None
    assert found["coverage"] is found["radius"] is None


def test_coverage_interval_knows_the_number_of_states():
    few, many = coverage(np.ones((10, 1), bool))[0], coverage(np.ones((1000, 1), bool))[0]
    assert few["value"] == many["value"] == 1
    assert few["low"] < 0.8 < 0.99 < many["low"]


def test_parts_are_joined_in_order():
    a, b = power_law(0.1, -1, 10), power_law(0.2, -1, 30)
    both = methods.Outcome.join([a, b])
    assert np.array_equal(both.infidelity, np.concatenate([a.infidelity, b.infidelity]))
    assert both.update_ms == pytest.approx(0.01)


def test_names_of_the_settings_are_those_of_the_methods():
    assert tuple(BASELINES) == (*RIVALS, *INFORMED)
    designs = {name.removeprefix("neural, ") for name in NEURAL}
    assert designs == {*ADAPTIVE, *RANDOM, *STATIC}
    assert set(COMPARED) <= {*NEURAL, *RIVALS}
    with pytest.raises(ValidationError, match="unknown methods"):
        EvaluateSettings(methods=("neural, psychic",))
    with pytest.raises(ValidationError, match="once"):
        EvaluateSettings(methods=("linear, pauli", "linear, pauli"))


@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize("qubits", [1, 2])
def test_every_method_runs(name, qubits, weights):
    rho = evaluation_list("pure", qubits, 2)
    how = methods.method(name, weights)
    marks = tuple(int(n) for n in ends(schedule(30))[[3, -1]])
    outcome = methods.run_method(how, rho, marks, stream(0, "test", 0))
    assert outcome.infidelity.shape == (2, 2)
    assert ((outcome.infidelity >= 0) & (outcome.infidelity < 1)).all()
    # A guess at nothing is at 1 - 1/d from a pure state; copies must have taught something.
    assert outcome.infidelity.mean() < 1 - 0.5**qubits
    assert outcome.update_ms > 0
    has_regions = name.startswith(("neural", "particle"))
    assert np.isfinite(outcome.radius).all() == has_regions
    again = methods.run_method(how, rho, marks, stream(0, "test", 0))
    assert np.array_equal(outcome.infidelity, again.infidelity)


def test_region_is_that_of_the_tomographer(weights):
    """What is evaluated is what a user is told."""
    from physml.tomography import Tomographer
    from physml.tomography.core.born import probabilities, sample_counts

    tomographer = Tomographer(1, estimator=NeuralEstimator.load(weights))
    rho, rng = evaluation_list("r_0.9", 1, 1), stream(1, "test", 0)
    for _ in range(4):
        setting = tomographer.next_measurement(50)
        p = probabilities(torch.from_numpy(setting.effects), rho)
        tomographer.update(setting, sample_counts(p, 50, rng)[0].long().tolist())
    radius = methods.region_radius(tomographer.estimator, 0.8)
    assert radius == pytest.approx([tomographer.credible_region(0.8).infidelity])


def test_region_of_particles_grows_with_the_level_and_shrinks_with_copies():
    rho, rng = evaluation_list("hs", 1, 12), stream(2, "test", 0)
    radius = {}

    def look(copies, estimator):
        radius[copies] = [methods.region_radius(estimator, level) for level in (0.5, 0.9)]

    from physml.tomography.simulator.experiment import experiment

    experiment(
        ParticleFilter(100, moves=3),
        rho,
        "pauli",
        schedule(400),
        rng,
        marks=[100, 400],
        observe=look,
    )
    for half, most in radius.values():
        assert (half < most).all()
    assert radius[400][1].mean() < 0.6 * radius[100][1].mean()


def test_an_estimator_without_regions_has_none():
    estimator = LinearInversion()
    estimator.start(2, 2, stream(0, "test", 0))
    assert np.isnan(methods.region_radius(estimator, 0.9)).all()


SMALL = {
    "states": 2,
    "copies": 100,
    "batch": 1,
    "bootstrap": 50,
    "timed": 100,
    "test": 2,
    "methods": ["neural, global", "linear, pauli"],
}


def test_marks_end_with_the_last_copy():
    assert marks_of(100) == (100,)
    assert marks_of(100_000) == (100, 1_000, 10_000, 100_000)
    assert marks_of(2_500) == (100, 1_000, 2_500)


def test_jobs_cover_every_state_once_with_equal_luck(weights):
    settings = EvaluateSettings(**SMALL)
    lists = compare.frozen_lists(2, [1])
    jobs = compare.jobs_of(lists, settings, 5, weights, only_ours=["1 qubit, r_1"])
    assert set(lists) == {f"1 qubit, {name}" for name in LISTS[1]}
    for place, rho in lists.items():
        luck = {}
        for method in SMALL["methods"]:
            own = sorted(
                (j for j in jobs if (j.place, j.method) == (place, method)), key=lambda j: j.batch
            )
            if method == "linear, pauli" and place == "1 qubit, r_1":
                assert own == []
                continue
            assert torch.equal(torch.cat([j.rho for j in own]), rho)
            luck[method] = [j.index for j in own]
        assert len({tuple(v) for v in luck.values()}) == 1
    assert len({j.index for j in jobs}) == 2 * len(lists)


def test_a_list_is_judged_alike_whichever_others_there_are(weights):
    settings = EvaluateSettings(**SMALL | {"methods": ["linear, pauli"]})
    lists = compare.frozen_lists(2, [1])
    one = {"1 qubit, r_0.9": lists["1 qubit, r_0.9"]}
    whole, alone = (compare.compare(x, settings, 1, weights=weights) for x in (lists, one))

    def means(found):
        return found["1 qubit, r_0.9"]["methods"]["linear, pauli"]["mean"]

    assert means(whole) == means(alone)


@pytest.mark.slow
def test_workers_change_nothing(weights):
    settings = EvaluateSettings(**SMALL)
    lists = compare.frozen_lists(2, [1])
    one, two = (
        compare.compare(lists, settings, 1, weights=weights, threads=n, mem_mb=3000) for n in (1, 2)
    )
    for place in lists:
        for name in SMALL["methods"]:
            first, second = (x[place]["methods"][name] for x in (one, two))
            assert first["mean"] == second["mean"]
            assert first["coverage"] == second["coverage"]


def test_stage_writes_numbers_and_figures(tmp_path, weights, monkeypatch):
    split = {"2 qubits, test": evaluation_list("hs", 2, 2)}
    monkeypatch.setattr(compare, "split_lists", lambda data, qubits, n: split)
    # Timed in a test of its own.
    monkeypatch.setattr(latency, "latency", lambda *a, **k: a_result()["latency"])
    monkeypatch.setattr(plots, "STATISTICS", {"mean": "mean"})  # fewer figures to draw
    (tmp_path / "data").mkdir()
    out = tmp_path / "evaluation"
    settings = TomographySettings.model_validate({"evaluate": SMALL})
    evaluate.run(settings=settings, data=tmp_path / "data", weights=weights, out=out)
    found = json.loads((out / "metrics.json").read_text())
    assert found["provenance"]["stage"] == "evaluate"
    assert found["copies"] == [100]
    assert found["latency"]["ratio"] == pytest.approx(34)
    assert len(found["lists"]) == len(LISTS[1]) + len(LISTS[2]) + 1
    assert set(found["lists"]["2 qubits, hs"]["methods"]) == set(SMALL["methods"])
    assert set(found["lists"]["2 qubits, test"]["methods"]) == {"neural, global"}
    drawn = {p.stem for p in (out / "figures").iterdir()}
    assert {"infidelity_1", "infidelity_2", "coverage", "latency"} <= drawn


def test_times_are_of_each_step(weights):
    """Steps are counted, states share the time, and the caller's threads come back."""
    before = torch.get_num_threads()
    found = latency.latency(weights, 20, 0, n_qubits=1, batch=4, by_copy=8)
    assert torch.get_num_threads() == before
    assert found["particle_filter_by_copy"]["updates"] == 8
    ours = found["neural"]
    assert all(ours[step]["median"] > 0 for step in latency.STEPS)
    assert found["ratio"] == pytest.approx(
        latency.work(found["particle_filter"]) / latency.work(ours)
    )


@pytest.fixture(scope="module")
def result():
    return a_result()


def test_every_figure_is_drawn(result, tmp_path):
    made = plots.figures(result)
    assert {"infidelity_1", "infidelity_2_median", "coverage", "slopes", "latency"} <= set(made)
    for name in ("coverage", "slopes"):
        assert save_figure(made[name], tmp_path / f"{name}.png").stat().st_size > 5000


def test_curve_is_what_was_measured_and_lines_what_physics_allows(result):
    _, axes = new_figure()
    ax = plots.plot_infidelity(axes[0, 0], result["lists"]["2 qubits, pure"], COPIES)
    lines = {h.get_label(): h for h in ax.lines}
    bars = {c.get_label(): c for c in ax.containers}
    n, y = bars["neural, global"].lines[0].get_data()
    assert list(n) == COPIES
    part = result["lists"]["2 qubits, pure"]["methods"]["neural, global"]
    assert list(y) == [m["value"] for m in part["mean"]]
    x, limit = lines["limit: Gill-Massar, known pure"].get_data()
    assert limit == pytest.approx(limits.gill_massar_pure(4, x))


def test_coverage_is_drawn_for_lists_with_regions(result):
    _, axes = new_figure()
    ax = plots.plot_coverage(axes[0, 0], result["lists"], COPIES, 0.9, "particle filter, global")
    assert len(ax.containers) == 3  # the test split was not given to it
    assert ax.containers[0].lines[0].get_ydata() == pytest.approx([0.9] * 4)


def test_slopes_stand_in_their_rows(result):
    _, axes = new_figure()
    names = ["neural, global", "neural, pauli"]
    ax = plots.plot_slopes(axes[0, 0], result["lists"], names)
    drawn = ax.containers[0].lines[0]
    assert drawn.get_xdata() == pytest.approx([-1, -0.5])
    assert drawn.get_ydata()[0] > drawn.get_ydata()[1]
    assert [t.get_text() for t in ax.get_yticklabels()] == names


def test_coverage_lists_are_frozen_and_not_those_of_the_evaluation():
    from physml.tomography.evaluation.sets import COVERAGE_SIZE, coverage_list, evaluation_list

    some, more = coverage_list("pure", 1, 5), coverage_list("pure", 1, 9)
    assert torch.equal(some, more[:5])
    assert (some - evaluation_list("pure", 1, 5)).abs().amax((1, 2)).min() > 1e-3
    with pytest.raises(ValueError, match="states"):
        coverage_list("pure", 1, COVERAGE_SIZE + 1)
    longer, frozen = (compare.frozen_lists(2, [1], f) for f in (coverage_list, evaluation_list))
    assert set(longer) == set(frozen)
