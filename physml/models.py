"""From a name or a file of weights to something that can be applied to observations."""

from __future__ import annotations

import logging
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from physml.exceptions import InputError
from physml.pipeline import get_pipeline, pipeline_names

log = logging.getLogger(__name__)


class Model:
    """Loader of trained models.

    Examples
    --------
    >>> import physml
    >>> result = physml.Model.load("cavities").predict("image.fits")  # doctest: +SKIP
    """

    def __new__(cls) -> Model:
        """Refuse: a model comes from `load`."""
        raise TypeError("use Model.load(name_or_path)")

    @staticmethod
    def load(name_or_path: str | PathLike[str], **options: Any) -> Any:
        """Load the predictor of a pipeline.

        Parameters
        ----------
        name_or_path
            Name of a pipeline, for its shipped weights, or path of a weights file
            (safetensors), which says itself to which pipeline it belongs.
        **options
            Passed to the predictor's ``load``.

        Returns
        -------
        object
            Instance of the pipeline's predictor, with a method ``predict``.

        Raises
        ------
        InputError
            Neither a pipeline nor a file of weights, or weights of no known pipeline.
        """
        if isinstance(name_or_path, str) and name_or_path in pipeline_names():
            return get_pipeline(name_or_path).predictor_class().load(**options)
        path = Path(name_or_path)
        if not path.is_file():
            raise InputError.expected(
                None,
                f"a pipeline ({', '.join(pipeline_names())}) or a file of weights",
                repr(str(name_or_path)),
            )
        from physml.io.weights import read_metadata

        metadata = read_metadata(path)
        name = metadata.get("pipeline")
        if not isinstance(name, str):
            raise InputError.expected(
                path, "weights whose metadata name their pipeline", f"keys {sorted(metadata)}"
            )
        predictor = get_pipeline(name).predictor_class()
        try:
            return predictor.load(path, **options)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            # Metadata say what the network is: another's are of any form.
            raise InputError.expected(
                path, f"weights of the pipeline {name}", f"others ({type(error).__name__}: {error})"
            ) from error


def shipped_weights(pipeline: str) -> Path:
    """Where the weights lie that come with physml; there may be none."""
    return Path(str(files("physml") / "weights" / f"{pipeline}.safetensors"))


def load_for_report(pipeline: str, own: Path) -> tuple[Any, str]:
    """Load a pipeline's shipped weights; those just trained where none are shipped.

    A report shows what users get, and that is not what a small run of somebody's settings makes.

    Returns
    -------
    predictor
        As from `Model.load`.
    str
        Whose weights they are, in words.
    """
    predictor: Any = get_pipeline(pipeline).predictor_class()
    if shipped_weights(pipeline).is_file():
        return predictor.load(), "shipped with physml"
    log.warning("no weights are shipped with this copy of physml: those of this run are used")
    return predictor.load(own), "trained in this run"
