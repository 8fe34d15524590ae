"""The two networks of the particle cell; see cell.py.

Both are sums over what has no order: outcomes, eigenvalues. So one set of weights serves every
measurement, and an estimate turns with the unknown state.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Numbers that the particle network is told of each outcome, and of each particle beside them.
OUTCOME, SUMMARY = 3, 9
#: Numbers that the head is told of each eigenvalue, and of the bank.
EIGENVALUE, OVERVIEW = 6, 5


def _layers(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, outputs))


def _quiet(layers: nn.Sequential) -> None:
    """Let a network start close to zero: nothing is learned yet."""
    last = layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.normal_(last.weight, std=1e-2)
    nn.init.zeros_(last.bias)


def _beside(network: nn.Module, *tensors: Tensor) -> list[Tensor]:
    """Tensors on the device of a network: particles and data may lie on another one."""
    device = next(network.parameters()).device
    return [x.to(device) for x in tensors]


class ParticleNetwork(nn.Module):
    """From the observed and the own histogram to a weight and the size of moves, each particle.

    Before training the weights are the likelihoods, and half of the spread of the posterior is
    drawn anew.

    Parameters
    ----------
    width : int
        Numbers in a layer.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.outcome = _layers(OUTCOME, width, width)
        self.whole = _layers(width + SUMMARY, width, 3)
        _quiet(self.whole)
        self.double()

    def forward(self, outcome: Tensor, summary: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of normalised weights, and sizes of moves between 0 and 1.

        Parameters
        ----------
        outcome : (S, P, k, OUTCOME)
        summary : (S, P, SUMMARY)
        gap : (S, P)
            Log-likelihood less that of the best particle.

        Returns
        -------
        log_weight, size : (S, P)
        """
        given = _beside(self, outcome, summary)
        inside = self.outcome(given[0]).mean(-2)
        said = self.whole(torch.cat([inside, given[1]], -1)).to(gap.device)
        power, prior, size = said.unbind(-1)
        log_weight = torch.log_softmax(power.clamp(-3, 3).exp() * gap + 4 * prior, -1)
        return log_weight, torch.sigmoid(3 * size)


class Head(nn.Module):
    """From a bank's overview to the eigenvalues of the estimate and a confidence.

    Parameters
    ----------
    width : int
        Numbers in a layer.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.each = _layers(EIGENVALUE + OVERVIEW, width, width)
        self.change = _layers(2 * width, width, 1)
        self.trust = _layers(width, width, 1)
        _quiet(self.change)
        _quiet(self.trust)
        self.double()

    def forward(self, eigenvalue: Tensor, overview: Tensor) -> tuple[Tensor, Tensor]:
        """Changes of the logarithms of the eigenvalues, and of that of the expected infidelity.

        Parameters
        ----------
        eigenvalue : (S, d, EIGENVALUE)
        overview : (S, OVERVIEW)

        Returns
        -------
        change : (S, d)
        trust : (S,)
        """
        where = eigenvalue.device
        eigenvalue, overview = _beside(self, eigenvalue, overview)
        shared = overview[:, None].expand(-1, eigenvalue.shape[1], -1)
        each = self.each(torch.cat([eigenvalue, shared], -1))
        pooled = each.mean(-2, keepdim=True)
        change = self.change(torch.cat([each, pooled.expand_as(each)], -1))[..., 0]
        trust = self.trust(pooled)[:, 0, 0]
        return (4 * change).clamp(-9, 9).to(where), trust.clamp(-6, 6).to(where)
