"""What the fuzzer gave to the readers: the table of docs/security.md.

    python benchmarks/fuzzing.py build/fuzz --publish

takes the counts that ``make fuzz MINUTES=10`` left.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.options import command, parse, write
from common.tables import table

from physml.exceptions import InputError
from physml.io.atomic import read_json

SCIENCES = ()


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Blocks of the texts."""
    rows = [
        [
            f"`{name}`",
            group["readers"],
            f"{group['seconds']:.0f}",
            *(f"{group[key]:,}" for key in ("files", "read", "refused")),
        ]
        for name, group in numbers["groups"].items()
    ]
    head = ["group", "readers", "processor time, s", "files", "read", "refused"]
    files = sum(group["files"] for group in numbers["groups"].values())
    caption = f"{files:,} files; each goes to each reader of its group."
    return {"groups": f"{caption}\n\n{table(head, rows)}"}


def main() -> None:
    """Read what the fuzzer counted, and print."""
    parser = command(__doc__)
    parser.add_argument("findings", type=Path, help="folder that the fuzzer wrote")
    a = parse(parser)
    groups = {path.name.split(".")[0]: read_json(path) for path in a.findings.glob("*.total.json")}
    if not groups:
        raise InputError.expected(a.findings, "counts of the fuzzer, *.total.json", "none")
    write(a, {"groups": dict(sorted(groups.items()))}, tables=tables, sciences=SCIENCES)


if __name__ == "__main__":
    main()
