"""The scaling benchmark: what it keeps, what it measures, and its command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from physml.exceptions import InputError


def test_a_benchmark_carries_on(parts, tmp_path):
    path = tmp_path / "rows.json"
    rows = parts.rows.Rows(path)
    rows.begin({"cavities": "a"})
    assert rows.get("one", lambda: {"kind": "size", "n": 1})["n"] == 1
    again = parts.rows.Rows(path)
    again.begin({"cavities": "a", "background": "b"})
    assert again.get("one", lambda: pytest.fail("measured again"))["n"] == 1
    assert again.of("size", n=1)
    assert not again.of("size", n=2)


def test_rows_of_another_machine_or_of_other_settings_are_not_mixed(parts, tmp_path, monkeypatch):
    path = tmp_path / "rows.json"
    rows = parts.rows.Rows(path)
    rows.begin({"cavities": "a"})
    rows.get("one", lambda: {"kind": "size"})
    with pytest.raises(InputError, match="cavities are of other settings"):
        parts.rows.Rows(path).begin({"cavities": "b"})
    monkeypatch.setattr(parts.rows, "machine", lambda: {"processor": "another"})
    with pytest.raises(InputError, match="rows of this machine"):
        parts.rows.Rows(path).begin({"cavities": "a"})


def test_why_there_is_no_row_is_noted_and_tried_again(parts, tmp_path):
    rows = parts.rows.Rows(tmp_path / "rows.json")
    head = {"kind": "jobs", "where": "slurm"}

    def broken():
        raise parts.measure.CommandFailed("exit code 3: sbatch\nno such partition")

    rows.attempt("one", head, broken, may_fail=True)
    assert rows.of("missing") == [
        {"kind": "missing", "where": "slurm", "why": "did not work: no such partition"}
    ]
    with pytest.raises(parts.measure.CommandFailed):
        rows.attempt("one", head, broken)
    rows.attempt("one", head, broken, why="no cluster")
    assert rows.of("missing", why="no cluster")
    rows.attempt("one", head, lambda: {"n": 1})
    assert rows.of("missing") == []
    assert rows.of("jobs") == [head | {"n": 1}]
    rows.attempt("one", head, broken)  # is there already
    assert len(rows.rows) == 1


def test_another_file_is_no_rows(parts, tmp_path):
    path = tmp_path / "other.json"
    path.write_text('{"rows": 3}')
    with pytest.raises(InputError, match=r"rows that benchmarks/scaling\.py wrote"):
        parts.rows.Rows(path)


def test_names_of_rows_change_with_the_settings(parts):
    key = parts.rows.key
    assert key("size", "cavities", "train", {"a": 1, "b": 2}) == key(
        "size", "cavities", "train", {"b": 2, "a": 1}
    )
    assert key("size", "cavities", "train", {"a": 1}) != key("size", "cavities", "train", {"a": 2})


def test_processor_time_and_memory_of_children_count(parts):
    """A grandchild works for 0.4 s of processor time and holds 300 MB."""
    work = (
        "import time; held = bytearray(300_000_000)\n"
        "while time.process_time() < 0.4: held[::4096] = b'1' * len(held[::4096])"
    )
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    cost = parts.measure.run([sys.executable, "-c", program, work], env=dict(os.environ))
    assert cost.cpu_s >= 0.4
    assert cost.peak_mb >= 300


def test_a_command_that_fails_says_what_it_said(parts):
    program = "import sys; sys.exit('no such thing')"
    with pytest.raises(parts.measure.CommandFailed, match="no such thing"):
        parts.measure.run([sys.executable, "-c", program], env=dict(os.environ))


def test_an_interrupted_benchmark_leaves_nothing_running(root, tmp_path):
    """Ctrl-C reaches the measured command as one, so that Snakemake cancels its jobs."""
    told = tmp_path / "told"
    command = (
        "import pathlib, sys, time\n"
        "print(pathlib.Path(sys.argv[1]).write_text('running'))\n"
        "try: time.sleep(60)\n"
        "except KeyboardInterrupt: pathlib.Path(sys.argv[1]).write_text('interrupted')"
    )
    program = (
        "import os, sys; from scaling_parts.measure import run\n"
        "run([sys.executable, '-c', *sys.argv[1:]], env=dict(os.environ))"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(root / "benchmarks"), str(root)])}
    # A session of its own: the signal is for the benchmark alone. A shell lets what it runs in the
    # background ignore it, and that is inherited.
    bench = subprocess.Popen(
        [sys.executable, "-c", program, command, str(told)],
        env=env,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (told.exists() and told.read_text()):
        time.sleep(0.05)
        assert bench.poll() is None
    bench.send_signal(signal.SIGINT)
    assert bench.wait(60) != 0
    assert told.read_text() == "interrupted"


def test_bytes_of_files_and_folders(parts, tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "b" / "c" / "d").write_bytes(b"123")
    assert parts.measure.size(tmp_path / "a", tmp_path / "b") == 8


@pytest.mark.slow
def test_stages_are_measured_as_their_commands(parts, tmp_path):
    """The real stages, on a few states; what was made is not made again."""
    recipes = parts.recipes
    rows = parts.rows.Rows(tmp_path / "rows.json")
    rows.begin({})
    said: list[str] = []
    bench = parts.stages.Bench(
        "tomography", recipes.RECIPES["tomography"], rows, tmp_path / "data", say=said.append
    )
    for n in (20, 200):
        simulated = bench.simulate(recipes.Point(n))
        bench.preprocess(recipes.Point(n))
        assert simulated["bytes"] > 50 * n
        assert simulated["cpu_s"] > 0.5, "importing alone takes as long"
    assert len(said) == 4
    bench.simulate(recipes.Point(20))
    assert len(said) == 4
    made = parts.plan.line(rows, "tomography", "preprocess", "bytes")
    assert made.slopes["samples"] > 50


@pytest.fixture
def scaling(script, capsys):
    """Run the script; its exit code, output and errors."""

    def run(*arguments):
        code = 0
        try:
            script("scaling").main(list(map(str, arguments)))
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def test_a_plan_is_printed_from_the_rows_that_come_along(root, scaling):
    shipped = root / "benchmarks" / "results" / "scaling.json"
    plans = ["--plan", "cavities=1e5", "tomography=2000"]
    code, out, err = scaling("--rows", shipped, "--cores", 64, *plans)
    assert code == 0, err
    assert "cavities: 100,000 images, 64 cores" in out
    assert "tomography: 2,000 experiments, 64 cores" in out
    assert "extrapolated" in out


@pytest.mark.parametrize("plan", ["cavitis=100", "cavities", "cavities=0", "cavities=many"])
def test_a_plan_that_makes_no_sense_is_refused(scaling, plan):
    code, _, err = scaling("--plan", plan)
    assert code == 2
    assert "--plan" in err
