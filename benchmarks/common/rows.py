"""Rows of a benchmark that are kept in a file as they are done, so that it can carry on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from physml.io.atomic import read_json, write_json

log = logging.getLogger("benchmarks")
Row = dict[str, Any]


class Rows:
    """Rows by what they are of.

    Parameters
    ----------
    path : path, optional
        JSON file; need not be there yet. Without one nothing is kept.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        if path is not None and path.exists():
            self.rows = read_json(path)["rows"]

    def get(self, key: str, make: Callable[..., Row], *arguments: Any) -> Row:
        """Row of before, or a new one, made with some arguments, which is kept."""
        if key not in self.rows:
            self.rows[key] = make(*arguments)
            log.info("%s", key)
            self.save()
        return self.rows[key]

    def save(self, **more: Any) -> None:
        """Write the file.

        Parameters
        ----------
        **more
            What stands beside the rows.
        """
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, {**more, "rows": self.rows}, overwrite=True)
