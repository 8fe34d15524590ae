"""Session files: appended to, never changed, never losing what was acknowledged."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from physml.exceptions import InputError, OutputError
from physml.tomography.data import session as module
from physml.tomography.data.session import Session, is_session, read_session

HEADER = {"n_qubits": 2, "design": "global", "seed": 3}


def write(path, number=4):
    with Session.create(path, HEADER) as session:
        for k in range(number):
            session.append("counts", {"id": f"m{k}", "counts": [k, 10**12, 0, 1]})
    return path


def bodies(events):
    return [{k: v for k, v in e.items() if k not in ("crc",)} for e in events]


def test_what_was_appended_is_read(tmp_path):
    path = write(tmp_path / "s.jsonl")
    header, *events = read_session(path)
    assert {k: header[k] for k in HEADER} == HEADER
    assert [e["counts"] for e in events] == [[k, 10**12, 0, 1] for k in range(4)]
    assert is_session(path)
    # Ordinary JSON lines: other programs read them too.
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == list(range(5))


def test_resumed_session_only_grows(tmp_path):
    path = write(tmp_path / "s.jsonl")
    before = path.read_bytes()
    with Session.resume(path) as session:
        session.append("counts", {"id": "late", "counts": [1, 2, 3, 4]})
    assert path.read_bytes().startswith(before)
    assert len(read_session(path)) == 6


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_killed_at_any_byte_nothing_acknowledged_is_lost(tmp_path, data):
    path = tmp_path / "s.jsonl"
    path.unlink(missing_ok=True)
    write(path)
    whole = path.read_bytes()
    ends = [i + 1 for i, b in enumerate(whole) if b == ord("\n")]
    cut = data.draw(st.integers(ends[0], len(whole)))
    path.write_bytes(whole[:cut])
    acknowledged = sum(end <= cut for end in ends)
    complete = sum(end - 1 <= cut for end in ends)  # all but the line feed
    with Session.resume(path) as session:
        assert len(session.events) in (acknowledged, complete)
        assert len(session.events) >= acknowledged
        kept = bodies(session.events)
        session.append("counts", {"id": "next", "counts": [5, 6, 7, 8]})
    # Cut once more inside the line that was just written, and resume again.
    again = path.read_bytes()
    assert again.startswith(whole[:cut])
    second = data.draw(st.integers(cut, len(again)))
    path.write_bytes(again[:second])
    events = bodies(read_session(path))
    assert events[: len(kept)] == kept
    assert len(events) - len(kept) in (0, 1)
    with Session.resume(path) as session:
        session.append("counts", {"id": "last", "counts": [1, 1, 1, 1]})
    assert read_session(path)[-1]["id"] == "last"


def test_a_changed_byte_is_noticed(tmp_path):
    path = write(tmp_path / "s.jsonl")
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"counts": [2, ', b'"counts": [3, '))
    with pytest.raises(InputError, match=r"line 4 as it was written.*another checksum"):
        read_session(path)


def test_a_removed_or_repeated_line_is_noticed(tmp_path):
    path = write(tmp_path / "s.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(InputError, match="lines are lost"):
        read_session(path)
    path.write_bytes(b"".join([*lines, lines[-1]]))
    with pytest.raises(InputError, match="expected event 5 in line 6"):
        read_session(path)


def test_no_second_writer_but_readers(tmp_path):
    path = write(tmp_path / "s.jsonl")
    with Session.resume(path):
        assert len(read_session(path)) == 5
        code = (
            "import sys\nfrom physml.tomography.data.session import Session\n"
            "Session.resume(sys.argv[1])"
        )
        other = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
        assert "in use by another process" in other.stderr
        with pytest.raises(InputError, match="another process"):
            Session.resume(path)
    Session.resume(path).close()


def test_create_never_replaces(tmp_path):
    path = write(tmp_path / "s.jsonl")
    before = path.read_bytes()
    with pytest.raises(OutputError):
        Session.create(path, HEADER)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"{}\n", b"x,y\n1,2\n", b'{"n": 0, "event": "session"}\n', b"\xff\x00" * 50],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "s.jsonl"
    path.write_bytes(content)
    assert not is_session(path)
    with pytest.raises(InputError, match="session file"):
        read_session(path)
    with pytest.raises(InputError, match="session file"):
        Session.resume(path)
    assert path.read_bytes() == content


def test_missing_and_folder(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(InputError, match="a session file"):
            Session.resume(path)


def test_full_disk_keeps_what_was_written(tmp_path, monkeypatch):
    path = write(tmp_path / "s.jsonl")
    real = os.write

    def half(descriptor, data):
        if len(data) > 20:
            return real(descriptor, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    session = Session.resume(path)
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", lambda d, data: half(d, data[:-1]))
        with pytest.raises(OutputError, match="no space left"):
            session.append("counts", {"id": "lost", "counts": [1, 2, 3, 4]})
    with pytest.raises(OutputError, match="closed"):
        session.append("counts", {"id": "later", "counts": [1, 2, 3, 4]})
    assert len(read_session(path)) == 5
    with Session.resume(path) as session:
        session.append("counts", {"id": "later", "counts": [1, 2, 3, 4]})
    assert read_session(path)[-1]["id"] == "later"


def test_not_finite_is_not_written(tmp_path):
    path = write(tmp_path / "s.jsonl")
    before = path.read_bytes()
    with Session.resume(path) as session, pytest.raises(InputError, match="finite"):
        session.append("counts", {"time": float("nan")})
    assert path.read_bytes() == before
