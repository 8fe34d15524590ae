"""Asking: which settings to measure next, those that wait for their counts, their ids."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from physml.exceptions import InputError, PhysmlError
from physml.random import stream

from ..core.estimator import Estimator
from ..core.measurements import Setting, check_shots, global_setting, product_setting
from ..data.session import Session
from .designs import Design, make_design, next_shots, take_turns
from .fit.checked import CheckedEstimate
from .planning.candidates import candidates
from .planning.rounds import MOST, check_cost, plan_round
from .state_estimate import SETTINGS


class Asking(CheckedEstimate):
    """State estimate that says what to measure next; each setting is recorded before it is given.

    Parameters
    ----------
    n_qubits : int
    design : str, Setting, ndarray, or sequence of settings or effects
        See `designs.make_design`.
    estimator : str or Estimator
    readout : Readout or ndarray, optional
    seed : int
    """

    def __init__(
        self, n_qubits: int, design: Any, estimator: str | Estimator, readout: Any, seed: int
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

    @property
    def pending(self) -> list[Setting]:
        """Settings that were asked for and not answered, the oldest first."""
        return [s for name, s in self._settings.items() if name not in self._measured]

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
        if self.design.name == "pauli_adaptive":
            return self._plan(shots, 1, 0.0)[0]
        name = self._next_id()
        if self.design.adaptive:
            return self._ask(self._adapt(shots, name))
        return self._ask(take_turns(self.design, self._spent, shots, name)[1])

    def next_measurements(
        self, copies: int, settings: int, setting_cost: float = 0.0
    ) -> list[Setting]:
        """Several settings to measure next, planned together; they are in the session file.

        Parameters
        ----------
        copies : int
            To be spent on all of them, what changes of the setting cost included.
        settings : int
            Most settings.
        setting_cost : float
            Copies that could be measured in the time that one change of the setting takes: with
            it, there may be fewer settings, and copies are kept for the changes.

        Returns
        -------
        list of Setting
            Those with most copies first; of fixed designs, the next ones in turn, evenly.

        Raises
        ------
        InputError
            Numbers that are not positive, or fewer copies than a change costs.

        Notes
        -----
        In a first round five unbiased bases of two qubits are the best that can be done. Nineteen
        settings for 10,000 copies are well spent as 5 with 500 copies, 4 with 1,000, 10 with the
        rest.
        """
        copies = check_shots(copies, "copies=")
        settings = check_shots(settings, "settings=")
        if settings > MOST:
            raise InputError.expected("settings=", f"at most {MOST}", str(settings))
        cost = check_cost(setting_cost)
        if self.design.adaptive:
            return self._plan(copies, settings, cost)
        number = max(1, min(settings, int(copies // (1 + cost))))
        left = int(copies - number * cost)
        if left < 1:
            raise InputError.expected("copies=", "more than a change of the setting costs", "fewer")
        shots = [left // number + (k < left % number) for k in range(number)]
        return [self.next_measurement(one) for one in shots]

    def _plan(self, copies: int, settings: int, cost: float) -> list[Setting]:
        rng = stream(self.seed, "predict", SETTINGS + self._issued)
        rho = torch.from_numpy(self.density_matrix)
        found = candidates(self.design.name, rho, self.copies, rng, settings)
        effects = torch.stack([torch.from_numpy(self._really(s).effects) for s in found])
        measured = [
            (self._effects[name], float(m.counts.sum())) for name, m in self._measured.items()
        ]
        # What is asked for already will be measured as well.
        measured += [
            (torch.from_numpy(self._really(s).effects), float(s.shots)) for s in self.pending
        ]
        chosen, shots = plan_round(effects, rho, measured, copies, settings, cost)
        out = []
        for k, n in zip(chosen, shots, strict=True):
            out.append(self._ask(replace(found[k], shots=int(n), id=self._next_id())))
        return out

    def _next_id(self) -> str:
        number = f"m{self._issued:06d}"
        name = number if self._token is None else f"{self._token}-{number}"
        while name in self._settings:  # somebody brought a setting of this name
            name += "_"
        return name

    def _ask(self, setting: Setting) -> Setting:
        """Write a setting to the session and book it."""
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
