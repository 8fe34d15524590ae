"""Results and predictors in every science: the same names, whatever is predicted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

from physml import provenance
from physml.pipeline import load_object


class Summary(str):
    """Summary of a result in words.

    It can be called, so that ``result.summary()``, which is how it is meant to be read, and
    ``result.summary``, which is how it was read up to version 0.1, are the same text.
    """

    __slots__ = ()

    def __call__(self) -> str:
        """The text itself."""
        return str(self)


class Result(ABC):
    """Base of what a predictor returns.

    A subclass names the function that writes its files by an import string, as `Pipeline` names
    its stages: so results know nothing of pictures, tables and formats.

    Attributes
    ----------
    card : dict
        Metadata of the weights, with their SHA-256; empty where none were used.
    writer : str
        ``"module:function"``, called with the result, a folder that exists, and the run record.
    """

    writer: ClassVar[str]
    card: dict[str, Any]

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the observation or experiment."""

    @property
    @abstractmethod
    def warnings(self) -> list[str]:
        """All that a user has to know before the numbers are used."""

    @abstractmethod
    def _words(self) -> str:
        """Summary in words."""

    @property
    def summary(self) -> Summary:
        """Summary in words: call it, ``result.summary()``."""
        return Summary(self._words())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.summary()}>"

    def _origin(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Settings, input files and further entries of the run record."""
        return {}, {}, {}

    def write(
        self,
        folder: str | PathLike[str],
        overwrite: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write all products into a folder, as a whole or not at all.

        Parameters
        ----------
        folder : path
            Output folder; its name is free, or `overwrite` is set.
        overwrite : bool
            Replace a folder that was written like this before.
        settings : mapping, optional
            Arguments of the prediction, for the run record.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        OutputError
            The folder exists and may not be replaced, or there is no room.
        """
        from physml.io.atomic import atomic_directory

        with atomic_directory(folder, overwrite=overwrite) as temporary:
            self.write_into(temporary, settings)
        return Path(folder)

    def write_into(self, folder: Path, settings: Mapping[str, Any] | None = None) -> None:
        """Write all products into a folder that exists; `write` does it safely."""
        own, inputs, extra = self._origin()
        asked = {**(settings or {}), **own}
        record = provenance.record("predict", asked, inputs=inputs, extra=extra)
        load_object(self.writer)(self, folder, record)


class Predictor(ABC):
    """Base of what applies trained weights to users' data."""

    @classmethod
    @abstractmethod
    def load(cls, path: str | PathLike[str] | None = None) -> Self:
        """Predictor with trained weights, which are read and checked now.

        Parameters
        ----------
        path : path, optional
            Weights (safetensors); those shipped with the package by default.

        Raises
        ------
        InputError
            No such file, or weights of something else.
        """

    @property
    @abstractmethod
    def card(self) -> dict[str, Any]:
        """Metadata of the weights, with their SHA-256."""

    @abstractmethod
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the weights."""
