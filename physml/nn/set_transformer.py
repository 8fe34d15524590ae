"""Attention over the members of a set, steered by how each pair of members lies to each other.

After Lee et al. (2019, Set Transformer) without inducing points, for sets of some dozens, and with
the pairwise bias of Shaw et al. (2018) and Ying et al. (2021) made continuous: a function of pair
features that the caller computes, such as distances. Members have no order and no position of
their own, so that whatever symmetry the pair features have, the whole network has.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Stands for minus infinity: exp() of it is 0 in float32 and bfloat16, and it is never NaN.
FAR_BELOW = -1e4


class PairAttention(nn.Module):
    """Multi-head attention with a bias and a message from each pair, and a way out.

    Member i reads ``sum_j a_ij (value_j + W pair_ij)`` with ``a_ij`` from the product of query
    and key plus a bias from ``pair_ij``. Each head has a learned constant among its scores that
    stands for "none of them" (a sink without value): without it the attentions would always
    add up to one, and one unrelated member would be read as if it mattered. What goes to the sink
    is itself told to the member: -log of it grows with the number of members that matter, which a
    mean over members forgets.

    Parameters
    ----------
    width : int
        Features of a member.
    pair_width : int
        Features of a pair.
    heads : int
        Divides `width`.
    """

    def __init__(self, width: int, pair_width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads")
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.project = nn.Linear(width, 3 * width)
        self.bias = nn.Linear(pair_width, heads, bias=False)
        self.sink = nn.Parameter(torch.zeros(heads))
        self.out = nn.Linear(width + heads * pair_width + heads, width)

    def forward(self, x: Tensor, pair: Tensor, present: Tensor) -> Tensor:
        """Let members read each other.

        Parameters
        ----------
        x : Tensor, shape (n, k, width)
        pair : Tensor, shape (n, k, k, pair_width)
            Features of (reader, read).
        present : Tensor of bool, shape (n, k)
            False for padding, which nobody reads.

        Returns
        -------
        Tensor, shape (n, k, width)
        """
        n, k, width = x.shape
        q, key, value = self.project(x).view(n, k, 3, self.heads, width // self.heads).unbind(2)
        score = torch.matmul(q.transpose(1, 2), key.permute(0, 2, 3, 1)) * self.scale
        score = score + self.bias(pair).permute(0, 3, 1, 2)
        score = score.masked_fill(~present[:, None, None, :], FAR_BELOW)
        sink = self.sink.view(1, self.heads, 1, 1).expand(n, self.heads, k, 1)
        log_attention = torch.log_softmax(torch.cat([score, sink], 3), 3)
        attention = log_attention[..., :-1].exp()
        read = torch.matmul(attention, value.transpose(1, 2)).transpose(1, 2).reshape(n, k, width)
        # (n, k, heads, k) @ (n, k, k, pair_width)
        message = torch.matmul(attention.transpose(1, 2), pair).reshape(n, k, -1)
        mass = -log_attention[..., -1].transpose(1, 2)
        return self.out(torch.cat([read, message, mass], 2))


class SetBlock(nn.Module):
    """Attention, then a two-layer network on each member, both on normalised copies."""

    def __init__(
        self, width: int, pair_width: int, heads: int, expansion: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.attention = PairAttention(width, pair_width, heads)
        self.between = nn.LayerNorm(width)
        self.each = nn.Sequential(
            nn.Linear(width, expansion * width), nn.SiLU(), nn.Linear(expansion * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, pair: Tensor, present: Tensor) -> Tensor:
        """Map members (n, k, width) to the same shape."""
        x = x + self.dropout(self.attention(self.before(x), pair, present))
        return x + self.dropout(self.each(self.between(x)))


class SetTransformer(nn.Module):
    """Blocks of attention over a set with one shared embedding of the pairs.

    Parameters
    ----------
    width : int
        Features of a member.
    pair_inputs : int
        Numbers that describe a pair.
    pair_width : int
        Features they are embedded in.
    heads, blocks : int
    dropout : float
        Share of what a block adds that is dropped in training.
    """

    def __init__(
        self,
        width: int,
        pair_inputs: int,
        pair_width: int,
        heads: int,
        blocks: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pair = nn.Sequential(
            nn.Linear(pair_inputs, pair_width),
            nn.SiLU(),
            nn.Linear(pair_width, pair_width),
            nn.SiLU(),
        )
        self.blocks = nn.ModuleList(
            SetBlock(width, pair_width, heads, dropout=dropout) for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, pair: Tensor, present: Tensor) -> Tensor:
        """Map members (n, k, width), pairs (n, k, k, pair_inputs) to members (n, k, width)."""
        embedded = self.pair(pair)
        for block in self.blocks:
            x = block(x, embedded, present)
        return self.norm(x)


def masked_mean_and_max(x: Tensor, present: Tensor) -> Tensor:
    """Mean and maximum over the members that are there: (n, k, width) to (n, 2 width).

    A set without members gives zeros.
    """
    some = present.unsqueeze(2)
    mean = (x * some).sum(1) / some.sum(1).clamp(min=1)
    top = x.masked_fill(~some, FAR_BELOW).amax(1)
    return torch.cat([mean, torch.where(some.any(1), top, torch.zeros_like(top))], 1)
