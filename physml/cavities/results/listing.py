"""From what a search found in an image to its result: cavities listed, refined, with remarks."""

from __future__ import annotations

from ..core.energetics import GasProfile
from ..data.observation import Observation
from ..data.trained_range import scales_outside
from ..inference.coverage import describe_search, remark_on_search, share_left_out
from ..inference.refine.constants import Constants
from ..inference.refine.listed import Refined, refine_listed
from ..inference.search import LISTED, Detector, Search
from .catalogue import build_catalogue
from .result import CavityResult

#: Remark on results of weights that lack the constants of the refinement.
UNFITTED = (
    "whose refined radii have standard weights and errors: these weights lack 'refine'",
    "the weights hold no constants of the refinement ('refine'; `physml cavities recalibrate` adds "
    "them): how radii of network and likelihood are joined, and their errors, are standard ones",
)


def list_cavities(
    detector: Detector,
    observation: Observation,
    found: Search,
    centre: tuple[float, float],
    *,
    redshift: float | None = None,
    profile: GasProfile | None = None,
    threshold: float | None = None,
    refine: bool = True,
    seed: int = 0,
) -> CavityResult:
    """Result of the search of one image.

    Parameters
    ----------
    detector : Detector
        That searched it.
    observation : Observation
        The image; remarks are added to its own.
    found : Search
        What was found in it.
    centre : tuple of float
        Cluster centre (x, y) [pixel].
    redshift, threshold : float, optional
    profile : GasProfile, optional
    refine : bool
    seed : int
        See `CavityPredictor.predict`; the profile is read.
    """
    unsearched = remark_on_search(share_left_out(found.fields, observation.exposed))
    if unsearched is not None:
        observation.remark(*unsearched)
    cavities = found.selected(detector, threshold)
    totals = {f.scale: f.total for f in found.fields}
    outside = scales_outside(observation, totals, [c.scale for c in cavities], detector.card)
    sure = [
        not observation.doubts and c.scale not in outside and found.confident(detector, c)
        for c in cavities
    ]
    limits = [max(detector.threshold(found.field(c.scale).total), LISTED) for c in cavities]
    if refine:
        constants = Constants.of(detector.card)
        cavities = refine_listed(found, cavities, constants, seed)
        if not constants.fitted and any(isinstance(c, Refined) for c in cavities):
            observation.remark(*UNFITTED)
        sure = [s and getattr(c, "supported", True) for s, c in zip(sure, cavities, strict=True)]
    catalogue = build_catalogue(
        observation, found, cavities, centre, sure, redshift, profile, limits
    )
    catalogue.meta.update(
        image=observation.name,
        centre_x=centre[0],
        centre_y=centre[1],
        counts=observation.total,
        scales=" ".join(str(f.scale) for f in found.fields),
        searched=describe_search(found.fields, found.shape, centre),
        threshold="shipped" if threshold is None else threshold,
        remarks=observation.remarks,
    )
    if observation.sky.wcs is not None:
        place = observation.sky.coordinates(*centre)
        catalogue.meta["centre_ra"] = float(place.ra.deg)
        catalogue.meta["centre_dec"] = float(place.dec.deg)
    return CavityResult(
        observation=observation,
        search=found,
        cavities=cavities,
        catalogue=catalogue,
        centre=centre,
        threshold=threshold,
        redshift=redshift,
        card=dict(detector.card),
    )
