r"""The telescope: point spread function, exposure map, background.

mu = t E . [PSF (*) S] + B: photons pass the mirror first and the detector's gaps afterwards
(blurring E . S instead would fill the gaps with light). The PSF is a Gaussian core with King wings
[1 + (r/r0)^2]^-alpha and grows off axis; E holds vignetting 1 / (1 + (theta/theta_v)^2),
chip gaps and dead columns blurred by the dither.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

FWHM_TO_SIGMA = 1 / np.sqrt(8 * np.log(2))


def psf_kernel(fwhm: Tensor, wings: Tensor, alpha: Tensor, half_size: int = 16) -> Tensor:
    """Point spread functions, integrated over pixels by 3 x 3 sampling, sum 1.

    Parameters
    ----------
    fwhm : Tensor, shape (n,)
        Core FWHM [pixel].
    wings : Tensor, shape (n,)
        Share of the flux in the King wings, whose core radius is one FWHM.
    alpha : Tensor, shape (n,)
        King slope.
    half_size : int
        Kernels have side 2 half_size + 1.

    Returns
    -------
    Tensor, shape (n, side, side)
    """
    side = 2 * half_size + 1
    fine = (
        (torch.arange(3 * side, dtype=fwhm.dtype, device=fwhm.device) + 0.5) / 3 - 0.5 - half_size
    )
    r2 = (fine[:, None] ** 2 + fine[None, :] ** 2)[None]
    sigma = (fwhm * FWHM_TO_SIGMA)[:, None, None]
    core = torch.exp(-0.5 * r2 / sigma**2)
    king = (1 + r2 / fwhm[:, None, None] ** 2) ** -alpha[:, None, None]
    core = torch.nn.functional.avg_pool2d(core, 3)
    king = torch.nn.functional.avg_pool2d(king, 3)
    core = core / core.sum((-2, -1), keepdim=True)
    king = king / king.sum((-2, -1), keepdim=True)
    w = wings[:, None, None]
    return (1 - w) * core + w * king


def psf_pair(p: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Point spread functions on and off axis from drawn numbers of shape (n,)."""
    fwhm, shape = p["psf_fwhm"], (p["psf_wings"], p["psf_alpha"])
    return psf_kernel(fwhm, *shape), psf_kernel(fwhm * (1 + p["psf_growth"]), *shape)


def convolve(image: Tensor, kernel: Tensor) -> Tensor:
    """Convolve images (n, H, W) with kernels (n, k, k); the sky goes on beyond the image's edge.

    What lies outside is taken to equal the edge, so that no dark frame appears.
    """
    h, w = image.shape[-2:]
    k = kernel.shape[-1]
    reach = k // 2
    wide = torch.nn.functional.pad(image[:, None], (reach,) * 4, mode="replicate")[:, 0]
    shape = (h + 4 * reach, w + 4 * reach)
    product = torch.fft.rfft2(wide, s=shape) * torch.fft.rfft2(kernel, s=shape)
    full = torch.fft.irfft2(product, s=shape)
    return full[..., 2 * reach : 2 * reach + h, 2 * reach : 2 * reach + w]


def blur(image: Tensor, on_axis: Tensor, off_axis: Tensor) -> Tensor:
    """Blur with a PSF that grows off axis.

    The source image is shared between an on-axis and an off-axis kernel by the squared distance
    from the optical axis (the image's middle), so that flux is conserved.
    """
    h, w = image.shape[-2:]
    y = torch.linspace(-1, 1, h, dtype=image.dtype, device=image.device)[:, None]
    x = torch.linspace(-1, 1, w, dtype=image.dtype, device=image.device)[None, :]
    share = 0.5 * (x * x + y * y)
    blurred = convolve(image * (1 - share), on_axis) + convolve(image * share, off_axis)
    return blurred.clamp_min(0)  # FFT rounding leaves tiny negatives


def exposure_map(p: dict[str, float], rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Relative exposure of one image, largest value 1; 0 outside the field.

    Parameters
    ----------
    p : dict
        Drawn numbers: vignetting radius `vignetting` [pixel], flags `gaps`, `dead_columns`,
        `edge` (see prior.py).
    rng : Generator
        Draws positions of gaps, columns and edge.
    size : int
        Side [pixel].
    """
    y, x = np.mgrid[:size, :size].astype(np.float32)
    axis = size / 2 + rng.uniform(-0.3, 0.3, 2) * size
    exposure = 1 / (1 + ((x - axis[0]) ** 2 + (y - axis[1]) ** 2) / p["vignetting"] ** 2)
    roll = rng.uniform(0, np.pi)
    u = (x - size / 2) * np.cos(roll) + (y - size / 2) * np.sin(roll)
    v = (y - size / 2) * np.cos(roll) - (x - size / 2) * np.sin(roll)
    dither = rng.uniform(0.7, 3.0)
    if p["gaps"]:
        for coordinate in (u, v)[: rng.integers(1, 3)]:
            middle = rng.uniform(-0.45, 0.45) * size
            exposure *= _slit(coordinate - middle, rng.uniform(2, 9), dither, rng.uniform(0.3, 1))
    if p["dead_columns"]:
        for _ in range(rng.integers(1, 5)):
            middle = rng.uniform(-0.5, 0.5) * size
            exposure *= _slit(u - middle, rng.uniform(0.6, 1.6), dither, rng.uniform(0.3, 1))
    if p["edge"]:
        border = rng.uniform(0.25, 0.5) * size
        exposure = np.where((u < border) & (v < rng.uniform(0.3, 0.7) * size), exposure, 0)
    return (exposure / exposure.max()).astype(np.float32)


def _slit(distance: NDArray, width: float, dither: float, depth: float) -> NDArray:
    """Transmission of a gap of a given width and depth, blurred by a Gaussian dither."""
    grid = np.arange(-40, 40.01, 0.25)
    profile = gaussian_filter1d((np.abs(grid) < width / 2).astype(float), dither / 0.25)
    return 1 - depth * np.interp(np.abs(distance), grid, profile, right=0.0)
