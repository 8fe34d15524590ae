"""Columns of a catalogue that a second band adds, and the bands as they are given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physml.exceptions import InputError

from ..core.plasma import LINES, Band
from ..data.loading import load_observation
from ..data.observation import Observation
from ..inference.aperture import coloured_model, measure_aperture, undisturbed_model
from ..inference.two_bands import HYPOTHESES, UNKNOWN, Verdict, decide
from .result import CavityResult

#: Bands that are taken where none are named [keV].
DEFAULT_BANDS = ((0.5, 2.0), (2.0, 7.0))
#: Largest distance of a pixel of the hard image from that of the soft one on the sky [pixel].
APART = 0.5
#: Columns that are added, and their meaning.
COLUMNS = {
    "decrement_soft": "share of the soft image's counts that is missing, against the gas beside it",
    "decrement_soft_err": "its error",
    "decrement_hard": "the same in the hard image",
    "decrement_hard_err": "its error",
    "p_cavity": "probability, by both bands, of a volume without gas; all three equal beforehand",
    "p_isobaric": "probability of thinner, hotter gas of the same pressure",
    "p_shock": "probability of thinner, cooler gas of the same entropy (a wave or a shock)",
    "band_verdict": f"the one with at least 0.8, or '{UNKNOWN}'",
}


def parse_bands(
    bands: str | Sequence[Sequence[float]] | None = None,
    temperature: float | None = None,
    response: str | Sequence[float] | None = None,
    redshift: float | None = None,
) -> tuple[Band, Band]:
    """Soft and hard band as they were given.

    Parameters
    ----------
    bands : str or two pairs of float, optional
        Limits, such as ``"0.5-2,2-7"`` [keV].
    temperature : float, optional
        kT of the gas [keV].
    response : str or two floats, optional
        Responses d ln Lambda / d ln T of both bands, such as ``"0.1,0.8"``, from a spectral code
        with the telescope's effective area; instead of `temperature`.
    redshift : float, optional

    Raises
    ------
    InputError
        Neither a temperature nor responses, or something else than two bands.
    """
    if response is not None:
        values = _numbers(response, "band_response", 2, "two responses such as 0.1,0.8")
        if values[1] <= values[0]:
            raise InputError(
                "band_response=: expected that of the hard band above that of the soft one, "
                f"found {values[0]:g} and {values[1]:g}"
            )
        return Band("soft", given=values[0]), Band("hard", given=values[1])
    if temperature is None:
        raise InputError(
            "hard=: expected together with temperature= (kT of the gas in keV) or band_response=, "
            "found neither"
        )
    if not 0.1 <= float(temperature) <= 30:
        raise InputError(f"temperature=: expected a kT from 0.1 to 30 keV, found {temperature}")
    text = "two bands such as 0.5-2,2-7 (keV), the soft one first"
    limits = np.ravel(DEFAULT_BANDS) if bands is None else _numbers(bands, "hard_bands", 4, text)
    if not (0 < limits[0] < limits[1] and limits[2] < limits[3] and limits[0] < limits[2]):
        raise InputError(f"hard_bands=: expected {text}, found {bands!r}")
    soft, hard = limits[:2], limits[2:]
    own = {"temperature": float(temperature), "redshift": float(redshift or 0.0)}
    return (
        Band("soft", low=float(soft[0]), high=float(soft[1]), **own),
        Band("hard", low=float(hard[0]), high=float(hard[1]), **own),
    )


def _numbers(given: Any, name: str, number: int, what: str) -> list[float]:
    parts = re.split(r"[,\s-]+", given.strip()) if isinstance(given, str) else np.ravel(given)
    if name == "band_response" and isinstance(given, str):
        parts = re.split(r"[,\s]+", given.strip())  # these may be negative
    try:
        values = [float(part) for part in parts]
    except (TypeError, ValueError):
        values = []
    if len(values) != number or not np.isfinite(values).all():
        raise InputError(f"{name}=: expected {what}, found {given!r}")
    return values


def check_pair(soft: Observation, hard: Observation) -> None:
    """Refuse a hard image whose pixels are not those of the soft one.

    Raises
    ------
    InputError
        Another shape, or pixels elsewhere on the sky.
    """
    height, width = soft.counts.shape
    if hard.counts.shape != (height, width):
        raise InputError.expected(
            hard.name,
            f"a hard image on the pixels of {soft.name}, {width} x {height}",
            " x ".join(map(str, hard.counts.shape[::-1])),
            hint="Bin both bands alike.",
        )
    if soft.sky.wcs is None or hard.sky.wcs is None:
        return
    x, y = np.array([0.0, width - 1.0, 0.5 * width]), np.array([0.0, height - 1.0, 0.5 * height])
    u, v = hard.sky.wcs.world_to_pixel(soft.sky.coordinates(x, y))
    apart = float(np.max(np.hypot(u - x, v - y)))
    if not apart <= APART:
        raise InputError.expected(
            hard.name,
            f"a hard image whose pixels lie where those of {soft.name} do",
            f"pixels up to {apart:.1f} away on the sky",
            hint="Bin both bands alike.",
        )


def compare_bands(result: CavityResult, hard: Observation, bands: tuple[Band, Band]) -> None:
    """Add what two bands say of each cavity to the catalogue of a result.

    Parameters
    ----------
    result : CavityResult
        Of the soft image.
    hard : Observation
        Hard image on its pixels.
    bands : tuple of Band
        Soft and hard.

    Raises
    ------
    InputError
        The pixels of the two are not the same.
    """
    soft = result.observation
    check_pair(soft, hard)
    verdicts: list[Verdict | None] = []
    if result.cavities:
        outlines = [_outline(result, number) for number in range(len(result.cavities))]
        structure = np.any(outlines, axis=0)
        scales = [field.scale for field in result.search.fields]
        models = [undisturbed_model(soft, result.centre, scales, structure)]
        models.append(coloured_model(hard, soft, models[0], structure))
        for outline in outlines:
            a, b = (
                measure_aperture(image, model, result.centre, outline, structure)
                for image, model in zip((soft, hard), models, strict=True)
            )
            verdicts.append(None if a is None or b is None else decide(a, b, bands))
    _add_columns(result, verdicts)
    if hard.path is not None:
        soft.files["hard"] = hard.path
    _tell(soft, hard, bands)
    result.catalogue.meta["remarks"] = result.warnings


def _outline(result: CavityResult, number: int) -> NDArray[np.bool_]:
    cavity, shape = result.cavities[number], result.observation.counts.shape
    inside = np.zeros(shape, bool)
    window = cavity.window(shape)
    y, x = np.mgrid[window]
    inside[window] = cavity.inside(x, y)
    return inside


def _add_columns(result: CavityResult, verdicts: Sequence[Verdict | None]) -> None:
    """One value a cavity; NaN and no verdict where nothing was observed."""
    table = result.catalogue
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for verdict in verdicts:
        values: dict[str, Any] = dict.fromkeys(COLUMNS, float("nan"))
        values["band_verdict"] = UNKNOWN
        if verdict is not None:
            for name, value, error in zip(
                ("decrement_soft", "decrement_hard"),
                verdict.decrement,
                verdict.decrement_err,
                strict=True,
            ):
                values |= {name: value, f"{name}_err": error}
            values |= {f"p_{name}": verdict.probability[name] for name in HYPOTHESES}
            values["band_verdict"] = verdict.verdict
        for name, value in values.items():
            columns[name].append(value)
    flags = table.colnames.index("flags") if "flags" in table.colnames else len(table.colnames)
    for place, (name, column) in enumerate(columns.items()):
        kind = f"U{max(map(len, (UNKNOWN, *HYPOTHESES)))}" if name == "band_verdict" else float
        table.add_column(np.array(column, dtype=kind), name=name, index=flags + place)
        table[name].info.description = COLUMNS[name]


def _tell(soft: Observation, hard: Observation, bands: tuple[Band, Band]) -> None:
    """Remarks on what the comparison assumes."""
    if bands[0].given is None:
        low = bands[0].temperature < LINES
        text = "two bands: responses of bremsstrahlung " + ", ".join(
            f"{band.response:+.2f} ({band.low:g}-{band.high:g} keV)" for band in bands
        )
        text += f" at kT = {bands[0].temperature:g} keV, without lines and effective area"
        if low:
            text += f"; below {LINES:g} keV lines rule: give the responses of a spectral code"
        soft.remark("compared in two bands by the responses of bremsstrahlung", text)
    without = [name for name, one in (("soft", soft), ("hard", hard)) if one.background is None]
    if without:
        soft.remark(
            "compared in two bands without a background map",
            f"two bands: no background map of the {' and '.join(without)} image; any background up "
            "to the faintest place is allowed for",
        )


def add_second_band(
    results: Sequence[CavityResult],
    images: Sequence[Any],
    bands: tuple[Band, Band],
    *,
    exposure: Sequence[Any],
    background: Sequence[Any],
    mask: Sequence[Any],
    seed: int = 0,
) -> None:
    """Compare results with hard images of the same places.

    Parameters
    ----------
    results : sequence of CavityResult
        Of the soft images.
    images, exposure, background, mask : sequences of as many
        Hard images and their maps, as `load_observation` takes them.
    bands : tuple of Band
        From `parse_bands`.
    seed : int
        Of the draws that fill masked sources.

    Raises
    ------
    InputError
        An image that cannot be used, or whose pixels are not those of the soft one.
    """
    for number, result in enumerate(results):
        hard = load_observation(
            images[number],
            exposure=exposure[number],
            background=background[number],
            mask=mask[number],
            seed=seed,
            name=f"hard image of {result.name}",
        )
        result.observation.notes.update(
            {f"{of_many} (hard)": f"hard image: {text}" for of_many, text in hard.notes.items()}
        )
        compare_bands(result, hard, bands)
