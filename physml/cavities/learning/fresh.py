"""Training images that are drawn anew at each step, on the device of the network.

What is drawn is small (a hundred numbers an image) and made on the CPU; the rendering, most of the
work, is done on whole batches where the network is. What an observer does to an image before a
network sees it (masked sources filled, halo centred, smooth model fitted) is done by the very
functions of the preprocessing, on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..settings import SimulateSettings
from ..simulator import render
from ..simulator.batch import NO_EXPOSURE, POINT_SOURCE, labels, true_exposure
from ..simulator.maps import observer_maps
from ..simulator.prior import draw
from .augmentation import augmentation, columns, thinned
from .image_sets import CavityImages
from .prepared import prepare

#: Number of the first image; those of prepared, frozen and calibration sets are smaller.
FIRST = 2**40
#: Numbers of images that a batch may draw from: two that agree are not to be expected.
NUMBERS = 2**60


@dataclass
class FreshImages:
    """Images as `physml.training.TrainData` of which none is seen twice.

    Which images a batch holds follows from its random generator, so from the run's seed and the
    number of the step: as with a prepared set, a training that was stopped goes on as it would
    have. An image's number says what was drawn (`physml.cavities.simulator.prior.draw`).

    Attributes
    ----------
    settings : SimulateSettings
    seed : int
        Root of the random streams.
    number : int
        Images that make an epoch.
    rethin, flatten : float
        As in `CavityImages`.
    fingerprint : str
        What is drawn.
    """

    settings: SimulateSettings
    seed: int
    number: int
    rethin: float = 0.0
    flatten: float = 0.0
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        what = self.settings.model_dump_json(exclude={"resources", "n_samples", "shard_size"})
        self.fingerprint = f"fresh {self.seed} {what}"
        self.names = tuple(draw(self.settings, self.seed, FIRST).params)

    def __len__(self) -> int:
        """Images that make an epoch."""
        return self.number

    def batch(
        self, indices: NDArray[Any], rng: np.random.Generator, augment: bool
    ) -> dict[str, Tensor]:
        """Channels and targets of new images; see `CavityImages.batch`."""
        return self.finish(self.part(indices, rng, augment))

    def part(
        self,
        indices: NDArray[Any],
        rng: np.random.Generator,
        augment: bool,
        mine: slice = slice(None),
    ) -> dict[str, Tensor]:
        """Numbers of new images.

        Parameters
        ----------
        indices : (n,) int array
            Only their number counts.
        rng : numpy.random.Generator
            Draws the same for any part of the batch.
        augment : bool
        mine : slice
            Places in the batch to take.

        Returns
        -------
        dict
            params (m, number of drawn scalars), table (m, k, `render.FILLER`), number (m,), sources
            (m, s, 4), exposure, known and structure (m, H, W): true exposure, the observer's, and
            factor on the light; background (m,), noise (m,), and those of
            `image_sets.augmentation`.
        """
        n = len(indices)
        numbers = FIRST + rng.integers(NUMBERS, size=n)
        noise = rng.integers(2**62, size=n)
        how = augmentation(n, rng, self.rethin, self.flatten, augment)
        draws = [draw(self.settings, self.seed, int(i)) for i in numbers[mine]]
        exposure = np.stack([true_exposure(self.settings, one) for one in draws])
        maps = self.settings.maps
        seen = [observer_maps(maps, one.maps, e) for one, e in zip(draws, exposure, strict=True)]
        stars = max(len(one.sources) for one in draws)
        sources = np.zeros((len(draws), stars, 4), np.float32)
        for row, one in enumerate(draws):
            sources[row, : len(one.sources)] = one.sources
        params, table, number = render.collect(draws)
        made = {
            "params": np.stack([params[name] for name in self.names], 1).astype(np.float32),
            "table": np.stack([table[name] for name in render.FILLER], -1).astype(np.float32),
            "number": number,
            "sources": sources,
            "exposure": exposure,
            "known": np.stack([known for known, _ in seen]),
            "structure": np.stack([one.structure for one in draws]),
            "background": np.array([factor for _, factor in seen], np.float32),
            "noise": noise[mine],
            **{name: value[mine] for name, value in how.items()},
            "id": numbers[mine],
        }
        return {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in made.items()}

    @torch.no_grad()
    def finish(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """Render, observe and prepare the images of `part`; see `CavityImages.batch`."""
        device, exposure = raw["params"].device, raw["exposure"]
        scene, made = self.rendered(raw)
        counts = torch.stack(
            [
                torch.poisson(one, torch.Generator(device).manual_seed(seed))
                for one, seed in zip(made.expected, raw["noise"].tolist(), strict=True)
            ]
        )
        fwhm = scene.params["psf_fwhm"] * (1 + 0.5 * scene.params["psf_growth"])
        invalid = NO_EXPOSURE * (exposure <= 0).to(torch.uint8)
        invalid |= POINT_SOURCE * found_sources(raw["sources"], fwhm, made.expected)
        mask, cavities = labels(self.settings.cavities.floor, scene, made, exposure)
        observed = prepare(
            counts.cpu().numpy().astype(np.uint32),
            raw["known"].cpu().numpy().astype(np.float16),
            (raw["background"][:, None, None] * made.background).cpu().numpy().astype(np.float16),
            invalid.cpu().numpy(),
            raw["id"].numpy(),
            self.seed,
        )
        keep, seeds = raw["keep"].tolist(), raw["seed"].tolist()
        for row, share in enumerate(keep):
            if share < 1:
                own = np.random.default_rng(seeds[row])
                observed["counts"][row] = thinned(observed["counts"][row], share, own)
        ready = {name: observed[name] for name in ("counts", "root_model", "exposure", "invalid")}
        ready |= {
            "mask": mask,
            "table": columns(cavities),
            "pairs": np.argwhere(cavities["visible"]),
        }
        there = {k: torch.from_numpy(v).to(device) for k, v in ready.items()}
        there |= {k: raw[k] for k in ("keep", "flat", "symmetry", "id")}
        return CavityImages.finish(there)

    def rendered(self, raw: dict[str, Tensor]) -> tuple[render.Scene, render.Rendered]:
        """Scene and expected counts of the numbers of `part`, on their device."""
        params = dict(zip(self.names, raw["params"].unbind(1), strict=True))
        table = dict(zip(render.FILLER, raw["table"].unbind(2), strict=True))
        cuspy = self.settings.halo.family == "vikhlinin"
        scene = render.scene_of(params, table, raw["number"], cuspy)
        exposure, sources = raw["exposure"], raw["sources"]
        points = torch.zeros_like(exposure)
        n, stars = sources.shape[:2]
        rows = torch.arange(n, device=exposure.device).repeat_interleave(stars)
        x, y, flux = sources[..., :3].reshape(-1, 3).unbind(1)
        render.add_points(points, x, y, flux, rows)
        structure = raw["structure"]
        return scene, render.render(scene, points, exposure, self.settings.nodes, structure)


def found_sources(sources: Tensor, fwhm: Tensor, expected: Tensor) -> Tensor:
    """Circles that an observer would cut out; `simulator.batch.source_mask` for a whole batch.

    Parameters
    ----------
    sources : Tensor, shape (n, s, 4)
        x, y [pixel], flux [counts], whether the observer looks; flux 0 where there is none.
    fwhm : Tensor, shape (n,)
        Of the point spread function half way to the corner [pixel].
    expected : Tensor, shape (n, H, W)
        Expected counts.

    Returns
    -------
    Tensor of uint8, shape (n, H, W)
    """
    x, y, flux, looks = sources.unbind(-1)
    size = expected.shape[-1]
    width = fwhm.clamp_min(1.0)[:, None]
    row = torch.arange(len(sources), device=sources.device)[:, None]
    level = expected[row, y.round().long(), x.round().long()].clamp_min(0.05)
    noise = (level * torch.pi).sqrt() * width
    seen = (looks > 0) & (flux > 4.5 * noise + 5)
    radius = width * (1.2 + 0.35 * torch.log10(flux / noise))
    reach = torch.where(seen, radius + 0.5, 0.0)[..., None, None]
    axis = torch.arange(size, device=sources.device)
    away = (axis - x[..., None, None]) ** 2 + (axis[:, None] - y[..., None, None]) ** 2
    return (away < reach**2).any(1).to(torch.uint8)
