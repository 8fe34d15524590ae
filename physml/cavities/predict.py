"""From an image to its cavities: the Python interface.

>>> result = physml.load("cavities").predict("image.fits")   # doctest: +SKIP
>>> result.catalogue["ra", "dec", "radius", "probability"]   # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Self

from physml.exceptions import InputError
from physml.progress import show_progress
from physml.stages.predict import Predictor

from .core.energetics import kpc_per_arcsec
from .data.folders import choose_images
from .data.inputs import check_arguments, is_several, list_images, one_for_each
from .data.loading import load_observation
from .data.observation import Observation, log_remarks
from .inference.search import Detector
from .results.bands import add_second_band, parse_bands
from .results.recovery import measure_recovery
from .results.result import CavityResult
from .results.searching import READ, prepare_search, search_prepared

log = logging.getLogger(__name__)

#: Images held and searched at a time: bounds the memory for long lists.
TOGETHER = 8
#: Remark on several results whose recovery failed.
UNMEASURED = "whose completeness and false alarms were not measured"


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
            Show a progress bar on a terminal, over the images or within one; yes by default.
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
            images, found = choose_images(images, skipped)
            given |= {role: found[role] for role in found if given[role] is None}
        number = len(images) if several else None
        maps = {role: one_for_each(role, one, number) for role, one in given.items()}
        lenient = on_skip is not None or (isinstance(image, str | PathLike) and several)
        place: dict[str, Any] = {
            "centre": centre,
            "position": None if ra is None else (ra, dec),
            "redshift": redshift,
            "scales": scales,
        }
        options: dict[str, Any] = {
            "redshift": redshift,
            "threshold": threshold,
            "refine": refine,
            "seed": seed,
        }
        results: list[CavityResult] = []
        with show_progress(
            "images" if several else "search", len(images), progress is not False
        ) as advance:
            for start in range(0, len(images), TOGETHER):
                prepared = []
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
                        prepared.append(prepare_search(observation, **place, pressure=pressure))
                        advance(READ)
                    except InputError as error:
                        if not lenient:
                            raise
                        skipped.append((images[i], str(error)))
                        advance(1)
                results += search_prepared(self.detector, prepared, advance=advance, **options)
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
        prepared = [
            prepare_search(o, centre, position, redshift, pressure, scales) for o in observations
        ]
        advance(READ * len(prepared))
        return search_prepared(
            self.detector,
            prepared,
            redshift=redshift,
            threshold=threshold,
            refine=refine,
            seed=seed,
            advance=advance,
        )

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
