"""Text tables as spreadsheets and controllers write them: encodings, separators, numbers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from physml.exceptions import InputError

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


def read_text(path: Path, wanted: str) -> str:
    """Text of a file in UTF-8, or in UTF-16 with its byte-order mark; InputError otherwise."""
    raw = path.read_bytes()
    try:
        return raw.decode("utf-16" if raw.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError.expected(path, wanted, "another kind of file") from error


def rows_of(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Lines that are not empty nor comments, with their numbers; one kind of separator.

    The first line says which: ``,`` or ``;`` or tabulators, or blanks where it has none of these.
    A line ``sep=;``, as Excel writes it, is obeyed.
    """
    lines = text.splitlines()
    said = re.fullmatch(r"sep=(.)", lines[0].strip("\ufeff ")) if lines else None
    if said:
        lines[0] = ""
    head = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    separator = said[1] if said else max(",;\t", key=head.count)
    if not said and separator not in head:
        for number, line in enumerate(lines, 1):
            if line.split() and not line.startswith("#"):
                yield number, line.split()
        return
    reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=separator, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row) and not row[0].startswith("#"):
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise InputError.expected(path, "CSV", f"line {reader.line_num}: {error}") from error


def cells_of(path: Path, line: int, row: list[str], columns: list[str]) -> dict[str, str]:
    """Cells of a line by column; InputError where there are more or fewer."""
    if len(row) != len(columns):
        raise InputError.expected(path, f"{len(columns)} cells in line {line}", str(len(row)))
    return dict(zip(columns, row, strict=True))


def number_of(path: Path, line: int, column: str, text: str) -> float | int:
    """Number of a cell; InputError where it is none, or where its commas may mean two things."""
    place = f"{path}, line {line}, {column!r}"
    if re.fullmatch(r"[-+]?\d+", text, re.ASCII):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    hint = None
    if re.fullmatch(r"[-+]?\d[\d.']*,\d+(\.\d+)?", text):
        hint = "A comma may set off decimals or thousands: write counts as whole numbers."
    raise InputError.expected(place, "a number", repr(text[:40]), hint)


def count_of(path: Path, line: int, column: str, text: str) -> float | int:
    """Count of a cell; InputError also where its point may set off thousands."""
    if re.fullmatch(r"[1-9]\d{0,2}(\.\d{3})+", text, re.ASCII):
        raise InputError.expected(
            f"{path}, line {line}, {column!r}",
            "a whole number",
            f"{text!r}, whose point may set off decimals or thousands",
        )
    return number_of(path, line, column, text)


def same_names(columns: list[str]) -> list[str]:
    """Names that are there more than once."""
    return [name for name in dict.fromkeys(columns) if columns.count(name) > 1]
