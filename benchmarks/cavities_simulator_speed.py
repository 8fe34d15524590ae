"""Images per second of the cavity simulator, and the ratio to a plain 128^3 cube.

    python benchmarks/cavities_simulator_speed.py [--images 40] [--threads 1] [--json FILE]

The rival is the usual way to draw such images: fill a cube with the emissivity, empty the voxels
inside the ellipsoids, brighten those in the rims, sum along the line of sight. Two of them:

plain
    As one writes it: numpy, every formula on the whole cube.
tuned
    Torch in float32, ellipsoids compared within their boxes only. The hardest cube to beat.

Both draw the same clusters from the same numbers, skip components and disturbances that a cluster
does not have, and share all the rest (exposure, PSF, background, labels, Poisson noise) with our
code, to the line. A cube's light ends at its faces and its cavities have steps of one voxel; the
simulator has neither error.

Goal: at least 5 times as fast as the plain cube on a CPU.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import numpy as np
import torch
from common.options import command, parse, write
from common.tables import interval, table
from common.timing import cpu_seconds
from torch import Tensor

from physml.cavities.settings import SimulateSettings
from physml.cavities.simulator import render
from physml.cavities.simulator.batch import Batch, simulate_batch
from physml.cavities.simulator.profiles import Halo

#: No weights, but the simulator.
SCIENCES = ("cavities",)
GOAL = 5.0


class PlainCube:
    """Drop-in for `render.project_halo` and `render.excavate`: numpy, whole cubes."""

    def __init__(self) -> None:
        self.emissivity = np.zeros(0)
        self.grid: tuple[np.ndarray, ...] = ()

    def project(self, halo: Halo, size: int, order: int = 20) -> Tensor:
        """Fill the cube and sum it; the cube is kept for `excavate`."""
        axis = np.arange(size, dtype=np.float64)
        y, x, z = np.meshgrid(axis, axis, axis - 0.5 * (size - 1), indexing="ij", sparse=True)
        dx, dy = x - float(halo.x[0]), y - float(halo.y[0])
        self.grid = (y, x, z, dx, dy)
        first = self._component(halo.first, dx, dy, z)
        total = first
        if halo.second.amplitude[0] > 0:
            second = self._component(halo.second, dx, dy, z)
            total = first + second
            if halo.single_phase[0] > 0:
                total = total + 2 * np.sqrt(first * second)
        d = halo.disturbance[0]
        flat = [torch.as_tensor(np.broadcast_to(v, (size, size, 1)).copy()) for v in (dx, dy)]
        if d.slosh_amplitude > 0:
            fade = np.exp(-0.5 * (z / float(d.slosh_height)) ** 2)
            total = total * (1 + d.spiral(*flat).numpy() * fade) ** 2
        if d.front_jump > 0:
            inside = (dx * dx + dy * dy + z * z) < float(d.front_radius) ** 2
            total = total * (1 + d.sector(*flat).numpy() * inside) ** 2
        self.emissivity = total
        return torch.as_tensor(total.sum(-1)[None]).to(halo.x)

    @staticmethod
    def _component(part, dx, dy, z) -> np.ndarray:
        c = {k: float(v[0]) for k, v in vars(part).items()}
        cos, sin = np.cos(c["theta"]), np.sin(c["theta"])
        u, v = dx * cos + dy * sin, (dy * cos - dx * sin) / c["axis_ratio"]
        r2 = u * u + v * v + (z / c["depth_ratio"]) ** 2
        return c["amplitude"] * (1 + r2 / c["core_radius"] ** 2) ** (-3 * c["beta"])

    def excavate(self, scene: render.Scene, size: int, order: int = 16) -> render.Excavation:
        """Empty the ellipsoids and brighten their rims."""
        y, x, z, dx, dy = self.grid
        slots = scene.present.shape[1]
        each, rims = np.zeros((slots, size, size)), np.zeros((size, size))
        taken = np.zeros(self.emissivity.shape, bool)
        for k in np.flatnonzero(scene.present[0].numpy()):
            body = scene.cavities[0, k]
            cx, cy, cz = float(body.x), float(body.y), float(body.z)
            u, v, w = x - cx, y - cy, z - cz
            m = body.matrix.numpy()
            rho2 = m[0, 0] * u * u + m[1, 1] * v * v + m[2, 2] * w * w
            rho2 = rho2 + 2 * (m[0, 1] * u * v + m[0, 2] * u * w + m[1, 2] * v * w)
            inside = (rho2 < 1) & ~taken
            taken |= inside
            each[k] = float(scene.emptied[0, k]) * (self.emissivity * inside).sum(-1)
            if scene.rim_excess[0, k] > 0:
                width, excess = float(scene.rim_width[0, k]), float(scene.rim_excess[0, k])
                rho = np.sqrt(rho2)
                weight = np.clip((1 + width - rho) / width, 0, 1) * (rho > 1)
                far = (cx - float(scene.halo.x[0])) ** 2 + (cy - float(scene.halo.y[0])) ** 2
                r2 = (dx * dx + dy * dy + z * z) / (far + cz**2)
                weight = weight * np.clip(r2, 1e-3, 4) ** (0.5 * float(scene.rim_bow[0, k]))
                rims += (self.emissivity * ((1 + excess * weight) ** 2 - 1)).sum(-1)
        out = [torch.as_tensor(a[None]).to(scene.halo.x) for a in (each.sum(0), rims, each)]
        return render.Excavation(*out)


class TunedCube:
    """Drop-in for `render.project_halo` and `render.excavate`, one image at a time."""

    def __init__(self) -> None:
        self.emissivity: Tensor | None = None

    def project(self, halo: Halo, size: int, order: int = 20) -> Tensor:
        """Fill the cube and sum it; the cube is kept for `excavate`."""
        axis = torch.arange(size, dtype=halo.x.dtype)
        depth = axis - 0.5 * (size - 1)
        x, y, z = axis[None, :, None], axis[:, None, None], depth[None, None, :]
        one = halo[0]
        dx, dy = x - one.x, y - one.y
        first = one.first.emissivity(one.first.sky_radius2(dx, dy), z, one.cuspy)
        total = first
        if one.second.amplitude > 0:
            second = one.second.emissivity(one.second.sky_radius2(dx, dy), z, one.cuspy)
            total = first + second
            if one.single_phase > 0:
                total = total + 2 * torch.sqrt(first * second)
        d = one.disturbance
        if d.slosh_amplitude > 0:
            total = (
                total * (1 + d.spiral(dx, dy) * torch.exp(-0.5 * (z / d.slosh_height) ** 2)) ** 2
            )
        if d.front_jump > 0:
            inside = (dx * dx + dy * dy + z * z) < d.front_radius**2
            total = total * (1 + d.sector(dx, dy) * inside) ** 2
        self.emissivity = total
        return total.sum(-1)[None]

    def excavate(self, scene: render.Scene, size: int, order: int = 16) -> render.Excavation:
        """Empty the ellipsoids and brighten their rims, voxel by voxel."""
        cube = self.emissivity
        assert cube is not None
        slots = scene.present.shape[1]
        depth = torch.arange(size, dtype=cube.dtype) - 0.5 * (size - 1)
        taken = torch.zeros_like(cube, dtype=torch.bool)
        each = torch.zeros((1, slots, size, size))
        rims = torch.zeros((1, size, size))
        for k in range(slots):
            if not scene.present[0, k]:
                continue
            body = scene.cavities[0, k]
            width = float(scene.rim_width[0, k]) if scene.rim_excess[0, k] > 0 else 0.0
            reach = float(torch.linalg.eigvalsh(body.matrix)[0].rsqrt()) * (1 + width) + 1
            box = []
            for middle in (float(body.y), float(body.x), float(body.z) + 0.5 * (size - 1)):
                low, high = max(0, int(middle - reach)), min(size, int(middle + reach) + 2)
                box.append(slice(low, max(low, high)))
            iy, ix, iz = box
            y = torch.arange(size, dtype=cube.dtype)[iy, None, None]
            x = torch.arange(size, dtype=cube.dtype)[None, ix, None]
            z = depth[None, None, iz]
            rho2 = body.rho2(x, y, z)
            part = cube[iy, ix, iz]
            inside = (rho2 < 1) & ~taken[iy, ix, iz]
            each[0, k, iy, ix] = scene.emptied[0, k] * (part * inside).sum(-1)
            taken[iy, ix, iz] |= inside
            if width:
                rho = rho2.clamp_min(0).sqrt()
                weight = ((1 + width - rho) / width).clamp(0, 1) * (rho > 1)
                dx, dy = x - scene.halo.x[0], y - scene.halo.y[0]
                far = (body.x - scene.halo.x[0]) ** 2 + (body.y - scene.halo.y[0]) ** 2 + body.z**2
                r2 = (dx * dx + dy * dy + z * z) / far
                weight = weight * r2.clamp(1e-3, 4) ** (0.5 * scene.rim_bow[0, k])
                n = 1 + scene.rim_excess[0, k] * weight
                rims[0, iy, ix] += (part * (n * n - 1)).sum(-1)
        return render.Excavation(each.sum(1), rims, each)


@contextmanager
def cube_rendering(cube: PlainCube | TunedCube):
    """Within it, `simulate_batch` draws from a cube."""
    with (
        mock.patch.object(render, "project_halo", cube.project),
        mock.patch.object(render, "excavate", cube.excavate),
    ):
        yield


def mask_agreement(a: Batch, b: Batch) -> float:
    """Share of the labelled pixels that both label: they draw the same cavities."""
    one, two = a.mask > 0, b.mask > 0
    return float((one & two).sum() / max((one | two).sum(), 1))


def spread(rates: list[float]) -> dict[str, float]:
    """Median of all rounds, the lowest and the highest."""
    return {"value": float(np.median(rates)), "low": min(rates), "high": max(rates)}


def tables(numbers: Mapping[str, Any]) -> dict[str, str]:
    """All blocks by name."""
    ours, cubes = numbers["ours"], numbers["cubes"]
    rows = [["physml", interval(ours, ".0f"), "", ""]] + [
        [
            f"{name} cube of 128^3",
            interval(one["rate"], ".1f"),
            interval(one["ratio"], ".1f"),
            f"{one['labels_in_common']:.1%}",
        ]
        for name, one in cubes.items()
    ]
    caption = (
        f"{numbers['images']} images, {numbers['threads']} thread; medians, in brackets the range "
        f"of {numbers['rounds']} rounds. Goal: {GOAL:g} times the plain cube."
    )
    heads = ["", "images a CPU second", "physml is faster by", "labelled pixels in common"]
    return {
        "table": f"{caption}\n\n{table(heads, rows)}",
        "rate": f"{ours['value']:.0f}",
        **{f"ratio-{name}": f"{one['ratio']['value']:.1f}" for name, one in cubes.items()},
    }


def main() -> int:
    """Run and print."""
    parser = command(__doc__, "rounds", "threads", "seed", "json", "markdown")
    parser.add_argument("--images", type=int, default=40)
    a = parse(parser)
    torch.set_num_threads(a.threads)
    settings = SimulateSettings()
    cubes = {"ours": None, "plain": PlainCube(), "tuned": TunedCube()}
    rates: dict[str, list[float]] = {name: [] for name in cubes}
    batches: dict[str, Batch] = {}
    simulate_batch(settings, a.seed, [0])  # first call: plans, tables
    # Taken in turn, so that whatever else the machine does meets all of them.
    for _ in range(a.rounds):
        for name, cube in cubes.items():

            def simulate(name: str = name) -> None:
                batches[name] = simulate_batch(settings, a.seed, range(a.images))

            with cube_rendering(cube) if cube else nullcontext():
                rates[name].append(a.images / cpu_seconds(simulate, 1))
    numbers: dict[str, Any] = {name: getattr(a, name) for name in ("images", "rounds", "threads")}
    numbers |= {"goal": GOAL, "ours": spread(rates["ours"]), "cubes": {}}
    for name in ("plain", "tuned"):
        ratios = [x / y for x, y in zip(rates["ours"], rates[name], strict=True)]
        numbers["cubes"][name] = {
            "rate": spread(rates[name]),
            "ratio": spread(ratios),
            "labels_in_common": mask_agreement(batches["ours"], batches[name]),
        }
    write(a, numbers, tables=tables, sciences=SCIENCES)
    return 0 if numbers["cubes"]["plain"]["ratio"]["value"] >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
