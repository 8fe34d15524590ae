"""From an image to its cavities: the Python interface.

>>> result = physml.load("cavities").predict("image.fits")   # doctest: +SKIP
>>> result.catalogue["ra", "dec", "radius", "probability"]   # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np

from physml.exceptions import InputError
from physml.progress import show_progress
from physml.stages.predict import Predictor

from .core.energetics import GasProfile, kpc_per_arcsec
from .core.halo import find_centre
from .data.folders import sort_files
from .data.gas_profile import read_profile
from .data.inputs import check_arguments, is_several, list_images, one_for_each
from .data.loading import load_observation
from .data.observation import Observation, log_remarks
from .data.trained_range import scales_outside
from .inference.coverage import describe_search, remark_on_search, share_left_out
from .inference.fields import choose_scales
from .inference.merge import Merging
from .inference.refine.constants import Constants
from .inference.refine.listed import Refined, refine_listed
from .inference.search import LISTED, Detector, search
from .results.bands import add_second_band, parse_bands
from .results.catalogue import build_catalogue
from .results.recovery import measure_recovery
from .results.result import CavityResult

log = logging.getLogger(__name__)

#: Images held and searched at a time: bounds the memory for long lists.
TOGETHER = 8
#: Remark on several results whose recovery failed.
UNMEASURED = "whose completeness and false alarms were not measured"
#: Remark on results of weights that lack the constants of merging, for several and for one.
UNMERGED = (
    "whose probabilities are not calibrated over several binnings: these weights lack 'merging'",
    "the weights hold no calibration of several binnings ('merging'; `physml cavities recalibrate` "
    "adds it): probabilities are those of the single ones, and too high or too low together",
)
#: Remark on results of weights that lack the constants of the refinement.
UNFITTED = (
    "whose refined radii have standard weights and errors: these weights lack 'refine'",
    "the weights hold no constants of the refinement ('refine'; `physml cavities recalibrate` adds "
    "them): how radii of network and likelihood are joined, and their errors, are standard ones",
)


class CavityPredictor(Predictor):
    """Finds X-ray cavities in images of galaxy clusters, groups and galaxies.

    Parameters
    ----------
    detector : Detector
        Searches one field of the network's size.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    @classmethod
    def load(cls, path: str | PathLike[str] | None = None) -> Self:
        """Predictor with trained weights, which are read and checked now; see `Predictor.load`."""
        from .inference.detector import CavityDetector

        return cls(CavityDetector.load(path))

    @property
    def card(self) -> dict[str, Any]:
        """Metadata of the weights."""
        return dict(self.detector.card)

    def predict(
        self,
        image: Any,
        *,
        exposure: Any = None,
        background: Any = None,
        mask: Any = None,
        units: str = "auto",
        hdu: int | str | None = None,
        band: Any = None,
        bin: Any = None,
        chips: Any = None,
        centre: tuple[float, float] | None = None,
        ra: Any = None,
        dec: Any = None,
        redshift: float | None = None,
        pressure: str | PathLike[str] | None = None,
        scales: str | int | Sequence[int] = "auto",
        threshold: float | None = None,
        seed: int = 0,
        recovery: int = 0,
        refine: bool = True,
        hard: Any = None,
        hard_exposure: Any = None,
        hard_background: Any = None,
        hard_bands: str | Sequence[Sequence[float]] | None = None,
        temperature: float | None = None,
        band_response: str | Sequence[float] | None = None,
        progress: bool | None = None,
        on_skip: Callable[[Any, str], None] | None = None,
    ) -> Any:
        """Find the cavities of one image, or of many.

        Parameters
        ----------
        image : path, HDUList, CCDData, ndarray of shape (H, W), or a list of these, or a folder
            Counts per pixel (or a rate or flux, with `exposure`). A path may name an extension:
            ``file.fits[2]``. In a folder the maps that belong to an image are found by headers and
            names, see `data.folders`; files that are no images are skipped. An event list is
            binned.
        exposure, background : same kinds, optional
            Maps on the image's pixels, or with celestial coordinates by which they are laid on
            them; for a list of images a list, or one map for all.
        mask : path or ndarray of bool, optional
            Point sources to fill with draws from their surroundings: regions of DS9 or CIAO, FITS
            regions, or a mask of 0 and 1.
        units : {"auto", "counts", "flux"} or a unit
            Meaning of the pixels: by their unit and sum; counts; a flux, to be multiplied by the
            exposure map; or a unit such as ``count/s/deg2``.
        hdu : int or str, optional
            Extension of the image; by default the first that says nothing else.
        band : str or pair of float, optional
            Energies of an event list: ``500:7000`` in eV, or ``0.5:7keV``.
        bin : float, optional
            Side of a pixel in those of the event list; what suits the telescope by default.
        chips : str, int or list of int, optional
            Chips of an event list: ``7`` or ``0:3``; all by default.
        centre : tuple of float, optional
            Cluster centre (x, y) in 0-based pixels; the brightest place by default.
        ra, dec : float, str or Quantity, optional
            Cluster centre on the sky instead: degrees or sexagesimal.
        redshift : float, optional
            Adds sizes in kpc.
        pressure : path, optional
            Pressure profile (ECSV); with `redshift` adds energies, ages and powers.
        scales : "auto", int or list of int
            Binnings to search.
        threshold : float, optional
            Smallest probability of a listed cavity. By default all above 0.6 are listed, and
            those flagged `candidate` that miss the threshold shipped with the weights, which
            keeps the rate of false alarms and depends on the counts.
        seed : int
            Seed of the draws that fill masked sources, and of the recovery.
        recovery : int
            Number of simulated images of this very cluster that measure its completeness and
            its rate of false alarms; 0 for none. Where that fails the result says so in its
            `warnings`.
        refine : bool
            Measure the listed cavities by their likelihood as well: radius, ellipse, evidence.
        hard, hard_exposure, hard_background : same kinds, optional
            Image in a harder band on the same pixels, and its maps: adds for each cavity whether
            both bands agree with a cavity, an isobaric structure or a shock.
        hard_bands : str or two pairs of float, optional
            Limits of both bands [keV]; ``0.5-2,2-7`` by default.
        temperature : float, optional
            kT of the gas [keV], from which the responses of both bands follow.
        band_response : str or two floats, optional
            These responses, d ln(emissivity) / d ln(kT), instead.
        progress : bool, optional
            Show a progress bar; by default for several images on a terminal.
        on_skip : callable, optional
            Called with each file or image that was skipped, and why. Without it what is skipped
            in a folder is logged, and an image of a list that cannot be used is an error.

        Returns
        -------
        CavityResult or list of CavityResult
            One for one image; a list for a list or a folder, without what was skipped.

        Raises
        ------
        InputError
            For data or arguments that cannot be used.
        """
        check_arguments(
            units=units, ra=ra, dec=dec, redshift=redshift, pressure=pressure, threshold=threshold
        )
        if redshift is not None:
            kpc_per_arcsec(redshift)  # refuses nonsense before any work
        if hard is not None:
            bands = parse_bands(hard_bands, temperature, band_response, redshift)
        several, images = is_several(image), list_images(image)
        skipped: list[tuple[Any, str]] = []
        given = {"exposure": exposure, "background": background, "mask": mask}
        if several and isinstance(image, str | PathLike):
            images, found = _in_folder(images, skipped)
            given |= {role: found[role] for role in found if given[role] is None}
        number = len(images) if several else None
        maps = {role: one_for_each(role, one, number) for role, one in given.items()}
        lenient = on_skip is not None or (isinstance(image, str | PathLike) and several)
        options: dict[str, Any] = {
            "centre": centre,
            "position": None if ra is None else (ra, dec),
            "redshift": redshift,
            "pressure": pressure,
            "scales": scales,
            "threshold": threshold,
            "refine": refine,
            "seed": seed,
        }
        results: list[CavityResult] = []
        with show_progress(
            "images", len(images), several if progress is None else progress
        ) as advance:
            for start in range(0, len(images), TOGETHER):
                observations = []
                for i in range(start, min(start + TOGETHER, len(images))):
                    try:
                        observation = load_observation(
                            images[i],
                            **{role: of_images[i] for role, of_images in maps.items()},
                            units=units,
                            hdu=hdu,
                            band=band,
                            bin=bin,
                            chips=chips,
                            seed=seed,
                            name=f"image {i + 1}" if several else None,
                        )
                        # What the search would refuse, before those beside it are searched.
                        centre_ = _centre(observation, centre, options["position"])
                        choose_scales(observation, scales, centre_)
                        _profile(observation, redshift, pressure)
                    except InputError as error:
                        if not lenient:
                            raise
                        skipped.append((images[i], str(error)))
                        continue
                    observations.append(observation)
                results += self.predict_observations(observations, advance=advance, **options)
        if several and not results:
            raise InputError("; ".join(dict.fromkeys(why for _, why in skipped)))
        log_remarks([r.observation for r in results])
        for what, why in skipped:
            if on_skip is None:
                log.warning("skipped %s: %s", what, why)
            else:
                on_skip(what, why)
        if hard is not None:
            number = len(results) if several else None
            second = {"exposure": hard_exposure, "background": hard_background, "mask": mask}
            pairs = {f: one_for_each(f"hard_{f}", one, number) for f, one in second.items()}
            hards = one_for_each("hard", hard, number)
            add_second_band(results, hards, bands, **pairs, seed=seed)
        if recovery:
            self._measure_recovery(results, recovery, seed, progress)
        return results if several else results[0]

    def predict_observations(
        self,
        observations: Sequence[Observation],
        *,
        centre: tuple[float, float] | None = None,
        position: tuple[Any, Any] | None = None,
        redshift: float | None = None,
        pressure: str | PathLike[str] | None = None,
        scales: str | int | Sequence[int] = "auto",
        threshold: float | None = None,
        refine: bool = True,
        seed: int = 0,
        advance: Callable[[float], None] = lambda n: None,
    ) -> list[CavityResult]:
        """Find the cavities of images that are loaded; see `predict`.

        `position` is RA and Dec of the centre; `advance` is called with the number of images done.
        """
        centres = [_centre(o, centre, position) for o in observations]
        merging, constants = Merging.of(self.card), Constants.of(self.card)
        chosen = [choose_scales(o, scales, c) for o, c in zip(observations, centres, strict=True)]
        if not merging.fitted:
            for observation, of_image in zip(observations, chosen, strict=True):
                if len(of_image) > 1:
                    observation.remark(*UNMERGED)
        profiles = [_profile(o, redshift, pressure) for o in observations]
        fields_of_image = max(1.0, sum(map(len, chosen)) / max(1, len(observations)))
        searches = search(
            self.detector, observations, centres, chosen, lambda n: advance(n / fields_of_image)
        )
        results = []
        for observation, middle, found, profile in zip(
            observations, centres, searches, profiles, strict=True
        ):
            unsearched = remark_on_search(share_left_out(found.fields, observation.exposed))
            if unsearched is not None:
                observation.remark(*unsearched)
            cavities = found.selected(self.detector, threshold)
            totals = {f.scale: f.total for f in found.fields}
            outside = scales_outside(observation, totals, [c.scale for c in cavities], self.card)
            sure = [
                not observation.doubts
                and c.scale not in outside
                and found.confident(self.detector, c)
                for c in cavities
            ]
            limits = [
                max(self.detector.threshold(found.field(c.scale).total), LISTED) for c in cavities
            ]
            if refine:
                cavities = refine_listed(found, cavities, constants, seed)
                if not constants.fitted and any(isinstance(c, Refined) for c in cavities):
                    observation.remark(*UNFITTED)
            catalogue = build_catalogue(
                observation, found, cavities, middle, sure, redshift, profile, limits
            )
            catalogue.meta.update(
                image=observation.name,
                centre_x=middle[0],
                centre_y=middle[1],
                counts=observation.total,
                scales=" ".join(str(f.scale) for f in found.fields),
                searched=describe_search(found.fields, found.shape, middle),
                threshold="shipped" if threshold is None else threshold,
                remarks=observation.remarks,
            )
            if observation.sky.wcs is not None:
                place = observation.sky.coordinates(*middle)
                catalogue.meta["centre_ra"] = float(place.ra.deg)
                catalogue.meta["centre_dec"] = float(place.dec.deg)
            results.append(
                CavityResult(
                    observation=observation,
                    search=found,
                    cavities=cavities,
                    catalogue=catalogue,
                    centre=middle,
                    threshold=threshold,
                    redshift=redshift,
                    card=self.card,
                )
            )
        return results

    def _measure_recovery(
        self, results: Sequence[CavityResult], draws: int, seed: int, progress: bool | None
    ) -> None:
        """Measure the recovery of results; one that fails leaves its catalogue as it is."""
        failed = []
        for result in results:
            try:
                measure_recovery(self.detector, result, draws, seed=seed, progress=progress)
            except InputError:
                raise
            except Exception as error:  # the search stands, whatever its test runs into
                why = f"{type(error).__name__}: {error}"
                text = f"completeness and false alarms were not measured ({why})"
                result.observation.remark(UNMEASURED, text)
                result.catalogue.meta["remarks"] = result.warnings
                failed.append(result.observation)
        log_remarks(failed, only=UNMEASURED)


def _in_folder(
    files: Sequence[Path], skipped: list[tuple[Any, str]]
) -> tuple[list[Path], dict[str, list[Path | None]]]:
    """Images of a folder and the maps that belong to them; the rest is skipped, with a reason."""
    found = sort_files(files)
    for file, what in found.known:
        log.info("%s: %s, not needed", file, what)
    skipped += [(file, f"{file}: {why}") for file, why in found.skipped]
    for one in found.sets:
        maps = [f.name for f in (one.exposure, one.background) if f is not None]
        if maps:
            log.info("%s: with %s", one.image.name, " and ".join(maps))
    return [one.image for one in found.sets], {
        "exposure": [one.exposure for one in found.sets],
        "background": [one.background for one in found.sets],
    }


def _centre(
    observation: Observation, centre: tuple[float, float] | None, position: tuple[Any, Any] | None
) -> tuple[float, float]:
    if position is not None:
        return observation.position(*position)
    if centre is not None:
        x, y = centre
        return observation.inside(float(x), float(y), "a centre")
    # Where others were exposed longer than the cluster, their counts are those of its exposure.
    exposure = observation.relative_exposure
    depth = np.minimum(exposure, 1.0)
    counts = observation.counts * depth / np.where(exposure > 0, exposure, 1.0)
    x, y = find_centre(counts[None], depth[None], (~observation.exposed)[None])[0]
    return float(x), float(y)


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
