"""From an image to its cavities: the Python interface.

>>> result = physml.Model.load("cavities").predict("image.fits")   # doctest: +SKIP
>>> result.catalogue["ra", "dec", "radius", "probability"]         # doctest: +SKIP
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from physml.exceptions import InputError
from physml.progress import show_progress

from .core.energetics import kpc_per_arcsec, read_profile
from .data.observation import Observation, load_observation
from .inference.fields import choose_scales
from .inference.search import Detector, search
from .results.catalogue import build_catalogue
from .results.result import CavityResult

log = logging.getLogger(__name__)

SUFFIXES = (".fits", ".fit", ".fts", ".ftz", ".fits.gz", ".fit.gz", ".img", ".img.gz")
"""Endings of image files looked for in a folder."""

TOGETHER = 8
"""Images held and searched at a time: bounds the memory for long lists."""


class CavityPredictor:
    """Finds X-ray cavities in images of galaxy clusters, groups and galaxies.

    Parameters
    ----------
    detector : Detector
        What searches one field of the network's size.
    """

    def __init__(self, detector: Detector):
        self.detector = detector

    @classmethod
    def load(cls, path: str | PathLike[str] | None = None) -> CavityPredictor:
        """Predictor with trained weights.

        Parameters
        ----------
        path : path, optional
            Weights (safetensors); those shipped with the package by default.
        """
        from .inference.detector import CavityDetector

        detector = CavityDetector.load(None if path is None else Path(path))
        return cls(detector)

    def predict(
        self,
        image: Any,
        *,
        exposure: Any = None,
        background: Any = None,
        mask: Any = None,
        units: str = "auto",
        centre: tuple[float, float] | None = None,
        ra: Any = None,
        dec: Any = None,
        redshift: float | None = None,
        pressure: str | PathLike[str] | None = None,
        scales: str | int | Sequence[int] = "auto",
        threshold: float | None = None,
        seed: int = 0,
        recovery: int = 0,
        progress: bool | None = None,
    ) -> Any:
        """Find the cavities of one image, or of many.

        Parameters
        ----------
        image : path, HDUList, CCDData, ndarray of shape (H, W), or a list of these, or a folder
            Counts per pixel (or a flux, with `exposure`).
        exposure, background : same kinds, optional
            Maps on the image's pixels; for a list of images a list, or one map for all.
        mask : path or ndarray of bool, optional
            Point sources to fill with draws from their surroundings.
        units : {"auto", "counts", "flux"}
            What the pixels hold.
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
            its rate of false alarms; 0 for none.
        progress : bool, optional
            Show a progress bar; by default for several images on a terminal.

        Returns
        -------
        CavityResult or list of CavityResult
            One for one image, a list for a list or a folder.

        Raises
        ------
        InputError
            For data or arguments that cannot be used.
        """
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"threshold: expected a probability from 0 to 1, found {threshold}")
        if (ra is None) != (dec is None):
            raise InputError("--ra and --dec: expected both or neither, found one")
        if pressure is not None and redshift is None:
            raise InputError("--pressure: expected together with --redshift, found without")
        if redshift is not None:
            kpc_per_arcsec(redshift)  # refuses nonsense before any work
        several = is_several(image)
        images = list_images(image) if several else [image]
        maps = {
            role: _spread(role, given, len(images), several)
            for role, given in (("exposure", exposure), ("background", background), ("mask", mask))
        }
        results: list[CavityResult] = []
        with show_progress(
            "images", len(images), several if progress is None else progress
        ) as advance:
            for start in range(0, len(images), TOGETHER):
                stop = min(start + TOGETHER, len(images))
                observations = [
                    load_observation(
                        images[i],
                        exposure=maps["exposure"][i],
                        background=maps["background"][i],
                        mask=maps["mask"][i],
                        units=units,
                        seed=seed,
                        name=f"image {i + 1}" if several else None,
                    )
                    for i in range(start, stop)
                ]
                results += self.predict_observations(
                    observations,
                    centre=centre,
                    position=None if ra is None else (ra, dec),
                    redshift=redshift,
                    pressure=pressure,
                    scales=scales,
                    threshold=threshold,
                    advance=advance,
                )
        if recovery:
            from .results.recovery import measure_recovery

            for result in results:
                try:
                    measure_recovery(self, result, recovery, seed=seed, progress=progress)
                except InputError:
                    raise
                except Exception as error:  # what was found stands, whatever its test runs into
                    result.observation.remark(
                        f"completeness and false alarms were not measured "
                        f"({type(error).__name__}: {error})"
                    )
                    result.catalogue.meta["remarks"] = list(result.observation.remarks)
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
        advance: Callable[[float], None] | None = None,
    ) -> list[CavityResult]:
        """Find the cavities of images that are loaded; see `predict`."""
        centres = [self._centre(o, centre, position) for o in observations]
        chosen = [choose_scales(o, scales) for o in observations]
        profiles = [self._profile(o, redshift, pressure) for o in observations]
        fields_of_image = max(1.0, sum(map(len, chosen)) / max(1, len(observations)))

        def done(n: int) -> None:
            if advance is not None:
                advance(n / fields_of_image)

        searches = search(self.detector, observations, centres, chosen, done)
        results = []
        for observation, middle, found, profile in zip(
            observations, centres, searches, profiles, strict=True
        ):
            cavities = found.selected(self.detector, threshold)
            sure = [found.confident(self.detector, c) for c in cavities]
            catalogue = build_catalogue(
                observation, found, cavities, middle, sure, redshift, profile
            )
            catalogue.meta.update(
                image=observation.name,
                centre_x=middle[0],
                centre_y=middle[1],
                counts=observation.total,
                scales=" ".join(str(f.scale) for f in found.fields),
                threshold="shipped" if threshold is None else threshold,
                remarks=list(observation.remarks),
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
                    weights=dict(getattr(self.detector, "card", {}) or {}),
                )
            )
        return results

    @staticmethod
    def _centre(
        observation: Observation,
        centre: tuple[float, float] | None,
        position: tuple[Any, Any] | None,
    ) -> tuple[float, float]:
        if position is not None:
            return observation.position(*position)
        if centre is not None:
            x, y = centre
            return observation.inside(float(x), float(y), "a centre")
        from .core.halo import find_centre

        x, y = find_centre(
            observation.counts[None],
            observation.relative_exposure[None],
            (~observation.exposed)[None],
        )[0]
        return float(x), float(y)

    @staticmethod
    def _profile(observation: Observation, redshift: float | None, pressure: Any):
        if redshift is not None and observation.sky.wcs is None:
            raise InputError.expected(
                observation.name, "a celestial WCS for sizes in kpc (--redshift)", "none"
            )
        if pressure is None or redshift is None:
            return None
        observation.files["pressure"] = Path(pressure)
        return read_profile(pressure, kpc_per_arcsec(redshift))


def is_several(image: Any) -> bool:
    """Whether a list of images or a folder was given; an `HDUList` is one image."""
    if isinstance(image, str | PathLike):
        return Path(image).is_dir()
    if isinstance(image, np.ndarray) or hasattr(image, "info"):
        return False  # array, HDUList, CCDData
    return isinstance(image, (list, tuple))


def list_images(image: Any) -> list[Any]:
    """List the images of a list, or the image files of a folder by name.

    Raises
    ------
    InputError
        For an empty list, or a folder without images.
    """
    if isinstance(image, str | PathLike):
        folder = Path(image)
        files = sorted(
            p for p in folder.iterdir() if p.is_file() and p.name.lower().endswith(SUFFIXES)
        )
        if not files:
            raise InputError.expected(
                folder, f"image files ({', '.join(SUFFIXES)})", "none in this folder"
            )
        return list(files)
    if not image:
        raise InputError("predict: expected at least one image, found an empty list")
    return list(image)


def _spread(role: str, given: Any, number: int, several: bool) -> list[Any]:
    """One map or mask for each image."""
    if several and isinstance(given, (list, tuple)) and not hasattr(given, "info"):
        if len(given) != number:
            raise InputError(
                f"{role}: expected one for each of {number} images, found {len(given)}"
            )
        return list(given)
    return [given] * number
