"""Records of measurements, `benchmarks/results/NAME.json`, and when they are out of date."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import physml
from physml import provenance
from physml.io.atomic import write_json
from physml.models import shipped_weights
from physml.pipeline import get_pipeline

#: Folder of the records that the texts show.
RESULTS = Path(__file__).parents[1] / "results"

#: Options that say where files lie, which changes no number.
NOT_SHOWN = {
    "--publish",
    "--json",
    "--markdown",
    "--figures",
    "--out",
    "--cache",
    "--folder",
    "--rows",
    "--figure",
}


def plain(numbers: Any) -> Any:
    """Numbers as a JSON file gives them back: keys are text, tuples are lists."""
    return json.loads(json.dumps(provenance.jsonable(numbers)))


def state(sciences: Iterable[str], weights: Path | None = None) -> dict[str, dict[str, Any]]:
    """Weights and simulator that numbers rest on.

    Parameters
    ----------
    sciences : iterable of str
        A science; or a science and a preset that has weights of its own, such as
        "tomography three_qubits".
    weights : Path, optional
        Other weights than the shipped ones, of the first science.
    """
    found = {}
    for name in sciences:
        science, _, preset = name.partition(" ")
        path = weights or shipped_weights(science, preset or None)
        found[name] = {
            "weights": provenance.sha256(path),
            "simulator": get_pipeline(science).version("simulate"),
        }
        weights = None
    return found


def record(numbers: Any, sciences: Iterable[str], weights: Path | None = None) -> dict[str, Any]:
    """Record of numbers that were measured by this very command.

    Parameters
    ----------
    numbers : mapping
    sciences : iterable of str
        Whose weights and simulator they rest on.
    weights : Path, optional
        Other weights than the shipped ones.
    """
    import torch

    return {
        "command": command_line(sys.argv),
        "date": datetime.now(UTC).date().isoformat(),
        "physml": physml.__version__,
        "torch": torch.__version__,
        "processor": processor(),
        "sciences": state(sciences, weights),
        "numbers": plain(numbers),
    }


def command_line(argv: list[str]) -> str:
    """Command that anyone can type: from the top of a checkout, without where files were put."""
    parts = [f"python benchmarks/{Path(argv[0]).name}"]
    rest = iter(argv[1:])
    for word in rest:
        name, _, value = word.partition("=")
        if name in NOT_SHOWN:
            if name != "--publish" and not value:
                next(rest, None)
            continue
        parts.append(shlex.quote(word))
    return " ".join(parts)


def processor() -> str:
    """Processor of this machine by its name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def publish(name: str, made: Mapping[str, Any]) -> Path:
    """Write a record where the texts take it from."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dict(made), overwrite=True)
    return path


def outdated(made: Mapping[str, Any]) -> list[str]:
    """Reasons why a record does not tell of what is shipped now; empty where it does.

    Parameters
    ----------
    made : mapping
        Content of a record.
    """
    reasons = []
    for science, then in made["sciences"].items():
        now = state([science])[science]
        reasons += [
            f"{science}: measured with {key} {str(then[key])[:12]}, shipped is {str(now[key])[:12]}"
            for key in now
            if then[key] != now[key]
        ]
    return reasons
