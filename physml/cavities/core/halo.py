r"""The smooth halo behind the cavities: centre, elliptical double beta fit, source fill.

Surface brightness with an elliptical radius r^2 = (1-e1) u^2 + (1+e1) v^2 - 2 e2 u v::

    mu = E [ Sum_i A_i (1 + r^2 / rc_i^2)^(-alpha_i) + c ] + B

fitted to all images of a batch at once by damped Fisher scoring (Levenberg-Marquardt) on pixels
gathered in polar bins. Tens of thousands of images need milliseconds each, which a fitter that
works image by image (sherpa, astropy.modeling) cannot give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

#: Parameters of the fit.
PARAMETERS = [
    *("log_amplitude_1", "log_core_1", "log_slope_1"),
    *("log_amplitude_2", "log_core_2", "log_slope_2"),
    *("e1", "e2", "x", "y", "log_constant"),
]
#: Sectors of the polar bins.
SECTORS = 12
#: Steps of the fit.
STEPS = 30
#: Relative misfit that counts as one sigma: haloes are not double beta models.
TOLERATED = 0.08
#: Side from which an image is binned for the first look for its centre [pixel].
LARGE = 512
#: Student-t degrees of freedom: cavities and clumps must not pull the fit.
FREEDOM = 4.0


@dataclass
class HaloFit:
    """Smooth models of a batch.

    Attributes
    ----------
    parameters : structured ndarray, shape (n,)
        `PARAMETERS`; lengths in pixels, amplitudes in counts per pixel at exposure 1.
    model : ndarray of float32, shape (n, H, W)
        Expected counts, background included.
    """

    parameters: NDArray[Any]
    model: NDArray[np.float32]

    @property
    def centre(self) -> NDArray[np.float64]:
        """Centres x, y, shape (n, 2) [pixel]."""
        return np.stack([self.parameters["x"], self.parameters["y"]], 1)


def find_centre(
    counts: NDArray[Any], exposure: NDArray[Any] | None = None, invalid: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """Brightest place of each image, from coarse to fine smoothing.

    Parameters
    ----------
    counts : ndarray, shape (n, H, W)
    exposure : ndarray, shape (n, H, W), optional
        Relative exposure.
    invalid : ndarray of bool, shape (n, H, W), optional
        Pixels to leave out.

    Returns
    -------
    ndarray, shape (n, 2)
        x, y [pixel].
    """
    out = np.empty((len(counts), 2))
    for row, image in enumerate(np.asarray(counts, np.float64)):
        depth = np.ones(image.shape) if exposure is None else np.asarray(exposure[row], float)
        bad = None if invalid is None else np.asarray(invalid[row], bool)
        if bad is not None and bad.any():  # no copies of large images that are whole
            depth, image = np.where(bad, 0.0, depth), np.where(bad, 0.0, image)
        out[row] = _peak(image, depth)
    return out


def _peak(image: NDArray[Any], depth: NDArray[Any]) -> tuple[float, float]:
    shape = image.shape
    place = (0.5 * (shape[1] - 1), 0.5 * (shape[0] - 1))
    largest = depth.max()
    reach: float | None = None  # of the search about the place [pixel]; at first everywhere
    for sigma in (min(8.0, min(shape) / 12), 4.0, 2.0):
        # The whole of a large image needs no finer a grid than the smoothing.
        step = int(np.clip(min(shape) // LARGE, 1, 4)) if reach is None else 1
        window, first = _around(shape, place, reach, sigma)
        part, seen = _binned(image[window], step), _binned(depth[window], step)
        rate = ndimage.gaussian_filter(part, sigma / step)
        seen = ndimage.gaussian_filter(seen, sigma / step)
        rate = rate / np.maximum(seen, 1e-9)
        # Where hardly anything was exposed, the rate is noise.
        allowed = seen > 0.2 * step**2 * largest
        if reach is not None:
            y, x = np.ogrid[window]
            allowed &= (x - place[0]) ** 2 + (y - place[1]) ** 2 < reach**2
        if not allowed.any():
            break
        iy, ix = np.unravel_index(np.argmax(np.where(allowed, rate, -np.inf)), rate.shape)
        half = (step - 1) / 2
        place = (first[1] + step * float(ix) + half, first[0] + step * float(iy) + half)
        reach = 1.5 * sigma
    return place


def _around(
    shape: tuple[int, ...], place: tuple[float, float], reach: float | None, sigma: float
) -> tuple[tuple[slice, slice], tuple[int, int]]:
    """Rows and columns within reach of a place, as far as their smoothing sees; the first of each.

    The filter ends at 4 sigma: what it gives within reach is what the whole image would.
    """
    if reach is None:
        return (slice(0, shape[0]), slice(0, shape[1])), (0, 0)
    margin = int(np.ceil(reach + 4 * sigma)) + 2
    spans = [
        (max(0, int(p) - margin), min(side, int(p) + margin + 1))
        for p, side in zip(place[::-1], shape, strict=True)
    ]
    rows, columns = (slice(*span) for span in spans)
    return (rows, columns), (rows.start, columns.start)


def _binned(image: NDArray[Any], step: int) -> NDArray[Any]:
    """Sums over step x step pixels; the last may be of fewer."""
    if step == 1:
        return image
    rows, columns = (np.arange(0, side, step) for side in image.shape)
    return np.add.reduceat(np.add.reduceat(image, rows, axis=0), columns, axis=1)


def fill_sources(
    counts: NDArray[Any], mask: NDArray[Any], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Replace masked pixels by Poisson draws at the level of their surroundings.

    Each connected hole takes the mean of the ring around it, which reaches 1.5 to 2.5 times as
    far as the hole does.

    Parameters
    ----------
    counts : ndarray, shape (H, W)
    mask : ndarray of bool, shape (H, W)
        True where to fill.
    rng : Generator

    Returns
    -------
    ndarray of float32, shape (H, W)
    """
    out = np.asarray(counts, np.float32).copy()
    mask = np.asarray(mask, bool)
    labels, _number = ndimage.label(mask, structure=np.ones((3, 3)))
    for k, box in enumerate(ndimage.find_objects(labels), start=1):
        radius = np.sqrt((labels[box] == k).sum() / np.pi)
        reach = int(np.ceil(max(2.0, 1.5 * radius)))
        window = tuple(
            slice(max(0, s.start - reach - 1), min(n, s.stop + reach + 1))
            for s, n in zip(box, mask.shape, strict=True)
        )
        hole = labels[window] == k
        away = ndimage.distance_transform_edt(~hole)
        ring = (away > min(0.5 * radius, 2.0)) & (away <= reach) & ~mask[window]
        if not ring.any():
            ring = ~mask[window] if (~mask[window]).any() else ~hole
        level = max(float(out[window][ring].mean()), 0.0) if ring.any() else 0.0
        out[window][hole] = rng.poisson(level, int(hole.sum()))
    return out


def fit_halo(
    counts: NDArray[Any],
    exposure: NDArray[Any] | None = None,
    background: NDArray[Any] | None = None,
    invalid: NDArray[Any] | None = None,
    centre: NDArray[Any] | None = None,
) -> HaloFit:
    """Fit a smooth elliptical double beta model to each image.

    Parameters
    ----------
    counts : ndarray, shape (n, H, W)
        Counts; may be fractional or slightly negative.
    exposure : ndarray, shape (n, H, W), optional
        Relative exposure; 1 by default.
    background : ndarray, shape (n, H, W), optional
        Expected background counts. Without it (or where an image of it is all zero) a constant
        is fitted with the halo.
    invalid : ndarray of bool, shape (n, H, W), optional
        Pixels to leave out.
    centre : ndarray, shape (n, 2), optional
        x, y to start from; `find_centre` by default.
    """
    counts = np.asarray(counts, np.float64)
    shape = counts.shape
    depth = np.ones(shape) if exposure is None else np.asarray(exposure, np.float64)
    known = np.zeros(shape) if background is None else np.asarray(background, np.float64)
    live = depth > 0
    if invalid is not None:
        live &= ~np.asarray(invalid, bool)
    centre = find_centre(counts, depth, ~live) if centre is None else np.asarray(centre, float)
    bins = _gather(counts, depth, known, live, centre)
    has_background = known.reshape(len(counts), -1).sum(1) > 0
    theta, mean, width = _start(bins, centre, has_background)
    theta = _fisher_scoring(bins, theta, mean, width)
    model = _image(theta, shape, depth, known)
    names = np.dtype([(name, "f8") for name in PARAMETERS])
    parameters = np.array([tuple(row) for row in theta.numpy()], dtype=names)
    return HaloFit(parameters, model)


@dataclass
class _Bins:
    """Pixels gathered in polar bins, all of shape (n, bins): sums, and mean positions."""

    counts: Tensor
    exposure: Tensor
    background: Tensor
    x: Tensor
    y: Tensor


def _gather(
    counts: NDArray[Any],
    depth: NDArray[Any],
    known: NDArray[Any],
    live: NDArray[np.bool_],
    centre: NDArray[Any],
) -> _Bins:
    n, h, w = counts.shape
    y, x = np.indices((h, w))
    reach = np.hypot(h, w)
    # Every pixel its own ring near the centre, then rings 15 % wider each.
    edges = [0.8, 1.6, 2.4, 3.2, 4.2]
    while edges[-1] < reach:
        edges.append(max(edges[-1] * 1.15, edges[-1] + 1))
    length = (len(edges) + 1) * SECTORS
    sums = np.zeros((5, n, length))
    for row in range(n):
        u, v = x - centre[row, 0], y - centre[row, 1]
        ring = np.searchsorted(edges, np.hypot(u, v).ravel())
        sector = ((np.arctan2(v, u).ravel() + np.pi) / (2 * np.pi) * SECTORS).astype(int) % SECTORS
        number = ring * SECTORS + sector
        keep = live[row].ravel()
        values = (counts[row], depth[row], known[row], x * depth[row], y * depth[row])
        for k, value in enumerate(values):
            sums[k, row] = np.bincount(number[keep], value.ravel()[keep], minlength=length)
    weight = np.maximum(sums[1], 1e-12)
    t = [torch.from_numpy(a) for a in (*sums[:3], sums[3] / weight, sums[4] / weight)]
    return _Bins(*t)


def _start(
    bins: _Bins, centre: NDArray[Any], has_background: NDArray[Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Starting values and Gaussian priors (mean, width) of the parameters."""
    n = len(centre)
    radius = torch.hypot(
        bins.x - torch.from_numpy(centre[:, :1]), bins.y - torch.from_numpy(centre[:, 1:])
    )
    net = bins.counts - bins.background

    def level(lo: float, hi: float) -> Tensor:
        inside = (radius >= lo) & (radius < hi)
        total = (net * inside).sum(1) / (bins.exposure * inside).sum(1).clamp_min(1e-9)
        return total.clamp_min(1e-4)

    far = float(radius.max()) * 0.55
    inner, middle, outer = level(0, 4), level(8, 24), level(far, 1e9)
    mean, width = torch.zeros(2, n, len(PARAMETERS), dtype=torch.float64)
    flat = torch.from_numpy(np.where(has_background, -30.0, 0.0))
    columns = [
        (torch.log(inner), 2.0),
        (np.log(4.0), 1.0),
        (np.log(1.2), 0.5),
        (torch.log(middle), 2.0),
        (np.log(25.0), 0.9),
        (np.log(1.0), 0.5),
        (0.0, 0.15),
        (0.0, 0.15),
        (torch.from_numpy(centre[:, 0]), 1.5),
        (torch.from_numpy(centre[:, 1]), 1.5),
        (torch.log(0.4 * outer) + flat, 1.5),
    ]
    for k, (value, spread) in enumerate(columns):
        mean[:, k], width[:, k] = value, spread
    # A known background leaves nothing to the constant.
    width[:, -1] = torch.where(torch.from_numpy(has_background), 1e-3, 1.5)
    return mean.clone(), mean, width


def _surface(theta: Tensor, x: Tensor, y: Tensor, jacobian: bool) -> tuple[Tensor, Tensor | None]:
    """Surface brightness at x, y (n, k) and its derivatives (n, k, 11)."""
    t = theta[:, :, None]
    u, v = x - t[:, 8], y - t[:, 9]
    e1, e2 = t[:, 6], t[:, 7]
    r2 = ((1 - e1) * u * u + (1 + e1) * v * v - 2 * e2 * u * v).clamp_min(0.0)
    total = torch.exp(t[:, 10]).expand_as(r2)
    columns: list[Tensor] = []
    slope_r2 = torch.zeros_like(r2)
    for k in (0, 3):
        core2, slope = torch.exp(2 * t[:, k + 1]), torch.exp(t[:, k + 2])
        q = r2 / core2
        log_base = torch.log1p(q)
        s = torch.exp(t[:, k] - slope * log_base)
        total = total + s
        if jacobian:
            columns += [s, 2 * slope * q / (1 + q) * s, -slope * log_base * s]
            slope_r2 = slope_r2 - slope / (core2 * (1 + q)) * s
    if not jacobian:
        return total, None
    columns += [
        slope_r2 * (v * v - u * u),
        slope_r2 * (-2 * u * v),
        slope_r2 * -(2 * (1 - e1) * u - 2 * e2 * v),
        slope_r2 * -(2 * (1 + e1) * v - 2 * e2 * u),
        torch.exp(t[:, 10]).expand_as(r2),
    ]
    return total, torch.stack(columns, -1)


def _fisher_scoring(bins: _Bins, theta: Tensor, mean: Tensor, width: Tensor) -> Tensor:
    """Minimise the robust, tempered chi^2 plus priors for all images together."""
    live = bins.exposure > 0
    low = torch.tensor([-25, -1.5, -1.6, -25, 0.0, -1.6, -0.6, -0.6, -1e9, -1e9, -60.0])
    high = torch.tensor([25, 4.5, 1.6, 25, 5.5, 1.6, 0.6, 0.6, 1e9, 1e9, 25.0])

    def cost(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        surface, slopes = _surface(parameters, bins.x, bins.y, True)
        mu = (bins.exposure * surface + bins.background).clamp_min(1e-9)
        # Variance of the model, not of the data: an empty bin is informative too.
        variance = mu + (TOLERATED * mu) ** 2 + 0.25
        residual = torch.where(live, bins.counts - mu, 0.0)
        chi2 = residual**2 / variance
        value = (FREEDOM + 1) * torch.log1p(chi2 / FREEDOM) + torch.where(
            live, torch.log(variance), 0.0
        )
        value = value.sum(1) + (((parameters - mean) / width) ** 2).sum(1)
        weight = (FREEDOM + 1) / (FREEDOM + chi2) / variance * live
        assert slopes is not None
        scaled = slopes * bins.exposure[..., None]
        curvature = torch.einsum("nki,nk,nkj->nij", scaled, weight, scaled)
        curvature = curvature + torch.diag_embed(width**-2)
        gradient = torch.einsum("nki,nk->ni", scaled, weight * residual)
        # The variance moves with the model: of that only the leading term is kept, the Poisson
        # likelihood's exact one for chi2 of order 1.
        return value, gradient - (parameters - mean) / width**2, curvature

    damping = torch.full((len(theta), 1), 1e-2, dtype=theta.dtype)
    value, gradient, curvature = cost(theta)
    for _ in range(STEPS):
        diagonal = torch.diagonal(curvature, dim1=1, dim2=2)
        system = curvature + torch.diag_embed(damping * diagonal + 1e-9)
        step = torch.linalg.solve(system, gradient[..., None])[..., 0]
        trial = torch.minimum(torch.maximum(theta + step.clamp(-1.0, 1.0), low), high)
        new_value, new_gradient, new_curvature = cost(trial)
        better = new_value < value
        keep = better[:, None]
        theta = torch.where(keep, trial, theta)
        gradient = torch.where(keep, new_gradient, gradient)
        curvature = torch.where(keep[..., None], new_curvature, curvature)
        if bool((value - new_value).abs().max() < 1e-3):
            break
        value = torch.where(better, new_value, value)
        damping = torch.where(keep, damping / 4, damping * 6).clamp(1e-7, 1e6)
    return theta


def _image(
    theta: Tensor, shape: tuple[int, ...], depth: NDArray[Any], known: NDArray[Any]
) -> NDArray[np.float32]:
    """The fitted models on the pixel grid."""
    n, h, w = shape
    y, x = torch.meshgrid(
        torch.arange(h, dtype=torch.float32), torch.arange(w, dtype=torch.float32), indexing="ij"
    )
    model = np.empty(shape, np.float32)
    for row in range(n):  # one image at a time stays in the cache
        one = theta[row : row + 1].float()
        surface, _ = _surface(one, x.reshape(1, -1), y.reshape(1, -1), False)
        model[row] = depth[row] * surface.reshape(h, w).numpy() + known[row]
    return model
