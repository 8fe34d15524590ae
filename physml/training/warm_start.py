"""Start from earlier weights, and remember whose they were."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from torch import nn

from physml.exceptions import InputError
from physml.io.weights import load_weights

SHOWN = 5  # differences named in an error message


def warm_start(model: nn.Module, path: str | Path) -> list[dict[str, Any]]:
    """Load earlier weights into a network.

    Parameters
    ----------
    model : nn.Module
        Filled in place.
    path : str or Path
        A safetensors file.

    Returns
    -------
    list of dict
        The lineage of the new weights, oldest first: for each ancestor ``sha256`` of its file,
        its ``settings`` and ``date`` as far as the file tells them.

    Raises
    ------
    InputError
        If names or shapes differ from the network's.
    """
    path = Path(path)
    weights, metadata = load_weights(path)
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
        raise InputError(
            f"{path}: expected weights of the network that the settings describe, found "
            f"{'; '.join(problems[:SHOWN])}{more}. "
            "Use the settings these weights were trained with, or set train.init to null."
        )
    # Copying casts, so that weights shipped as float16 can be trained on.
    model.load_state_dict(weights)
    parent = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "settings": metadata.get("settings"),
        "date": metadata.get("date"),
    }
    return [*metadata.get("lineage", []), parent]
