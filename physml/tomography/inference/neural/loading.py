"""Networks of a weights file, or of all the files that are shipped."""

from __future__ import annotations

from os import PathLike
from typing import Any, NamedTuple

from physml.exceptions import InputError
from physml.models import read_weights

from ..weights import prefix, shipped_files
from .calibrated import Calibrated
from .corrector import Corrector


class Learned(NamedTuple):
    """Networks by dimension, with what is known of them.

    Attributes
    ----------
    networks : dict of Corrector
    card : dict
        Metadata of the weights; of the shipped ones that of the first file.
    calibrated : dict of Calibrated
        Quantiles of the dimensions that were calibrated.
    cards : dict of dict
        Metadata by dimension.
    """

    networks: dict[int, Corrector]
    card: dict[str, Any]
    calibrated: dict[int, Calibrated]
    cards: dict[int, dict[str, Any]]


def load(path: str | PathLike[str] | None = None) -> Learned:
    """Correctors by dimension, cards, and the calibrated quantiles, of weights.

    Parameters
    ----------
    path : path, optional
        The shipped weights by default, which may be in several files.

    Raises
    ------
    InputError
        Not weights of this pipeline.
    """
    if path is not None:
        return _load(path)
    # Where nothing is shipped, the reader says so.
    first, *others = [_load(file) for file in shipped_files()] or [_load(None)]
    for other in others:
        first.networks.update(other.networks)
        first.calibrated.update(other.calibrated)
        first.cards.update(other.cards)
    return first


def _load(path: str | PathLike[str] | None) -> Learned:
    """Networks of one file."""
    found = read_weights("tomography", path, key="networks")
    learned = Learned({}, found.card, {}, {})
    for qubits, sizes in found.card["networks"].items():
        d = 1 << int(qubits)
        network = Corrector(d, **sizes)
        found.fill(network, prefix(d, Corrector))
        learned.networks[d] = network.eval().requires_grad_(False)
        learned.cards[d] = found.card
        try:
            own = Calibrated.find(found.part, d)
        except (KeyError, RuntimeError, ValueError) as error:
            raise InputError.expected(
                found.path, f"a calibration of {qubits} qubits", str(error)
            ) from None
        if own is not None:
            learned.calibrated[d] = own
    return learned
