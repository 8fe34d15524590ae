"""Constants of `observations` made anew for weights that exist: the last step of a training."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from physml import provenance
from physml.exceptions import InputError
from physml.io.atomic import write_text
from physml.io.weights import load_weights, save_weights
from physml.templates import render

from ..inference.detector import BackgroundDetector
from ..settings import BackgroundSettings
from .observations import calibrate_observations

#: Template of the card's page.
PAGE = "background/learning/card.md.jinja"


def recalibrate_weights(
    weights: str | PathLike[str],
    out: str | PathLike[str],
    observations: int | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write weights with the same networks and cuts, and new constants of `observations`.

    What `train` does last: observations are drawn from the settings and the seed that the networks
    were trained with. The card keeps which file they came from.

    Parameters
    ----------
    weights, out : path
        Trained weights, and those to be written, beside which the page of their card goes.
    observations : int, optional
        Number of simulated observations; that of the settings by default.
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
    detector = BackgroundDetector.load(weights)
    tensors, card = load_weights(weights)
    try:
        trained = card["provenance"]["settings"]
        # Settings of the training that are no more, or came since, play no part here.
        settings = BackgroundSettings.model_validate(
            {"seed": trained["seed"], "simulate": trained["simulate"]}
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError.expected(
            weights, "a card with the settings of the training", str(error)
        ) from error
    if observations is not None:
        settings = settings.model_copy(
            update={
                "train": settings.train.model_copy(
                    update={
                        "calibrate": settings.train.calibrate.model_copy(
                            update={"observations": observations}
                        )
                    }
                )
            }
        )
    c = settings.train.calibrate
    card |= calibrate_observations(detector, settings)
    record = provenance.record(
        "train",
        {
            "seed": settings.seed,
            "train": {
                "calibrate": {
                    "observations": c.observations,
                    "observation_hits": c.observation_hits,
                    "observation_events": c.observation_events,
                }
            },
        },
        {"weights": Path(weights)},
    )
    step = {"what": "observations", "provenance": record}
    card["recalibrated"] = [*card.get("recalibrated", []), step]
    save_weights(out, tensors, card, dtype="float32", overwrite=overwrite)
    write_text(Path(out).with_suffix(".md"), render(PAGE, card=card), overwrite=True)
    return card
