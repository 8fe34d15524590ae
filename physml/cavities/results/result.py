"""What the search of one image gives, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable

from ..data.observation import Observation
from ..inference.merge import Candidate
from ..inference.search import Search

if TYPE_CHECKING:
    from .recovery import Recovery


@dataclass
class CavityResult:
    """Cavities of one image.

    Attributes
    ----------
    catalogue : QTable
        One row a cavity; each column carries its description.
    probability : ndarray of float32, shape (H, W)
        Probability that a pixel of the input lies in a cavity.
    labels : ndarray of int32, shape (H, W)
        0 outside, k for row k of the catalogue (counted from 1).
    model : ndarray, shape (H, W)
        Smooth model without cavities [expected counts].
    observation : Observation
        The image as it was searched: masked sources filled.
    search : Search
        All candidates, also those under the threshold, and the fields they come from.
    cavities : list of Candidate
        The listed ones, in pixels.
    centre : tuple of float
        Cluster centre (x, y) [pixel].
    recovery : Recovery or None
        Completeness and false alarms of this image, where asked for.
    """

    observation: Observation
    search: Search
    cavities: list[Candidate]
    catalogue: QTable
    centre: tuple[float, float]
    threshold: float | None = None
    redshift: float | None = None
    weights: dict[str, Any] = field(default_factory=dict)
    recovery: Recovery | None = None

    @cached_property
    def probability(self) -> np.ndarray:
        """Probability that a pixel lies in a cavity."""
        return self.search.probability()

    @cached_property
    def labels(self) -> np.ndarray:
        """Number of the cavity that a pixel belongs to."""
        return self.search.labels(self.cavities)

    @cached_property
    def model(self) -> np.ndarray:
        """Smooth model without cavities."""
        return self.search.model(self.observation)

    @property
    def summary(self) -> str:
        """What was found, in words: sure detections and candidates apart."""
        doubtful = sum("candidate" in str(f).split() for f in self.catalogue["flags"])
        sure = len(self.catalogue) - doubtful
        words = {0: "no cavity", 1: "1 cavity"}.get(sure, f"{sure} cavities")
        if doubtful:
            words += f", {doubtful} candidate" + "s" * (doubtful > 1)
        return words

    def __repr__(self) -> str:
        return f"<CavityResult {self.observation.name}: {self.summary}>"

    def write(
        self,
        folder: str | PathLike[str],
        overwrite: bool = False,
        settings: dict[str, Any] | None = None,
    ) -> Path:
        """Write all products into a folder, as a whole or not at all.

        Parameters
        ----------
        folder : path
            Output folder; its name is free, or `overwrite` is set.
        overwrite : bool
            Replace a folder that was written like this before.
        settings : dict, optional
            How the search was asked for; kept in the provenance.

        Returns
        -------
        Path
            The folder.
        """
        from physml.io.atomic import atomic_directory

        with atomic_directory(folder, overwrite=overwrite) as temporary:
            self.write_into(temporary, settings)
        return Path(folder)

    def write_into(self, folder: Path, settings: dict[str, Any] | None = None) -> None:
        """Write all products into a folder that exists; `write` does it safely."""
        from physml import provenance

        from .products import write_products

        record = provenance.record(
            "predict",
            settings or {},
            inputs=dict(self.observation.files),
            extra={"weights": self.weights, "remarks": self.observation.remarks},
        )
        write_products(self, folder, record)
