"""Start from earlier weights, and remember whose they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from physml.exceptions import InputError
from physml.io.weights import load_weights
from physml.provenance import sha256

SHOWN = 5  # differences named in an error message


def warm_start(model: nn.Module, path: str | Path) -> list[dict[str, Any]]:
    """Load earlier weights into a network.

    Parameters
    ----------
    model : nn.Module
        Filled in place. A network that is one of several in a weights file says which by an
        attribute ``part``: the prefix of its tensors there.
    path : str or Path
        A safetensors file.

    Returns
    -------
    list of dict
        The lineage of the new weights, oldest first: for each ancestor the ``sha256`` of its
        file, its ``settings`` and ``date``, read from the file's metadata (keys ``lineage``,
        ``settings``, ``date``, or else from its ``provenance``).

    Raises
    ------
    InputError
        If names or shapes differ from the network's.
    """
    path = Path(path)
    weights, metadata = load_weights(path)
    part = getattr(model, "part", "")
    weights = {k.removeprefix(part): v for k, v in weights.items() if k.startswith(part)}
    wanted = model.state_dict()
    problems = [f"{k} is missing" for k in wanted if k not in weights]
    problems += [f"{k} is not in the network" for k in weights if k not in wanted]
    problems += [
        f"{k} has shape {tuple(weights[k].shape)}, the network's has {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in weights and weights[k].shape != v.shape
    ]
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise InputError.expected(
            path,
            "weights of the network that the settings describe",
            "; ".join(problems[:SHOWN]) + more,
            "Use the settings these weights were trained with, or set train.init to null.",
        )
    model.load_state_dict(weights)
    record = metadata.get("provenance", {})
    parent = {
        "sha256": sha256(path),
        "settings": metadata.get("settings", record.get("settings")),
        "date": metadata.get("date", record.get("ended")),
    }
    return [*metadata.get("lineage", []), parent]
