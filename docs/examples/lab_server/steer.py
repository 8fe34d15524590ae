"""Steer the laboratory of `laboratory.py`: ask, take counts, stop when enough is known.

    python steer.py --port 7001 --session session.jsonl --copies 20000

Kill it at any moment and start it again with the same command: it carries on with the session.
`physml tomography run session.jsonl --connect 127.0.0.1:7001` does the same.
"""

from __future__ import annotations

import argparse

from physml.exceptions import PhysmlError
from physml.tomography import SocketLaboratory, Stop, Tomographer, steer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7001)
    parser.add_argument("--session", default="session.jsonl")
    parser.add_argument("--design", default="product")
    parser.add_argument("--estimator", default="neural")
    parser.add_argument("--copies", type=int, default=20_000)
    parser.add_argument("--infidelity", type=float, help="stop when known so well (90 %%)")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for counts")
    given = parser.parse_args()

    laboratory = SocketLaboratory(given.host, given.port, given.timeout)
    stop = Stop(copies=given.copies, infidelity=given.infidelity)
    with Tomographer(2, given.design, given.estimator, session=given.session) as tomographer:
        try:
            why = steer(tomographer, laboratory, stop)
        except PhysmlError as error:  # no laboratory, or one whose data no state gives
            print(error)
            raise SystemExit(error.exit_code) from error
        print(f"{tomographer}: stopped at {why}")
        print(tomographer.estimate())


if __name__ == "__main__":
    main()
