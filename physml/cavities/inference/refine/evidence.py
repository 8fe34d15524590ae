"""Evidence of each candidate: ln L with it over ln L without, all else fitted anew."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .fit import Fitted, fit
from .model import Model
from .shapes import NAMES

#: Steps of a fit that starts near its end.
STEPS = 8


def evidence(model: Model, fitted: Fitted) -> tuple[list[float], list[float]]:
    """Delta ln L of each candidate, with the flexible and with the rigid null.

    Parameters
    ----------
    model : Model
    fitted : Fitted
        Its optimum.

    Returns
    -------
    flexible, rigid : list of float
        The rigid null has the radial profile alone (m = 0), and shapes stay as they are.
    """
    number = len(model.cavities)
    everything = np.ones(len(fitted.theta), bool)
    flexible = []
    for k in range(number):
        less = fit(model, fitted.theta, everything, without=(k,), steps=STEPS)
        flexible.append(_whole(model, fitted, k) - less.value)
    free = np.zeros(len(fitted.theta), bool)
    free[: model.smooth] = model.null.order == 0
    start = fitted.theta.copy()
    start[: model.smooth][model.null.order > 0] = 0.0
    for k in range(number):
        free[model.of(k).start + NAMES.index("depth")] = True
    full = fit(model, start, free, steps=STEPS)
    rigid = []
    for k in range(number):
        less = fit(model, full.theta, free, without=(k,), steps=STEPS)
        rigid.append(_whole(model, full, k, free) - less.value)
    return flexible, rigid


def _whole(model: Model, fitted: Fitted, k: int, free: NDArray[np.bool_] | None = None) -> float:
    """Value of a fit without the prior of a candidate, which the fit without it lacks as well."""
    own = model.of(k)
    pull = (fitted.theta[own] - model.mean[own]) / model.width[own]
    if free is not None:
        pull = np.where(free[own], pull, 0.0)
    return fitted.value + 0.5 * float(pull @ pull)
