"""What processes that train together do beside training; run by training/test_distributed.py."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import ignite.distributed as idist
import torch

from physml.exceptions import Checkpointed
from physml.io.atomic import write_json
from physml.training import distributed


def work(what: str, out: Path, environment: Mapping[str, str]) -> None:
    """Do something by its name, and write what came out."""
    os.environ.update(environment)
    with distributed.process_group(gpu=False):
        found = globals()[what]()
    write_json(out / f"{idist.get_rank()}{environment['RANK']}.json", found)


def gathered() -> dict:
    """Rows of unequal numbers; the least of numbers; shares."""
    rank = idist.get_rank()
    rows = torch.arange(3.0 * rank, dtype=torch.float64).reshape(rank, 3) + 1 / 3
    return {
        "rows": distributed.gather_rows(rows).tolist(),
        "least": distributed.least([float(rank), -float(rank), 1e300], torch.device("cpu")),
        "share": list(distributed.share(range(5))),
        "backend": idist.backend(),
        "gpus": os.environ["CUDA_VISIBLE_DEVICES"],
    }


def main_alone() -> dict:
    """The first process works; the other waits and hears signs of life."""
    distributed.BEAT_S = 0.2
    heard = []
    sign = distributed._sign
    distributed._sign = lambda group, state: heard.append(sign(group, state)) or heard[-1]  # type: ignore[assignment]
    began = time.monotonic()
    with distributed.main_alone() as alone:
        if alone:
            time.sleep(2.0)
    waited = time.monotonic() - began
    # The training goes on together.
    together = distributed.exchange(idist.get_rank())
    return {"heard": heard, "alone": alone, "waited": waited, "together": together}


def main_stopped() -> dict:
    """The first process is stopped while the other waits."""
    distributed.BEAT_S = 0.2
    try:
        with distributed.main_alone() as alone:
            if alone:
                time.sleep(0.5)
                raise Checkpointed("stopped here. Run the same command again to continue")
    except Checkpointed as error:
        return {"stopped": str(error)}
    return {}
