"""The last step of a training on its own: the merging of binnings, for weights that exist."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from physml import provenance
from physml.exceptions import InputError
from physml.io.atomic import write_text
from physml.io.weights import load_weights, save_weights
from physml.templates import render

from ..inference.detector import CavityDetector
from ..settings import CavitiesSettings
from .merging import calibrate_merging

#: Template of the card's page.
PAGE = "cavities/learning/card.md.jinja"


def recalibrate_weights(
    weights: str | PathLike[str],
    out: str | PathLike[str],
    images: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write weights with the same networks and a new calibration of the merging.

    What `train` does last: the images are drawn from the settings and the seed that the networks
    were trained with. The card keeps which file they came from.

    Parameters
    ----------
    weights, out : path
        Trained weights, and those to be written, beside which the page of their card goes.
    images : int, optional
        Number of simulated images; that of the settings by default.
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
    try:
        trained = card["provenance"]["settings"]
        # Settings of the training that are no more, or came since, play no part here.
        settings = CavitiesSettings.model_validate(
            {"seed": trained["seed"], "simulate": trained["simulate"]}
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError.expected(
            weights, "a card with the settings of the training", str(error)
        ) from error
    number = settings.train.merging_images if images is None else images
    detector.card.pop("merging", None)
    card["merging"] = calibrate_merging(detector, settings.simulate, settings.seed, number)
    record = provenance.record(
        "train",
        {"seed": settings.seed, "train": {"merging_images": number}},
        {"weights": Path(weights)},
    )
    step = {"what": "merging of binnings", "provenance": record}
    card["recalibrated"] = [*card.get("recalibrated", []), step]
    save_weights(out, tensors, card, dtype="float32", overwrite=overwrite)
    write_text(Path(out).with_suffix(".md"), render(PAGE, card=card), overwrite=True)
    return card
