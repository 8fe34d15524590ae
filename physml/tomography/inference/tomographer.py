"""The tomographer: says what to measure next, takes counts, and knows how well it knows the state.

>>> tomographer = Tomographer(2, design="product", session="bell.jsonl")      # doctest: +SKIP
>>> while not tomographer.should_stop(infidelity=1e-3):                       # doctest: +SKIP
...     setting = tomographer.next_measurement(shots=500)
...     tomographer.update(setting, laboratory.measure(setting))
>>> tomographer.estimate(), tomographer.credible_region(0.9)                  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
import torch

from physml import provenance
from physml.exceptions import InputError, PhysmlError
from physml.random import stream

from ..core.checks import check_counts, check_id, check_time
from ..core.estimator import Estimator
from ..core.measurements import Setting, check, check_shots, global_setting, product_setting
from ..data.records import Measurement, Records
from ..data.session import Session, read_session
from .by_name import ARGUMENTS, arguments_of
from .designs import Design, make_design, next_shots, take_turns
from .fit.checked import CheckedEstimate
from .state_estimate import SETTINGS

log = logging.getLogger(__name__)

#: Largest difference between effects that are the same.
SAME = 1e-9


class Tomographer(CheckedEstimate):
    """Quantum state tomography, one measurement after the other.

    Parameters
    ----------
    n_qubits : int
    design : str, Setting, ndarray, or sequence of settings or effects
        "global" (any basis) and "product" (a basis of each qubit) are adaptive; "pauli", "mub",
        "sic", "pairwise", or measurements of one's own are used in turn.
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
        super().__init__(n_qubits, estimator, readout, seed)
        self.design: Design = make_design(design, self.n_qubits)
        self._settings: dict[str, Setting] = {}
        self._issued = 0
        # Ids are the session's own: who remembers answers must not give those of another session.
        self._token: str | None = secrets.token_hex(4)
        self._spent = [0] * len(self.design.settings)
        if self.readout is not None and not self.design.adaptive:
            for setting in self.design.settings:
                self.readout.apply(setting)  # says now what it would refuse later
        self._session: Session | None = None
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

    @property
    def pending(self) -> list[Setting]:
        """Settings that were asked for and not answered, the oldest first."""
        return [s for name, s in self._settings.items() if name not in self._measured]

    def __repr__(self) -> str:
        return (
            f"<Tomographer: {self.n_qubits} qubits, {self.design.name} design, "
            f"{self._estimator.name}, {len(self._measured)} measurements, {self.copies} copies>"
        )

    def next_measurement(self, shots: int | None = None) -> Setting:
        """Setting to measure next; it is in the session file when this returns.

        Parameters
        ----------
        shots : int, optional
            Copies to measure; by default a tenth of those so far, at least ten.

        Raises
        ------
        InputError
            Shots that are no positive number.
        """
        shots = next_shots(self.copies) if shots is None else check_shots(shots)
        name = f"m{self._issued:06d}" if self._token is None else f"{self._token}-m{self._issued:06d}"
        while name in self._settings:  # somebody brought a setting of this name
            name += "_"
        if self.design.adaptive:
            setting = self._adapt(shots, name)
        else:
            setting = take_turns(self.design, self._spent, shots, name)[1]
        if self._session is not None:
            self._session.append("setting", {"setting": setting.to_dict()})
        self._register(setting)
        return setting

    def _adapt(self, shots: int, name: str) -> Setting:
        kind = self.design.name
        rng = stream(self.seed, "predict", SETTINGS + self._issued)
        basis = self._estimator.next_basis(kind, rng, float(shots))  # type: ignore[arg-type]
        if kind == "product":
            if basis.local is None:
                raise PhysmlError(f"{self._estimator.name} gave no product basis")
            return product_setting(basis.local[0], shots, name)
        return global_setting(basis.unitary[0], shots, name)

    def _register(self, setting: Setting) -> None:
        """Book a setting that was asked for."""
        if not self.design.adaptive:
            self._spent[take_turns(self.design, self._spent, 1, "")[0]] += setting.shots
        self._settings[setting.id] = setting
        self._issued += 1

    def change_shots(self, setting: Setting | str, shots: int) -> Setting:
        """Change the copies of a setting that waits for its counts.

        Parameters
        ----------
        setting : Setting or str
        shots : int

        Returns
        -------
        Setting
            The same measurement with its new shots; it is in the session file.

        Raises
        ------
        InputError
            It does not wait for counts, or shots that are no positive number.
        """
        name = setting if isinstance(setting, str) else setting.id
        if name not in {waiting.id for waiting in self.pending}:
            raise InputError.expected(
                f"setting {name!r}", "the id of a setting that waits for its counts", "another"
            )
        shots = check_shots(shots)
        if self._settings[name].shots != shots:
            if self._session is not None:
                self._session.append("shots", {"id": name, "shots": shots})
            self._book_shots(name, shots)
        return self._settings[name]

    def _book_shots(self, name: str, shots: int) -> None:
        before = self._settings[name]
        self._settings[name] = replace(before, shots=shots)
        for k, own in enumerate(self.design.settings):
            if own.effects is before.effects or np.array_equal(own.effects, before.effects):
                self._spent[k] += shots - before.shots
                break

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
