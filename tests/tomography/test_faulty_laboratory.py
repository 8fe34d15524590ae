"""The example laboratory with a fault, with a book of old answers, and the commands' examples."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import threading
import time
from pathlib import Path

import pytest

from physml.cli.main import main
from physml.tomography import cli
from physml.tomography.data.session import read_session

LABORATORY = Path(__file__).resolve().parents[2] / "docs/examples/lab_server/laboratory.py"


def start(folder: Path, fault: str = "none", name: str = "lab") -> int:
    """The example laboratory in a thread; its port. Its book stays in the folder."""
    program = runpy.run_path(str(LABORATORY))
    port_file = folder / f"{name}.port"
    source = program["Source"]("ghz", 0.02, 0, fault)
    book = program["Book"](folder / "book.jsonl")
    threading.Thread(
        target=program["serve"], args=(0, port_file, source, book, 0.0), daemon=True
    ).start()
    while not port_file.exists():
        time.sleep(0.01)
    return int(port_file.read_text())


def run(capsys, session, port, *options):
    connect = ["--connect", f"127.0.0.1:{port}", "--design", "product", "--estimator"]
    code = main(["tomography", "run", str(session), *connect, "linear", *map(str, options)])
    return code, capsys.readouterr()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("inverted", "each rotation was applied as U in place of its conjugate transpose"),
        ("previous", "each count belongs to the setting before"),
    ],
)
def test_a_faulty_laboratory_ends_the_run(fault, words, tmp_path, capsys):
    """The run of the report: exit code 3, the reason, the likely fault, and no error given."""
    session = tmp_path / "s.jsonl"
    code, out = run(capsys, session, start(tmp_path, fault), "--copies", 1000)
    assert code == 3
    assert out.out == ""  # no infidelity with a confidence
    assert "s.jsonl" in out.err
    assert "no state gives such data" in out.err or "are more probable if" in out.err
    assert words in out.err
    assert "No error is given" in out.err
    before = session.read_bytes()
    assert run(capsys, session, start(tmp_path, fault, "again"), "--copies", 1000)[0] == 3
    assert session.read_bytes() == before


def test_a_good_laboratory_is_not_blamed_and_no_book_answers_a_new_session(tmp_path, capsys):
    port = start(tmp_path)
    for name in ("a.jsonl", "b.jsonl"):
        code, out = run(capsys, tmp_path / name, port, "--copies", 600)
        assert code == 0, out.err
        assert "600 copies" in out.out
    books = (tmp_path / "book.jsonl").read_text().splitlines()
    ids = [json.loads(line)["id"] for line in books]
    assert len(set(ids)) == len(ids)
    first, second = ({e["id"] for e in read_session(tmp_path / n)[1:] if e["event"] == "counts"}
                     for n in ("a.jsonl", "b.jsonl"))  # fmt: skip
    assert not first & second
    assert len(first | second) == len(ids)  # each was measured for its own session


def test_a_stale_answer_is_refused_and_nothing_of_it_recorded(tmp_path, capsys):
    """A folder in which somebody put counts of another setting under the name of this one."""
    session, folder = tmp_path / "s.jsonl", tmp_path / "exchange"
    done = threading.Event()

    def work():
        while not done.is_set():
            for asked in folder.glob("*.setting.json") if folder.is_dir() else []:
                name = asked.name.removesuffix(".setting.json")
                body = {"id": "m000000", "counts": [10, 0, 0, 0]}
                (folder / f"{name}.counts.json").write_text(json.dumps(body))
            time.sleep(0.01)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    options = ["--folder", str(folder), "--copies", "100", "--estimator", "linear"]
    code = main(["tomography", "run", str(session), *options])
    done.set()
    thread.join()
    assert code == 2
    assert "stale answer: those of 'm000000'" in capsys.readouterr().err
    assert [e["event"] for e in read_session(session)[1:]] == ["setting"]


def examples(epilog: str) -> list[str]:
    return re.findall(r"^  (physml .*)$", epilog, re.MULTILINE)


@pytest.mark.parametrize("epilog", [cli.RUN_EPILOG, cli.NEXT_EPILOG])
def test_the_first_examples_of_the_help_work_as_printed(epilog, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, *words = shlex.split(examples(epilog)[0])
    if ">" in words:
        words = words[: words.index(">")]
    assert main(words) == 0
    out = capsys.readouterr().out
    if words[1] == "run":
        assert "2000 copies" in out
        return
    asked = json.loads(out)
    assert asked["shots"] == 200
    Path("counts.json").write_text(json.dumps({"id": asked["id"], "counts": [50] * 4}))
    _, *words = shlex.split(examples(epilog)[1])
    assert main(words[: words.index(">")]) == 0
    assert json.loads(capsys.readouterr().out)["id"] != asked["id"]


def test_shots_are_those_of_the_setting_that_waits(tmp_path, capsys):
    session = str(tmp_path / "s.jsonl")

    def call(*options):
        assert main(["tomography", "next", session, *options]) == 0
        return json.loads(capsys.readouterr().out)

    first = call("--estimator", "linear", "--design", "pauli")
    assert first["shots"] == 10
    changed = call("--shots", "200")
    assert changed == {**first, "shots": 200}
    assert call() == changed  # and remembered
    answer = tmp_path / "a.json"
    answer.write_text(json.dumps({"id": first["id"], "counts": [200, 0, 0, 0]}))
    following = call("--add", str(answer))
    assert following["id"] != first["id"]
    assert following["shots"] == 20
