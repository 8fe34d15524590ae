"""Put measured numbers into the texts: README.md, pipelines/*/README.md and docs.

    python workflows/tables.py            # or: make tables
    python workflows/tables.py --check    # changes nothing; exit code 1 where a text is old

A benchmark run with ``--publish`` keeps its numbers in ``benchmarks/results/NAME.json``; its
function ``tables`` makes named blocks of Markdown of them: tables, sentences, single numbers. A
text shows a block between two comments,

    <!-- from NAME.BLOCK -->
    ... written by this command ...
    <!-- end -->

or within a line, ``<!-- from NAME.BLOCK -->14<!-- end -->``. Below a block of several lines stands
the command that printed it. Numbers that were measured with other weights or another simulator than
the shipped ones are an error: their benchmark has to be run again.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from common import results  # noqa: E402

from physml.io.atomic import read_json, write_text  # noqa: E402

TEXTS = ("README.md", "pipelines/*/README.md", "docs/**/*.md")
BLOCK = re.compile(r"<!-- from (\w+)\.([\w-]+) -->(.*?)<!-- end -->", re.DOTALL)
#: Comments that look like ours: each has to be part of a block.
MARKER = re.compile(r"<!--\s*(?:from\b[^>]*|end\s*)-->")
#: In Markdown what follows a comment at the beginning of a line is HTML up to the line's end.
START = re.compile(r"^ *<!-- from [^>]*-->[^\n]", re.MULTILINE)


class Unknown(LookupError):
    """A text asks for a block that there is not."""


def texts() -> list[Path]:
    """Files that may show measured numbers."""
    found = {path for pattern in TEXTS for path in ROOT.glob(pattern)}
    return sorted(path for path in found if "_build" not in path.parts)


@lru_cache
def read(name: str) -> Mapping[str, Any]:
    """Record of a benchmark.

    Raises
    ------
    Unknown
        Its numbers were never published.
    """
    path = results.RESULTS / f"{name}.json"
    if not path.exists():
        raise Unknown(f"no {path.relative_to(ROOT)}: run python benchmarks/{name}.py --publish")
    found: Mapping[str, Any] = read_json(path)
    return found


@lru_cache
def blocks(name: str) -> Mapping[str, str]:
    """Blocks of a benchmark by name, from its record."""
    numbers = read(name)["numbers"]
    made: Mapping[str, str] = importlib.import_module(name).tables(numbers)
    return made


def printed_by(made: Mapping[str, Any]) -> str:
    """Sentence on the command, the day and the weights of a record."""
    weights = [f"`{then['weights'][:12]}`" for then in made["sciences"].values()]
    with_weights = f", weights {' and '.join(weights)}" if weights else ""
    return f"Printed by `{made['command']}` ({made['date']}{with_weights})."


def block(name: str, part: str, inline: bool) -> str:
    """What stands between two comments.

    Raises
    ------
    Unknown
        No such record or block.
    """
    if part not in blocks(name):
        known = ", ".join(blocks(name))
        raise Unknown(f"benchmarks/{name}.py has no block {part!r}, but {known}")
    text = blocks(name)[part].strip()
    if inline:
        if "\n" in text:
            raise Unknown(f"{name}.{part} has several lines: its comments need lines of their own")
        return text
    below = f"\n\n{printed_by(read(name))}" if "\n" in text else ""
    return f"\n{text}{below}\n"


def filled(text: str) -> str:
    """Text with all of its blocks as they are now.

    Raises
    ------
    Unknown
        A block that there is not, or a comment without its partner.
    """

    def fill(found: re.Match[str]) -> str:
        name, part, inside = found.groups()
        inner = block(name, part, inline="\n" not in inside)
        return f"<!-- from {name}.{part} -->{inner}<!-- end -->"

    if START.search(text):
        raise Unknown("a comment <!-- from ... --> that begins a line has to have it for itself")
    whole = len(BLOCK.findall(text))
    if 2 * whole != len(MARKER.findall(text)):
        raise Unknown("a comment <!-- from ... --> or <!-- end --> without its partner")
    return BLOCK.sub(fill, text)


def shown(paths: Iterable[Path]) -> set[str]:
    """Names of the benchmarks whose numbers some texts show."""
    return {name for path in paths for name, _, _ in BLOCK.findall(path.read_text())}


def faults(paths: Sequence[Path], *, check: bool) -> list[str]:
    """Bring texts up to date, or only look, and say what is wrong.

    Parameters
    ----------
    paths : sequence of Path
    check : bool
        Change nothing.
    """
    found = []
    for path in paths:
        place, before = path.relative_to(ROOT), path.read_text()
        try:
            after = filled(before)
        except Unknown as error:
            found.append(f"{place}: {error}")
            continue
        if after != before and check:
            found.append(f"{place}: numbers are out of date; run make tables")
        elif after != before:
            write_text(path, after, overwrite=True)
            print(f"{place}: brought up to date")
    for name in sorted(shown(paths)):
        if (results.RESULTS / f"{name}.json").exists():
            found += [
                f"benchmarks/results/{name}.json: {reason}; run {read(name)['command']} --publish"
                for reason in results.outdated(read(name))
            ]
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Bring the texts up to date."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing")
    found = faults(texts(), check=parser.parse_args(argv).check)
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
