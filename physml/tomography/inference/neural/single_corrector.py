"""The correction of a single experiment in numpy, with the formulas of `corrector`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from .corrector import FLOOR, LARGEST_SHIFT, LARGEST_TURN, MOST_COPIES, MOST_PART, Corrector
from .single_filter import layout, unvec


def features(values: NDArray, covariance: NDArray, copies: float) -> NDArray:
    """Inputs of the network, float32; see `corrector.features`."""
    d = len(values)
    at = layout(d)
    j, k = at.j, at.k
    logs = np.log(np.maximum(values, FLOOR))
    size = math.log1p(min(copies, MOST_COPIES))
    variance = np.maximum(covariance.diagonal(), FLOOR)
    own, real, imaginary = variance[:d], variance[at.real], variance[at.imaginary]
    mutual = covariance[j, k] / np.sqrt(own[j] * own[k])
    both = real + imaginary
    skew = np.hypot(real - imaginary, 2 * covariance[at.real, at.imaginary]) / both
    square = np.square(covariance[d:, :d])
    coupling = (square[: len(j)] + square[len(j) :]) @ (1 / own) / both
    return np.concatenate(
        [
            0.25 * logs,
            0.2 * (logs + size),
            0.5 * np.log(own) + 0.2 * size,
            (0.2 * size, 3 / math.sqrt(copies + 10)),
            mutual,
            0.5 * np.log(both) + 0.2 * size,
            skew,
            np.sqrt(coupling),
        ],
        dtype=np.float32,
    )


class Network:
    """The layers of a `Corrector` without what modules cost; it shares the memory of its weights.

    They stay torch's, so that one experiment and a batch round alike in single precision. Those of
    a network on another device are copied to the CPU.
    """

    def __init__(self, network: Corrector) -> None:
        def pair(layer: nn.Module) -> tuple[Tensor, Tensor]:
            weight, bias = layer.parameters()
            return weight.detach().cpu(), bias.detach().cpu()

        self.shift, self.scale = network.shift.cpu().numpy(), network.scale.cpu().numpy()
        self.enter, self.leave = pair(network.enter), pair(network.leave)
        self.inner: Sequence[tuple[Tensor, Tensor]] = [pair(layer) for layer in network.inner]

    def __call__(self, inputs: NDArray) -> NDArray:
        """Raw outputs of the inputs."""
        inputs = np.minimum(np.maximum((inputs - self.shift) / self.scale, -6), 6)
        x = linear(torch.from_numpy(inputs[None]), *self.enter)
        for first, second in zip(self.inner[::2], self.inner[1::2], strict=True):
            x = x + linear(silu(linear(silu(x), *first)), *second)
        return linear(silu(x), *self.leave).numpy()[0]


def correct(
    raw: NDArray, values: NDArray, covariance: NDArray
) -> tuple[NDArray, NDArray, float, NDArray]:
    """Apply the raw outputs; see `corrector.CovarianceSummary` and `corrector.correct`.

    Returns
    -------
    values, root
        (d,), (d, d): see `corrector.Correction`.
    log_infidelity
        Logarithm of the infidelity to be expected.
    parts
        What eigenvalues and pairs contribute to it.
    """
    d = len(values)
    at = layout(d)
    raw = raw.astype(float)
    variance = covariance.diagonal()
    deviation = np.sqrt(np.maximum(variance[:d], FLOOR))
    one, other = values[at.j], values[at.k]
    above = one * other / (one + other) / 2
    own, both = variance[:d] * values / 4, (variance[at.real] + variance[at.imaginary]) * above
    parts = np.maximum(np.concatenate([own, both]), FLOOR)
    level = math.log(float(parts.sum()))
    shift = deviation * LARGEST_SHIFT * np.tanh(raw[:d] / LARGEST_SHIFT)
    logs = np.log(np.maximum(values, FLOOR)) + shift
    new = np.exp(logs - logs.max())
    new /= new.sum()
    turn = covariance[:, :d] @ (raw[d : 2 * d] / deviation)
    turn[:d] = 0
    turn *= 0.5 * LARGEST_TURN / (LARGEST_TURN + math.sqrt(float(turn @ turn)))
    root = np.sqrt(new)[:, None] * (at.eye + unvec(turn))
    parts *= np.exp(np.clip(raw[2 * d + 1 :], -MOST_PART, MOST_PART))
    return new, root, level + float(raw[2 * d]), parts
