r"""From drawn numbers to expected counts, a batch at a time and without a cube.

The undisturbed halo is projected in closed form; what a spiral, a front or a second phase adds
comes from a quadrature along the line of sight; what a cavity removes from Gauss-Legendre nodes
on its chord, and only at the pixels of its shadow::

    S = Int eps dz  -  Sum_k f_k Int_{z-}^{z+} eps dz  +  rims
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .ellipsoids import Ellipsoids, ellipsoid_matrix
from .instrument import blur, psf_pair
from .prior import Draw
from .profiles import Component, Disturbance, Halo, legendre, line_of_sight, projection_factor

#: Depth [pixel]; the beta = 0.3 tail beyond it holds under 1e-3 of a projection.
INFINITE = 3e4


@dataclass
class Scene:
    """A batch of haloes and cavities as tensors.

    Attributes
    ----------
    halo : Halo
        Fields of shape (n,).
    cavities : Ellipsoids
        Fields of shape (n, k), k the largest number in the batch, padded by unit spheres.
    present : Tensor of bool, shape (n, k)
    emptied, rim_width, rim_excess, rim_bow : Tensor, shape (n, k)
        f, relative thickness, density excess at the wall, exponent of the bow weight.
    params : dict of Tensor, shape (n,)
        All drawn scalars.
    """

    halo: Halo
    cavities: Ellipsoids
    present: Tensor
    emptied: Tensor
    rim_width: Tensor
    rim_excess: Tensor
    rim_bow: Tensor
    params: dict[str, Tensor]


def build_scene(
    draws: Sequence[Draw], dtype: torch.dtype = torch.float32, cuspy: bool = False
) -> Scene:
    """Collect draws into tensors."""
    params, table, number = collect(draws)
    return scene_of(
        {k: torch.from_numpy(v).to(dtype) for k, v in params.items()},
        {k: torch.from_numpy(v).to(dtype) for k, v in table.items()},
        torch.from_numpy(number),
        cuspy,
    )


#: Geometry of a cavity where there is none.
FILLER = {
    **dict.fromkeys(("theta", "tilt", "distance", "phi", "line_of_sight", "f"), 0.0),
    **dict.fromkeys(("rim_width", "rim_excess", "rim_bow"), 0.0),
    **dict.fromkeys(("a", "b", "c_z"), 1.0),
}


def collect(
    draws: Sequence[Draw],
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]], NDArray[np.int64]]:
    """Numbers of draws as arrays.

    Returns
    -------
    params : dict of ndarray, shape (n,)
        Drawn scalars.
    table : dict of ndarray, shape (n, k)
        Geometry of the cavities (`FILLER`), k the largest number of them.
    number : ndarray of int, shape (n,)
        Cavities of each.
    """
    params = {k: np.array([d.params[k] for d in draws], float) for k in draws[0].params}
    slots = max(1, *(len(d.cavities) for d in draws), 1)
    table = {
        k: np.array(
            [[c[k] for c in d.cavities] + [v] * (slots - len(d.cavities)) for d in draws], float
        )
        for k, v in FILLER.items()
    }
    return params, table, np.array([len(d.cavities) for d in draws], np.int64)


def scene_of(
    p: dict[str, Tensor], table: dict[str, Tensor], number: Tensor, cuspy: bool = False
) -> Scene:
    """Scene of the numbers that `collect` gives, on their device and of their type."""

    def component(suffix: str, brightness: Tensor) -> Component:
        core, beta = p["core_radius" + suffix], p["beta" + suffix]
        factor = projection_factor(beta) * core * p["depth_ratio"]
        return Component(
            amplitude=brightness / factor,
            core_radius=core,
            beta=beta,
            axis_ratio=1 - p["ellipticity" + suffix],
            depth_ratio=p["depth_ratio"],
            theta=p["theta" + suffix],
            alpha=torch.zeros_like(core) if suffix else p["alpha"],
            steepening=p["steepening"],
            scale_radius=p["scale_radius"],
        )

    halo = Halo(
        component("", torch.ones_like(p["x"])),
        component("_2", p["amplitude_ratio"]),
        p["single_phase"],
        Disturbance(**{f.name: p[f.name] for f in fields(Disturbance)}),
        p["x"],
        p["y"],
        cuspy,
    )
    flat = table["distance"] * table["line_of_sight"].cos()
    cavities = Ellipsoids(
        x=p["x"][:, None] + flat * table["phi"].cos(),
        y=p["y"][:, None] + flat * table["phi"].sin(),
        z=table["distance"] * table["line_of_sight"].sin(),
        matrix=ellipsoid_matrix(*(table[k] for k in ("a", "b", "c_z", "theta", "tilt"))),
    )
    slots = torch.arange(table["a"].shape[1], device=number.device)
    present = slots[None, :] < number[:, None]
    width, excess, bow = (table[f"rim_{name}"] for name in ("width", "excess", "bow"))
    return Scene(halo, cavities, present, table["f"], width, excess, bow, p)


def pixel_grid(size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel centres x, y of shape (1, size, size)."""
    axis = torch.arange(size, dtype=like.dtype, device=like.device)
    return axis[None, None, :].expand(1, size, size), axis[None, :, None].expand(1, size, size)


def project_halo(halo: Halo, size: int, order: int = 20) -> Tensor:
    """The halo without cavities, with spiral and front, seen in projection.

    What needs a quadrature (second phase, spiral) is smooth relative to the closed form: its
    ratio is computed on every second pixel and interpolated. Around the centre, where a core can
    be smaller than a pixel, everything is computed in full on 5 x 5 points a pixel.

    Parameters
    ----------
    halo : Halo
        Fields of shape (n,).
    size : int
        Side of the image [pixel], even.
    order : int
        Nodes along the line of sight.

    Returns
    -------
    Tensor, shape (n, size, size)
        Int eps dz averaged over each pixel.
    """
    x, y = pixel_grid(size, halo.x)
    surface = _project(halo, x, y, order, stride=2)
    n, reach, fine, device = len(halo.x), 4, 5, halo.x.device
    side = 2 * reach + 1
    span = torch.arange(-reach, reach + 1, device=device)
    ix = (halo.x.round().long()[:, None] + span).clamp(0, size - 1)
    iy = (halo.y.round().long()[:, None] + span).clamp(0, size - 1)
    sub = (torch.arange(fine, dtype=halo.x.dtype, device=device) + 0.5) / fine - 0.5
    fx = (ix[:, :, None] + sub).reshape(n, 1, side * fine)
    fy = (iy[:, :, None] + sub).reshape(n, side * fine, 1)
    patch = _project(halo, fx, fy, order, stride=1)
    patch = patch.reshape(n, side, fine, side, fine).mean((2, 4))
    rows = torch.arange(n, device=device)[:, None, None]
    surface[rows, iy[:, :, None], ix[:, None, :]] = patch
    return surface


def _project(halo: Halo, x: Tensor, y: Tensor, order: int, stride: int) -> Tensor:
    """Projection on a grid of positions x, y that broadcast to (n, H, W)."""
    wide = halo[:, None, None]
    dx, dy = torch.broadcast_tensors(x - wide.x, y - wide.y)
    surface = _quiet(wide, dx, dy, order, stride)
    d = halo.disturbance
    quiet = surface
    some = (d.slosh_amplitude > 0).nonzero()[:, 0]
    if len(some):
        part, u, v = wide[some], dx[some], dy[some]
        # (1 + g w)^2 - 1 = 2 g w + g^2 w^2 with g(x, y) sharp, but the integrals over w smooth.
        g = part.disturbance.spiral(u, v)
        once, twice = _spiral_ratios(part, u, v, order, stride)
        surface = surface.clone()
        surface[some] = quiet[some] * (1 + g * (2 * once + g * twice))
    some = (d.front_jump > 0).nonzero()[:, 0]
    if len(some):
        surface = surface.clone()
        surface[some] += _front(wide[some], dx[some], dy[some], max(10, order // 2))
    return surface


def _scale(halo: Halo, dx: Tensor, dy: Tensor) -> Tensor:
    """Width of the emission along the line of sight [pixel]."""
    core = torch.minimum(halo.first.core_radius, halo.second.core_radius)
    return torch.sqrt(dx * dx + dy * dy + core**2)


def _quiet(wide: Halo, dx: Tensor, dy: Tensor, order: int, stride: int) -> Tensor:
    """Projection without spiral and front."""
    if wide.cuspy:
        deep = _add_axis(wide)
        limit = torch.full_like(dx, INFINITE)
        u, v = dx[..., None], dy[..., None]
        return line_of_sight(
            lambda z: deep.quiet_emissivity(u, v, z), _scale(wide, dx, dy), limit, order
        )
    one = wide.first.projected(wide.first.sky_radius2(dx, dy))
    two = wide.second.projected(wide.second.sky_radius2(dx, dy))
    surface = one + two
    some = (wide.single_phase.reshape(-1) > 0).nonzero()[:, 0]
    if len(some):
        part = wide[some]
        deep = _add_axis(part)
        u, v = _thin(dx[some], stride), _thin(dy[some], stride)
        r1 = part.first.sky_radius2(u, v)
        r2 = part.second.sky_radius2(u, v)
        cross = line_of_sight(
            lambda z: torch.sqrt(
                deep.first.emissivity(r1[..., None], z, False)
                * deep.second.emissivity(r2[..., None], z, False)
            ),
            _scale(part, u, v),
            torch.full_like(u, INFINITE),
            order,
        )
        ratio = cross / torch.sqrt(part.first.projected(r1) * part.second.projected(r2))
        surface[some] += 2 * _fill(ratio, stride) * torch.sqrt(one[some] * two[some])
    return surface


def _spiral_ratios(
    part: Halo, dx: Tensor, dy: Tensor, order: int, stride: int
) -> tuple[Tensor, Tensor]:
    """Int eps w dz and Int eps w^2 dz over Int eps dz, w = exp(-z^2 / 2 H^2)."""
    deep = _add_axis(part)
    u, v = _thin(dx, stride), _thin(dy, stride)
    height = deep.disturbance.slosh_height
    # Both integrals share their nodes; beyond 4.5 H the weight is below 1e-4.
    nodes, weights = legendre(order, u)
    scale = _scale(part, u, v)[..., None]
    half = 0.5 * torch.asinh(4.5 * height / scale)
    t = half * (nodes + 1)
    z = scale * torch.sinh(t)
    element = 2 * scale * torch.cosh(t) * half * weights
    element = element * deep.quiet_emissivity(u[..., None], v[..., None], z)
    w = torch.exp(-0.5 * (z / height) ** 2)
    quiet = _quiet(part, u, v, order, 1)
    once, twice = (element * w).sum(-1) / quiet, (element * w * w).sum(-1) / quiet
    return _fill(once, stride), _fill(twice, stride)


def _front(part: Halo, dx: Tensor, dy: Tensor, order: int) -> Tensor:
    """Emission that the density jump adds inside its sphere."""
    out = torch.zeros_like(dx)
    limit2 = part.disturbance.front_radius**2 - dx * dx - dy * dy
    row, iy, ix = (limit2 > 0).nonzero(as_tuple=True)
    flat = part[:, 0, 0][row]
    u, v = dx[row, iy, ix], dy[row, iy, ix]
    g, jump = flat.disturbance.spiral(u, v), flat.disturbance.sector(u, v)
    deep = flat[:, None]

    def integrand(z: Tensor) -> Tensor:
        w = 1 + g[:, None] * torch.exp(-0.5 * (z / deep.disturbance.slosh_height) ** 2)
        return deep.quiet_emissivity(u[:, None], v[:, None], z) * w * w

    inside = line_of_sight(integrand, _scale(flat, u, v), limit2[row, iy, ix].sqrt(), order)
    out[row, iy, ix] = inside * jump * (2 + jump)
    return out


def _thin(t: Tensor, stride: int) -> Tensor:
    """Every stride-th point of a grid, the last one included."""
    if stride == 1:
        return t
    size = t.shape[-1]
    keep = torch.arange(0, size + stride - 1, stride, device=t.device).clamp_max(size - 1)
    return t[..., keep, :][..., keep]


def _fill(t: Tensor, stride: int) -> Tensor:
    """Bilinear interpolation back to the full grid (stride 1 or 2)."""
    if stride == 1:
        return t
    for axis in (-1, -2):
        t = t.movedim(axis, -1)
        between = 0.5 * (t[..., :-1] + t[..., 1:])
        # The thinned grid ends on size - 1: its last interval is a single pixel wide.
        t = torch.cat(
            [torch.stack([t[..., :-2], between[..., :-1]], -1).flatten(-2), t[..., -2:]], -1
        )
        t = t.movedim(-1, axis)
    return t


def _add_axis(halo: Halo) -> Halo:
    return halo.map(lambda t: t[..., None])


@dataclass
class Excavation:
    """Emission that the cavities change, as images and per cavity.

    Attributes
    ----------
    removed, rims : Tensor, shape (n, H, W)
        Emission removed and added.
    each : Tensor, shape (n, k, H, W)
        Removed by each cavity; overlaps are shared between them.
    """

    removed: Tensor
    rims: Tensor
    each: Tensor

    def times(self, factor: Tensor) -> Excavation:
        """All emission multiplied by a factor of shape (n, H, W)."""
        return Excavation(self.removed * factor, self.rims * factor, self.each * factor[:, None])


def excavate(scene: Scene, size: int, order: int = 16) -> Excavation:
    """Emission removed by the cavities and added by their rims.

    Parameters
    ----------
    scene : Scene
    size : int
        Side of the image [pixel].
    order : int
        Gauss-Legendre nodes on a chord.
    """
    n, slots = scene.present.shape
    each = scene.halo.x.new_zeros((n, slots, size * size))
    rims = scene.halo.x.new_zeros((n, size * size))
    image, slot, pixel = _shadows(scene, size, scene.present, grow=None)
    if len(image):
        each[image, slot, pixel] = _chord_integral(scene, size, image, slot, pixel, order)
    has_rim = scene.present & (scene.rim_excess > 0)
    image, slot, pixel = _shadows(scene, size, has_rim, grow=scene.rim_width)
    if len(image):
        added = _rim_integral(scene, size, image, slot, pixel, max(6, order // 2))
        rims.index_put_((image, pixel), added, accumulate=True)
    each = each.reshape(n, slots, size, size)
    return Excavation(each.sum(1), rims.reshape(n, size, size), each)


def _shadows(scene: Scene, size: int, which: Tensor, grow: Tensor | None) -> tuple[Tensor, ...]:
    """Pixels inside the projected outlines: image, cavity and flat pixel number of each."""
    image, slot = which.nonzero(as_tuple=True)
    if not len(image):
        return image, slot, image
    body = scene.cavities[image, slot]
    scale = 1.0 if grow is None else 1 + grow[image, slot]
    major = body.outline()[0] * scale
    # Boxes of one common side per call keep this one vectorised step; small cavities go first.
    parts = []
    half = (major + 1).ceil().long()
    for lo, hi in ((0, 8), (8, 16), (16, 32), (32, 10**6)):
        group = ((half > lo) & (half <= hi)).nonzero()[:, 0]
        if not len(group):
            continue
        reach = int(half[group].max())
        span = torch.arange(-reach, reach + 1, device=major.device)
        part = body[group][:, None, None]
        iy = part.y.round().long() + span[None, :, None]
        ix = part.x.round().long() + span[None, None, :]
        k = scale if isinstance(scale, float) else scale[group][:, None, None]
        _, length = part.chord(ix.to(part.x), iy.to(part.x), k)
        keep = (length > 0) & (ix >= 0) & (ix < size) & (iy >= 0) & (iy < size)
        row, a, b = keep.nonzero(as_tuple=True)
        chosen = group[row]
        parts.append((image[chosen], slot[chosen], iy[row, a, 0] * size + ix[row, 0, b]))
    return tuple(torch.cat(p) for p in zip(*parts, strict=True))


def _share(scene: Scene, image: Tensor, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Share of overlapping cavities in a point.

    Returns
    -------
    emptied : Tensor
        Largest f among the cavities that hold the point.
    others : Tensor
        Number of cavities that hold it.
    """
    everyone = scene.cavities[image]  # (N, k)
    inside = torch.stack(
        [everyone[:, k][:, None].rho2(x, y, z) < 1 for k in range(everyone.x.shape[1])], -1
    )
    inside = inside & scene.present[image][:, None, :]
    emptied = torch.where(inside, scene.emptied[image][:, None, :], 0.0).amax(-1)
    return emptied, inside.sum(-1)


def _overlapping(scene: Scene) -> Tensor:
    """Images in which two bounding spheres meet, shape (n,)."""
    c = scene.cavities
    # The largest semi-axis is the inverse root of the smallest eigenvalue.
    reach = torch.linalg.eigvalsh(c.matrix)[..., 0].rsqrt() * (1 + scene.rim_width)
    centre = torch.stack([c.x, c.y, c.z], -1)
    gap = torch.cdist(centre, centre) - reach[:, :, None] - reach[:, None, :]
    both = scene.present[:, :, None] & scene.present[:, None, :]
    both = both & ~torch.eye(both.shape[1], dtype=torch.bool, device=both.device)
    return ((gap < 0) & both).any(-1).any(-1)


def _chord_integral(
    scene: Scene, size: int, image: Tensor, slot: Tensor, pixel: Tensor, order: int
) -> Tensor:
    nodes, weights = legendre(order, scene.halo.x)
    body = scene.cavities[image, slot]
    px = (pixel % size).to(body.x)
    py = (pixel // size).to(body.x)
    middle, half = body.chord(px, py)
    z = middle[:, None] + half[:, None] * nodes
    px, py = px[:, None], py[:, None]
    emission = scene.halo[image][:, None].emissivity(px, py, z)
    f = scene.emptied[image, slot][:, None].expand_as(emission).clone()
    meeting = _overlapping(scene)[image].nonzero()[:, 0]
    if len(meeting):
        # A point in several cavities is emptied once, by the emptiest, and shared between them.
        top, number = _share(scene, image[meeting], px[meeting], py[meeting], z[meeting])
        f[meeting] = top / number.clamp_min(1)
    return (emission * f * weights).sum(1) * half


def _rim_integral(
    scene: Scene, size: int, image: Tensor, slot: Tensor, pixel: Tensor, order: int
) -> Tensor:
    """Emission added by rims: n -> n (1 + excess w), w falling linearly to 0 at 1 + width."""
    nodes, weights = legendre(order, scene.halo.x)
    body = scene.cavities[image, slot]
    px = (pixel % size).to(body.x)
    py = (pixel // size).to(body.x)
    width = scene.rim_width[image, slot]
    middle, outer = body.chord(px, py, 1 + width)
    _, inner = body.chord(px, py)
    total = torch.zeros_like(px)
    excess = scene.rim_excess[image, slot][:, None]
    halo = scene.halo[image][:, None]
    wide = body[:, None]
    bow = scene.rim_bow[image, slot][:, None]
    distance2 = (wide.x - halo.x) ** 2 + (wide.y - halo.y) ** 2 + wide.z**2
    distance2 = distance2.clamp_min(1e-6)
    meeting = _overlapping(scene)[image].nonzero()[:, 0]
    for side in (-1, 1):
        centre = middle + side * 0.5 * (outer + inner)
        half = 0.5 * (outer - inner)
        z = centre[:, None] + half[:, None] * nodes
        x, y = px[:, None], py[:, None]
        rho = wide.rho2(x, y, z).clamp_min(0.0).sqrt()
        weight = ((1 + width[:, None] - rho) / width[:, None]).clamp(0, 1)
        # A bow: swept-up gas lies ahead of the bubble, on the side away from the centre.
        radius2 = (x - halo.x) ** 2 + (y - halo.y) ** 2 + z * z
        weight = weight * (radius2 / distance2).clamp(1e-3, 4) ** (0.5 * bow)
        n = 1 + excess * weight
        added = halo.emissivity(x, y, z) * (n * n - 1)
        if len(meeting):
            emptied, _ = _share(scene, image[meeting], x[meeting], y[meeting], z[meeting])
            added[meeting] *= 1 - emptied
        total += (added * weights).sum(1) * half
    return total


@dataclass
class Rendered:
    """Expected counts and labels of a batch, before Poisson noise.

    Attributes
    ----------
    expected : Tensor, shape (n, H, W)
        Expected counts.
    background : Tensor, shape (n, H, W)
        Its background part.
    undisturbed : Tensor, shape (n, H, W)
        Expected counts had there been no cavities (no PSF), with background.
    decrement : Tensor, shape (n, H, W)
        Removed over undisturbed halo emission.
    each : Tensor, shape (n, k, H, W)
        Decrement of each cavity.
    removed_counts : Tensor, shape (n, k, H, W)
        Counts each cavity removes.
    """

    expected: Tensor
    background: Tensor
    undisturbed: Tensor
    decrement: Tensor
    each: Tensor
    removed_counts: Tensor


def render(
    scene: Scene,
    sources: Tensor,
    exposure: Tensor,
    order: int = 16,
    structure: Tensor | None = None,
) -> Rendered:
    """Put the scene on the detector.

    Parameters
    ----------
    scene : Scene
    sources : Tensor, shape (n, H, W)
        Counts of point sources, unblurred.
    exposure : Tensor, shape (n, H, W)
        Relative exposure.
    order : int
        Nodes on a chord.
    structure : Tensor, shape (n, H, W), optional
        Factor on the light of the gas; 1 by default.
    """
    size = exposure.shape[-1]
    p = {k: v[:, None, None] for k, v in scene.params.items()}
    smooth = project_halo(scene.halo, size)
    dug = excavate(scene, size, order)
    if structure is not None:
        smooth, dug = smooth * structure, dug.times(structure)
    flux = smooth.sum((1, 2), keepdim=True)
    clump = _clump(scene, size)
    clump = clump * (p["clump_flux"] * flux / clump.sum((1, 2), keepdim=True))
    decrement = dug.removed / smooth
    sky = smooth - dug.removed + dug.rims + clump
    points = _central_sources(scene, size) * flux
    # Halo and background are scaled to the drawn total; point sources are drawn in counts.
    halo_counts = p["counts"] * (1 - p["background"])
    scale = halo_counts / (exposure * (sky + points)).sum((1, 2), keepdim=True)
    seen = exposure * blur(scale * (sky + points) + sources, *psf_pair(scene.params))
    live = exposure > 0
    flat = live / live.sum((1, 2), keepdim=True)
    vignetted = exposure / exposure.sum((1, 2), keepdim=True)
    share = p["particle_share"]
    background = p["counts"] * p["background"] * (share * flat + (1 - share) * vignetted)
    expected = torch.where(live, seen + background, 0.0)
    factor = (exposure * scale)[:, None]
    return Rendered(
        expected,
        torch.where(live, background, 0.0),
        exposure * scale * (smooth + clump) + background,
        decrement,
        dug.each / smooth[:, None],
        dug.each * factor,
    )


def _clump(scene: Scene, size: int) -> Tensor:
    """An infalling clump: a round beta model of its own, arbitrary norm."""
    p = {k: v[:, None, None] for k, v in scene.params.items()}
    x, y = pixel_grid(size, scene.halo.x)
    r2 = (x - p["x"] - p["clump_dx"]) ** 2 + (y - p["y"] - p["clump_dy"]) ** 2
    return (1 + r2 / p["clump_core"] ** 2) ** (0.5 - 3 * p["clump_beta"])


def _central_sources(scene: Scene, size: int) -> Tensor:
    """Nucleus and jet knots, relative to the halo's flux, shape (n, H, W)."""
    p = scene.params
    out = p["x"].new_zeros((len(p["x"]), size, size))
    add_points(out, p["x"], p["y"], p["agn_flux"])
    for knot in range(1, 6):
        reach = p["jet_length"] * knot / 5
        x, y = p["x"] + reach * p["jet_angle"].cos(), p["y"] + reach * p["jet_angle"].sin()
        add_points(out, x, y, p["jet_flux"] / 5)
    return out


def add_points(
    image: Tensor, x: Tensor, y: Tensor, flux: Tensor, rows: Tensor | None = None
) -> None:
    """Add point sources in place, shared bilinearly between four pixels.

    Parameters
    ----------
    image : Tensor, shape (n, H, W)
    x, y, flux : Tensor, shape (m,)
        Positions [pixel] and fluxes.
    rows : Tensor of int, shape (m,), optional
        Image of each source; 0 ... n-1 by default.
    """
    size = image.shape[-1]
    rows = torch.arange(len(image), device=image.device) if rows is None else rows
    x0, y0 = x.floor().long(), y.floor().long()
    fx, fy = x - x0, y - y0
    for dx, wx in ((0, 1 - fx), (1, fx)):
        for dy, wy in ((0, 1 - fy), (1, fy)):
            ix, iy = x0 + dx, y0 + dy
            inside = (ix >= 0) & (ix < size) & (iy >= 0) & (iy < size)
            place = (rows[inside], iy[inside], ix[inside])
            image.index_put_(place, (flux * wx * wy)[inside], accumulate=True)
