"""Run Snakemake again and again without importing it again.

Starting Snakemake takes seconds, nearly all of them imports. This program imports it once and
forks for each request, so every run still begins with a fresh process of its own.

Requests and answers are lines of JSON: ``{"argv", "cwd", "env", "out"}`` -> ``{"rc"}``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback

import snakemake.cli
from snakemake.common import parse_uri

#: Imported late by Snakemake or by the chain, which every run would do again.
LATE = ("jinja2", "physml.config", "physml.pipeline", "snakemake.report", "docutils.parsers.rst")


def run(request: dict) -> None:
    """Be Snakemake: the rest of this process's life."""
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    sys.argv = ["snakemake", *request["argv"]]
    code = 1
    try:
        snakemake.cli.main(request["argv"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    snakemake.cli.get_argument_parser()  # looks for plugins
    parse_uri("a")
    for name in LATE:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(json.dumps({"rc": os.waitstatus_to_exitcode(status)}), flush=True)
