"""From images to cavities: averaged maps, candidates, decoded sizes, calibrated probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
import torch
from astropy.table import Table
from numpy.typing import NDArray
from torch import Tensor

from physml.models import read_weights
from physml.nn.device import available, device_of, half_precision
from physml.nn.folding import folded

from ..core.ellipse import Ellipse, draw_labels, row_mask
from ..core.halo import fit_halo
from ..settings import NetworkSettings
from . import crops as cr
from .channels import channels
from .evidence import Merging
from .networks import DECODED, CavityNet, DecoderNet, Maps
from .proposals import Candidates, candidate_scalars, find_candidates, pad, suppress, turn_decoded
from .refine.constants import Constants, read_beside

#: Probability below which candidates are dropped.
LOWEST = 0.05
#: Images that the networks see at once.
BATCH = 8
#: Smooth model over its median in a cavity from which a pixel belongs to the core.
CORE = 2.0
#: Columns of an ellipse.
OUTLINE = ("x", "y", "semi_major", "semi_minor", "theta")
# Counts, smooth expected counts, relative exposure and unseen pixels of images, each (n, H, W).
Searchable = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]
#: Columns of a detection's table.
COLUMNS = [
    *("x", "y", "semi_major", "semi_minor", "theta", "radius", "radius_err", "position_err"),
    *("area", "decrement", "decrement_err", "snr", "probability"),
]


@dataclass
class Detection:
    """Findings in one image.

    Attributes
    ----------
    probability : ndarray of float32, shape (H, W)
        Calibrated probability that a pixel lies in a cavity.
    labels : ndarray of int32, shape (H, W)
        k inside the cavity of row k (from 1), 0 elsewhere.
    table : Table
        One row a candidate, most probable first: x, y, semi_major, semi_minor, radius,
        radius_err, position_err [pixel], theta [rad], area [pixel^2], decrement, decrement_err,
        snr, probability.
    model : ndarray of float32, shape (H, W)
        Smooth expected counts.
    threshold : float
        Probability at which the promised share of cavity-less images is alarmed.
    halo : structured ndarray, shape (), optional
        Parameters of the smooth model (`halo.PARAMETERS`), where it was fitted with the search.
    """

    probability: NDArray[np.float32]
    labels: NDArray[np.int32]
    table: Table
    model: NDArray[np.float32]
    threshold: float
    halo: NDArray[Any] | None = None


class CavityDetector:
    """Trained networks with their calibration.

    Parameters
    ----------
    network : CavityNet
    decoder : DecoderNet
    card : dict
        Metadata of the weights: network settings, calibration, thresholds, lineage.
    """

    def __init__(self, network: CavityNet, decoder: DecoderNet, card: dict[str, Any]) -> None:
        there = available()
        self.network = network.eval().to(there, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.decoder = decoder.eval().to(there, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.card = card
        self.precision: torch.dtype | None = half_precision(there)
        self.symmetries: tuple[int, ...] = tuple(range(8))

    @classmethod
    def load(cls, path: str | PathLike[str] | None = None) -> CavityDetector:
        """Load weights, the shipped ones by default; batch norms are folded into convolutions.

        Raises
        ------
        InputError
            The file is no safetensors file, or not one of this pipeline.
        """
        weights = read_weights("cavities", path)
        settings = NetworkSettings(**weights.card["network"])
        network, decoder = CavityNet(settings), DecoderNet(settings)
        weights.fill(network, CavityNet.part)
        weights.fill(decoder, DecoderNet.part)
        if "refine" not in weights.card:
            fitted = read_beside(weights.path, weights.card["sha256"])
            weights.card.update({} if fitted is None else {"refine": fitted})
        Merging.of(weights.card)  # refuses unsound constants before any work
        Constants.of(weights.card)
        return cls(folded(network), folded(decoder), weights.card)

    def threshold(self, total_counts: float) -> float:
        """Probability threshold that keeps the promised false-alarm share at this depth."""
        alarm = self.card["thresholds"]
        return float(
            np.interp(np.log10(max(total_counts, 1.0)), alarm["log10_counts"], alarm["probability"])
        )

    def detect(
        self,
        counts: NDArray[Any],
        exposure: NDArray[Any] | None = None,
        background: NDArray[Any] | None = None,
        invalid: NDArray[Any] | None = None,
        centre: NDArray[Any] | None = None,
    ) -> list[Detection]:
        """Find cavities in images.

        Parameters
        ----------
        counts : ndarray, shape (n, H, W)
            Counts, or exposure-corrected images scaled to counts; sources filled. At least 64
            pixels a side.
        exposure : ndarray, shape (n, H, W), optional
            Relative or absolute exposure; only its shape matters.
        background : ndarray, shape (n, H, W), optional
            Expected background counts; fitted as a constant without it.
        invalid : ndarray of bool, shape (n, H, W), optional
            Pixels without information.
        centre : ndarray, shape (n, 2), optional
            x, y of the halo's centre [pixel]; the brightest place by default.

        Returns
        -------
        list of Detection
        """
        counts = np.asarray(counts, np.float32)
        n, h, w = counts.shape
        if min(h, w) < 64:
            raise ValueError(f"images must have at least 64 pixels a side, found {h} x {w}")
        found: list[Detection] = []
        for first in range(0, n, BATCH):
            part = slice(first, first + BATCH)
            ones = np.ones_like(counts[part])
            depth = ones if exposure is None else relative(np.asarray(exposure[part]))
            bad = depth <= 0
            if invalid is not None:
                bad |= np.asarray(invalid[part], bool)
            fit = fit_halo(
                counts[part],
                depth,
                None if background is None else background[part],
                bad,
                None if centre is None else centre[part],
            )
            made = self.decode_images((counts[part], fit.model, depth, bad), fit.centre)
            found += [replace(d, halo=p) for d, p in zip(made, fit.parameters, strict=True)]
        return found

    def decode_images(self, images: Searchable, centre: NDArray[Any]) -> list[Detection]:
        """`detect` after the smooth fit; for the parameters see `propose`."""
        counts, model, _, invalid = images
        maps, stack, some, scalars = self.propose(images, centre)
        with torch.no_grad():
            decoded = self.decode(stack, some, scalars)
        h, w = counts.shape[1:]
        probability = self.calibrate_pixels(maps.cavity)[:, :h, :w].numpy()
        return [
            self._collect(
                *(k, some, decoded, probability[k], counts[k], model[k], invalid[k]),
                (float(centre[k][0]), float(centre[k][1])),
            )
            for k in range(len(counts))
        ]

    def propose(
        self, images: Searchable, centre: NDArray[Any]
    ) -> tuple[Maps, Tensor, Candidates, Tensor]:
        """Candidates of the U-Net, before the decoder.

        Parameters
        ----------
        images : tuple of ndarray
            See `Searchable`.
        centre : ndarray, shape (n, 2)
            x, y of the halo's centre [pixel].

        Returns
        -------
        maps : Maps
            Averaged over the symmetries, with the padding that the network needs.
        stack : Tensor
            See `crops.stack_maps`.
        some : Candidates
        scalars : Tensor
            See `candidate_scalars`.
        """
        fields = [torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in images[:3]]
        fields.append(torch.from_numpy(np.ascontiguousarray(images[3], bool)))
        image = pad(channels(*fields), self.network.stride)
        with torch.no_grad():
            maps = self.average_maps(image)
            stack = cr.stack_maps(maps.cavity, maps.centre, image)
            some = find_candidates(maps, images[0].shape[1:])
            scalars = candidate_scalars(some, maps, fields, torch.from_numpy(np.asarray(centre)))
        return maps, stack, some, scalars

    def average_maps(self, image: Tensor) -> Maps:
        """Probabilities and sizes averaged over the symmetries of the square."""
        device = device_of(self.network)
        cavity = centre = sizes = torch.zeros((), device=device)
        image = image.to(device)
        for s in self.symmetries:
            turned = cr.turn(image, s).contiguous(memory_format=torch.channels_last)
            with self._autocast(device):
                maps = self.network.maps(turned)
            back = cr.inverse(s)
            coarse = cr.turn(maps.sizes, back)
            cos2, sin2 = cr.turn_axis(coarse[:, 2], coarse[:, 3], back)
            coarse = torch.cat([coarse[:, :2], cos2[:, None], sin2[:, None], coarse[:, 4:]], 1)
            # Logits are averaged: one doubtful orientation must not cap a clear detection.
            cavity = cavity + cr.turn(maps.cavity, back)
            centre = centre + cr.turn(maps.centre, back)
            sizes = sizes + coarse
        n = len(self.symmetries)
        return Maps((cavity / n).sigmoid().cpu(), (centre / n).sigmoid().cpu(), (sizes / n).cpu())

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, self.precision, enabled=self.precision is not None)

    def calibrate_pixels(self, cavity: Tensor) -> Tensor:
        """Temperature-scaled pixel probabilities."""
        c = self.card.get("calibration", {})
        logit = torch.logit(cavity, 1e-6)
        return torch.sigmoid(c.get("pixel_scale", 1.0) * logit + c.get("pixel_offset", 0.0))

    def decode(self, stack: Tensor, some: Candidates, scalars: Tensor) -> dict[str, NDArray[Any]]:
        """Decoder outputs for the candidates, averaged over symmetries, calibrated.

        Returns
        -------
        dict of ndarray, shape (m,)
            The catalogue's columns without `snr`.
        """
        side = int(self.card["network"]["decoder_crop"])
        total, device = torch.zeros(len(some), len(DECODED)), device_of(self.decoder)
        for first in range(0, len(some), 64):
            part = slice(first, first + 64)
            crops = cr.cut(
                stack, some.row[part], some.x[part], some.y[part], some.radius[part], side
            )
            for s in self.symmetries:
                turned = cr.turn(crops, s).contiguous(memory_format=torch.channels_last)
                with self._autocast(device):
                    out = self.decoder(turned.to(device), scalars[part].to(device))
                total[part] += turn_decoded(out.float().cpu(), cr.inverse(s))
        d = dict(zip(DECODED, (total / len(self.symmetries)).unbind(1), strict=True))
        return {k: v.numpy().astype(np.float64) for k, v in self._physical(some, d).items()}

    def _physical(self, some: Candidates, d: dict[str, Tensor]) -> dict[str, Tensor]:
        c = self.card.get("calibration", {})
        log_a, log_b = torch.maximum(d["log_a"], d["log_b"]), torch.minimum(d["log_a"], d["log_b"])
        a, b = some.radius * log_a.exp(), some.radius * log_b.exp()
        radius = (a * b).sqrt()
        logit = c.get("cavity_scale", 1.0) * d["logit"] + c.get("cavity_offset", 0.0)
        return {
            "x": some.x + d["dx"] * some.radius,
            "y": some.y + d["dy"] * some.radius,
            "semi_major": a,
            "semi_minor": b,
            "theta": (0.5 * torch.atan2(d["sin_2theta"], d["cos_2theta"])) % torch.pi,
            "radius": radius,
            "radius_err": radius
            * (0.5 * d["log_var_radius"]).exp()
            * c.get("radius_err_scale", 1.0),
            "position_err": some.radius * (0.5 * d["log_var_position"]).exp(),
            "decrement": d["decrement"].clamp(0, 1),
            "decrement_err": (0.5 * d["log_var_decrement"]).exp(),
            "probability": logit.sigmoid(),
        }

    def _collect(
        self,
        image: int,
        some: Candidates,
        decoded: dict[str, NDArray[np.float64]],
        probability: NDArray[Any],
        counts: NDArray[Any],
        model: NDArray[Any],
        invalid: NDArray[np.bool_],
        centre: tuple[float, float],
    ) -> Detection:
        chosen = np.flatnonzero((some.row == image).numpy() & (decoded["probability"] >= LOWEST))
        chosen = chosen[np.argsort(-decoded["probability"][chosen], kind="stable")]
        (h, w), x, y = counts.shape, decoded["x"][chosen], decoded["y"][chosen]
        chosen = chosen[(x > -0.5) & (x < w - 0.5) & (y > -0.5) & (y < h - 0.5)]
        table = suppress(Table({k: v[chosen] for k, v in decoded.items()}), counts.shape)
        table["area"] = np.pi * table["semi_major"] * table["semi_minor"]
        labels = draw_labels(table, counts.shape)
        live = ~np.asarray(invalid, bool)
        undisturbed = np.zeros(len(table))
        for k, row in enumerate(table):
            inside = model[(labels == k + 1) & live]
            if Ellipse(*(row[name] for name in OUTLINE)).inside(*centre):
                inside = without_core(model[row_mask(row, counts.shape) & live])
            undisturbed[k] = inside.sum(dtype=np.float64)
        table["snr"] = table["decrement"] * np.sqrt(np.maximum(undisturbed, 0))
        table = table[COLUMNS]
        total = float(np.where(live, counts, 0).sum())
        threshold = self.threshold(total) if "thresholds" in self.card else 0.5
        return Detection(probability.astype(np.float32), labels, table, model, threshold)


def without_core(model: NDArray[Any]) -> NDArray[Any]:
    """Pixels of a cavity that covers the halo's centre, less those of the core.

    A peak of the model there would lend its counts to the significance of what lies about it.

    Parameters
    ----------
    model : ndarray, shape (m,)
        Smooth expected counts of its pixels; those over `CORE` times their median are the core.
    """
    return model[model <= CORE * np.median(model)] if len(model) else model


def relative(exposure: NDArray[Any]) -> NDArray[np.float32]:
    """Exposure maps scaled to a largest value of 1 each."""
    depth = np.asarray(exposure, np.float32)
    top = depth.max(axis=(-2, -1), keepdims=True)
    return (depth / np.where(top > 0, top, 1)).astype(np.float32)
