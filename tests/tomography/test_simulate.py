"""Shards of states and counts, and what preprocessing makes of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from physml.exceptions import InputError
from physml.io.shards import read_provenance, read_shard, write_shard
from physml.stages.preprocess import SPLITS, split_of
from physml.tomography import preprocess, simulate
from physml.tomography.core.born import probabilities
from physml.tomography.core.measurements import pauli_effects
from physml.tomography.core.operators import purity
from physml.tomography.learning.prepared import PREPARED, RAW, states_of
from physml.tomography.settings import (
    MixtureSettings,
    PreprocessSettings,
    SimulateSettings,
    TomographySettings,
)
from physml.tomography.simulator.sample import Batch, simulate_batch

SETTINGS = TomographySettings.model_validate(
    {
        "seed": 3,
        "simulate": {"n_samples": 50, "shard_size": 20},
        "preprocess": {"valid": 0.3, "test": 0.2, "batch": 7},
    }
)


@pytest.fixture(scope="module")
def whole() -> Batch:
    return simulate_batch(SETTINGS.simulate, 3, range(50))


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> list:
    folder = tmp_path_factory.mktemp("raw")
    paths = [folder / f"{k}.h5" for k in range(SETTINGS.simulate.n_shards)]
    for k, path in enumerate(paths):
        simulate.run(settings=SETTINGS, shard=k, out=path)
    return paths


def test_samples_depend_on_their_number_only(whole):
    rows = [17, 3, 44]
    again = simulate_batch(SETTINGS.simulate, 3, rows)
    for name, values in again.arrays().items():
        assert values.tobytes() == whole.arrays()[name][rows].tobytes(), name
    other = simulate_batch(SETTINGS.simulate, 4, rows)
    assert np.abs(other.state - again.state).max() > 0.01


def test_shards_hold_the_same_samples(whole, raw):
    for name, values in whole.arrays().items():
        found = np.concatenate([read_shard(p, RAW)[name] for p in raw])
        assert np.array_equal(found, values), name
    record = read_provenance(raw[0])
    assert record is not None
    assert record["settings"]["simulate"]["n_samples"] == 50


def test_qubits_take_turns_and_the_rest_is_zero(whole):
    assert whole.n_qubits.tolist() == [1, 2] * 25
    one = whole.n_qubits == 1
    assert not whole.state[one, 2:].any()
    assert not whole.state[one, :, 2:].any()
    assert not whole.counts[one, 3:].any()
    assert not whole.counts[one, :, 2:].any()
    for n in (1, 2):
        rho = states_of(whole.arrays(), n)
        assert rho.shape == (25, 1 << n, 1 << n)
        trace = torch.diagonal(rho, dim1=1, dim2=2).sum(-1)
        assert (trace - 1).abs().max() < 1e-12


def test_counts_are_those_of_the_state_and_the_readout():
    s = SETTINGS.simulate.model_copy(
        update={"readout": 1.0, "drift": 0.0, "n_qubits": (2,), "flips": (0.05, 0.3)}
    )
    batch = simulate_batch(s, 5, range(60))
    rho = states_of(batch.arrays(), 2)
    p = torch.stack([probabilities(e, rho) for e in pauli_effects(2)], 1).numpy()
    a, b = batch.confusion[:, 0], batch.confusion[:, 1]
    joint = np.einsum("smt,snu->smntu", a, b).reshape(-1, 4, 4)
    expected = np.einsum("smt,sjt->sjm", joint, p) * batch.counts.sum(-1, keepdims=True)
    chi2 = ((batch.counts - expected) ** 2 / expected).sum()
    # 60 x 9 settings of three degrees of freedom each: 1620 +- 57.
    assert abs(chi2 - 1620) < 5 * 57
    # Without the readout errors they would not fit.
    clean = np.clip(p * batch.counts.sum(-1, keepdims=True), 1, None)
    assert ((batch.counts - clean) ** 2 / clean).sum() > 10 * 1620


def test_shares_change_no_other_sample():
    base = SETTINGS.simulate
    quiet = base.model_copy(update={"readout": 0.0, "drift": 0.0})
    noisy = base.model_copy(update={"readout": 1.0, "drift": 0.0})
    drifting = base.model_copy(update={"readout": 0.0, "drift": 1.0})
    a, b, c = (simulate_batch(s, 3, range(12)) for s in (quiet, noisy, drifting))
    assert np.array_equal(a.state, b.state)
    assert not np.array_equal(a.confusion, b.confusion)
    assert not a.drift.any()
    assert (c.drift > 0).all()
    assert c.drift.max() <= 0.2
    assert np.array_equal(a.counts.sum((1, 2)), c.counts.sum((1, 2)))


def test_ensembles_have_their_shares():
    mixture = MixtureSettings(rank_adaptive=0, hs=3, bures=0, pure=1, pure_white=0)
    s = SETTINGS.simulate.model_copy(update={"mixture": mixture, "drift": 0.0, "n_qubits": (2,)})
    batch = simulate_batch(s, 6, range(200))
    names = np.array(list(mixture.parts))[batch.ensemble]
    assert set(names) == {"hs", "pure"}
    assert 0.15 < (names == "pure").mean() < 0.36
    pure = purity(states_of(batch.arrays(), 2)) > 1 - 1e-9
    assert np.array_equal(pure.numpy(), names == "pure")


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (MixtureSettings, dict.fromkeys(MixtureSettings.model_fields, 0)),
        (MixtureSettings, {"hs": -1}),
        (SimulateSettings, {"n_qubits": []}),
        (SimulateSettings, {"n_qubits": [2, 2]}),
        (SimulateSettings, {"n_qubits": [9]}),
        (SimulateSettings, {"copies": [100, 10]}),
        (SimulateSettings, {"flips": [0.1, 0.6]}),
        (SimulateSettings, {"drift": 1.5}),
        (PreprocessSettings, {"valid": 0.5, "test": 0.5}),
        (TomographySettings, {"simulate": {"states": 3}}),
    ],
)
def test_bad_settings_are_refused(model, values):
    with pytest.raises(ValidationError):
        model.model_validate(values)


@pytest.mark.parametrize("threads", [1, 2])
def test_preprocessing_splits_by_state(raw, whole, tmp_path, threads):
    out = tmp_path / "data"
    order = raw if threads == 1 else raw[::-1]
    preprocess.run(settings=SETTINGS, raw=order, out=out, threads=threads)
    seen = []
    for split in SPLITS:
        data = read_shard(out / f"{split}.h5", PREPARED)
        assert len(data) > 0
        for i, number in enumerate(data["index"]):
            assert np.array_equal(data["state"][i], whole.state[number])
            assert data["copies"][i] == whole.counts[number].sum()
            values = data["eigenvalues"][i]
            assert (np.diff(values) <= 0).all()
            assert values.sum() == pytest.approx(1)
            assert (values[2:] == 0).all() or data["n_qubits"][i] == 2
            assert np.square(values).sum() == pytest.approx(data["purity"][i])
        seen += data["index"].tolist()
    assert sorted(seen) == list(range(50))
    # Those of the first shard alone are split alike: by the state, not by what else there is.
    preprocess.run(settings=SETTINGS, raw=raw[:1], out=tmp_path / "less")
    for split in SPLITS:
        whole_split = set(read_shard(out / f"{split}.h5", PREPARED)["index"].tolist())
        less = read_shard(tmp_path / "less" / f"{split}.h5", PREPARED)["index"].tolist()
        assert set(less) == whole_split & set(range(20))


def test_splits_have_their_shares():
    shares = [split_of(i, 0, 0.1, 0.05) for i in range(3_000)]
    assert shares.count("valid") / 3_000 == pytest.approx(0.1, abs=0.02)
    assert shares.count("test") / 3_000 == pytest.approx(0.05, abs=0.015)


def changed(arrays, name, row, value):
    out = {key: values.copy() for key, values in arrays.items()}
    out[name][row] = value
    return out


@pytest.mark.parametrize(
    ("name", "row", "value", "message"),
    [
        ("state", (1, 0, 1), 0.3, "Hermitian"),
        ("state", (1, 0, 0), (0.9, 0), "trace one"),
        ("state", (1,), np.diag([1.5, -0.5, 0, 0])[..., None] * [1, 0], "positive"),
        ("state", (0, 3, 3), (1e-3, 0), "trace one|beyond"),
        ("counts", (1, 0, 0), -4, "counts >= 0"),
        ("n_qubits", 1, 3, "at most d = 4"),
        ("n_qubits", 1, 0, "at most d = 4"),
    ],
)
def test_what_is_no_state_is_not_learned_from(whole, raw, tmp_path, name, row, value, message):
    bad = tmp_path / "bad.h5"
    arrays = changed(whole.arrays(), name, row, value)
    write_shard(bad, arrays, provenance=read_provenance(raw[0]) or {})
    with pytest.raises(InputError, match=message):
        preprocess.run(settings=SETTINGS, raw=[bad], out=tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_damaged_shards_are_refused(raw, tmp_path):
    half = tmp_path / "half.h5"
    half.write_bytes(raw[0].read_bytes()[:1_000])
    with pytest.raises(InputError):
        preprocess.run(settings=SETTINGS, raw=[raw[1], half], out=tmp_path / "data")
    assert not (tmp_path / "data").exists()
