"""The tomographer: asking, taking in, answering, carrying on."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from fakes.tomography import noisy, pauli_data

from physml.exceptions import InputError, PhysmlError
from physml.tomography import SimulatedLaboratory, Stop, Tomographer, steer
from physml.tomography.core import measurements
from physml.tomography.core.operators import infidelity, purity
from physml.tomography.core.readout import Readout, flips
from physml.tomography.core.states import draw, named_state
from physml.tomography.data.session import Session, read_session
from physml.tomography.inference import by_name

BELL = noisy("phi+", 0.04)


def measured(tomographer, rho, copies, check_fit=True, **options):
    laboratory = SimulatedLaboratory(rho, **options)
    steer(tomographer, laboratory, Stop(copies=copies), check_fit=check_fit)
    return tomographer


@pytest.mark.parametrize("design", ["global", "product", "pauli", "mub", "sic", "pairwise"])
def test_each_design_finds_the_state(design):
    """5000 copies leave an infidelity of a few percent with linear inversion."""
    made = measured(Tomographer(2, design, "linear", seed=3), BELL, 5000)
    assert made.copies == 5000
    assert made.unmeasured == 0
    target = named_state("phi+", 2).numpy()
    assert np.trace(target @ made.density_matrix).real == pytest.approx(0.97, abs=0.05)


def without_token(setting):
    """A setting as JSON, its id without the token of the session."""
    return {**setting.to_dict(), "id": setting.id.partition("-")[2]}


def test_settings_of_ones_own_are_used_in_turn():
    own = measurements.pauli_settings(1, 10)[:2]
    made = Tomographer(1, own, "linear")
    names = [made.next_measurement(100) for _ in range(4)]
    for k, setting in enumerate(names):
        assert np.array_equal(setting.effects, own[k % 2].effects)
        assert setting.shots == 100
    assert len({s.id for s in names}) == 4
    made.update(names[0], [50, 50])
    made.update(names[1], [50, 50])
    assert made.unmeasured == 1  # nobody has measured along Z
    # What had fewer copies comes first.
    uneven = Tomographer(1, own, "linear")
    uneven.next_measurement(1000)
    assert np.array_equal(uneven.next_measurement(10).effects, own[1].effects)
    assert np.array_equal(uneven.next_measurement(10).effects, own[1].effects)


@pytest.mark.parametrize(
    ("design", "estimator"),
    [("product", "particle_filter"), ("global", "linear"), ("pauli", "maximum_likelihood")],
)
def test_resumed_is_as_never_stopped(design, estimator, tmp_path):
    """Estimate, next setting and region agree to the last bit."""
    path, laboratory = tmp_path / "s.jsonl", SimulatedLaboratory(BELL)
    with Tomographer(2, design, estimator, seed=5, session=path) as first:
        measured(first, BELL, 150)
        asked = first.next_measurement(40)
        rho, region = first.density_matrix, first.credible_region(0.9)
    with Tomographer.resume(path) as second:
        assert second.density_matrix.tobytes() == rho.tobytes()
        assert second.credible_region(0.9) == region
        assert [s.to_dict() for s in second.pending] == [asked.to_dict()]
        second.update(asked.id, laboratory.measure(asked))
        following = second.next_measurement(7)
    whole = measured(Tomographer(2, design, estimator, seed=5), BELL, 150)
    again = whole.next_measurement(40)
    whole.update(again, laboratory.measure(again))
    assert without_token(whole.next_measurement(7)) == without_token(following)


def test_default_is_the_neural_estimator_with_calibrated_regions(tmp_path):
    path = tmp_path / "s.jsonl"
    with Tomographer(2, "product", session=path) as made:
        assert made.credible_region(0.9).effective_size is not None  # the prior, sampled
        measured(made, BELL, 600)
        assert made.estimator.name == "neural"
        region = made.credible_region(0.9)
        assert region.complete
        assert region.effective_size is None  # calibrated
        assert 0.005 < region.infidelity < 0.2
        assert made.credible_region(0.5).infidelity < region.infidelity
        truth = float(infidelity(torch.from_numpy(made.density_matrix), BELL))
        assert truth < made.credible_region(0.99).infidelity
        fidelity = made.functional("fidelity", 0.99, named_state("phi+", 2))
        assert fidelity.low < 0.97 < fidelity.high
        rho = made.density_matrix
    with Tomographer.resume(path) as again:
        assert again.density_matrix.tobytes() == rho.tobytes()


def test_ids_belong_to_the_session_and_old_sessions_have_none(tmp_path):
    made = [Tomographer(1, "pauli", "linear", session=tmp_path / f"{k}.jsonl") for k in range(2)]
    ids = [tomographer.next_measurement(10).id for tomographer in made]
    assert ids[0] != ids[1]
    assert {name.partition("-")[2] for name in ids} == {"m000000"}
    made[0].close()
    with Tomographer.resume(tmp_path / "0.jsonl") as again:
        assert again.next_measurement(10).id == ids[0].replace("m000000", "m000001")
    header = {k: v for k, v in read_session(tmp_path / "1.jsonl")[0].items() if k != "token"}
    with Session.create(tmp_path / "old.jsonl", header):
        pass
    with Tomographer.resume(tmp_path / "old.jsonl") as old:  # as version 0.1 wrote it
        assert [old.next_measurement(10).id for _ in range(2)] == ["m000000", "m000001"]


def test_shots_of_a_waiting_setting_can_be_changed(tmp_path):
    path = tmp_path / "s.jsonl"
    with Tomographer(1, "pauli", "linear", session=path) as made:
        asked = made.next_measurement(10)
        assert made.change_shots(asked, 500).shots == 500
        # X has had 500 now: Y and Z are next, again and again.
        axes = [made.next_measurement(100).effects for _ in range(4)]
        assert not any(np.array_equal(effects, asked.effects) for effects in axes)
        with pytest.raises(InputError, match="waits for its counts"):
            made.change_shots("m000009", 10)
    with Tomographer.resume(path) as again:
        assert again.pending[0].shots == 500
        again.update(asked.id, [250, 250])
        with pytest.raises(InputError, match="waits for its counts"):
            again.change_shots(asked.id, 10)


def test_a_stop_needs_an_infidelity():
    with pytest.raises(InputError, match="between 0 and 1 at which to stop"):
        Tomographer(1, "pauli", "linear").should_stop()


def test_late_and_repeated_and_foreign_answers(tmp_path):
    path, laboratory = tmp_path / "s.jsonl", SimulatedLaboratory(BELL)
    with Tomographer(2, "pauli", "linear", session=path) as made:
        asked = [made.next_measurement(100) for _ in range(9)]
        for setting in reversed(asked):
            assert made.update(setting, laboratory.measure(setting), time=1.0)
            assert not made.update(setting.id, laboratory.measure(setting))
        foreign, counts = pauli_data(BELL)[3]
        assert made.update(foreign, dict(zip(foreign.outcomes, counts.tolist(), strict=True)))
        rho = made.density_matrix
    events = [e["event"] for e in read_session(path)]
    assert events.count("counts") == 10  # nothing is written twice
    with Tomographer.resume(path) as again:
        assert again.density_matrix.tobytes() == rho.tobytes()
        assert not again.pending
        assert again.records.measurements[0].time == 1.0


def test_readout_errors_are_taken_out():
    readout = Readout(flips([0.08, 0.03], [0.02, 0.1]))
    target = named_state("phi+", 2).numpy()
    found = {}
    for name, given in (("known", readout), ("ignored", None)):
        made = Tomographer(2, "pauli", "maximum_likelihood", readout=given)
        # Readout errors that are not known are a misfit, which this is not about.
        measured(made, BELL, 20_000, check_fit=given is not None, readout=readout)
        found[name] = np.trace(target @ made.density_matrix).real
    # Three correlations, each known to 0.02, over four: a standard error of 0.008.
    assert found["known"] == pytest.approx(0.97, abs=0.025)
    assert found["ignored"] < 0.93
    guess = Tomographer(2, "pauli", "linear", readout=Readout(readout.confusion, known=False))
    measured(guess, BELL, 1000, check_fit=False)  # of a laboratory without readout errors
    assert any("guess" in note for note in guess.credible_region(0.9).notes)


def test_estimate_is_an_object_of_qutip():
    qutip = pytest.importorskip("qutip")
    made = measured(Tomographer(2, "pauli", "maximum_likelihood"), BELL, 900)
    rho = made.estimate()
    assert rho.dims == [[2, 2], [2, 2]]
    assert rho.tr() == pytest.approx(1)
    bell = (qutip.basis([2, 2], [0, 0]) + qutip.basis([2, 2], [1, 1])).unit()
    # qutip's fidelity is the root of ours.
    ours = made.functional("fidelity", 0.9, bell)
    assert ours.value == pytest.approx(qutip.fidelity(rho, bell * bell.dag()) ** 2, abs=1e-6)
    assert made.functional(bell, 0.9) == ours
    assert made.functional("concurrence").value == pytest.approx(qutip.concurrence(rho), abs=1e-6)
    assert made.functional("purity").value == pytest.approx(rho.purity(), abs=1e-9)
    spin = made.functional(lambda rho: rho[..., 0, 0].real, 0.9)
    assert spin.low < rho[0, 0].real < spin.high


def test_it_stops_when_enough_is_known_and_not_before():
    made = Tomographer(1, "pauli", "maximum_likelihood")
    rho = noisy("+", 0.3, 1)
    assert not made.should_stop(0.5)
    why = steer(made, SimulatedLaboratory(rho), Stop(infidelity=0.01, confidence=0.9))
    assert "0.01" in why
    region = made.credible_region(0.9)
    assert region.infidelity <= 0.01
    assert region.bures**2 == pytest.approx(2 * (1 - np.sqrt(1 - region.infidelity)))
    assert made.credible_region(0.5).infidelity < region.infidelity
    assert not made.should_stop(region.infidelity / 2)


def test_no_estimator_is_put_in_the_place_of_another(monkeypatch):
    gone = {**by_name.ESTIMATORS, "neural": "physml.tomography.not_there:Nobody"}
    monkeypatch.setattr(by_name, "ESTIMATORS", gone)
    with pytest.raises(PhysmlError, match=r"'neural' is not installed.*particle_filter"):
        Tomographer(2)


def test_warnings_of_the_fit_are_logged(caplog):
    made = Tomographer(1, "pauli", "linear")
    for setting in measurements.pauli_settings(1, 500):
        made.update(setting, [500, 0])
    with caplog.at_level(logging.WARNING, "physml"):
        found = made.goodness_of_fit()
    assert not found.passed
    assert "no state gives such data" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2])
def test_regions_of_the_posteriors_own_prior_cover_what_they_say(n):
    """States drawn as the samples' prior has them: 90 % regions hold 90 % of them."""
    trials = 80
    rho = draw("rank_adaptive", trials, 1 << n, np.random.default_rng(11))
    inside = hits = 0
    for k in range(trials):
        made = Tomographer(n, "pauli", "maximum_likelihood", seed=k)
        steer(made, SimulatedLaboratory(rho[k], seed=k), Stop(copies=600), shots=600 // 3**n)
        estimate = torch.from_numpy(made.density_matrix)
        inside += float(infidelity(estimate, rho[k])) <= made.credible_region(0.9).infidelity
        found = made.functional("purity", 0.9)
        hits += found.low <= float(purity(rho[k])) <= found.high
    # Of 80 draws 72 are expected, with a standard deviation of 2.7: three of them on each side.
    assert 64 <= inside <= 80
    assert 64 <= hits <= 80
