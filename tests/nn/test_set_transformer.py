"""Attention over sets: symmetry, padding, what the sink tells."""

from __future__ import annotations

import math

import pytest
import torch

from physml.nn.set_transformer import PairAttention, SetTransformer, masked_mean_and_max


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return SetTransformer(width=16, pair_inputs=3, pair_width=6, heads=4, blocks=2).eval()


def draw(n: int, k: int):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, k, 16, generator=generator)
    pair = torch.randn(n, k, k, 3, generator=generator)
    return x, pair


def test_members_have_no_order(network):
    x, pair = draw(2, 7)
    present = torch.ones(2, 7, dtype=torch.bool)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(2))
    straight = network(x, pair, present)
    mixed = network(x[:, order], pair[:, order][:, :, order], present)
    assert torch.allclose(straight[:, order], mixed, atol=1e-5)


def test_padding_is_not_read(network):
    x, pair = draw(3, 6)
    present = torch.ones(3, 6, dtype=torch.bool)
    present[1, 4:] = False
    out = network(x, pair, present)
    short = network(x[:, :4], pair[:, :4, :4], present[:, :4])
    assert torch.allclose(out[1, :4], short[1], atol=1e-5)
    other = x.clone()
    other[1, 4:] = 100
    assert torch.allclose(network(other, pair, present)[1, :4], out[1, :4], atol=1e-5)
    # The others do read all six.
    assert not torch.allclose(out[0, :4], short[0], atol=1e-3)


def test_pairs_matter(network):
    x, pair = draw(1, 4)
    present = torch.ones(1, 4, dtype=torch.bool)
    changed = pair.clone()
    changed[0, 2, 3] += 1
    difference = (network(x, pair, present) - network(x, changed, present)).abs().sum(2)[0]
    assert difference[2] > 1e-3


def test_sink_counts_members_that_matter():
    """With equal scores of 0 and a sink at 0, minus its logarithm is log(1 + members)."""
    attention = PairAttention(8, 2, 2)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.zero_()
        attention.out.weight[:, -2:] = 1  # read the sinks of both heads
    x, pair = torch.randn(1, 5, 8), torch.randn(1, 5, 5, 2)
    for members in (1, 3, 5):
        present = (torch.arange(5) < members)[None]
        out = attention(x, pair, present)
        assert float(out[0, 0, 0].detach()) == pytest.approx(2 * math.log(1 + members), rel=1e-5)


def test_pooling_leaves_out_padding_and_survives_empty_sets():
    x = torch.tensor([[[1.0], [3.0], [50.0]], [[7.0], [7.0], [7.0]]])
    present = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean_and_max(x, present).tolist() == [[2.0, 3.0], [0.0, 0.0]]


def test_all_weights_are_trained(network):
    x, pair = draw(4, 5)
    network.zero_grad()
    network(x, pair, torch.ones(4, 5, dtype=torch.bool)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()


def test_width_must_be_shared_out_over_the_heads():
    with pytest.raises(ValueError, match="multiple"):
        PairAttention(10, 2, 4)
