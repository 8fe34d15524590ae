"""A laboratory in a process of its own: it listens on a port and measures what it is asked to.

It needs numpy and nothing of physml, as the controller of a real experiment would. In the place of
`Source.measure` stands the experiment: it applies the conjugate transpose of each local unitary,
reads each qubit out, and counts.

    python laboratory.py --state ghz --port 7001 --book book.jsonl

A setting that was measured before is looked up in the laboratory's book and not measured again, so
that a steering program which was killed before it heard the answer may ask once more.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import time
import zlib
from pathlib import Path

import numpy as np

LONGEST_LINE = 1 << 24


class Source:
    """A source of two-qubit states, and its detectors.

    With a fault it measures something else than it is asked for: "inverted" applies each rotation
    as it is in place of its conjugate transpose, "previous" measures the setting of before.
    """

    def __init__(self, name: str, noise: float, seed: int, fault: str = "none"):
        half = np.sqrt(0.5)
        psi = {"ghz": [half, 0, 0, half], "psi-": [0, half, -half, 0], "0": [1, 0, 0, 0]}[name]
        self.rho = (1 - noise) * np.outer(psi, psi) + noise * np.eye(4) / 4
        self.seed = seed
        self.fault = fault
        self.before: np.ndarray | None = None

    def measure(self, setting: dict) -> list[int]:
        """Counts of one setting."""
        measured = self.faulty(setting)
        p = np.einsum("kij,ji->k", measured, self.rho).real.clip(0)
        # The luck of a setting depends on its number only, not on the session's token before it:
        # runs can be compared.
        number = setting["id"].rpartition("-")[2]
        rng = np.random.default_rng([self.seed, zlib.crc32(number.encode())])
        return rng.multinomial(setting["shots"], p / p.sum()).tolist()

    def faulty(self, setting: dict) -> np.ndarray:
        """Effects that are measured when a setting is asked for."""
        right = effects(setting)
        if self.fault == "inverted":
            return effects(setting, inverted=True)
        if self.fault == "previous":
            before, self.before = self.before, right
            return right if before is None else before
        return right


def effects(setting: dict, inverted: bool = False) -> np.ndarray:
    """Effects (k, d, d) from the JSON of a setting; inverted: as if it held the adjoints."""
    if "effects" in setting:
        return numbers(setting["effects"])
    if "local" in setting:
        basis = np.ones((1, 1))
        for unitary in numbers(setting["local"]):  # qubit 0 first
            basis = np.kron(basis, unitary)
    else:
        basis = numbers(setting["basis"])
    if inverted:
        basis = basis.conj().T
    return np.einsum("ik,jk->kij", basis, basis.conj())


def numbers(pairs: list) -> np.ndarray:
    """Complex numbers from pairs [real, imaginary]."""
    array = np.asarray(pairs, float)
    return array[..., 0] + 1j * array[..., 1]


class Book:
    """What was measured, on disk before anybody hears of it."""

    def __init__(self, path: Path):
        self.path = path
        self.answers: dict[str, dict] = {}
        text = path.read_text() if path.exists() else ""
        for line in text.splitlines(keepends=True):
            if line.endswith("\n") and line.strip():  # the rest of a killed line is no answer
                try:
                    answer = json.loads(line)
                except ValueError:
                    continue
                self.answers[answer["id"]] = answer
        self.torn = bool(text) and not text.endswith("\n")

    def write(self, answer: dict) -> None:
        with open(self.path, "a") as file:
            file.write("\n" * self.torn + json.dumps(answer) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.torn = False
        self.answers[answer["id"]] = answer


def answer_to(line: bytes, source: Source, book: Book, duration: float) -> dict:
    """Answer to one line of a client."""
    try:
        setting = json.loads(line)
        if setting["id"] in book.answers:
            return book.answers[setting["id"]]
        time.sleep(duration)
        answer = {"id": setting["id"], "counts": source.measure(setting), "time": time.time()}
        # What was measured: an answer with another setting than was asked for is refused.
        answer |= {kind: setting[kind] for kind in ("local", "basis") if kind in setting}
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    book.write(answer)
    return answer


def serve(port: int, port_file: Path | None, source: Source, book: Book, duration: float) -> None:
    """Serve one client after the other, for ever."""
    with socket.create_server(("127.0.0.1", port)) as server:
        if port_file is not None:  # with port 0 the system chooses a free one
            temporary = port_file.with_suffix(".tmp")
            temporary.write_text(str(server.getsockname()[1]))
            temporary.replace(port_file)
        while True:
            client, _ = server.accept()
            with client, client.makefile("rwb") as stream:
                try:
                    while line := stream.readline(LONGEST_LINE):
                        reply = answer_to(line, source, book, duration)
                        stream.write(json.dumps(reply).encode() + b"\n")
                        stream.flush()
                except OSError:
                    pass  # the client was killed; the next may come


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", choices=["ghz", "psi-", "0"], default="ghz")
    parser.add_argument("--noise", type=float, default=0.02, help="share of white noise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=7001, help="0: any free one")
    parser.add_argument("--port-file", type=Path, help="where to write the port")
    parser.add_argument("--book", type=Path, default=Path("book.jsonl"))
    parser.add_argument("--duration", type=float, default=0.0, help="seconds a measurement takes")
    parser.add_argument("--fault", choices=["none", "inverted", "previous"], default="none")
    given = parser.parse_args()
    source = Source(given.state, given.noise, given.seed, given.fault)
    serve(given.port, given.port_file, source, Book(given.book), given.duration)


if __name__ == "__main__":
    main()
