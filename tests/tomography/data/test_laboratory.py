"""Answers of laboratories: whole, of the setting asked for, in time; all else is refused."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from physml.exceptions import InputError
from physml.tomography import SimulatedLaboratory, SocketLaboratory
from physml.tomography.core.measurements import global_setting, pauli_setting, sic
from physml.tomography.core.states import named_state
from physml.tomography.data import laboratory as module
from physml.tomography.data.lab_answer import Counts, check_complete, parse_answer
from physml.tomography.data.laboratory import FolderLaboratory, Unreachable

SETTING = replace(pauli_setting("XZ"), id="5c1f09ae-m000003", shots=100)
GOOD = {"id": SETTING.id, "counts": [40, 10, 20, 30]}


def parse(body, setting=SETTING):
    return parse_answer(json.dumps(body).encode(), setting, "lab")


def test_an_answer_and_what_it_may_repeat():
    assert parse(GOOD) == [40, 10, 20, 30]
    assert parse({**GOOD, "time": 3}).time == 3.0
    sent = SETTING.to_dict()
    assert parse({**GOOD, "local": sent["local"], "shots": 100}) == GOOD["counts"]
    rounded = np.round(np.asarray(sent["local"]), 4).tolist()
    assert parse({**GOOD, "local": rounded}) == GOOD["counts"]
    # Columns are determined up to a phase.
    turned = SETTING.local * np.exp(0.7j)
    pairs = np.stack([turned.real, turned.imag], -1).tolist()
    assert parse({**GOOD, "setting": {"local": pairs}}) == GOOD["counts"]
    assert parse({**GOOD, "axes": "xz"}) == GOOD["counts"]
    other = replace(sic(1), id="s", shots=10)
    body = {"id": "s", "counts": [1, 2, 3, 4], "effects": other.to_dict()["effects"]}
    assert parse(body, other) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "5c1f09ae-m000002"}, "stale answer: those of '5c1f09ae-m000002'"),
        ({"counts": [40, 10, 20, 29]}, "100 counts, as many as shots, found 99"),
        ({"counts": [0, 0, 0, 0]}, "no counts at all"),
        ({"shots": 90}, "90 counts, as many as shots, found 100"),
        ({"shots": 0}, "whole number"),
        ({"axes": "ZX"}, "another one, whose effects are off"),
        ({"axes": "XZZ"}, "another one"),
        ({"axes": "cats"}, "a setting as it was sent"),
        ({"local": pauli_setting("YZ").to_dict()["local"]}, "stale setting"),
        ({"setting": pauli_setting("XX").to_dict()}, "the setting that was asked for"),
        ({"local": "cats"}, "a setting as it was sent"),
        ({"basis": [[1, 2], [3]]}, "a setting as it was sent"),
        ({"error": "no light"}, "the laboratory refused '5c1f09ae-m000003': no light"),
    ],
)
def test_answers_that_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        parse({**GOOD, **change})


def test_an_inverted_echo_is_refused():
    unitary = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4, 2)) @ [1, 1j])[0]
    setting = global_setting(unitary, 4, "u")
    adjoint = global_setting(unitary.conj().T, 4, "u").to_dict()["basis"]
    with pytest.raises(InputError, match="turned the wrong way"):
        parse({"id": "u", "counts": [1, 1, 1, 1], "basis": adjoint}, setting)


def test_fewer_copies_are_declared():
    assert parse({**GOOD, "counts": [30, 10, 20, 30], "shots": 90}) == [30, 10, 20, 30]
    check_complete(Counts([30, 10, 20, 30], shots=90), SETTING, "lab")
    with pytest.raises(InputError, match="says so in 'shots'"):
        check_complete({"00": 90}, SETTING, "lab")


def test_the_luck_of_a_simulated_laboratory_is_not_that_of_the_session():
    lab = SimulatedLaboratory(named_state("phi+", 2), seed=1)
    other = replace(SETTING, id="00000000-m000003")
    assert lab.measure(SETTING) == lab.measure(other)
    assert lab.measure(SETTING) != lab.measure(replace(SETTING, id="5c1f09ae-m000004"))
    many = [tuple(lab.measure(replace(SETTING, id=f"{k}-a"))) for k in range(9)]
    assert len(set(many)) > 1  # names of somebody else are taken whole


def in_a_thread(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_a_half_written_answer_is_read_again(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(module, "SILENCE_S", 0.05)
    answered = tmp_path / f"{SETTING.id}.counts.json"
    text = json.dumps(GOOD)

    def write():
        for end in (0, 1, 10, len(text) - 1, len(text)):
            answered.write_text(text[:end])
            time.sleep(0.1)

    thread = in_a_thread(write)
    with caplog.at_level(logging.INFO, "physml"):
        assert FolderLaboratory(tmp_path, 60).measure(SETTING) == GOOD["counts"]
    thread.join()
    assert f"waiting for {answered}" in caplog.text


def test_an_answer_that_stays_half_written(tmp_path):
    (tmp_path / f"{SETTING.id}.counts.json").write_text('{"id": "5c1f')
    with pytest.raises(InputError, match="counts as JSON"):
        FolderLaboratory(tmp_path, 0.1).measure(SETTING)
    (tmp_path / f"{SETTING.id}.counts.json").write_text(json.dumps({**GOOD, "id": "other"}))
    began = time.monotonic()
    with pytest.raises(InputError, match="stale answer"):  # at once: it is whole
        FolderLaboratory(tmp_path, 60).measure(SETTING)
    assert time.monotonic() - began < 10


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_refused_connection_is_given_up_before_the_timeout(caplog, monkeypatch):
    monkeypatch.setattr(module, "SILENCE_S", 0.1)
    lab = SocketLaboratory("127.0.0.1", free_port(), timeout=3600, patience=0.6)
    began = time.monotonic()
    with (
        caplog.at_level(logging.INFO, "physml"),
        pytest.raises(Unreachable, match=r"no laboratory to connect to for 0.6 s .*is it running"),
    ):
        lab.measure(SETTING)
    assert time.monotonic() - began < 30
    assert f"waiting for {lab.name} (" in caplog.text
    assert SocketLaboratory("x", 1).patience == 10.0


def test_a_silent_laboratory_is_waited_for_in_words(caplog, monkeypatch):
    monkeypatch.setattr(module, "SILENCE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        lab = SocketLaboratory("127.0.0.1", server.getsockname()[1], timeout=60, patience=0.5)

        def answer():
            client, _ = server.accept()
            with client, client.makefile("rwb") as stream:
                stream.readline()
                time.sleep(1)  # longer than its patience for a connection
                stream.write(json.dumps(GOOD).encode() + b"\n")
                stream.flush()

        thread = in_a_thread(answer)
        with caplog.at_level(logging.INFO, "physml"):
            assert lab.measure(SETTING) == GOOD["counts"]
        thread.join()
        lab.close()
    assert f"waiting for {lab.name}" in caplog.text
