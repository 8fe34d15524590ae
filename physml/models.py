"""From a name or a file of weights to something that can be applied to observations."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physml.exceptions import InputError
from physml.pipeline import get_pipeline, pipeline_names

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)


def load(name_or_path: str | PathLike[str], **options: Any) -> Any:
    """Load the predictor of a pipeline; its weights are read and checked now.

    Parameters
    ----------
    name_or_path : str or path
        Name of a pipeline, for its shipped weights, or path of a weights file (safetensors), which
        says itself to which pipeline it belongs.
    **options
        Passed to the predictor's ``load``.

    Returns
    -------
    Predictor
        With ``card`` (metadata of the weights) and ``predict``.

    Raises
    ------
    InputError
        Neither a pipeline nor a file of weights, or weights of no known pipeline.

    Examples
    --------
    >>> import physml
    >>> result = physml.load("cavities").predict("image.fits")  # doctest: +SKIP
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


class Model:
    """Alias of `load` for programs written for version 0.1: ``Model.load(name_or_path)``."""

    def __new__(cls) -> Model:
        """Refuse: a model comes from `load`."""
        raise TypeError("use physml.load(name_or_path)")

    load = staticmethod(load)


def shipped_weights(pipeline: str, preset: str | None = None) -> Path:
    """Place of the weights that come with physml; there may be none.

    Parameters
    ----------
    pipeline : str
    preset : str, optional
        Name of a recipe of the pipeline's besides its own, whose weights are in a file of their own
        (`pipelines/<pipeline>/<preset>.yaml`).
    """
    name = pipeline if preset is None else f"{pipeline}_{preset}"
    return Path(str(files("physml") / "weights" / f"{name}.safetensors"))


@dataclass(frozen=True)
class Weights:
    """Weights of one pipeline, read and checked.

    Attributes
    ----------
    path : Path
    tensors : dict of Tensor
        Of all its networks, each with a prefix.
    card : dict
        Metadata, with the SHA-256 of the file.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    card: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose names begin with a prefix, under the rest of their names."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

    def fill(self, network: nn.Module, prefix: str) -> None:
        """Give a network its tensors.

        Raises
        ------
        InputError
            They are not those of such a network.
        """
        try:
            network.load_state_dict(self.part(prefix))
        except RuntimeError as error:
            raise InputError.expected(
                self.path,
                f"the tensors of the {self.card['pipeline']} network {prefix.rstrip('.')}",
                str(error).splitlines()[-1].strip(),
            ) from error


def read_weights(
    pipeline: str, path: str | PathLike[str] | None = None, key: str = "network"
) -> Weights:
    """Read weights of a pipeline, those shipped with the package by default.

    Parameters
    ----------
    pipeline : str
    path : path, optional
    key : str
        Entry that the metadata of such weights have.

    Raises
    ------
    InputError
        The file is no safetensors file, or not one of this pipeline.
    """
    from physml.io.weights import load_weights
    from physml.provenance import sha256

    source = shipped_weights(pipeline) if path is None else Path(path)
    tensors, card = load_weights(source)
    if card.get("pipeline") != pipeline or key not in card:
        raise InputError.expected(
            source, f"weights of the pipeline {pipeline}", f"pipeline {card.get('pipeline')!r}"
        )
    return Weights(source, tensors, {**card, "sha256": sha256(source)})


def load_for_report(pipeline: str, own: Path) -> tuple[Any, str]:
    """Load a pipeline's shipped weights; those just trained where none are shipped.

    A report shows what users get, and that is not what a small run of somebody's settings makes.

    Returns
    -------
    predictor
        As from `load`.
    str
        Whose weights they are, in words.
    """
    predictor: Any = get_pipeline(pipeline).predictor_class()
    if shipped_weights(pipeline).is_file():
        return predictor.load(), "shipped with physml"
    log.warning("no weights are shipped with this copy of physml: those of this run are used")
    return predictor.load(own), "trained in this run"
