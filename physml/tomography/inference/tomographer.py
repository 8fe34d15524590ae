"""The tomographer: says what to measure next, takes counts, and knows how well it knows the state.

>>> tomographer = Tomographer(2, design="product", session="bell.jsonl")      # doctest: +SKIP
>>> while not tomographer.should_stop(infidelity=1e-3):                       # doctest: +SKIP
...     setting = tomographer.next_measurement(shots=500)
...     tomographer.update(setting, laboratory.measure(setting))
>>> tomographer.estimate(), tomographer.credible_region(0.9)                  # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
import torch

from physml import provenance
from physml.exceptions import InputError

from ..core.checks import check_counts, check_id, check_time
from ..core.estimator import Estimator
from ..core.measurements import Setting, check, check_shots
from ..data.records import Measurement, Records
from ..data.session import Session, read_session
from .asking import Asking
from .by_name import ARGUMENTS, arguments_of

log = logging.getLogger(__name__)

#: Largest difference between effects that are the same.
SAME = 1e-9


class Tomographer(Asking):
    """Quantum state tomography, one measurement after the other.

    Parameters
    ----------
    n_qubits : int
    design : str, Setting, ndarray, or sequence of settings or effects
        "global" (any basis), "product" (a basis of each qubit) and "pauli_adaptive" (an axis of
        each qubit) are adaptive; "pauli", "mub", "sic", "pairwise", or measurements of one's own
        are used in turn.
    estimator : str or Estimator
        "neural", "particle_filter", "maximum_likelihood", "two_stage",
        "linear" or "particle_cell".
    readout : Readout or ndarray (n, 2, 2), optional
        P(read | true) of each qubit. Without, detectors are taken to be perfect; with
        ``Readout(..., known=False)`` regions say that they rest on a guess.
    seed : int
        Of the design and of what is sampled: the same data give the same answers.
    session : path, optional
        File to which everything is written before it counts. Where it exists, this tomographer
        carries on with it, and all other arguments have to be those it was begun with.

    Raises
    ------
    InputError
        For arguments that cannot be, or a session that is not of these arguments.
    """

    def __init__(
        self,
        n_qubits: int,
        design: Any = "global",
        estimator: str | Estimator = "neural",
        readout: Any = None,
        seed: int = 0,
        *,
        session: str | PathLike[str] | None = None,
    ):
        super().__init__(n_qubits, design, estimator, readout, seed)
        if session is not None:
            opened = Session.open(session, self._header())
            try:
                self._carry_on(opened)
            except BaseException:
                opened.close()
                raise
            self._session = opened

    @classmethod
    def resume(cls, session: str | PathLike[str]) -> Tomographer:
        """Carry on with a session, with the arguments it was begun with.

        Raises
        ------
        InputError
            No such session; or it was begun with an estimator of somebody's own.
        """
        return cls(**arguments_of(read_session(session)[0], session), session=session)

    @classmethod
    def from_records(cls, records: Records, **arguments: Any) -> Tomographer:
        """Tomographer that has taken in all measurements of a file.

        Parameters
        ----------
        records : Records
        **arguments
            As of `Tomographer`; the readout is that of the records where none is given.
        """
        arguments.setdefault("readout", records.readout)
        if records.frame is not None and arguments.get("session") is not None:
            raise InputError.expected(
                "session=", "none for counts with losses", "one", "A session cannot say of them."
            )
        made = cls(records.n_qubits, **arguments)
        if records.frame is not None:
            made.frame = torch.from_numpy(records.frame)
        made.add(records.measurements)
        return made

    def __repr__(self) -> str:
        return (
            f"<Tomographer: {self.n_qubits} qubits, {self.design.name} design, "
            f"{self._estimator.name}, {len(self._measured)} measurements, {self.copies} copies>"
        )

    def should_stop(self, infidelity: float | None = None, confidence: float = 0.9) -> bool:
        """Whether the state is known to an infidelity, with a confidence.

        Parameters
        ----------
        infidelity : float
            There is no good guess of what somebody wants to know: it has to be given.
        confidence : float

        Raises
        ------
        InputError
            No infidelity, or one that is not between 0 and 1.
        """
        if infidelity is None:
            raise InputError.expected(
                "infidelity=", "a number between 0 and 1 at which to stop", "none"
            )
        return super().should_stop(infidelity, confidence)

    def update(self, setting: Setting | str, counts: Any, time: float | None = None) -> bool:
        """Take in the counts of one setting.

        Handed in twice they count once, in any order they give the same; it is in the session file
        before it counts.

        Parameters
        ----------
        setting : Setting or str
            What was measured; of one that was asked for, its id is enough.
        counts : sequence of k integers, or mapping of outcome to integer
            As of the ``measure`` of any laboratory.
        time : float, optional
            Seconds since any moment; by default that of the counts, if they have one.

        Returns
        -------
        bool
            Whether it was new.

        Raises
        ------
        InputError
            The counts cannot be (nothing is then changed), or the id has other counts already.
        """
        asked = self._find(setting)
        values = check_counts(counts, asked)
        when = getattr(counts, "time", None) if time is None else time
        moment = check_time(when, f"time of setting {asked.id!r}")
        known = self._measured.get(asked.id)
        if known is not None:
            if not np.array_equal(known.counts, values):
                raise InputError.expected(
                    f"counts of setting {asked.id!r}",
                    f"{known.counts.tolist()}, as before",
                    f"{values.tolist()}",
                    "What is recorded stays; measure again under another id.",
                )
            return False
        measured = self._really(asked)
        if self._session is not None:
            body: dict[str, Any] = {"id": asked.id, "counts": [int(c) for c in values]}
            if moment is not None:
                body["time"] = moment
            if asked.id not in self._settings:
                body["setting"] = asked.to_dict()
            self._session.append("counts", body)
        self._settings.setdefault(asked.id, asked)
        self._take(Measurement(asked, values, moment), measured)
        return True

    def add(self, measurements: Iterable[Measurement]) -> int:
        """Take in several measurements; how many were new."""
        return sum(self.update(m.setting, m.counts, m.time) for m in measurements)

    def _find(self, setting: Setting | str) -> Setting:
        """The setting meant, made sure to be a measurement of these qubits."""
        if isinstance(setting, str):
            if setting not in self._settings:
                raise InputError.expected(
                    f"setting {setting!r}", "the id of a setting that was asked for", "another"
                )
            return self._settings[setting]
        if not isinstance(setting, Setting):
            raise InputError.expected("setting=", "a Setting or its id", type(setting).__name__)
        name = check_id(setting.id, "id of a setting")
        known = self._settings.get(name)
        if known is setting:
            return known
        if setting.effects.shape[-1] != self.dimension:
            raise InputError.expected(
                f"setting {name!r}",
                f"effects of dimension {self.dimension} ({self.n_qubits} qubits)",
                f"of dimension {setting.effects.shape[-1]}",
            )
        effects = check(setting.effects, f"setting {name!r}")
        if known is None:
            return replace(setting, effects=effects)
        same = known.effects.shape == effects.shape
        if not same or np.abs(known.effects - effects).max() > SAME:
            raise InputError.expected(
                f"setting {name!r}", "the effects that this id had before", "others"
            )
        return known

    def _header(self) -> dict[str, Any]:
        return {
            "n_qubits": self.n_qubits,
            "design": self.design.to_json(),
            "estimator": self._estimator.name,
            "readout": None if self.readout is None else self.readout.to_dict(),
            "seed": self.seed,
            "token": self._token,
            "versions": provenance.versions(),
            "created": provenance.now(),
        }

    def _carry_on(self, session: Session) -> None:
        """Check that a session is of these arguments, and take in what it holds."""
        mine = self._header()
        for name in ARGUMENTS:
            if session.header.get(name) != mine[name]:
                raise InputError.expected(
                    session.path,
                    f"a session with {name} {str(mine[name])[:80]}",
                    str(session.header.get(name))[:80],
                )
        token = session.header.get("token")  # sessions of before had none
        self._token = None if token is None else check_id(token, f"{session.path}, token")
        for event in session.events[1:]:
            place = f"{session.path}, event {event['n']}"
            try:
                if event["event"] == "setting":
                    self._register(Setting.from_dict(event["setting"]))
                elif event["event"] == "shots":
                    self._book_shots(event["id"], check_shots(event["shots"]))
                elif event["event"] == "counts":
                    given = event.get("setting")
                    setting = event["id"] if given is None else Setting.from_dict(given)
                    self.update(setting, event["counts"], event.get("time"))
            except InputError as error:
                raise InputError(f"{place}: {error}") from error
            except (KeyError, TypeError) as error:
                raise InputError.expected(place, "a whole event", f"no {error}") from error

    def close(self) -> None:
        """Let others write to the session file."""
        if self._session is not None:
            self._session.close()

    def __enter__(self) -> Tomographer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
