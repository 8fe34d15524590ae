"""Training state on disk: what it holds, how it is written, and whether it may be continued."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ignite.handlers.checkpoint import BaseSaveHandler
from torch import Tensor, nn

from physml.exceptions import InputError
from physml.io.atomic import atomic_path

logger = logging.getLogger(__name__)

FILENAME = "checkpoint.pt"


@dataclass
class Progress:
    """Where the training stands, beyond what torch and ignite keep themselves."""

    history: list[dict[str, float]] = field(default_factory=list)
    best_value: float = float("inf")
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)  # of this epoch's training losses
    steps: int = 0  # of this epoch, in `sums`
    seconds: float = 0.0  # spent on this epoch, over all runs

    def state_dict(self) -> dict[str, Any]:
        """Return everything, as torch.save wants it."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take everything back."""
        for name in vars(self):
            setattr(self, name, state[name])


@dataclass
class Identity:
    """Identity of a training, equal where it is continued: settings, seed, data, network."""

    content: dict[str, str]

    def state_dict(self) -> dict[str, str]:
        """Return the content."""
        return dict(self.content)

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Do nothing: an identity is compared, not loaded."""


def architecture(model: nn.Module) -> str:
    """Names, shapes and types of all of a network's tensors, as one text."""
    return "; ".join(
        f"{k} {tuple(v.shape)} {v.dtype}" for k, v in sorted(model.state_dict().items())
    )


class AtomicSaver(BaseSaveHandler):
    """Write the checkpoint so that a kill at any moment leaves the old one or the new one.

    Ignite's own saver does not flush to the disk before renaming, and calls `remove` for the old
    file before the new one is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, checkpoint: Mapping, filename: str, metadata: Mapping | None = None) -> None:
        """Write a checkpoint."""
        # In memory first: on a full disk, torch's own writer hides the reason for its failure.
        buffer = io.BytesIO()
        torch.save(dict(checkpoint), buffer)
        with atomic_path(self.folder / filename, overwrite=True) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def remove(self, filename: str) -> None:
        """Do nothing: the rename drops the old checkpoint, and only once the new one is whole."""


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files of killed runs, also of those on other hosts.

    A writer clears up only after its own host; of this folder a training is the only owner.
    """
    for path in folder.glob(".*.partial.*"):
        path.unlink(missing_ok=True)


def read(folder: Path, identity: Identity, *, device: torch.device) -> dict[str, Any] | None:
    """Read the checkpoint of a folder, if there is one and it belongs to this training.

    Returns
    -------
    dict or None
        None where there is nothing to continue. A checkpoint of another training (changed
        settings, data, network) is logged and left to be overwritten.

    Raises
    ------
    InputError
        If the file is not a training state.
    """
    path = folder / FILENAME
    if not path.exists():
        return None
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        found = content["identity"]
    except Exception as error:  # torch.load raises whatever its layers raise
        raise InputError.expected(
            path,
            "a training state",
            f"something else ({type(error).__name__}: {error})",
            "Delete it to start anew.",
        ) from error
    changed = sorted(k for k in identity.content | found if identity.content.get(k) != found.get(k))
    if changed:
        logger.warning(
            "%s belongs to another training (changed: %s): starting anew", path, ", ".join(changed)
        )
        return None
    return content
