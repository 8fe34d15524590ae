"""One of several processes of a small training; started by test_training_loop.py."""

from __future__ import annotations

import sys
from pathlib import Path

import ignite.distributed as idist
import torch
from test_training_loop import shared_training

from physml.training.distributed import process_group


def main(out: Path) -> None:
    with process_group():
        result = shared_training(out)
        everyone = [None] * idist.get_world_size()
        torch.distributed.all_gather_object(everyone, (result.is_main, result.weights))
        if result.is_main:
            content = {
                "is_main": [main for main, _ in everyone],
                "history": result.history,
                "weights": [weights for _, weights in everyone],
            }
            torch.save(content, out / "result.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
