"""Fuzz readers for some processor time each; what is found is kept in a folder, shrunk.

``PYTHONPATH=tests python -m fuzz hdf5 fits --minutes 10 --findings build/fuzz``
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import resource
import secrets
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import physml

HANG_S = 300
MEMORY = 12 << 30
COUNTED = ("files", "read", "refused", "seconds")


def signature(error: BaseException) -> str:
    """Kind of an error and where it came from: one finding a signature."""
    frames = traceback.extract_tb(error.__traceback__)
    package = str(Path(physml.__file__).parent)
    last = [*frames[-1:], *(f for f in frames if f.filename.startswith(package))][-1]
    what = str(error)[:40] if isinstance(error, AssertionError) else ""
    return f"{type(error).__name__} {Path(last.filename).name}:{last.name} {what}".strip()


def work(name: str, seconds: float, seed: int, findings: Path, current: Path) -> None:
    """Fuzz one target in this process; counts and findings go to files."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as with_seed

    from .targets import TARGETS, check

    faulthandler.enable()
    # Above what torch and the libraries reserve; a reader that wants more gets a MemoryError.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    # The kernel ends what hangs inside a library.
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + HANG_S, int(seconds) + HANG_S))
    known, counts = set[str](), dict.fromkeys(COUNTED, 0)
    strategy, found = TARGETS[name].content(), dict[str, Any]()
    while time.process_time() < seconds:
        found.clear()

        @with_seed(seed)
        @settings(
            max_examples=400,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def fuzz(content: bytes) -> None:
            if time.process_time() > seconds:
                return
            current.write_bytes(content)
            try:
                read, refused = check(name, content)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                what = signature(error)
                if what in known:
                    return
                found.update(what=what, content=content, error=error)
                # One kind for Hypothesis, which shrinks per kind.
                raise RuntimeError(what) from error
            counts["files"] += 1
            counts["read"] += read
            counts["refused"] += refused

        try:
            fuzz()
        except Exception:
            if "what" not in found:
                raise
            keep(name, findings, found)
            known.add(found["what"])
        seed += 1
        counts["seconds"] = round(time.process_time())
        (findings / f"{name}.count.json").write_text(json.dumps(counts))


def keep(name: str, findings: Path, found: dict) -> None:
    """Write a finding and its traceback."""
    number = len(list(findings.glob(f"{name}.*.bin")))
    stem = findings / f"{name}.{number:03d}"
    stem.with_suffix(f"{stem.suffix}.bin").write_bytes(found["content"])
    text = "".join(traceback.format_exception(found["error"]))
    stem.with_suffix(f"{stem.suffix}.txt").write_text(f"{found['what']}\n\n{text}")
    print(f"{name}: {found['what']}", flush=True)


def supervise(name: str, seconds: float, findings: Path) -> None:
    """Run the work in a process of its own, again where a file has ended it."""
    total = dict.fromkeys(COUNTED, 0)
    counted = findings / f"{name}.count.json"
    with tempfile.TemporaryDirectory() as folder:
        current = Path(folder) / "current"
        while total["seconds"] < seconds:
            seed = secrets.randbelow(1 << 31)  # each run sees other files
            counted.unlink(missing_ok=True)
            left = seconds - total["seconds"]
            command = [sys.executable, "-m", "fuzz", name, "--minutes", str(left / 60)]
            command += ["--findings", str(findings), "--seed", str(seed), "--current", str(current)]
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
            if counted.exists():
                part = json.loads(counted.read_text())
                total = {k: total[k] + part[k] for k in total}
            if done.returncode == 0:
                break
            if not current.exists():
                raise RuntimeError(done.stderr)
            what = f"the process ended with {done.returncode}"
            found = {"what": what, "content": current.read_bytes(), "error": Exception(done.stderr)}
            keep(name, findings, found)
    from .targets import TARGETS

    total["readers"] = len(TARGETS[name].readers())
    (findings / f"{name}.total.json").write_text(json.dumps(total))
    print(json.dumps({"target": name, **total}), flush=True)


def main() -> None:
    """Read the command line."""
    from .targets import TARGETS

    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], default=[])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--findings", type=Path, default=Path("build/fuzz"))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--current", type=Path)
    given = parser.parse_args()
    given.findings.mkdir(parents=True, exist_ok=True)
    if given.seed is not None:
        work(given.targets[0], 60 * given.minutes, given.seed, given.findings, given.current)
        return
    for name in given.targets or TARGETS:
        supervise(name, 60 * given.minutes, given.findings)


if __name__ == "__main__":
    main()
