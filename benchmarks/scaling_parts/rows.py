"""What was measured, kept in a file as soon as it is known."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common import rows
from common.rows import Row

from physml import provenance
from physml.exceptions import InputError
from physml.io.atomic import read_json

from .measure import CommandFailed


def machine() -> dict[str, Any]:
    """Hardware that figures are of: processor, cores, memory, GPU."""
    import psutil
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    # platform says "x86_64" or nothing on Linux, which has the name in a file.
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or platform.machine()


class Rows(rows.Rows):
    """Rows by key, in a file, and what machine and settings they are of.

    Parameters
    ----------
    path
        JSON; need not be there yet. A published record is taken, too.
    content : mapping, optional
        What is in the file, where it was read before.

    Raises
    ------
    InputError
        It is something else.
    """

    def __init__(self, path: Path, content: Mapping[str, Any] | None = None) -> None:
        if content is None:
            content = read_json(path) if path.exists() else {"machine": {}, "rows": {}}
        if isinstance(content, dict):
            content = content.get("numbers", content)
        if not isinstance(content, dict) or not {"machine", "rows"} <= set(content):
            raise InputError.expected(path, "rows that benchmarks/scaling.py wrote", "other JSON")
        self.machine: dict[str, Any] = content["machine"]
        self.versions: dict[str, str] = content.get("versions", {})
        self.settings: dict[str, str] = content.get("settings", {})
        super().__init__(None)
        self.path, self.rows = path, content["rows"]

    def begin(self, settings: Mapping[str, str]) -> None:
        """Note on which machine and with which settings measuring goes on.

        Parameters
        ----------
        settings : mapping
            Pipeline -> `digest` of the settings that all its measurements start from.

        Raises
        ------
        InputError
            The rows of before are of another machine, or of other settings.
        """
        now = machine()
        if self.rows and self.machine != now:
            raise InputError.expected(
                self.path,
                f"rows of this machine, {now} (--rows names another file)",
                str(self.machine),
            )
        for pipeline, mark in settings.items():
            if self.settings.get(pipeline, mark) != mark:
                raise InputError(
                    f"{self.path}: the rows of {pipeline} are of other settings; "
                    "--rows names another file"
                )
        self.machine, self.versions = now, provenance.versions()
        self.settings |= settings

    def attempt(
        self,
        key: str,
        head: Row,
        make: Callable[[], Row],
        why: str | None = None,
        may_fail: bool = False,
    ) -> None:
        """Have a row, or a note of why there is none; such a note is tried again next time.

        Parameters
        ----------
        key, head
            The row's name and what is known of it before.
        make : callable
            Measures.
        why : str, optional
            Known to be impossible.
        may_fail
            A command that fails is noted rather than raised.
        """
        self.rows.pop(f"missing {key}", None)
        if key in self.rows:
            return
        if why is None:
            try:
                self.get(key, lambda: head | make())
                return
            except CommandFailed as error:
                if not may_fail:
                    raise
                why = f"did not work: {str(error).splitlines()[-1]}"
        self.rows[f"missing {key}"] = head | {"kind": "missing", "why": why}
        self.save()

    def save(self, **more: Any) -> None:
        """Write the file."""
        super().save(**more, **self.head)

    @property
    def head(self) -> dict[str, Any]:
        """What stands beside the rows."""
        return {name: getattr(self, name) for name in ("machine", "versions", "settings")}

    def of(self, kind: str, **wanted: Any) -> list[Row]:
        """Rows of a kind whose entries are these."""
        wanted["kind"] = kind
        found = self.rows.values()
        return [row for row in found if all(row.get(k) == v for k, v in wanted.items())]


def digest(value: Any) -> str:
    """Short hash of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def key(kind: str, pipeline: str, stage: str, case: Mapping[str, Any]) -> str:
    """Name of a row: changes with everything that the figures are of."""
    return f"{kind} {pipeline} {stage} {digest(dict(case))}"
