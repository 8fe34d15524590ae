"""The last steps of a training on their own, for weights that exist.

How binnings are merged, and how the radii of network and likelihood are joined.
"""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

from physml import provenance
from physml.exceptions import InputError
from physml.io.atomic import write_text
from physml.io.weights import load_weights, save_weights
from physml.templates import render

from ..inference.detector import CavityDetector
from ..inference.refine.constants import beside
from ..settings import CavitiesSettings
from .merging import calibrate_merging
from .refining import REFINED, calibrate_refining

#: Template of the card's page.
PAGE = "cavities/learning/card.md.jinja"


def recalibrate_weights(
    weights: str | PathLike[str],
    out: str | PathLike[str],
    images: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write weights with the same networks, a new calibration of the merging and the refinement.

    What `train` does last: the images are drawn from the settings and the seed that the networks
    were trained with. The card keeps which file they came from.

    Parameters
    ----------
    weights, out : path
        Trained weights, and those to be written, beside which the page of their card goes.
    images : int, optional
        Number of simulated images for the merging; that of the settings by default. A quarter as
        many fit the refinement.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    dict
        The card.

    Raises
    ------
    InputError
        The file is no weights file of this pipeline, or does not say what it was trained with.
    """
    detector = CavityDetector.load(weights)
    tensors, card = load_weights(weights)
    settings = trained_with(weights, card)
    number = settings.train.merging_images if images is None else images
    detector.card.pop("merging", None)
    card["merging"] = calibrate_merging(detector, settings.simulate, settings.seed, number)
    share = max(1, number // REFINED)
    card["refine"] = calibrate_refining(detector, settings.simulate, settings.seed, share)
    record = provenance.record(
        "train",
        {"seed": settings.seed, "train": {"merging_images": number}},
        {"weights": Path(weights)},
    )
    step = {"what": "merging of binnings, refinement by likelihood", "provenance": record}
    card["recalibrated"] = [*card.get("recalibrated", []), step]
    save_weights(out, tensors, card, dtype="float32", overwrite=overwrite)
    write_text(Path(out).with_suffix(".md"), render(PAGE, card=card), overwrite=True)
    return card


def refine_beside(
    weights: str | PathLike[str], images: int | None = None, overwrite: bool = False
) -> Path:
    """Fit the refinement of weights and write it beside them, which stay as they are.

    Parameters
    ----------
    weights : path
        Trained weights; the file is named after them, see `refine.constants.beside`.
    images : int, optional
        Number of simulated images; a quarter of those for the merging by default.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    InputError
        The file is no weights file of this pipeline, or does not say what it was trained with.
    """
    detector = CavityDetector.load(weights)
    _, card = load_weights(weights)
    settings = trained_with(weights, card)
    number = settings.train.merging_images // REFINED if images is None else images
    fitted = calibrate_refining(detector, settings.simulate, settings.seed, number)
    fitted |= {"weights": provenance.sha256(weights), "seed": settings.seed}
    target = beside(weights)
    write_text(target, json.dumps(fitted, indent=1) + "\n", overwrite=overwrite)
    return target


def trained_with(weights: str | PathLike[str], card: dict[str, Any]) -> CavitiesSettings:
    """Seed and simulator settings of a training, from the card of its weights.

    Raises
    ------
    InputError
        The card does not hold them.
    """
    try:
        trained = card["provenance"]["settings"]
        # Settings of the training that are no more, or came since, play no part here.
        return CavitiesSettings.model_validate(
            {"seed": trained["seed"], "simulate": trained["simulate"]}
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError.expected(
            weights, "a card with the settings of the training", str(error)
        ) from error
