r"""Constants fitted on validation images for one set of weights: radius, errors, cuts of a flag.

The radius of the catalogue joins those of network and fit, each with its own error in ln R:

.. math:: \ln R = \ln R_n + o + w (\ln R_f - \ln R_n),
          w = s_n^2 / (s_n^2 + (k s_f)^2 + l^2)

with k the factor by which the fit's error is too small, l the least error of a fit (real gas is no
model) and o a remaining offset. Where the two differ by more than a quarter, or the depth factor
stands at its bound, the network's stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from physml.exceptions import InputError

#: Largest absolute value of ln(R_fit / R_network) at which both are believed.
LARGEST = float(np.log(1.25))


@dataclass(frozen=True)
class Constants:
    """Constants of the refinement that belong to one set of weights.

    Attributes
    ----------
    inflate, least, offset : float
        k, l and o of the radius.
    error, error_slope : float
        The error of ln R is error (s_n / 0.07)^error_slope: the network knows best how hard an
        image is.
    error_fallback : float
        Factor of the network's error where its radius stays.
    place : float
        Factor of the walk's errors of the centre.
    ratio, beside : float
        Largest delta_lnl over delta_lnl_rigid, and largest delta_lnl over that of the image's
        best, at which a candidate is flagged ``smooth_asymmetry``.
    support : float
        Least `support` of a sure detection: 95 % of the true cavities of simulated images, of
        lopsided haloes among them, have more. 0 where it was not fitted.
    fitted : bool
        Whether these were fitted for the weights, or are what stands here.
    """

    inflate: float = 1.6
    least: float = 0.07
    offset: float = 0.0
    error: float = 0.07
    error_slope: float = 1.0
    error_fallback: float = 1.0
    place: float = 1.6
    ratio: float = 0.3
    beside: float = 0.3
    support: float = 0.0
    fitted: bool = False

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Constants:
        """Constants from a card; those that stand here where it has none.

        Raises
        ------
        InputError
            Numbers are missing or out of range.
        """
        given = card.get("refine")
        if given is None:
            return cls()
        names = [f.name for f in fields(cls) if f.name not in ("fitted", "support")]
        try:
            numbers = {name: float(given[name]) for name in names}
            # Cards of before know no support.
            own = cls(**numbers, support=float(given.get("support", 0.0)), fitted=True)
        except (AttributeError, KeyError, TypeError, ValueError):
            own = None
        positive = ("inflate", "least", "error", "error_fallback", "place")
        sound = own is not None and (
            bool(np.isfinite([getattr(own, name) for name in names]).all())
            and all(getattr(own, name) > 0 for name in positive)
            and abs(own.offset) < 1
            and 0 <= own.error_slope <= 2
            and 0 <= own.ratio < 1
            and 0 <= own.beside <= 1
            and 0 <= own.support < np.inf
        )
        if own is None or not sound:
            raise InputError.expected(
                "weights", f"'refine' with sound numbers {', '.join(names)}", repr(given)
            )
        return own

    def card(self) -> dict[str, float]:
        """As a card holds them."""
        return {k: v for k, v in asdict(self).items() if k != "fitted"}

    def weight(self, network_err: Any, fit_err: Any) -> Any:
        """Weight of the fit's ln R, from the errors of ln R of both."""
        n2 = np.square(network_err)
        return n2 / (n2 + np.square(self.inflate * fit_err) + self.least**2)

    def log_error(self, network_err: Any) -> Any:
        """Error of the joined ln R, from the network's."""
        return self.error * (network_err / 0.07) ** self.error_slope

    def believed(self, log_ratio: Any, at_bound: Any) -> Any:
        """Whether the fit is used, from ln(R_fit / R_network) and its depth factor's bound."""
        return (np.abs(log_ratio) <= LARGEST) & ~np.asarray(at_bound, bool)

    def asymmetric(self, flexible: float, rigid: float, best: float) -> bool:
        """Whether a candidate is what the large-scale asymmetry of the gas makes."""
        return flexible < self.ratio * rigid and flexible < self.beside * best

    def supported(self, flexible: float, depth: float) -> bool:
        """Whether the likelihood supports a candidate as a cavity; unknown values do."""
        return not support(flexible, depth) < self.support


def support(flexible: Any, depth: Any) -> Any:
    """How much the likelihood speaks for a cavity: depth factor times sqrt(delta_lnl).

    What a lopsided halo makes of a candidate is shallow and, beside a null that knows harmonics,
    of little evidence; a cavity is deep, or there are counts enough to be sure of a shallow one.
    """
    return np.asarray(depth) * np.sqrt(np.maximum(flexible, 0.0))


def beside(weights: str | PathLike[str]) -> Path:
    """File of the constants of weights that do not hold them: ``cavities.refine.json``."""
    return Path(weights).with_suffix(".refine.json")


def read_beside(weights: str | PathLike[str], digest: str) -> dict[str, Any] | None:
    """Constants beside weights; None where there are none, or those of other weights.

    Parameters
    ----------
    weights : path
    digest : str
        SHA-256 of the weights.

    Raises
    ------
    InputError
        The file is damaged.
    """
    path = beside(weights)
    if not path.is_file():
        return None
    try:
        given = json.loads(path.read_text("utf-8"))
        belongs = given["weights"] == digest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError.expected(
            path, "constants of the refinement in JSON, with the 'weights' they are for", str(error)
        ) from error
    return dict(given) if belongs else None
