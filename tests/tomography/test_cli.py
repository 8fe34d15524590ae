"""The commands `physml tomography run | next | predict | benchmark`, in process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from fakes.tomography import noisy, pauli_data, quick_figure, write_csv

from physml.cli.main import main
from physml.tomography import Setting, SimulatedLaboratory, Tomographer
from physml.tomography.data.session import read_session

RHO = noisy("phi+", 0.04)


def run(capsys, *arguments, code=0):
    found = main(["tomography", *map(str, arguments)])
    out = capsys.readouterr()
    assert found == code, out.err
    return out.out, out.err


def test_help_and_missing_files_need_no_torch(capsys):
    program = (
        "import sys, physml.tomography as t; from physml.cli.main import main; t.pipeline;"
        "codes = [main(['tomography', 'predict', *a]) for a in (['--help'], ['none.csv'])];"
        "sys.exit(codes != [0, 2] or 'torch' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    for command in ("run", "next", "predict", "estimate", "benchmark"):
        assert "Examples" in run(capsys, command, "--help")[0]


def test_by_hand_from_the_first_setting_to_the_estimate(tmp_path, capsys, monkeypatch):
    """next, measure, next --add ..., estimate: as somebody without Python would."""
    quick_figure(monkeypatch)
    session, answer = tmp_path / "s.jsonl", tmp_path / "answer.json"
    rho = noisy("+", 0.1, 1)
    laboratory = SimulatedLaboratory(rho, seed=4)
    begin = ["--qubits", 1, "--design", "pauli", "--estimator", "linear", "--shots", 1000]
    text, _ = run(capsys, "next", session, *begin)
    for _ in range(3):
        setting = Setting.from_dict(json.loads(text))
        # Asked again before the answer: the same setting.
        assert run(capsys, "next", session)[0] == text
        counts = laboratory.measure(setting)
        answer.write_text(json.dumps({"id": setting.id, "counts": counts, "time": 1.5}))
        text, _ = run(capsys, "next", session, "--add", answer, "--shots", 1000)
    events = read_session(session)
    assert sum(e["event"] == "counts" for e in events) == 3
    assert sum(e["event"] == "setting" for e in events) == 4

    out = tmp_path / "out"
    options = ["--target", "+", "--level", 0.999, "-o", out, "--json"]
    found = json.loads(run(capsys, "predict", session, *options)[0])
    assert found["estimator"] == "linear"  # that of the session
    assert found["copies"] == 3000
    names = ["density_matrix.csv", "estimate.json", "overview.png", "records.h5"]
    assert sorted(p.name for p in out.iterdir() if p.name[0] != ".") == names
    written = json.loads((out / "estimate.json").read_text())
    assert written["provenance"]["inputs"]["records"]["file"] == "s.jsonl"
    assert [step["copies"] for step in written["history"]][-1] == 3000
    assert written["goodness_of_fit"]["p_value"] > 1e-3
    pairs = np.array(written["density_matrix"])
    with Tomographer.resume(session) as again:
        assert np.array_equal(pairs[..., 0] + 1j * pairs[..., 1], again.density_matrix)
    fidelity = written["functionals"][0]
    assert fidelity["name"] == "fidelity"
    assert fidelity["low"] < 0.95 < fidelity["high"]  # of |+> with 10 % white noise
    lines = (out / "density_matrix.csv").read_text().splitlines()
    assert lines[0] == "row,column,real,imaginary"
    assert run(capsys, "estimate", session, "-o", out, code=2)  # it is there already


def test_the_loop_ends_and_is_not_begun_again(tmp_path, capsys):
    session = tmp_path / "s.jsonl"
    options = ["--simulate", "+", "--estimator", "linear", "--design", "pauli", "--qubits", 1]
    text, _ = run(capsys, "run", session, *options, "--copies", 500)
    assert "500 copies" in text
    before = session.read_bytes()
    run(capsys, "run", session, "--simulate", "+", "--copies", 500)
    assert session.read_bytes() == before  # it was enough
    run(capsys, "run", session, "--simulate", "+", "--copies", 600)
    assert session.read_bytes().startswith(before)
    run(capsys, "run", session, "--simulate", "+", "--infidelity", 0.01)
    with Tomographer.resume(session) as tomographer:
        assert tomographer.should_stop(0.01)


def test_a_laboratory_that_reads_and_writes_files(tmp_path, capsys):
    folder, done = tmp_path / "exchange", threading.Event()
    laboratory = SimulatedLaboratory(RHO, seed=1)

    def work():
        while not done.is_set():
            for asked in folder.glob("*.setting.json") if folder.is_dir() else []:
                setting = Setting.from_dict(json.loads(asked.read_text()))
                answered = folder / f"{setting.id}.counts.json"
                if not answered.exists():
                    body = {"id": setting.id, "counts": laboratory.measure(setting)}
                    temporary = folder / "answer.tmp"
                    temporary.write_text(json.dumps(body))
                    temporary.replace(answered)
            time.sleep(0.005)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        run(
            capsys, "run", tmp_path / "s.jsonl", "--folder", folder, "--copies", 100,
            "--estimator", "linear", "--design", "product", "--timeout", 60,
        )  # fmt: skip
    finally:
        done.set()
        thread.join()
    with Tomographer.resume(tmp_path / "s.jsonl") as tomographer:
        assert tomographer.copies == 100


def test_no_answer_in_time_is_to_be_tried_again(tmp_path, capsys):
    session = tmp_path / "s.jsonl"
    options = ["--estimator", "linear", "--copies", 100, "--timeout", 0.01]
    _, message = run(capsys, "run", session, "--folder", tmp_path / "x", *options, code=75)
    _, message = run(capsys, "run", session, "--connect", "127.0.0.1:9", *options, code=75)
    assert "no answer" in message
    assert len(read_session(session)) == 2  # the setting still waits for its counts


def test_estimate_of_a_spreadsheet_in_words(tmp_path, capsys):
    path = write_csv(tmp_path / "counts.csv", pauli_data(noisy("0", 0.3, 1), 2000))
    text, _ = run(capsys, "predict", path, "--estimator", "maximum_likelihood")
    assert "purity" in text
    assert "The true state lies within an infidelity of" in text
    assert "Note" not in text


def test_estimate_says_what_is_wrong_with_the_data(tmp_path, capsys):
    """Certain outcomes along X, Y and Z at once: no state does that."""
    path = tmp_path / "counts.csv"
    path.write_text("axes,0,1\nX,500,0\nY,500,0\nZ,500,0\n")
    text, _ = run(capsys, "predict", path, "--estimator", "maximum_likelihood")
    assert "no state gives such data" in text


def test_readout_errors_from_the_command_line(tmp_path, capsys):
    from physml.tomography.core.readout import Readout, flips

    rho, readout = noisy("+", 0.06, 1), Readout(flips([0.1]))
    laboratory = SimulatedLaboratory(rho, readout, seed=2)
    data = [(s, np.array(laboratory.measure(s))) for s, _ in pauli_data(rho, 8000)]
    path = write_csv(tmp_path / "counts.csv", data)
    calibration = tmp_path / "calibration.json"
    shots = np.round(1e6 * readout.confusion[0].T).astype(int)
    calibration.write_text(json.dumps({"calibration": shots.tolist()}))

    def fidelity(*options):
        options = [*options, "--estimator", "linear", "--target", "+", "--json", "--quick"]
        found = json.loads(run(capsys, "predict", path, *options)[0])
        return found["functionals"][0]["value"]

    assert fidelity() < 0.9
    assert fidelity("--readout", 0.1) == pytest.approx(0.97, abs=0.02)
    assert fidelity("--readout", calibration) == pytest.approx(0.97, abs=0.02)


def test_comparison(capsys):
    text, _ = run(
        capsys, "benchmark", "--estimators", "linear,maximum_likelihood", "--states", 3,
        "--copies", 1000, "--design", "pauli", "--json",
    )  # fmt: skip
    rows = json.loads(text)
    found = [(r["estimator"], r["copies"]) for r in rows]
    names = ("linear", "maximum_likelihood")
    assert found == [(name, copies) for name in names for copies in (100, 1000)]
    assert rows[1]["mean"] < rows[0]["mean"] < 0.6
