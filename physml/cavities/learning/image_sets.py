"""Training images, their targets, and the U-Net's loss."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physml.io.shards import PackedShard, open_arrays
from physml.random import stream
from physml.training import data

from ..inference.channels import channels
from .augmentation import augmentation, columns, dihedral, dihedral_table, flat_field, thinned
from .losses import targets
from .prepared import PREPARED


@dataclass
class CavityImages:
    """Preprocessed images as `physml.training.TrainData`.

    Images are read, unpacked and thinned by whoever prepares batches (`part`); all else is done
    on whole batches where the network is (`finish`).

    Attributes
    ----------
    arrays : mapping of array
        As in `prepared.PREPARED`, in memory or `physml.io.shards.PackedShard`.
    rethin : float
        Share of images thinned to fewer counts at each use.
    flatten : float
        Share of images divided by their exposure map at each use.
    fingerprint : str
        Hash of the content.
    rows : ndarray of int, optional
        Which images of the arrays belong to it; all by default.
    """

    arrays: Mapping[str, Any]
    rethin: float = 0.0
    flatten: float = 0.0
    fingerprint: str = ""
    rows: NDArray[np.int64] | None = None

    @classmethod
    def read(cls, path: Path, in_memory: int | None = None) -> CavityImages:
        """Open a file of `preprocess.run`.

        Parameters
        ----------
        path : Path
        in_memory : int, optional
            Bytes up to which all is read into memory; `physml.training.data.IN_MEMORY` by default.
        """
        limit = data.IN_MEMORY if in_memory is None else in_memory
        arrays, digest = open_arrays(path, PREPARED, in_memory=limit)
        return cls(arrays, fingerprint=digest)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.arrays["index"]) if self.rows is None else len(self.rows)

    @property
    def streams(self) -> bool:
        """Whether images stay on the disk."""
        return isinstance(self.arrays, PackedShard)

    def places(self, indices: NDArray[Any]) -> NDArray[Any]:
        """Rows of the arrays that some images are in."""
        return np.asarray(indices) if self.rows is None else self.rows[indices]

    def will_need(self, indices: NDArray[Any]) -> None:
        """Let the system read images ahead."""
        if isinstance(self.arrays, PackedShard):
            self.arrays.will_need(self.places(indices))

    def view(self, keep: NDArray[np.bool_]) -> CavityImages:
        """Some of the images for training, without a copy: they are gigabytes."""
        rows = np.flatnonzero(keep) if self.rows is None else self.rows[keep]
        name = f"{self.fingerprint} {hashlib.sha256(rows.tobytes()).hexdigest()[:16]}"
        return CavityImages(self.arrays, self.rethin, self.flatten, name, rows)

    def first(self, number: int) -> CavityImages:
        """Copy of at most so many images, in memory; itself where it is not more."""
        if len(self) <= number and self.rows is None and not self.streams:
            return self
        rows = self.places(np.arange(min(number, len(self))))
        chosen = {name: values[rows] for name, values in self.arrays.items()}
        return CavityImages(chosen, self.rethin, self.flatten, f"{self.fingerprint} {len(rows)}")

    def batch(self, indices: NDArray, rng: np.random.Generator, augment: bool) -> dict[str, Tensor]:
        """Channels and targets of some images.

        Returns
        -------
        dict
            image (n, 7, H, W); cavity, weight (n, H, W); centre (n, H, W); sizes
            (n, 4, H/2, W/2) and size_weight (n, H/2, W/2); clear (n,); id (n,).
        """
        return self.finish(self.part(indices, rng, augment))

    def part(
        self,
        indices: NDArray[Any],
        rng: np.random.Generator,
        augment: bool,
        mine: slice = slice(None),
    ) -> dict[str, Tensor]:
        """Images as they are stored, and how each is to be changed.

        Parameters
        ----------
        indices : (n,) int array
            Images of the whole batch.
        rng : numpy.random.Generator
            Draws the same for any part of the batch.
        augment : bool
        mine : slice
            Places in the batch to take.

        Returns
        -------
        dict
            counts, root_model, exposure, invalid, mask (m, H, W) as in `prepared.PREPARED`;
            table (m, 6, columns of `TABLE`); pairs (k, 2), those of its rows and columns that are
            visible; keep, flat, symmetry, id (m,).
        """
        n = len(indices)
        a, rows = self.arrays, self.places(indices)[mine]
        counts = a["counts"][rows]
        how = augmentation(n, rng, self.rethin, self.flatten, augment)
        how = {name: values[mine] for name, values in how.items()}
        seeds = how.pop("seed")
        for row in np.flatnonzero(how["keep"] < 1):
            own = np.random.default_rng(int(seeds[row]))
            counts[row] = thinned(counts[row], float(how["keep"][row]), own)
        fields = {name: a[name][rows] for name in ("root_model", "exposure", "invalid", "mask")}
        table = a["cavities"][rows]
        made = {
            "counts": counts,
            **fields,
            "table": columns(table),
            "pairs": np.argwhere(table["visible"]),
            **how,
            "id": a["index"][rows],
        }
        return {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in made.items()}

    @staticmethod
    def finish(raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """Flat fields, symmetries, channels and targets of what `part` gives; see `batch`."""
        counts, exposure = raw["counts"].float(), raw["exposure"].float()
        model = raw["root_model"].float().square() * raw["keep"][:, None, None]
        invalid = raw["invalid"] > 0
        counts, model, exposure, invalid = flat_field(counts, model, exposure, invalid, raw["flat"])
        symmetry = raw["symmetry"]
        fields = [dihedral(f, symmetry) for f in (counts, model, exposure, invalid, raw["mask"])]
        counts, model, exposure, invalid, mask = fields
        table = dihedral_table(raw["table"], symmetry, mask.shape[-1])
        made = targets(mask, table, raw["pairs"])
        made["image"] = channels(counts, model, exposure, invalid)
        made["weight"] = (~invalid).float()
        made["id"] = raw["id"]
        return made


def for_decoder(clusters: NDArray[np.int64], seed: int, share: float) -> NDArray[np.bool_]:
    """Whether training images are kept for the decoder: the same for all of a cluster.

    Parameters
    ----------
    clusters : ndarray of int, shape (n,)
        Cluster of each image.
    seed : int
    share : float
        Share of the clusters that are kept.
    """
    draws = [stream(seed, "split", int(c)).random(2)[1] for c in clusters]
    return np.asarray(draws) < share
