"""Finished parts of a training, kept so that a call that was stopped does not make them again."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from torch import Tensor

from physml.exceptions import InputError
from physml.io.weights import load_weights, save_weights

from ..settings import TrainSettings

log = logging.getLogger(__name__)


def key(settings: TrainSettings, seed: int, threads: int, *states: Tensor) -> str:
    """Hash of all that a corrector depends on."""
    digest = hashlib.sha256()
    wanted = settings.model_dump_json(exclude={"calibrate", "cell", "resources"})
    digest.update(f"{wanted} {seed} {threads}".encode())
    for tensor in states:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def save(path: Path, wanted: str, weights: dict[str, Tensor], card: dict[str, Any]) -> None:
    """Keep weights with what is known of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, weights, {"key": wanted, "learned": card}, "float32", overwrite=True)


def load(path: Path, wanted: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Weights and what is known of them; None if there are none, or they are of other settings."""
    if not path.exists():
        return None
    try:
        weights, card = load_weights(path)
    except InputError as error:
        log.warning("%s; trained anew", error)
        return None
    return (weights, card["learned"]) if card.get("key") == wanted else None
