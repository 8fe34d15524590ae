"""The benchmarks as modules: each is a script beside its parts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def script(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a benchmark by its name."""
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def parts(script: Callable[[str], ModuleType]) -> ModuleType:
    """The parts of the scaling benchmark."""
    for name in ("jobs", "measure", "plan", "recipes", "rows", "stages", "tables"):
        script(f"scaling_parts.{name}")
    return script("scaling_parts")
