"""View of a training for a person: a bar on a terminal, a line an epoch in a log, a CSV file."""

from __future__ import annotations

import csv
import io
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ignite.engine import Engine
from ignite.handlers import ProgressBar

from physml.io.atomic import write_text

logger = logging.getLogger(__name__)


def attach_progress_bar(trainer: Engine) -> None:
    """Show a bar with the running loss where a person looks on, and nothing in a job's log."""
    if sys.stderr.isatty():
        ProgressBar(desc="epoch").attach(trainer, output_transform=lambda loss: {"loss": loss})


def log_epoch(record: dict[str, float], epochs: int, metric: str, best_epoch: int) -> None:
    """Log one line about an epoch."""
    star = " *" if best_epoch == record["epoch"] else ""
    logger.info(
        "epoch %d/%d: train loss %.4f, valid %s %.4f%s, lr %.2e, %.1f images/s, %.0f s",
        record["epoch"],
        epochs,
        record["train_loss"],
        metric,
        record[f"valid_{metric}"],
        star,
        record["lr"],
        record["images_per_second"],
        record["seconds"],
    )


def write_history(path: Path, history: Sequence[dict[str, float]]) -> None:
    """Write the history of all epochs as CSV, whole or not at all.

    It is written anew each time instead of appended to: after a kill between the checkpoint and
    the CSV, an appended file would have an epoch twice.
    """
    columns = list(dict.fromkeys(key for record in history for key in record))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(path, text.getvalue(), overwrite=True)
