"""The source method: a convolutional network on 64 x 64 frames with three classes.

After Wilkins et al. (2020, arXiv 2012.01463), who sort frames into X-rays only, particles only and
both by the correlations between pixels. Sizes of layers, training sets and tables are not given
there; those here are choices. It is kept for comparison, not for use: it sees an eighth of a
side of the detector, and says which frames to doubt but not which events.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physml.evaluation.bootstrap import bootstrap_ratio
from physml.io.shards import read_shard
from physml.nn.device import device_of
from physml.provenance import sha256
from physml.random import stream
from physml.stages.train import Training, loop_settings
from physml.training.initialise import initialise
from physml.training.loop import fit

from ..core.arrays import Floats
from ..core.events import Found
from ..core.frame_class import XRAY
from ..core.frames import Frames
from ..settings import SourceMethodSettings
from .prepared import WINDOWS, cluster_truth
from .windows import WINDOW, cut_windows, windows_spec

log = logging.getLogger(__name__)

#: Share of the windows with X-rays only that is kept: "at 2 % loss".
KEPT = 0.98
#: Energy where the logarithm of the pixels bends, keV.
FAINT = 0.1


@dataclass
class Windows:
    """Windows as `physml.training.TrainData`.

    Attributes
    ----------
    arrays : dict of ndarray
        As in `windows_spec`.
    fingerprint : str
        Hash of the content.
    """

    arrays: dict[str, NDArray]
    fingerprint: str = ""

    @classmethod
    def read(cls, path: Path) -> Windows:
        """Read a file of `preprocess.run` into memory."""
        shard = read_shard(path, windows_spec())
        return cls({name: shard[name] for name in windows_spec()}, sha256(path))

    @classmethod
    def cut(cls, frames: Frames, found: Found, rng: np.random.Generator) -> Windows:
        """Cut a window from each frame with truth, where frames went through no file."""
        arrays = cut_windows(frames, found, cluster_truth(found, frames), 1.0, rng)
        return cls(arrays, hashlib.sha256(arrays["image"].tobytes()).hexdigest())

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.arrays["frame_class"])

    def batch(self, indices: NDArray, rng: np.random.Generator, augment: bool) -> dict[str, Tensor]:
        """Images (n, 64, 64) in keV, turned at random for training, and classes (n,)."""
        return self.part(indices, rng, augment, slice(None))

    def part(
        self, indices: NDArray, rng: np.random.Generator, augment: bool, mine: slice
    ) -> dict[str, Tensor]:
        """Windows at some places of a batch; see `batch`."""
        symmetry = rng.integers(0, 8, len(indices))[mine]
        indices = np.asarray(indices)[mine]
        image = self.arrays["image"][indices].astype(np.float32)
        if augment:
            for k in range(8):
                here = symmetry == k
                part = np.rot90(image[here], k % 4, (1, 2))
                image[here] = part.transpose(0, 2, 1) if k >= 4 else part
        return {
            "image": torch.from_numpy(image),
            "frame_class": torch.from_numpy(self.arrays["frame_class"][indices].astype(np.int64)),
            "id": torch.from_numpy(np.asarray(indices, np.int64)),
        }


class SourceNet(nn.Module):
    """Convolutions and pooling on a window, then one hidden layer and three classes.

    Parameters
    ----------
    settings : SourceMethodSettings
    """

    part = "source_method."  # prefix of its tensors in a weights file

    def __init__(self, settings: SourceMethodSettings) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for width in settings.widths:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            before = width
        side = WINDOW >> len(settings.widths)
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Sequential(
            nn.Linear(before * side * side, settings.hidden),
            nn.ReLU(),
            nn.Linear(settings.hidden, 3),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map windows (n, 64, 64) in keV to logits of X-rays, particles, both (n, 3)."""
        # A track holds a thousand times the energy of a photon's faintest pixel.
        x = torch.log1p(image.clamp(min=0) / FAINT)
        return self.head(self.features(x[:, None]))


class SourceLoss:
    """Cross-entropy of the three classes, each counting for a third of the whole.

    Parameters
    ----------
    windows : Windows
        The training set, whose classes are counted.
    """

    def __init__(self, windows: Windows) -> None:
        counts = np.bincount(windows.arrays["frame_class"], minlength=3)[:3]
        share = counts.sum() / (3 * np.maximum(counts, 1))
        self.weight = torch.from_numpy(share.astype(np.float32))

    def __call__(self, network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss of a batch, and how many classes are right."""
        logit = network(batch["image"]).float()
        truth = batch["frame_class"]
        each = nn.functional.cross_entropy(logit, truth, reduction="none")
        loss = (each * self.weight.to(each)[truth]).mean()
        return {"loss": loss, "right": (logit.argmax(1) == truth).float().mean()}


def classify_windows(network: nn.Module, image: NDArray, batch: int = 256) -> Floats:
    """Probabilities of the three classes, shape (n, 3)."""
    network.eval()
    made, device = [], device_of(network)
    with torch.inference_mode():
        for first in range(0, len(image), batch):
            part = torch.from_numpy(image[first : first + batch].astype(np.float32))
            made.append(network(part.to(device)).cpu().double().softmax(1).numpy())
    return np.concatenate(made) if made else np.zeros((0, 3))


def headline_figures(
    network: nn.Module, windows: Windows, rng: np.random.Generator, kept: float = KEPT
) -> list[dict[str, Any]]:
    """Two headline figures of the source paper, and what they cost, as a table.

    Parameters
    ----------
    network : SourceNet
    windows : Windows
        Windows the network was not trained on.
    rng : numpy.random.Generator
        Of the bootstrap.
    kept : float
        Share of windows with X-rays only that the cut of the second set of rows keeps.

    Returns
    -------
    list of dict
        Rows with ``quantity``, ``cut`` ("most probable class", or the share kept), ``value``,
        ``low``, ``high`` (95 %, bootstrap by window) and ``windows`` (how many it is a share of):
        frames with a particle that are found (99 % in the paper); particles missed by grading,
        which left nothing but valid events, that are found (up to 40 %); frames with X-rays only
        that are taken for others.

    Notes
    -----
    All windows count by the weight of their frame: natural rates.
    """
    a = windows.arrays
    p = classify_windows(network, a["image"])
    weight = a["weight"].astype(np.float64)
    particle, missed = a["frame_class"] != XRAY, a["missed"]
    cut = _quantile(1 - p[~particle, XRAY], weight[~particle], kept)
    rows = []
    for name, flagged in (
        ("most probable class", p.argmax(1) != XRAY),
        (f"{100 * kept:g} % of X-ray frames kept", 1 - p[:, XRAY] > cut),
    ):
        for quantity, where in (
            ("frames with a particle found", particle),
            ("particles missed by grading found", missed),
            ("frames with X-rays only lost", ~particle),
        ):
            found = bootstrap_ratio((weight * flagged)[where], weight[where], rng=rng)
            row = {"quantity": quantity, "cut": name, **found._asdict()}
            rows.append(row | {"windows": int(where.sum())})
    return rows


def _quantile(values: NDArray, weight: NDArray, share: float) -> float:
    """Value that a share of the weight does not exceed."""
    if len(values) == 0:
        return 1.0
    order = np.argsort(values)
    level = np.cumsum(weight[order]) / weight.sum()
    return float(values[order][min(int(np.searchsorted(level, share)), len(values) - 1)])


def train_source_method(
    settings: SourceMethodSettings, data: Path, call: Training, seed: int, threads: int
) -> tuple[dict[str, Tensor], list[dict[str, Any]]] | None:
    """Train the network and measure its two figures on validation windows.

    Parameters
    ----------
    settings : SourceMethodSettings
    data : Path
        Folder that `preprocess.run` wrote.
    call : Training
        Call of the training stage that this is a part of.
    seed : int
    threads : int
        CPU threads.

    Returns
    -------
    weights : dict of Tensor
    figures : list of dict
        As from `headline_figures`, None instead of NaN; empty where they could not be measured.

    None where the network is left out: no epochs, or no windows.
    """
    train, valid = (Windows.read(data / f"{WINDOWS}{split}.h5") for split in ("train", "valid"))
    if settings.epochs == 0 or min(len(train), len(valid)) == 0:
        log.info("source method: left out")
        return None
    network = initialise(lambda: SourceNet(settings), seed, replica=1)
    result = fit(
        network,
        SourceLoss(train),
        train,
        valid,
        loop_settings(settings),
        state=call.state / "source_method",
        seed=seed,
        threads=threads,
        time_limit_s=call.left(),
    )
    try:
        figures = headline_figures(network, valid, stream(seed, "bootstrap", 0))
    except RuntimeError as error:  # of the device: figures that inform must not cost the weights
        log.warning("source method: its figures could not be measured: %s", error)
        figures = []
    for row in figures:
        # NaN where there was no such window: JSON has none.
        row |= {k: None for k, v in row.items() if isinstance(v, float) and np.isnan(v)}
        log.info("source method: %s", row)
    return result.weights, figures
