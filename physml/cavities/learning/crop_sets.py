"""Candidates of the U-Net with the truth they belong to, and the decoder's loss."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physml.io.scratch import ScratchArray
from physml.nn.sharing import divisor
from physml.training import data, distributed

from ..inference import crops as cr
from ..inference.detector import CavityDetector
from ..inference.networks import DECODED
from ..inference.proposals import Candidates, turn_decoded
from .image_sets import CavityImages
from .prepared import searchable

log = logging.getLogger(__name__)

#: Numbers of a candidate's truth, see `CandidateCrops`.
TRUTH = 9
#: Images that the U-Net is asked about at once.
BLOCK = 32
#: A candidate belongs to a cavity when their centres are within this many radii ...
NEAR = 0.6
#: ... and their radii agree within this factor.
ALIKE = 2.0
#: Targets of the decoder, beside its outputs of these names.
TARGETS = ("true", *DECODED[1:8])


class MapsOnDisk:
    """Maps of `CandidateCrops` that are not held in memory.

    Parameters
    ----------
    rows : ScratchArray of float16, shape (n, 7, H, W)
    """

    def __init__(self, rows: ScratchArray) -> None:
        self.rows, self.shape = rows, rows.shape

    def __getitem__(self, images: Tensor) -> Tensor:
        """Read the maps of some images, shape (k, 7, H, W)."""
        return torch.from_numpy(self.rows[images.numpy()])


@dataclass
class CandidateCrops:
    """Candidates as `physml.training.TrainData`.

    Attributes
    ----------
    maps : Tensor of float16, shape (n, 7, H, W), or MapsOnDisk
        `crops.stack_maps` of the images that have candidates.
    some : Candidates
    scalars : Tensor, shape (m, 8)
    truth : Tensor, shape (m, 9)
        x, y [pixel], log a, log b [ln pixel], theta, decrement, true (0 or 1), ellipticity, id.
    side : int
        Side of a crop.
    fingerprint : str
        Hash of the content.
    """

    maps: Tensor | MapsOnDisk
    some: Candidates
    scalars: Tensor
    truth: Tensor
    side: int
    fingerprint: str = ""

    def __len__(self) -> int:
        """Number of candidates."""
        return len(self.some)

    @property
    def streams(self) -> bool:
        """Whether the maps stay on the disk."""
        return isinstance(self.maps, MapsOnDisk)

    def remove(self) -> None:
        """Delete what is on the disk."""
        if isinstance(self.maps, MapsOnDisk):
            self.maps.rows.remove()

    def batch(
        self, indices: NDArray[Any], rng: np.random.Generator, augment: bool
    ) -> dict[str, Tensor]:
        """Crops and targets of some candidates.

        Augmentation shifts and scales the crop, as another noise would have, and turns it.

        Returns
        -------
        dict
            crop (k, 7, side, side), scalars (k, 8), target (k, 8) as in `TARGETS` with lengths
            relative to the crop's radius, ellipticity (k,), id (k,).
        """
        return self.part(indices, rng, augment, slice(None))

    def part(
        self, indices: NDArray[Any], rng: np.random.Generator, augment: bool, mine: slice
    ) -> dict[str, Tensor]:
        """Crops and targets at some places of a batch; see `batch`."""
        n = len(indices)
        index = torch.from_numpy(np.asarray(indices, np.int64)[mine])
        x, y, radius = self.some.x[index], self.some.y[index], self.some.radius[index]
        scalars = self.scalars[index].clone()
        if augment:
            draw = torch.from_numpy(rng.normal(size=(3, n)).astype(np.float32)[:, mine])
            x = x + 0.12 * radius * draw[0]
            y = y + 0.12 * radius * draw[1]
            change = 0.12 * draw[2]
            radius = radius * change.exp()
            scalars[:, 0] += change
        image, which = torch.unique(self.some.row[index], return_inverse=True)
        crop = cr.cut(self.maps[image], which, x, y, radius, self.side)
        t = self.truth[index]
        log_radius = radius.log()
        place = ((t[:, 0] - x) / radius, (t[:, 1] - y) / radius)
        axes = (t[:, 2] - log_radius, t[:, 3] - log_radius)
        turn = (torch.cos(2 * t[:, 4]), torch.sin(2 * t[:, 4]))
        target = torch.stack([t[:, 6], *place, *axes, *turn, t[:, 5]], 1)
        if augment:
            symmetry = rng.integers(0, 8, n)[mine]
            crop = torch.stack([cr.turn(c, int(s)) for c, s in zip(crop, symmetry, strict=True)])
            wide = torch.nn.functional.pad(target, (0, len(DECODED) - len(TARGETS)))
            for s in range(8):
                here = torch.from_numpy(symmetry == s)
                target[here] = turn_decoded(wide[here], s)[:, : len(TARGETS)]
        return {
            "crop": crop,
            "scalars": scalars,
            "target": target,
            "ellipticity": t[:, 7],
            "id": t[:, 8].long(),
        }


def collect(detector: CavityDetector, images: CavityImages, scratch: Path) -> CandidateCrops:
    """Run the U-Net over images and gather its candidates with their truth.

    The processes of a training take the images in turns, and all of them then have the candidates
    of all. Found by each for itself, one at the edge of the threshold might be there for some
    processes and not for others.

    Parameters
    ----------
    detector : CavityDetector
        Its decoder is not used.
    images : CavityImages
    scratch : Path
        File for the maps where they take more memory than `physml.training.data.IN_MEMORY`, or
        several processes share them.
    """
    side = int(detector.card["network"]["decoder_crop"])
    found: list[Tensor] = []
    maps: Tensor | MapsOnDisk | None = None
    starts = range(0, len(images), BLOCK)
    for first in distributed.share(starts):
        rows = images.places(np.arange(first, min(first + BLOCK, len(images))))
        a = {name: images.arrays[name][rows] for name in ("centre", "cavities", "index")}
        _, stack, some, numbers = detector.propose(searchable(images.arrays, rows), a["centre"])
        truth = assign(some, a["cavities"], a["index"])
        some.row += first
        found.append(
            torch.cat([torch.stack([*vars(some).values()], 1), numbers, truth], 1).double()
        )
        if maps is None:
            shape = (len(images), *stack.shape[1:])
            small = 2 * math.prod(shape) <= data.IN_MEMORY and not distributed.shared()
            maps = (
                torch.empty(shape, dtype=torch.float16)
                if small
                else MapsOnDisk(ScratchArray(scratch, shape, np.float16))
            )
        if isinstance(maps, MapsOnDisk):
            maps.rows.write(first, stack.half().numpy())
        else:
            maps[first : first + len(stack)] = stack
        if first // BLOCK % 50 == 0:
            log.info("candidates: %d of %d images", first, len(images))
    # A process that had no images knows nothing of the maps yet; all are written now.
    shape = max(distributed.exchange([] if maps is None else [*maps.shape]))
    assert shape, "no images"
    if maps is None:
        maps = MapsOnDisk(ScratchArray(scratch, tuple(shape), np.float16))
    nothing = torch.empty((0, 5 + len(cr.SCALARS) + TRUTH), dtype=torch.float64)
    everything = distributed.gather_rows(torch.cat([nothing, *found]))
    everything = everything[everything[:, 0].argsort(stable=True)]
    columns = everything.float().unbind(1)
    some = Candidates(everything[:, 0].long(), *columns[1:5])
    scalars, truth = everything.float()[:, 5:].split([len(cr.SCALARS), TRUTH], 1)
    return CandidateCrops(
        maps, some, scalars.contiguous(), truth.contiguous(), side, images.fingerprint
    )


def assign(some: Candidates, table: NDArray[Any], index: NDArray[np.int64]) -> Tensor:
    """Truth of each candidate (`CandidateCrops.truth`); zeros for a false one.

    Several candidates may belong to one cavity: the decoder brings them to the same ellipse, and
    the less probable ones are dropped afterwards.
    """
    out = np.zeros((len(some), 9), np.float32)
    for k in range(len(some)):
        image = int(some.row[k])
        true = table[image][table[image]["visible"]]
        out[k, 8] = index[image]
        if not len(true):
            continue
        radius = float(some.radius[k])
        away = np.hypot(true["x"] - float(some.x[k]), true["y"] - float(some.y[k]))
        distance = away / np.maximum(true["radius"], 1e-3)
        factor = np.abs(np.log(true["radius"] / radius))
        fits = (distance < NEAR) & (factor < np.log(ALIKE))
        if not fits.any():
            continue
        t = true[np.argmin(np.where(fits, distance, np.inf))]
        ellipticity = 1 - t["b"] / t["a"]
        axes = np.log(t["a"]), np.log(t["b"])
        out[k, :8] = (t["x"], t["y"], *axes, t["theta"], t["decrement"], 1.0, ellipticity)
    return torch.from_numpy(out)


class DecoderLoss:
    """Cross-entropy of true or false; likelihoods of radius, position, decrement."""

    def __call__(self, network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch, each a mean; sizes count for true candidates only."""
        out = network(batch["crop"], batch["scalars"]).float()
        d = dict(zip(DECODED, out.unbind(1), strict=True))
        t = dict(zip(TARGETS, batch["target"].unbind(1), strict=True))
        true = t["true"]
        number = divisor(true.sum())

        def mean(values: Tensor) -> Tensor:
            return (values * true).sum() / number

        radius_error = 0.5 * (d["log_a"] + d["log_b"] - t["log_a"] - t["log_b"])
        place = (d["dx"] - t["dx"]) ** 2 + (d["dy"] - t["dy"]) ** 2
        shape = nn.functional.smooth_l1_loss
        axes = shape(d["log_a"], t["log_a"], reduction="none", beta=0.1) + shape(
            d["log_b"], t["log_b"], reduction="none", beta=0.1
        )
        turn = (d["cos_2theta"] - t["cos_2theta"]) ** 2 + (d["sin_2theta"] - t["sin_2theta"]) ** 2
        parts = {
            "true": nn.functional.binary_cross_entropy_with_logits(d["logit"], true),
            "radius": mean(gaussian(radius_error**2, d["log_var_radius"])),
            "position": mean(gaussian(0.5 * place, d["log_var_position"])),
            "axes": mean(axes),
            "turn": mean(turn * batch["ellipticity"]),
            "decrement": mean(
                gaussian((d["decrement"] - t["decrement"]) ** 2, d["log_var_decrement"])
            ),
        }
        total = (
            2 * parts["true"]
            + 0.3 * (parts["radius"] + parts["position"])
            + 2 * parts["axes"]
            + parts["turn"]
            + 0.1 * parts["decrement"]
        )
        return {"loss": total, **parts}


def gaussian(square: Tensor, log_var: Tensor) -> Tensor:
    """Negative log-likelihood of a Gaussian, without its constant."""
    log_var = log_var.clamp(-8, 3)
    return 0.5 * (square * torch.exp(-log_var) + log_var)
