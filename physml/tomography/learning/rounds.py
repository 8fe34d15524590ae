"""Finished parts of a training, kept so that a call that was stopped does not make them again."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

from physml.exceptions import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

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
    from physml.io.weights import save_weights

    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(path, weights, {"key": wanted, "learned": card}, "float32", overwrite=True)


def load(path: Path, wanted: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Weights and what is known of them; None if there are none, or they are of other settings."""
    from physml.io.weights import load_weights

    if not path.exists():
        return None
    try:
        weights, card = load_weights(path)
    except InputError as error:
        log.warning("%s; trained anew", error)
        return None
    return (weights, card["learned"]) if card.get("key") == wanted else None
