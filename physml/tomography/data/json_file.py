"""JSON that others wrote: told apart from CSV by its content, and read strictly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from physml.exceptions import InputError
from physml.io.files import require_file

Read = TypeVar("Read")
#: Marks of the order of bytes, and white space, before the first character.
_BLANK = b"\xef\xbb\xbf \t\r\n"


def looks_like_json(start: bytes) -> bool:
    """Whether a file that begins like this is a list or an object of JSON."""
    return start.lstrip(_BLANK).startswith((b"{", b"["))


def read_strict_json(path: Path) -> Any:
    """JSON without NaN, infinity and keys that are there twice; InputError otherwise."""

    def constant(name: str) -> Any:
        raise InputError.expected(path, "finite numbers", name)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            raise InputError.expected(path, "each key once in an object", f"{pairs[0][0]!r} ...")
        return out

    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, parse_constant=constant, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise InputError.expected(path, "JSON", f"something else ({error})"[:200]) from error


def read_json_or_csv(
    path: str | PathLike[str],
    what: str,
    max_bytes: int,
    from_json: Callable[[Any, str, Mapping[str, Path]], Read],
    from_csv: Callable[[Path], Read],
) -> Read:
    """Records of a file, JSON or CSV, told apart by its content.

    Parameters
    ----------
    path : path
    what : str
        What the file has to be, for the message.
    max_bytes : int
        Largest size.
    from_json : callable
        From what JSON holds, the name of the file, and the files by role, to records.
    from_csv : callable
        From the file to records.

    Raises
    ------
    InputError
        For everything that is not as it has to be.
    """
    source = require_file(path, what, max_bytes)
    with open(source, "rb") as file:
        start = file.read(256)
    if looks_like_json(start):
        return from_json(read_strict_json(source), str(source), {"records": source})
    return from_csv(source)


def measurement_list(data: Any, place: str) -> list[Any]:
    """List of the measurements of an object of JSON; InputError where there is none."""
    if not isinstance(data, dict) or not isinstance(data.get("measurements"), list):
        raise InputError.expected(
            place, "an object with a list of measurements", type(data).__name__
        )
    measurements: list[Any] = data["measurements"]
    return measurements
