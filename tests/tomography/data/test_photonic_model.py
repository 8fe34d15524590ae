"""Photon counts with losses and accidentals, against a direct Poisson maximum likelihood."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from physml.exceptions import InputError
from physml.random import stream
from physml.tomography.core import states
from physml.tomography.core.operators import fidelity
from physml.tomography.data.records_file import load_records, save_records
from physml.tomography.inference.tomographer import Tomographer

KETS = {
    "H": [1, 0],
    "V": [0, 1],
    "D": [2**-0.5, 2**-0.5],
    "A": [2**-0.5, -(2**-0.5)],
    "R": [2**-0.5, 2**-0.5 * 1j],
    "L": [2**-0.5, -(2**-0.5) * 1j],
}
#: The sixteen of James et al., PRA 64, 052312 (2001).
SIXTEEN = [a + b for a, b in zip("HHVVRRDDDDRHVVHR", "HVVHHVVHRDDDDLLL", strict=True)]
ALL = [a + b for a in "HVDARL" for b in "HVDARL"]
#: A mixed state near a Bell state.
RHO = (
    0.9 * states.named_state("phi+", 2) + 0.05 * states.named_state("w", 2) + 0.0125 * torch.eye(4)
).numpy()


def projector(name: str) -> np.ndarray:
    ket = np.ones(1)
    for letter in name:
        ket = np.kron(ket, KETS[letter])
    return np.outer(ket, ket.conj())


@dataclass
class Experiment:
    """Rows with their Poisson means: rate x_k tr(F_k rho) + a_k."""

    effects: list[np.ndarray]
    exposures: np.ndarray
    accidentals: np.ndarray
    rate: float
    counts: np.ndarray = field(init=False)

    def draw(self, rho: np.ndarray, seed: int) -> Experiment:
        f = np.array([np.einsum("ij,ji->", e, rho).real for e in self.effects])
        mean = self.rate * self.exposures * f + self.accidentals
        self.counts = stream(41, "test", seed).poisson(mean)
        return self

    def most_likely(self) -> tuple[np.ndarray, float]:
        """State and rate of the largest Poisson likelihood, by a general optimiser."""
        f = np.stack(self.effects)
        d = f.shape[-1]

        def matrix(x: np.ndarray) -> np.ndarray:
            return (x[: d * d] + 1j * x[d * d :]).reshape(d, d)

        def cost(x: np.ndarray) -> tuple[float, np.ndarray]:
            t = matrix(x)
            m = t @ t.conj().T  # rate times rho
            mean = self.exposures * np.einsum("kij,ji->k", f, m).real + self.accidentals
            mean = np.maximum(mean, 1e-12)
            slope = self.exposures * (1 - self.counts / mean)
            g = 2 * np.einsum("k,kij->ij", slope, f) @ t
            value = (mean - self.counts * np.log(mean)).sum()
            return value, np.concatenate([g.real.ravel(), g.imag.ravel()])

        scale = np.sqrt(self.counts.sum() / (self.exposures.sum()))
        start = scale * np.eye(d)
        x0 = np.concatenate([start.ravel(), 0.01 * scale * np.ones(d * d)])
        found = minimize(
            cost,
            x0,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-8, "maxcor": 40},
        )
        t = matrix(found.x)
        m = t @ t.conj().T
        return m / np.trace(m).real, float(np.trace(m).real)


def write(path, names, counts, **more):
    """JSON of rows of one projector, or of all outcomes."""
    per_row = more.pop("rows", [{}] * len(names))
    data = [
        {"basis": list(name), "counts": [int(v) for v in np.atleast_1d(c)]} | extra
        for name, c, extra in zip(names, counts, per_row, strict=True)
    ]
    letters = {k: [str(complex(v)) for v in ket] for k, ket in KETS.items()}
    content = {"n_qubits": len(names[0]), "measurement_states": letters, "data": data} | more
    path.write_text(json.dumps(content))
    return path


def estimate(records, name="maximum_likelihood"):
    return Tomographer.from_records(records, estimator=name)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float(fidelity(torch.from_numpy(a)[None], torch.from_numpy(b)[None])[0])


def test_sixteen_projectors_without_complements(tmp_path):
    names = SIXTEEN
    effects = [projector(name) for name in names]
    made = Experiment(effects, np.ones(16), np.zeros(16), 200_000).draw(RHO, 1)
    records = load_records(write(tmp_path / "t.json", names, made.counts))
    assert records.frame is not None
    assert records.copies == made.counts.sum()
    assert any("one rate of the source" in text for text in records.remarks)
    found = estimate(records)
    best, _ = made.most_likely()
    assert overlap(found.density_matrix, best) > 1 - 2e-5
    assert overlap(found.density_matrix, RHO) > 0.995
    # Everything speaks of the state that was made, not of the one in front of the losses.
    inside = found.functional("purity")
    assert inside.value == pytest.approx(purity(best), abs=2e-3)
    assert inside.low < purity(RHO) < inside.high
    assert found.goodness_of_fit().p_value > 1e-3
    # Written and read again, it says the same.
    for ending in (".json", ".h5"):
        save_records(records, tmp_path / f"r{ending}")
        again = load_records(tmp_path / f"r{ending}")
        assert np.allclose(again.frame, records.frame)
        assert np.allclose(estimate(again).density_matrix, found.density_matrix, atol=1e-6)
    with pytest.raises(InputError, match="session"):
        Tomographer.from_records(records, session=tmp_path / "s.jsonl")


def test_every_estimator_sees_through_the_losses(tmp_path):
    effects = [projector(name) for name in SIXTEEN]
    made = Experiment(effects, np.ones(16), np.zeros(16), 400_000).draw(RHO, 2)
    records = load_records(write(tmp_path / "t.json", SIXTEEN, made.counts))
    for name in ("neural", "particle_filter", "linear"):
        assert overlap(estimate(records, name).density_matrix, RHO) > 0.99, name


def test_a_lost_row_leaves_the_others(tmp_path):
    names = [name for name in ALL if name != "DV"]
    effects = [projector(name) for name in names]
    made = Experiment(effects, np.ones(35), np.zeros(35), 3000).draw(RHO, 3)
    records = load_records(write(tmp_path / "t.json", names, made.counts))
    assert records.copies == made.counts.sum()
    assert any("35 rows" in text and "8 whole bases agree" in text for text in records.remarks)
    best, _ = made.most_likely()
    assert overlap(estimate(records).density_matrix, best) > 1 - 2e-5


def test_times_and_intensities_are_parts_of_the_model(tmp_path):
    generator = stream(42, "test", 0)
    times, power = generator.uniform(1, 5, 36), generator.uniform(0.5, 1.5, 36)
    effects = [projector(name) for name in ALL]
    made = Experiment(effects, times * power, np.zeros(36), 1000).draw(RHO, 4)
    extra = [
        {"integration_time": float(t), "relative_intensity": float(i)}
        for t, i in zip(times, power, strict=True)
    ]
    records = load_records(write(tmp_path / "t.json", ALL, made.counts, rows=extra))
    best, rate = made.most_likely()
    assert rate == pytest.approx(1000, rel=0.02)
    assert overlap(estimate(records).density_matrix, best) > 1 - 2e-5
    # The same as the table of the older programs.
    lines = []
    for name, t, c in zip(ALL, times, made.counts, strict=True):
        kets = [f"{complex(v).real}+{complex(v).imag}j" for x in name for v in KETS[x]]
        lines.append("[" + ",".join([str(t), "0", "0", str(c), *kets]).replace("+-", "-") + "]")
    text = f"tomo_input=[{','.join(lines)}]\nintensity={power.tolist()}\n"
    (tmp_path / "t.txt").write_text(text)
    table = load_records(tmp_path / "t.txt")
    assert np.allclose(estimate(table).density_matrix, estimate(records).density_matrix, atol=1e-4)


@pytest.mark.parametrize("how", ["window", "option", "rate", "rate option", "rows", "rows' rates"])
def test_accidentals_are_in_the_model(tmp_path, how):
    singles, window = 20_000, 300
    effects = [projector(name) for name in ALL]
    a = singles**2 * window * 1e-9
    made = Experiment(effects, np.ones(36), np.full(36, a), 2000).draw(RHO, 5)
    counts, extra, more, options = made.counts[:, None], [{}] * 36, {}, {}
    if how in ("window", "option"):
        counts = np.concatenate([np.full((36, 2), singles), counts], 1)
    if how == "window":
        more["coincidence_window"] = [window]
    elif how == "option":
        options["window"] = window
    elif how == "rate":
        more["accidental_rate"] = a
    elif how == "rate option":
        options["accidental_rate"] = a
    elif how == "rows":
        extra = [{"accidentals": a}] * 36
    else:
        extra = [{"accidental_rate": a / 2, "integration_time": 2}] * 36
    file = write(tmp_path / "t.json", ALL, counts, rows=extra, **more)
    records = load_records(file, **options)
    assert len(records.measurements) == 9
    assert any("4320 of" in text for text in records.remarks)
    best, _ = made.most_likely()
    found = estimate(records)
    assert overlap(found.density_matrix, best) > 1 - 1e-4
    truth = purity(RHO)
    assert purity(found.density_matrix) == pytest.approx(truth, abs=0.03)
    # Without a word of them the same counts are of another state.
    plain = load_records(write(tmp_path / "p.json", ALL, made.counts))
    assert purity(estimate(plain).density_matrix) < truth - 0.15


def test_accidentals_of_rows_without_complements(tmp_path):
    effects = [projector(name) for name in SIXTEEN]
    generator = stream(43, "test", 0)
    singles = generator.integers(20_000, 60_000, (16, 2))
    a = singles.prod(1) * 200e-9
    made = Experiment(effects, np.ones(16), a, 5000).draw(RHO, 6)
    counts = np.concatenate([singles, made.counts[:, None]], 1)
    file = write(tmp_path / "t.json", SIXTEEN, counts, coincidence_window=200)
    best, _ = made.most_likely()
    assert overlap(estimate(load_records(file)).density_matrix, best) > 1 - 2e-4


def purity(rho: np.ndarray) -> float:
    return float(np.einsum("ij,ji->", rho, rho).real)


def outcomes(name: str) -> list[np.ndarray]:
    """Projectors of all outcomes, those of `name` first."""
    other = dict(zip("HVDARL", "VHADLR", strict=True))
    a, b = name
    return [projector(x + y) for x in (a, other[a]) for y in (b, other[b])]


def test_two_detectors_of_unequal_efficiency(tmp_path):
    names, eta = [a + b for a in "HDR" for b in "HDR"], np.array([1.0, 0.8, 0.6, 0.5])
    effects = [e * f for name in names for e, f in zip(eta, outcomes(name), strict=True)]
    made = Experiment(effects, np.ones(36), np.zeros(36), 8000).draw(RHO, 7)
    rows = made.counts.reshape(9, 4)
    file = write(
        tmp_path / "t.json", names, rows, n_detectors_per_qubit=2, relative_efficiency=eta.tolist()
    )
    records = load_records(file)
    best, _ = made.most_likely()
    assert overlap(estimate(records).density_matrix, best) > 1 - 2e-5
    # As a matrix of pairs of detectors: 0 and 2 are of photon 0, 1 and 3 of photon 1.
    pairs = np.ones((4, 4))
    for (i, j), e in zip([(0, 1), (0, 3), (2, 1), (2, 3)], eta, strict=True):
        pairs[i, j] = pairs[j, i] = e
    other = load_records(
        write(
            tmp_path / "p.json",
            names,
            rows,
            n_detectors_per_qubit=2,
            relative_efficiency=pairs.tolist(),
        )
    )
    assert np.allclose(other.frame, records.frame)


def test_a_source_whose_rate_changes_between_bases(tmp_path):
    """With unequal efficiencies; each basis then has its own rate, which its counts say."""
    names, eta = [a + b for a in "HDR" for b in "HDR"], np.array([1.0, 0.9, 0.8, 0.7])
    effects = [e * f for name in names for e, f in zip(eta, outcomes(name), strict=True)]
    power = np.repeat(np.linspace(0.4, 1.6, 9), 4)
    made = Experiment(effects, power, np.zeros(36), 8000).draw(RHO, 8)
    file = write(
        tmp_path / "t.json",
        names,
        made.counts.reshape(9, 4),
        n_detectors_per_qubit=2,
        relative_efficiency=eta.tolist(),
    )
    records = load_records(file)
    assert any("rate of the source differs" in text for text in records.remarks)
    best, _ = made.most_likely()  # told of the powers
    assert overlap(estimate(records).density_matrix, best) > 1 - 2e-4


def test_pairs_of_detectors_that_rows_name(tmp_path):
    eta = {(0, 1): 1.0, (0, 3): 0.9, (2, 1): 0.7, (2, 3): 0.8}
    used = [(0 if a in "HDR" else 2, 1 if b in "HDR" else 3) for a, b in ALL]
    effects = [eta[k] * projector(name) for name, k in zip(ALL, used, strict=True)]
    made = Experiment(effects, np.ones(36), np.zeros(36), 5000).draw(RHO, 9)
    pairs = np.eye(4)
    for (i, j), e in eta.items():
        pairs[i, j] = pairs[j, i] = e
    extra = [{"detectors_used": list(k)} for k in used]
    file = write(
        tmp_path / "t.json",
        ALL,
        made.counts,
        rows=extra,
        n_detectors_per_qubit=2,
        relative_efficiency=pairs.tolist(),
    )
    best, _ = made.most_likely()
    assert overlap(estimate(load_records(file)).density_matrix, best) > 1 - 2e-5
    bare = write(
        tmp_path / "b.json",
        ALL,
        made.counts,
        n_detectors_per_qubit=2,
        relative_efficiency=pairs.tolist(),
    )
    with pytest.raises(InputError, match="detectors_used"):
        load_records(bare)


def test_crosstalk_of_rows_and_lossy_crosstalk(tmp_path):
    for name, each in (
        ("turns", np.array([[[0.95, 0.1], [0.05, 0.9]], [[0.97, 0.06], [0.03, 0.94]]])),
        ("loses", np.array([[[0.95, 0.1], [0.05, 0.7]], [[0.97, 0.06], [0.03, 0.9]]])),
    ):
        whole = np.kron(each[0], each[1])
        names = [a + b for a in "HDR" for b in "HDR"]
        effects = [f for n in names for f in np.einsum("mt,tij->mij", whole, outcomes(n))]
        made = Experiment(list(effects), np.ones(36), np.zeros(36), 8000).draw(RHO, 10)
        best, _ = made.most_likely()
        for crosstalk in (each.tolist(), whole.tolist()):
            file = write(
                tmp_path / f"{name}.json",
                names,
                made.counts.reshape(9, 4),
                n_detectors_per_qubit=2,
                crosstalk=crosstalk,
            )
            records = load_records(file)
            assert (records.frame is None) == (name == "turns")
            assert overlap(estimate(records).density_matrix, best) > 1 - 2e-5
    # Columns of true states in rows: transposed, and said.
    each = np.array([[[0.95, 0.1], [0.05, 0.9]]] * 2)
    file = write(
        tmp_path / "t.json",
        names,
        made.counts.reshape(9, 4),
        n_detectors_per_qubit=2,
        crosstalk=each.swapaxes(1, 2).tolist(),
    )
    records = load_records(file)
    assert np.allclose(records.readout.confusion, each)
    assert any("rows that sum to 1" in text for text in records.remarks)


@pytest.mark.parametrize("key", ["measurement_states", "measurement_densities"])
def test_density_matrices_as_states(tmp_path, key):
    """Rounded to six digits they are those of vectors; a leaky polariser is a mixed one."""
    made = Experiment([projector(n) for n in ALL], np.ones(36), np.zeros(36), 2000).draw(RHO, 11)
    plain = load_records(write(tmp_path / "v.json", ALL, made.counts))
    letters = {}
    for name, ket in KETS.items():
        m = np.outer(ket, np.conj(ket))
        letters[name] = [[f"{v.real:.6f}{v.imag:+.6f}j" for v in row] for row in m]
    file = write(tmp_path / "d.json", ALL, made.counts)
    data = json.loads(file.read_text())
    del data["measurement_states"]
    file.write_text(json.dumps(data | {key: letters}))
    records = load_records(file)
    assert len(records.measurements) == 9
    assert np.allclose(estimate(records).density_matrix, estimate(plain).density_matrix, atol=1e-4)
    # Per photon.
    file.write_text(json.dumps(data | {"measurement_states_per_qubit": [letters, letters]}))
    assert len(load_records(file).measurements) == 9


def test_a_leaky_polariser(tmp_path):
    """Each projector lets a tenth of the orthogonal states through."""
    leak = {k: 0.9 * projector(k) + 0.1 * (np.eye(2) - projector(k)) for k in KETS}
    effects = [np.kron(leak[a], leak[b]) for a, b in ALL]
    made = Experiment(effects, np.ones(36), np.zeros(36), 5000).draw(RHO, 12)
    letters = {k: [[str(complex(v)) for v in row] for row in m] for k, m in leak.items()}
    file = write(tmp_path / "t.json", ALL, made.counts, measurement_states=letters)
    best, _ = made.most_likely()
    assert overlap(estimate(load_records(file)).density_matrix, best) > 1 - 2e-5


def test_one_photon_with_a_background(tmp_path):
    rho = np.array([[0.9, 0.2], [0.2, 0.1]], complex)
    names = ["H", "D", "R", "A"]  # V and L are missing
    made = Experiment([projector(n) for n in names], np.ones(4), np.full(4, 500.0), 20_000)
    made.draw(rho, 13)
    file = write(tmp_path / "t.json", names, made.counts, accidental_rate=500)
    best, _ = made.most_likely()
    assert overlap(estimate(load_records(file)).density_matrix, best) > 1 - 1e-4


def test_singles_in_either_order(tmp_path):
    """Which detector a single is of is told by the basis that it goes with."""
    names = [a + b for a in "HDR" for b in "HDR"]
    singles = {"H": (40_000, 60_000), "D": (60_000, 45_000), "R": (50_000, 52_000)}
    window = 100
    a = np.array(
        [
            singles[name[0]][i] * singles[name[1]][j] * window * 1e-9
            for name in names
            for i in (0, 1)
            for j in (0, 1)
        ]
    )
    effects = [f for name in names for f in outcomes(name)]
    made = Experiment(effects, np.ones(36), a, 3000).draw(RHO, 14)
    found = []
    for k, order in enumerate(("alternating", "by photon")):
        rows = []
        for name, c in zip(names, made.counts.reshape(9, 4), strict=True):
            p, q = singles[name[0]], singles[name[1]]
            own = [p[0], q[0], p[1], q[1]] if order == "alternating" else [*p, *q]
            rows.append([*own, *c])
        file = write(
            tmp_path / f"{k}.json", names, rows, n_detectors_per_qubit=2, coincidence_window=window
        )
        found.append(estimate(load_records(file)).density_matrix)
    best, _ = made.most_likely()
    assert np.allclose(*found)
    assert overlap(found[0], best) > 1 - 2e-4


def repeated(tmp_path, change, **more):
    effects = [projector(n) for n in ALL]
    made = Experiment(effects, np.ones(36), np.zeros(36), 1000).draw(RHO, 15)
    names, counts = [*ALL, "HH"], [*made.counts, made.counts[0] + change]
    return write(tmp_path / "t.json", names, counts, **more)


def test_rows_that_are_there_twice_are_named(tmp_path):
    with pytest.raises(InputError, match=r"row 37 \(HH\) with the numbers of row 1 \(HH\)"):
        load_records(repeated(tmp_path, 0))
    with pytest.raises(
        InputError, match=r"row 37 \(HH\) again after row 1 \(HH\), without its own"
    ):
        load_records(repeated(tmp_path, 7))
    timed = [{"integration_time": 1}] * 37
    records = load_records(repeated(tmp_path, 7, rows=timed))
    assert any("measured again" in text and "row 37 (HH)" in text for text in records.remarks)
    assert overlap(estimate(records).density_matrix, RHO) > 0.98


def test_whole_runs_may_be_repeated(tmp_path):
    effects = [projector(n) for n in ALL] * 2
    made = Experiment(effects, np.ones(72), np.zeros(72), 1000).draw(RHO, 16)
    records = load_records(write(tmp_path / "t.json", ALL * 2, made.counts))
    assert len(records.measurements) == 18
    # But not as a copy, which singles tell.
    counts = np.concatenate([np.full((36, 2), 5000), made.counts[:36, None]], 1)
    with pytest.raises(InputError, match="row 37"):
        load_records(write(tmp_path / "c.json", ALL * 2, [*counts, *counts]))


@pytest.mark.parametrize(
    ("more", "options", "message"),
    [
        ({"coincidence_window": [300]}, {}, "singles of each row"),
        ({}, {"window": 300}, "singles of each row"),
        ({"accidental_rate": -1}, {}, "accidental rate >= 0"),
        ({"accidental_rate": [1, 2, 3]}, {}, "one accidental rate, or 36"),
        ({"accidental_rate": 5000}, {}, "more coincidences than accidentals"),
        ({"accidental_rate": 1}, {"window": 300}, "a window or accidentals"),
        ({"relative_efficiency": [1, 0.5, 0.5, 1]}, {}, "equal efficiency"),
        ({"crosstalk": [[[0.9, 0.3], [0.3, 0.9]]] * 2}, {}, "sum to 1"),
        ({"crosstalk": [[[0.9, 0.1], [0.1, 0.9]]]}, {}, "2 photons"),
        ({"rows": [{"accidentals": 3}] + [{}] * 35}, {}, "accidentals in every row"),
        ({"rows": [{"relative_intensity": 0}] * 36}, {}, "intensity > 0"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, more, options, message):
    counts = np.arange(36) % 7 + 100
    with pytest.raises(InputError, match=message):
        load_records(write(tmp_path / "t.json", ALL, counts, **more), **options)


def test_windows_are_of_coincidence_tables_only(tmp_path):
    (tmp_path / "c.csv").write_text("axes,0,1\nX,5,6\nY,5,6\nZ,5,6\n")
    with pytest.raises(InputError, match="coincidence table"):
        load_records(tmp_path / "c.csv", window=3)


def test_singles_without_a_window_are_said(tmp_path):
    counts = np.concatenate([np.full((36, 2), 5000), np.full((36, 1), 100)], 1)
    records = load_records(write(tmp_path / "t.json", ALL, counts))
    assert any("no coincidence window" in text for text in records.remarks)
    quiet = load_records(write(tmp_path / "q.json", ALL, counts, coincidence_window=[0]))
    assert quiet.remarks == []


def test_rows_that_do_not_see_every_state(tmp_path):
    with pytest.raises(InputError, match="see every state"):
        load_records(write(tmp_path / "t.json", ["HH", "HV", "DD"], [100, 3, 50]))
