"""Sets of events and clusters, their augmentation, weights, and the network's loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physml.io.shards import PackedShard, open_arrays
from physml.training.draws import Draws

from ..core.arrays import Bools, Floats, Ints, Singles
from ..inference.inputs import (
    BLIND,
    ENERGY,
    EVENT,
    LOG_STANDOFF,
    PARTICLE,
    RATE,
    TOUCH,
    outline,
    ragged,
)
from ..settings import AugmentSettings, LossSettings
from .energy_matching import energy_matching
from .prepared import prepared_spec

#: Bytes of a file that is read whole, at most, unless it is asked for otherwise.
LARGEST = 16 << 30
#: Bytes of a member's values of one kind up to which they are in memory in any case.
SMALL = 16
ROUNDS = 6
#: Fewest times that a set comes in an epoch.
RAREST = 0.15
#: Logarithmic bins for the matching of spectra.
ENERGY_BINS = 60
#: Their ends, from and up to below, keV.
BAND = (0.2, 15.01)
#: Class of frames with neither X-rays nor particles, only noise.
NO_CLASS = 3

# Sets of very different sizes are not padded to the largest of the batch, but in so many parts.
PARTS = 5


def balanced(energy: NDArray, label: NDArray, weight: NDArray, exposure: NDArray) -> Floats:
    """Weights under which X-rays are as many as background at each energy, and in each exposure.

    Without the first a network learns the source spectrum that was assumed. Without the second it
    learns which exposures are of bright sources, by their particle rate or the like.

    Parameters
    ----------
    energy, label, weight, exposure : ndarray, shape (m,)
        keV; 1 for background; weights before, 0 for what does not count; number.

    Returns
    -------
    ndarray of float64, shape (m,)
        Background as before, X-rays scaled; 0 where either has no counterpart.
    """
    used = np.flatnonzero(weight > 0)
    e, background = energy[used], label[used] == 1
    w = weight[used].astype(np.float64)
    _, number = np.unique(exposure[used], return_inverse=True)
    # Iterative proportional fitting (Deming & Stephan 1940) of the two margins.
    for _ in range(ROUNDS):
        n = int(number.max(initial=0)) + 1
        of_background = np.bincount(number[background], w[background], n)
        of_xrays = np.bincount(number[~background], w[~background], n)
        both = (of_background > 0) & (of_xrays > 0)
        ratio = np.divide(of_background, of_xrays, out=np.zeros(n), where=both)
        w = w * np.where(background, both[number], ratio[number])
        w = energy_matching(e, label[used], w, band=BAND, bins=ENERGY_BINS)
    out = np.zeros(len(weight))
    out[used] = w
    return out


@dataclass
class EventSets:
    """Preprocessed sets as `physml.training.TrainData`.

    Attributes
    ----------
    arrays : mapping of array
        As in `prepared.prepared_spec`, a row for each member; of `physml.io.shards.PackedShard`
        the largest are on the disk.
    loss : LossSettings
    augment : AugmentSettings
    fingerprint : str
        Hash of the content.
    resample : bool
        Let sets come as often as the weight of their events says, instead of counting that much.
        Steps then follow each other with less noise. For training only.
    """

    arrays: Mapping[str, Any]
    loss: LossSettings = field(default_factory=LossSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    fingerprint: str = ""
    resample: bool = False
    start: Ints = field(init=False)
    event_weight: Singles = field(init=False)
    cluster_weight: Singles = field(init=False)
    frame_weight: Singles = field(init=False)
    xrays: Ints = field(init=False)
    samples: Ints = field(init=False)
    counts: Singles = field(init=False)

    def __post_init__(self) -> None:
        """Find where sets begin, and what each member counts."""
        a = self.arrays
        number = a["set"]
        self.start = np.append(np.flatnonzero(np.append(True, np.diff(number) != 0)), len(number))
        n = len(self.start) - 1
        weight = a["weight"].astype(np.float64)
        is_event = a["event"] & a["query"]
        matched = balanced(a["energy"], a["label"], weight * is_event, a["exposure"])
        self.event_weight = self._normalise(matched, n)
        self.cluster_weight = self._normalise(weight * (~a["event"] & a["query"]), n)
        first = self.start[:-1]
        of_frame = weight[first] * (a["frame_class"][first] != NO_CLASS)
        self.frame_weight = self._normalise(of_frame, n)
        self.xrays = np.flatnonzero((self.event_weight > 0) & (a["label"] == 0))
        self.samples, self.counts = np.arange(n), np.ones(n, np.float32)
        if self.resample and n:
            self._resample()

    def _resample(self) -> None:
        """Choose how often each set comes, and what it then counts each time."""
        of_set = np.add.reduceat(self.event_weight.astype(np.float64), self.start[:-1])
        wanted = np.maximum(of_set, RAREST)
        # Rounded so that any run of sets comes as often as wanted, but for one.
        passed = np.floor(np.cumsum(wanted))
        times = np.diff(passed, prepend=0).astype(np.int64)
        self.samples = np.repeat(np.arange(len(wanted)), times)
        self.counts = (len(self.samples) / len(wanted) / wanted).astype(np.float32)

    def _normalise(self, weight: NDArray, n: int) -> Singles:
        """Scale weights to add up to the number of sets; the largest are clipped."""
        some = weight > 0
        if not some.any():
            return np.zeros(len(weight), np.float32)
        clipped = np.minimum(weight, self.loss.largest_weight * weight[some].mean())
        return (clipped * (n / clipped.sum())).astype(np.float32)

    @classmethod
    def read(
        cls,
        path: Path,
        loss: LossSettings = LossSettings(),  # noqa: B008 (frozen)
        augment: AugmentSettings = AugmentSettings(),  # noqa: B008
        resample: bool = False,
        in_memory: int = LARGEST,
    ) -> EventSets:
        """Read a file of `preprocess.run`.

        Parameters
        ----------
        path : Path
        loss : LossSettings
        augment : AugmentSettings
        resample : bool
        in_memory : int
            Bytes up to which all of it is read into memory. Of more, what the weights follow from
            is in memory and what the network is given, two thirds, stays on the disk.
        """
        arrays, digest = open_arrays(path, prepared_spec(), in_memory=in_memory, small=SMALL)
        how = f"{digest} {loss.model_dump_json()} {augment.model_dump_json()}"
        return cls(arrays, loss, augment, how, resample)

    def __len__(self) -> int:
        """Number of samples: of sets, where they are not resampled."""
        return len(self.samples)

    def batch(self, indices: NDArray, rng: np.random.Generator, augment: bool) -> dict[str, Tensor]:
        """Sets padded to one size, with truth and weights.

        Returns
        -------
        dict
            patch (n, k, 5, 5), feature (n, k, 12), place (n, k, 4), present (n, k); label,
            event_weight, cluster_weight (n, k); frame_class, frame_weight, size, id (n,).
        """
        return self.part(indices, rng, augment, slice(None))

    def part(
        self, indices: NDArray, rng: np.random.Generator, augment: bool, mine: slice
    ) -> dict[str, Tensor]:
        """Sets at some places of a batch, padded as all of it; see `batch`."""
        a = self.arrays
        rows, present = ragged(self.start, self.samples[indices])
        rows, present, sets = rows[mine], present[mine], self.samples[indices][mine]
        counts = self.counts[sets]
        feature, patch = self._of(rows, "feature"), self._of(rows, "patch").astype(np.float32)
        place = a["place"][rows]
        of_event = self.event_weight[rows] * present * counts[:, None]
        of_cluster = self.cluster_weight[rows] * present * counts[:, None]
        of_frame = self.frame_weight[sets] * counts
        if augment:
            s, draws = self.augment, Draws(rng, len(indices), mine)
            self._move_xrays(rows, present, feature, place, draws)
            self._vary_exposure(feature, patch, draws)
            present = _thinned(feature, present, s, draws)
            blind = draws.random() < s.alone
            present = _blinded(blind, feature, present, of_event, draws)
            of_event, of_cluster = of_event * present, of_cluster * present
            of_cluster[blind] = 0
            of_frame = np.where(blind, 0, of_frame)
        made = {
            "patch": patch,
            "feature": feature,
            "place": place,
            "present": present,
            "label": a["label"][rows].astype(np.float32),
            "event_weight": of_event,
            "cluster_weight": of_cluster,
            "frame_class": np.minimum(a["frame_class"][self.start[sets]], 2).astype(np.int64),
            "frame_weight": of_frame.astype(np.float32),
            "id": sets,
        }
        return {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in made.items()}

    def _of(self, rows: Ints, name: str) -> NDArray:
        """Values of members from memory or disk, which knows lists of rows only."""
        values: NDArray = self.arrays[name][rows.ravel()]
        return values.reshape(*rows.shape, *values.shape[1:])

    def will_need(self, indices: NDArray) -> None:
        """Let the system read sets ahead."""
        if isinstance(self.arrays, PackedShard):
            rows, present = ragged(self.start, self.samples[indices])
            self.arrays.will_need(rows[present])

    def _move_xrays(
        self, rows: Ints, present: Bools, feature: NDArray, place: NDArray, draws: Draws
    ) -> None:
        """Move X-rays within their frames, in place, but not onto another cluster.

        Where X-rays lie has nothing to do with the particles: each new place shows the network
        another surrounding that is as natural as the first.
        """
        a = self.arrays
        if len(self.xrays) == 0:
            return
        width = rows.shape[1]
        moved, where = (
            draws.random(width) < self.augment.move,
            draws.integers(len(self.xrays), width),
        )
        xray = present & a["event"][rows] & (a["label"][rows] == 0)
        sets, member = np.nonzero(xray & moved)
        if len(sets) == 0:
            return
        new = a["place"][self.xrays[where[sets, member]], :2]
        distance = np.hypot(*np.moveaxis(place[sets, :, :2] - new[:, None], 2, 0))
        near = distance < outline(feature[sets]) + TOUCH
        near &= present[sets]
        near[np.arange(len(sets)), member] = False
        free = ~near.any(1)
        place[sets[free], member[free], :2] = new[free]

    def _vary_exposure(self, feature: NDArray, patch: NDArray, draws: Draws) -> None:
        """Multiply energies, particle rate and stand-off of each set by a factor each."""
        factor = np.exp(self.augment.gain * draws.normal())
        patch *= factor[:, None, None, None].astype(np.float32)
        feature[..., ENERGY] += np.log10(factor)[:, None].astype(np.float32)
        for column, scatter in ((RATE, self.augment.rate), (LOG_STANDOFF, self.augment.standoff)):
            feature[..., column] += scatter * draws.normal(1, dtype=np.float32)


def _thinned(feature: NDArray, present: Bools, s: AugmentSettings, draws: Draws) -> Bools:
    """Let clusters that are neither event nor particle vanish: below a threshold, or by chance."""
    low, high = np.log10(s.threshold)
    limit = np.where(draws.random() < s.thin, draws.uniform(low, high), -np.inf)
    gone = feature[..., ENERGY] < limit[:, None]
    gone |= draws.random(present.shape[1]) < s.drop
    bright = (feature[..., EVENT] > 0) | (feature[..., PARTICLE] > 0)
    return present & ~(gone & ~bright)


def _blinded(
    blind: Bools, feature: NDArray, present: Bools, weight: NDArray, draws: Draws
) -> Bools:
    """Show one event of some sets without its context, and tell so; the others do not count.

    The event's weight is raised (in place) for those of its set that it stands for.
    """
    feature[blind, :, BLIND] = 1
    candidates = present & (weight > 0)
    draw = np.where(candidates, draws.random(present.shape[1]), -1.0)
    chosen = np.arange(present.shape[1]) == draw.argmax(1)[:, None]
    number = candidates.sum(1)
    weight[blind] *= number[blind, None]
    return np.where(blind[:, None], chosen & present, present)


class BackgroundLoss:
    """Cross-entropies of the events, of clusters without one, and of the frames' classes.

    Parameters
    ----------
    settings : LossSettings
    """

    def __init__(self, settings: LossSettings) -> None:
        self.settings = settings

    def __call__(self, network: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch, each a mean over sets."""
        totals = [torch.zeros((), device=batch["patch"].device) for _ in range(3)]
        for rows, size in by_size(batch["present"]):
            b = {k: v[rows][:, :size] for k, v in batch.items() if v.ndim > 1}  # of each member
            event, frame = network(b["patch"], b["feature"], b["place"], b["present"])
            each = nn.functional.binary_cross_entropy_with_logits(
                event.float(), b["label"], reduction="none"
            )
            of_frame = nn.functional.cross_entropy(
                frame.float(), batch["frame_class"][rows], reduction="none"
            )
            totals[0] = totals[0] + (each * b["event_weight"]).sum()
            totals[1] = totals[1] + (each * b["cluster_weight"]).sum()
            totals[2] = totals[2] + (of_frame * batch["frame_weight"][rows]).sum()
        event_loss, cluster, frame_loss = (t / len(batch["present"]) for t in totals)
        s = self.settings
        return {
            "loss": event_loss + s.cluster * cluster + s.frame * frame_loss,
            "event": event_loss,
            "cluster": cluster,
            "frame": frame_loss,
        }


def by_size(present: Tensor, parts: int = PARTS) -> list[tuple[Tensor, int]]:
    """Share sets out by size, so that little is spent on padding.

    Parameters
    ----------
    present : Tensor of bool, shape (n, k)
    parts : int
        Largest number of parts; each set is in one.

    Returns
    -------
    list of (Tensor, int)
        Rows of the sets of each part, and the size to which they are cut.
    """
    k = present.shape[1]
    # Not the number of members: those that vanished in between leave holes.
    last = (present * torch.arange(1, k + 1, device=present.device)).amax(1)
    order = last.argsort(stable=True)
    # Half of the sets, then half of the rest, and so on: large sets are rare.
    n = len(order)
    ends = sorted({n - (n >> i) for i in range(1, parts)} | {n})
    found, first = [], 0
    for end in ends:
        if end > first:
            rows = order[first:end]
            found.append((rows, max(1, int(last[rows[-1]]))))
        first = end
    return found
