"""How the answers of several binnings go together: constants of one set of weights.

`Merging` holds what was fitted on simulated images wider than a field (`learning.merging`), and is
read from the card of the weights. Cards of before that rule have no `dissent`; with them the
*support* is a mean of the probabilities, of some order, and the probability the support,
calibrated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

#: Log odds at most, either way, that count: beyond 0.001 and 0.999 probabilities tell nothing more.
LARGEST_LOGIT = float(np.log(999))


@dataclass(frozen=True)
class Merging:
    """Constants of the merging that belong to one set of weights.

    Attributes
    ----------
    order : float
        Order of the mean over binnings: 1 the plain mean, infinity the largest. Without `dissent`
        only.
    silence : float
        Probability where a binning that sees the place reports nothing (its list ends at 0.05).
    same_ratio : float
        Largest ratio of the radii of two detections, one in the other, that are one cavity: old
        cavities are seen through and around young ones, and must not vanish in them.
    offset, slope : float
        From the logit of the largest probability (of the support, without `dissent`) to the logit
        of the joint one.
    fitted : bool
        Whether these were fitted for the weights, or are what stands here.
    dissent : float or None
        Share of the others' mean shortfall in log odds that is taken off; None for the mean of
        probabilities.
    """

    order: float = 4.0
    silence: float = 0.02
    same_ratio: float = 2.5
    offset: float = 0.0
    slope: float = 1.0
    fitted: bool = False
    dissent: float | None = None

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Merging:
        """Constants from a card; without calibration where it has none.

        Raises
        ------
        InputError
            Numbers are missing or out of range.
        """
        given = card.get("merging")
        if given is None:
            return cls()
        # Cards of before hold the order of a mean of probabilities.
        how = "dissent" if isinstance(given, Mapping) and "dissent" in given else "order"
        names = ("silence", "same_ratio", "offset", "slope", how)
        try:
            own = cls(**{name: float(given[name]) for name in names}, fitted=True)
        except (KeyError, TypeError, ValueError):
            own = None
        sound = own is not None and (
            np.isfinite([getattr(own, name) for name in names]).all()
            and own.order > 0
            and 0 < own.silence < 1
            and own.same_ratio >= 1
            and own.slope > 0
            and (own.dissent is None or own.dissent >= 0)
        )
        if own is None or not sound:
            raise InputError.expected(
                "weights", f"'merging' with sound numbers {', '.join(names)}", repr(given)
            )
        return own

    def constants(self) -> dict[str, float]:
        """Constants as a card holds them; `of` reads it."""
        how = ("order",) if self.dissent is None else ("dissent",)
        return {n: getattr(self, n) for n in (*how, "silence", "same_ratio", "offset", "slope")}

    def support(self, said: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
        """Mean of the probabilities of several binnings, of some order, before its calibration.

        Parameters
        ----------
        said : ndarray, shape (k,)
            Probability at each binning that could have seen the place.
        weight : ndarray, shape (k,)
            How well each resolves it.
        """
        mean = (weight * said**self.order).sum() / weight.sum()
        return float(min(mean ** (1 / self.order), 1 - 1e-9))

    def probability(self, said: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
        """Probability of a cavity that several binnings could have seen; see `support`."""
        if self.dissent is None:
            support = self.support(said, weight)
            joint_logit = self.offset + self.slope * np.log(support / (1 - support))
        else:
            surest, shortfall = evidence(said, weight)
            joint_logit = self.offset + self.slope * surest + self.dissent * shortfall
        return float(1 / (1 + np.exp(-joint_logit)))


#: What stands in place of constants where none were fitted.
UNFITTED = Merging()


def evidence(said: NDArray[np.float64], weight: NDArray[np.float64]) -> tuple[float, float]:
    """Log odds of the surest binning, and the mean of all binnings' log odds less that.

    Parameters
    ----------
    said, weight : ndarray, shape (k,)
        See `Merging.support`.

    Returns
    -------
    surest, shortfall : float
        The second is 0 where all agree, else negative.
    """
    p = np.clip(said, 1e-12, 1 - 1e-12)
    logits = np.clip(np.log(p / (1 - p)), -LARGEST_LOGIT, LARGEST_LOGIT)
    surest = logits.max()
    return float(surest), float((weight * (logits - surest)).sum() / weight.sum())
