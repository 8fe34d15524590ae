"""Search of several images together: each prepared, then searched, then its cavities listed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from physml.exceptions import InputError

from ..core.energetics import GasProfile, kpc_per_arcsec
from ..data.gas_profile import read_profile
from ..data.observation import Observation
from ..inference.centre import choose_centre
from ..inference.evidence import Merging
from ..inference.fields import choose_scales
from ..inference.search import Detector, search
from .listing import list_cavities
from .result import CavityResult

#: Shares of the time that a large image takes, for the view of the progress: read and checked;
#: cut into fields and searched; its cavities refined and measured.
READ, SEARCHED, MEASURED = 0.5, 0.3, 0.2
#: Remark on results of weights that lack the constants of merging, for several and for one.
UNMERGED = (
    "whose probabilities are not calibrated over several binnings: these weights lack 'merging'",
    "the weights hold no calibration of several binnings ('merging'; `physml cavities recalibrate` "
    "adds it): probabilities are those of the single ones, and too high or too low together",
)


@dataclass(frozen=True)
class Prepared:
    """An image with all that its search needs.

    Attributes
    ----------
    observation : Observation
    centre : tuple of float
        Cluster centre (x, y) [pixel].
    scales : tuple of int
        Binnings.
    profile : GasProfile or None
    """

    observation: Observation
    centre: tuple[float, float]
    scales: tuple[int, ...]
    profile: GasProfile | None


def prepare_search(
    observation: Observation,
    centre: tuple[float, float] | None,
    position: tuple[Any, Any] | None,
    redshift: float | None,
    pressure: str | PathLike[str] | None,
    scales: str | int | Sequence[int],
) -> Prepared:
    """Choose centre and binnings of an image and read its gas profile.

    Parameters
    ----------
    observation : Observation
        The image.
    centre : tuple of float, optional
        Cluster centre (x, y) [pixel].
    position : tuple, optional
        RA and Dec of it instead.
    redshift : float, optional
    pressure : path, optional
    scales : str, int or sequence of int
        See `CavityPredictor.predict`.

    Raises
    ------
    InputError
        One of them cannot be used with this image.
    """
    middle = choose_centre(observation, centre, position)
    chosen = choose_scales(observation, scales, middle)
    return Prepared(observation, middle, chosen, _profile(observation, redshift, pressure))


def search_prepared(
    detector: Detector,
    prepared: Sequence[Prepared],
    *,
    redshift: float | None = None,
    threshold: float | None = None,
    refine: bool = True,
    seed: int = 0,
    advance: Callable[[float], None] = lambda n: None,
) -> list[CavityResult]:
    """Search images, the fields of all of them together.

    Parameters
    ----------
    detector : Detector
        What searches a field.
    prepared : sequence of Prepared
        The images.
    redshift, threshold : float, optional
    refine : bool
    seed : int
        See `CavityPredictor.predict`.
    advance : callable, optional
        Called with the number of images done since the last call; the share `READ` of each was
        done before.
    """
    if not Merging.of(detector.card).fitted:
        for one in prepared:
            if len(one.scales) > 1:
                one.observation.remark(*UNMERGED)
    searches = search(
        detector,
        [one.observation for one in prepared],
        [one.centre for one in prepared],
        [one.scales for one in prepared],
        lambda share: advance(SEARCHED * share * len(prepared)),
    )
    results = []
    for one, found in zip(prepared, searches, strict=True):
        result = list_cavities(
            detector,
            one.observation,
            found,
            one.centre,
            redshift=redshift,
            profile=one.profile,
            threshold=threshold,
            refine=refine,
            seed=seed,
        )
        results.append(result)
        advance(MEASURED)
    return results


def _profile(
    observation: Observation, redshift: float | None, pressure: str | PathLike[str] | None
) -> GasProfile | None:
    if redshift is not None and observation.sky.wcs is None:
        raise InputError.expected(
            observation.name, "a celestial WCS for sizes in kpc (redshift=)", "none"
        )
    if pressure is None or redshift is None:
        return None
    observation.files["pressure"] = Path(pressure)
    return read_profile(pressure, kpc_per_arcsec(redshift))
