"""Lock what `make run` installs: every package with its version and the hashes of its files.

Versions are those of constraints.txt. torch is left out, with what only its CUDA build needs: each
machine has its own build of it, from an index or a folder of wheels that the user chooses.

    python workflows/lock.py [--uv PATH]
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "locked"
NOT_LOCKED = re.compile(r"(torch|triton|nvidia-|cuda-)")
HEAD = "# Made by `make lock` from pyproject.toml and constraints.txt. Do not edit.\n"


def compiled(uv: str, *arguments: str, given: str = "") -> str:
    """Resolve requirements for all systems and versions of Python, with hashes."""
    command = [uv, "pip", "compile", "-q", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-header", "--no-annotate", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, input=given, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def kept(text: str) -> str:
    """Blocks of packages that are locked."""
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    return "\n".join(block for block in blocks if not NOT_LOCKED.match(block)) + "\n"


def main() -> int:
    """Write locked/run.txt and locked/uv.txt."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uv", default=shutil.which("uv") or "uv")
    uv = parser.parse_args().uv
    run = compiled(
        uv, "-c", "constraints.txt", "pyproject.toml", "locked/build.in", "--extra", "workflow"
    )
    (FOLDER / "run.txt").write_text(HEAD + kept(run))
    version = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True)
    installer = compiled(uv, "-", given=f"uv=={version.stdout.split()[1]}\n")
    (FOLDER / "uv.txt").write_text(HEAD + installer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
