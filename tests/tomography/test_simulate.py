"""Whole experiments in shards, and what preprocessing makes of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from physml.exceptions import InputError, SettingsError
from physml.io.shards import read_provenance, read_shard, write_shard
from physml.io.weights import save_weights
from physml.tomography import preprocess, simulate
from physml.tomography.core.born import probabilities
from physml.tomography.core.measurements import pauli_effects
from physml.tomography.core.operators import purity
from physml.tomography.core.schedule import schedule
from physml.tomography.inference.neural.corrector import Corrector
from physml.tomography.inference.weights import named
from physml.tomography.learning.prepared import (
    LEARNED,
    PREPARED,
    RAW,
    SPLITS,
    is_whole,
    read_moments,
    split_of,
    states_of,
)
from physml.tomography.settings import (
    DesignSettings,
    MixtureSettings,
    PreprocessSettings,
    SimulateSettings,
    TomographySettings,
)
from physml.tomography.simulate import designer
from physml.tomography.simulator.experiments import DESIGNS, draw_experiments
from physml.tomography.simulator.histories import simulate_batch

N = 60
SETTINGS = TomographySettings.model_validate(
    {
        "seed": 3,
        "simulate": {
            **{"n_samples": N, "shard_size": 40, "batch": 20, "copies": 200},
            **{"designer": "none", "readout": 0.5},
        },
        "preprocess": {"valid": 0.2, "test": 0.2, "calibrate": 0.2, "batch": 13, "thin": 3}
        | {"whole": 0.3},
    }
)
FILTER = designer([], (1, 2, 3))


def batches(s: SimulateSettings, seed: int) -> dict[str, np.ndarray]:
    """All experiments."""
    found = [simulate_batch(s, seed, k, FILTER) for k in range(-(-s.n_samples // s.batch))]
    return {name: np.concatenate([f[name] for f in found]) for name in found[0]}


@pytest.fixture(scope="module")
def whole() -> dict[str, np.ndarray]:
    return batches(SETTINGS.simulate, 3)


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("raw")
    paths = [folder / f"{k}.h5" for k in range(SETTINGS.simulate.n_shards)]
    for k, path in enumerate(paths):
        simulate.run(settings=SETTINGS, shard=k, out=path)
    return paths


def test_what_is_measured_depends_on_the_number_of_an_experiment_only(whole):
    rows = [17, 3, 44]
    again = draw_experiments(SETTINGS.simulate, 3, rows)
    for name, values in again.arrays().items():
        assert values.tobytes() == whole[name][rows].tobytes(), name
    other = draw_experiments(SETTINGS.simulate, 4, rows)
    assert np.abs(other.state - again.state).max() > 0.01


def test_shards_of_any_size_hold_the_same_experiments(whole, raw):
    for name, values in whole.items():
        found = np.concatenate([read_shard(p, RAW)[name] for p in raw])
        assert found.tobytes() == values.tobytes(), name
        assert found.dtype == values.dtype == np.dtype(RAW[name].dtype)
    record = read_provenance(raw[0])
    assert record is not None
    assert record["settings"]["simulate"]["n_samples"] == N


def test_qubits_take_turns_and_the_rest_is_zero(whole):
    assert whole["n_qubits"].tolist() == [1, 2] * (N // 2)
    one = whole["n_qubits"] == 1
    for name in ("state", "bases"):
        assert not whole[name][one][..., 2:, :, :].any()
        assert not whole[name][one][..., :, 2:, :].any()
    for n in (1, 2):
        rho = states_of(whole, n)
        assert rho.shape == (N // 2, 1 << n, 1 << n)
        trace = torch.diagonal(rho, dim1=1, dim2=2).sum(-1)
        assert (trace - 1).abs().max() < 1e-12


def test_every_block_spends_its_copies(whole):
    assert (whole["counts"].sum(-1) == schedule(200)).all()
    fixed = np.isin(whole["design"], [DESIGNS.index(name) for name in ("pauli", "mub", "sic")])
    assert 0 < fixed.sum() < N
    assert not whole["bases"][fixed].any()
    adaptive = whole["bases"][~fixed]
    assert (
        np.square(adaptive).sum((2, 3, 4)).round(3) == 2 ** whole["n_qubits"][~fixed, None]
    ).all()


def test_counts_are_those_of_the_state_and_the_readout():
    s = SimulateSettings(
        n_samples=60,
        shard_size=60,
        batch=60,
        n_qubits=(2,),
        designs=DesignSettings(adaptive=0, product=0, random=0, pauli=1, mub=0, sic=0),
        copies=20_000,
        readout=1.0,
        flips=(0.05, 0.3),
    )
    found = simulate_batch(s, 5, 0, FILTER)
    rho, counts = states_of(found, 2), found["counts"].sum(1).reshape(60, 9, 4)
    # Settings share the copies as evenly as can be.
    assert np.ptp(counts.sum(-1)) <= 1
    p = torch.stack([probabilities(e, rho) for e in pauli_effects(2)], 1).numpy()
    a, b = found["confusion"][:, 0], found["confusion"][:, 1]
    joint = np.einsum("smt,snu->smntu", a, b).reshape(-1, 4, 4)
    expected = np.einsum("smt,sjt->sjm", joint, p) * counts.sum(-1, keepdims=True)
    chi2 = ((counts - expected) ** 2 / expected).sum()
    # 60 x 9 settings of three degrees of freedom each: 1620 +- 57.
    assert abs(chi2 - 1620) < 5 * 57
    # Without the readout errors they would not fit.
    clean = np.clip(p * counts.sum(-1, keepdims=True), 1, None)
    assert ((counts - clean) ** 2 / clean).sum() > 10 * 1620


def test_shares_change_no_other_number():
    base = SETTINGS.simulate
    quiet = base.model_copy(update={"readout": 0.0})
    noisy = base.model_copy(update={"readout": 1.0})
    other = base.model_copy(update={"designs": DesignSettings(adaptive=1)})
    a, b, c = (draw_experiments(s, 3, range(40)) for s in (quiet, noisy, other))
    for x in (b, c):
        assert np.array_equal(a.state, x.state)
        assert np.array_equal(a.ensemble, x.ensemble)
    assert np.array_equal(a.design, b.design)
    assert not np.array_equal(a.design, c.design)
    perfect = (b.confusion[:, 0] == np.eye(2)).all((1, 2))
    # No qubit of a joint measurement is read by itself.
    assert np.array_equal(perfect, b.design == DESIGNS.index("sic"))


def test_ensembles_and_designs_have_their_shares():
    none = dict.fromkeys(MixtureSettings.model_fields, 0)
    mixture = MixtureSettings(**none | {"hs": 3, "pure": 1})
    s = SETTINGS.simulate.model_copy(update={"mixture": mixture, "n_qubits": (2,)})
    found = draw_experiments(s, 6, range(400))
    names = np.array(list(mixture.parts))[found.ensemble]
    assert set(names) == {"hs", "pure"}
    assert 0.17 < (names == "pure").mean() < 0.33
    pure = purity(states_of(found.arrays(), 2)) > 1 - 1e-9
    assert np.array_equal(pure.numpy(), names == "pure")
    design = np.bincount(found.design, minlength=len(DESIGNS)) / 400
    wanted = np.array(list(s.designs.parts.values()))
    assert np.abs(design - wanted).max() < 0.08
    three = draw_experiments(s.model_copy(update={"n_qubits": (3,)}), 6, range(200))
    # There are no mutually unbiased bases of three qubits here.
    assert DESIGNS.index("mub") not in three.design


def some_weights(path: Path, scale: float) -> Path:
    torch.manual_seed(0)
    network = Corrector(4, 8, 1)
    torch.nn.init.normal_(network.leave.weight, std=scale)
    card = {"pipeline": "tomography", "networks": {"2": {"width": 8, "blocks": 1}}}
    save_weights(path, named(4, network), card)
    return path


def test_the_designer_is_who_it_is_said_to_be(tmp_path):
    path = some_weights(tmp_path / "model.safetensors", 0.3)
    s = TomographySettings.model_validate(
        {"simulate": {"n_samples": 12, "copies": 100, "designer": str(path)}}
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    # Settings that are known elsewhere tell other weights of this name apart.
    assert s.simulate.designer_sha256 == digest
    assert TomographySettings.model_validate(s.model_dump()) == s
    simulate.run(settings=s, shard=0, out=tmp_path / "0.h5")
    record = read_provenance(tmp_path / "0.h5")
    assert record is not None
    assert record["inputs"]["designer"]["sha256"] == digest
    assert record["settings"]["simulate"]["designer"] == "model.safetensors"
    found = read_shard(tmp_path / "0.h5", RAW)
    alone = simulate_batch(s.simulate, s.seed, 0, FILTER)
    moved = np.abs(found["bases"] - alone["bases"]).max((1, 2, 3, 4)) > 1e-3
    adaptive = np.isin(found["design"], [DESIGNS.index(x) for x in ("global", "product")])
    two = found["n_qubits"] == 2
    assert moved[adaptive & two].all()
    # The weights have no network of one qubit: there the filter designs, as it does without any.
    assert not moved[~(adaptive & two)].any()
    path.unlink()
    some_weights(path, 0.2)
    with pytest.raises(ValidationError, match="written anew"):
        TomographySettings.model_validate(s.model_dump())
    missing = s.simulate.model_copy(update={"designer": str(tmp_path / "none.safetensors")})
    with pytest.raises(InputError, match=r"none\.safetensors"):
        simulate.run(
            settings=s.model_copy(update={"simulate": missing}), shard=0, out=tmp_path / "1.h5"
        )
    assert not (tmp_path / "1.h5").exists()


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (MixtureSettings, dict.fromkeys(MixtureSettings.model_fields, 0)),
        (MixtureSettings, {"hs": -1}),
        (DesignSettings, dict.fromkeys(DesignSettings.model_fields, 0)),
        (DesignSettings, dict.fromkeys(DesignSettings.model_fields, 0) | {"mub": 1}),
        (SimulateSettings, {"n_qubits": []}),
        (SimulateSettings, {"n_qubits": [2, 2]}),
        (SimulateSettings, {"n_qubits": [9]}),
        (SimulateSettings, {"copies": 10}),
        (SimulateSettings, {"flips": [0.1, 0.6]}),
        (SimulateSettings, {"n_samples": 5_000, "shard_size": 1_000}),
        (PreprocessSettings, {"valid": 0.5, "test": 0.25, "calibrate": 0.25}),
        (TomographySettings, {"simulate": {"states": 3}}),
    ],
)
def test_bad_settings_are_refused(model, values):
    with pytest.raises(ValidationError):
        model.model_validate(values)


@pytest.mark.parametrize("threads", [1, 2])
def test_preprocessing_splits_by_experiment(raw, whole, tmp_path, threads):
    out = tmp_path / "data"
    order = raw if threads == 1 else raw[::-1]
    preprocess.run(settings=SETTINGS, raw=order, out=out, threads=threads)
    seen = []
    for split in SPLITS:
        data = read_shard(out / f"{split}.h5", PREPARED)
        assert len(data) > 0
        for i, number in enumerate(data["index"]):
            assert np.array_equal(data["state"][i], whole["state"][number])
            values = data["eigenvalues"][i]
            assert (np.diff(values) <= 0).all()
            assert values.sum() == pytest.approx(1)
            assert (values[2:] == 0).all() or data["n_qubits"][i] == 2
            assert np.square(values).sum() == pytest.approx(data["purity"][i])
        seen += data["index"].tolist()
        for n in (1, 2) if split in LEARNED else ():
            moments = read_moments(out, split, n)
            assert set(moments["experiment"]) == set(data["index"][data["n_qubits"] == n])
            assert (moments["n_qubits"] == n).all()
            assert np.array_equal(moments["design"], whole["design"][moments["experiment"]])
            assert moments["copies"].min() >= 10
            # One in three of all blocks, by turns.
            ends = np.cumsum(schedule(200))
            assert set(moments["copies"]) <= set(ends[ends >= 10])
            number, many = np.unique(moments["experiment"], return_counts=True)
            whole_ones = np.array([is_whole(int(i), 3, SETTINGS) for i in number])
            assert whole_ones.any() == (split == "calibrate")
            assert (many[whole_ones] == (ends >= 10).sum()).all()
            assert np.ptp(many[~whole_ones]) <= 1
            assert abs(many[~whole_ones].mean() - (ends >= 10).sum() / 3) < 1
    assert sorted(seen) == list(range(N))
    # Those of the first shard alone are split alike: by the experiment, not by what else there is.
    preprocess.run(settings=SETTINGS, raw=raw[:1], out=tmp_path / "less")
    for split in SPLITS:
        whole_split = set(read_shard(out / f"{split}.h5", PREPARED)["index"].tolist())
        less = read_shard(tmp_path / "less" / f"{split}.h5", PREPARED)["index"].tolist()
        assert set(less) == whole_split & set(range(40))


def test_how_the_work_is_divided_changes_nothing(raw, tmp_path):
    found = []
    for batch in (7, 60):
        s = SETTINGS.preprocess.model_copy(update={"batch": batch})
        settings = SETTINGS.model_copy(update={"preprocess": s})
        preprocess.run(settings=settings, raw=raw, out=tmp_path / str(batch))
        found.append(read_moments(tmp_path / str(batch), "train", 2))
    for name, values in found[0].items():
        order = np.lexsort((found[0]["copies"], found[0]["experiment"]))
        other = np.lexsort((found[1]["copies"], found[1]["experiment"]))
        a, b = values[order], found[1][name][other]
        if name in ("truth", "binding"):  # eigenvectors are known up to phases
            a, b = np.square(a).sum((1, 2)), np.square(b).sum((1, 2))
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5, err_msg=name)


def test_splits_have_their_shares():
    s = PreprocessSettings(valid=0.1, test=0.05, calibrate=0.3)
    found = [split_of(i, 0, s) for i in range(3_000)]
    for name, share in {"valid": 0.1, "test": 0.05, "calibrate": 0.3, "train": 0.55}.items():
        assert found.count(name) / 3_000 == pytest.approx(share, abs=0.03)


def test_too_few_experiments_are_no_training_set(raw, tmp_path):
    s = SETTINGS.preprocess.model_copy(update={"valid": 0.0})
    with pytest.raises(SettingsError, match="split valid"):
        preprocess.run(
            settings=SETTINGS.model_copy(update={"preprocess": s}), raw=raw, out=tmp_path / "data"
        )
    assert not (tmp_path / "data").exists()


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
        ("counts", (1, 0, 0), 44, "add up to the copies.*experiment 1"),
        ("confusion", (1, 0, 0, 0), 0.7, "confusion"),
        ("design", 1, 9, "designs"),
        ("n_qubits", 1, 3, "at most d = 4"),
        ("n_qubits", 1, 0, "at most d = 4"),
    ],
)
def test_what_is_no_experiment_is_not_learned_from(whole, raw, tmp_path, name, row, value, message):
    bad = tmp_path / "bad.h5"
    arrays = changed(whole, name, row, value)
    write_shard(bad, arrays, provenance=read_provenance(raw[0]) or {})
    with pytest.raises(InputError, match=message):
        preprocess.run(settings=SETTINGS, raw=[bad], out=tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_counts_of_other_settings_are_refused(raw, tmp_path):
    s = SETTINGS.simulate.model_copy(update={"copies": 500})
    with pytest.raises(InputError, match="blocks of measurements"):
        preprocess.run(
            settings=SETTINGS.model_copy(update={"simulate": s}), raw=raw, out=tmp_path / "data"
        )


def test_damaged_shards_are_refused(raw, tmp_path):
    half = tmp_path / "half.h5"
    half.write_bytes(raw[0].read_bytes()[:1_000])
    with pytest.raises(InputError):
        preprocess.run(settings=SETTINGS, raw=[raw[1], half], out=tmp_path / "data")
    assert not (tmp_path / "data").exists()
