"""Region files in text: DS9's, CIAO's, and tables of circles.

CIAO joins shapes in one line: ``+``, ``|`` or nothing is a union, ``*`` or ``&`` an intersection,
which binds stronger, ``-`` an intersection with what is outside, and ``!`` is outside. DS9 has one
shape a statement, which ``-`` or ``!`` excludes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from physml.exceptions import InputError

from .algebra import Component, Term
from .frames import FRAMES, Placer, Value, read_value
from .shapes import NAMES, PARAMETERS

_ROW = re.compile(r"^[-+.\deE]+([,\s]+[-+.\deE]+){2}$")
_SHAPE = re.compile(r"\s*([-+!&*|\s]*)([A-Za-z]\w*)\s*\(([^()]*)\)")
_OPERATORS = {"": "or", "+": "or", "|": "or", "||": "or", "*": "and", "&": "and", "&&": "and"}


def read_text(file: Path, text: str, placer: Placer) -> list[Component]:
    """Components of a region file.

    Parameters
    ----------
    file : Path
        For messages.
    text : str
        Its content.
    placer : Placer
        Of the image.

    Raises
    ------
    InputError
        A line that is not understood.
    """
    components: list[Component] = []
    for number, frame, statement in _statements(file, text):
        where = f"{file}, line {number}"
        try:
            components += _components(statement, frame, placer, number)
        except InputError:
            raise
        except Exception as error:  # astropy and regions raise errors of many kinds
            detail = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError.expected(
                where,
                f"a region with an area ({', '.join(PARAMETERS)})",
                f"{statement[:80]!r}: {detail}",
            ) from error
    return components


def _statements(file: Path, text: str) -> Iterator[tuple[int, str | None, str]]:
    """Yield (line number, frame, statement) for all shapes of a file."""
    frame: str | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#") or line.lower().startswith("global"):
            continue
        if _ROW.match(line):
            try:
                x, y, radius = map(float, re.split(r"[,\s]+", line))
            except ValueError:
                radius = -1.0
            if not radius > 0:
                raise InputError.expected(
                    f"{file}, line {number}", "x y radius with radius > 0", repr(line[:80])
                )
            yield number, "image", f"circle({x!r},{y!r},{radius!r})"
            continue
        for part in line.split("#", 1)[0].split(";"):
            statement = part.strip()
            while statement.endswith("|"):  # a part of a composite region
                statement = statement[:-1].rstrip()
            if not statement:
                continue
            if statement.lower() in FRAMES:
                frame = statement.lower()
                continue
            if not re.match(r"[-+!\s]*[A-Za-z]\w*\s*[( ]", statement):
                raise InputError.expected(
                    f"{file}, line {number}",
                    f"a region with an area ({', '.join(PARAMETERS)}) or a coordinate frame "
                    f"({', '.join(FRAMES)})",
                    repr(statement[:80]),
                )
            yield number, frame, statement


def _components(statement: str, frame: str | None, placer: Placer, line: int) -> list[Component]:
    """Components of one statement."""
    if "(" not in statement:  # DS9 also takes `circle 10 20 3`
        statement = re.sub(r"^([-+!\s]*[A-Za-z]\w*)\s+(.*)$", r"\1(\2)", statement)
    found: list[Component] = []
    end = 0
    while end < len(statement):
        match = _SHAPE.match(statement, end)
        if match is None:
            raise ValueError(f"{statement[end : end + 40]!r} is not understood")
        operator, inside = _operator(match.group(1), first=end == 0)
        end = match.end() + len(statement[match.end() :]) - len(statement[match.end() :].lstrip())
        kind = match.group(2).lower()
        kind = NAMES.get(kind, kind)
        if kind not in PARAMETERS:
            raise ValueError(f"a shape {kind!r}")
        values = _values(kind, match.group(3))
        plane, shape = placer.place(kind, values, frame)
        term = Term(plane, shape, inside)
        if operator == "and":
            found[-1].terms.append(term)
        else:
            found.append(Component([term], line))
    return found


def _operator(text: str, first: bool) -> tuple[str, bool]:
    """How a shape is joined to those before it, and whether its inside counts."""
    signs = "".join(text.split())
    inside = True
    if signs.endswith("!"):
        signs, inside = signs[:-1], False
    if signs == "-":
        signs, inside = "" if first else "*", not inside
    if signs not in _OPERATORS or (first and signs not in ("", "+")):
        raise ValueError(f"an operator {text.strip()!r}")
    return _OPERATORS[signs], inside


def _values(kind: str, text: str) -> list[Value]:
    """Values between the brackets of a shape."""
    words = [word for word in re.split(r"[,\s]+", text.strip()) if word]
    rings = [word for word in words if re.fullmatch(r"n=\d+", word, re.IGNORECASE)]
    if rings and kind in ("annulus", "ellipse", "box"):
        words = [word for word in words if word not in rings]
    return [read_value(word) for word in words]
