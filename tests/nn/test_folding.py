"""Batch norms folded into convolutions leave the network's function as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from physml.nn.folding import folded
from physml.nn.resnet import ResNet
from physml.nn.unet import UNet


def with_statistics(network: nn.Module) -> nn.Module:
    """A network whose batch norms have seen data, so that they do something."""
    torch.manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.2, 3)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return network.eval()


@pytest.mark.parametrize("kind", ["unet", "resnet"])
def test_a_folded_network_is_the_same_function(kind):
    torch.manual_seed(1)
    if kind == "unet":
        network, inputs = UNet(3, 2, 4, (8, 8, 16)), (torch.randn(2, 3, 32, 48),)
    else:
        network, inputs = ResNet(3, 5, 4, (8, 16)), (torch.randn(2, 3, 16, 16), torch.randn(2, 5))
    with_statistics(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fast = folded(network)
    with torch.no_grad():
        wanted, got = network(*inputs), fast(*inputs)
    for w, g in zip(*((x if isinstance(x, tuple) else (x,)) for x in (wanted, got)), strict=True):
        assert float(w.std()) > 1e-3
        torch.testing.assert_close(g, w, atol=1e-5, rtol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules())
    # The network itself stays as it was.
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
