"""The fake device refuses what CUDA refuses, and lets through what CUDA lets through.

Where there is a GPU, `device` gives it, so that these tests check the claims themselves.
"""

from __future__ import annotations

import copy
import io
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from fakes.device import device
from torch import nn

from physml.io.weights import load_weights, save_weights
from physml.training.ema import WeightAverage
from physml.training.optimiser import adamw

MIXED = "same device|for generator|on cpu or on the same device|tensor to numpy"


@pytest.fixture
def there():
    with device() as made:
        yield made


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 1))


REFUSED = {
    "sum with a CPU tensor": lambda x, c: x + c,
    "written to a CPU tensor": lambda x, c: c.add_(x),
    "written to a CPU number": lambda x, c: c.sum().add_(x.sum()),
    "one number on the device, many on the CPU": lambda x, c: x.sum() * c,
    "product of matrices": lambda x, c: x @ c.T,
    "layer": lambda x, c: nn.functional.linear(x, c),
    "stacked": lambda x, c: torch.stack([x, c]),
    "joined": lambda x, c: torch.cat([c, x]),
    "CPU tensor at indices of the device": lambda x, c: c[(x[:, 0]).long()],
    "CPU tensor under a mask of the device": lambda x, c: c[x > 0],
    "values of the CPU put at a mask of the device": lambda x, c: x.index_put_((x > 0,), c.ravel()),
    "values of the device put into a CPU tensor": lambda x, c: c.index_put_((c > 0,), x.ravel()),
    "rows by a CPU index": lambda x, c: x.index_select(0, torch.tensor([0])),
    "embedding": lambda x, c: nn.functional.embedding(torch.tensor([0]), x),
    "mask of the CPU": lambda x, c: torch.where(c > 0, x, x + 1),
    "filled under a mask of the CPU": lambda x, c: x.masked_fill(c > 0, 0.0),
    "two CPU numbers": lambda x, c: torch.clamp(x, torch.tensor(0.0), torch.tensor(1.0)),
    "loss": lambda x, c: nn.functional.mse_loss(x, c),
    "class weights": lambda x, c: nn.functional.cross_entropy(x, x[:, 0].long(), weight=c[0]),
    "compared": lambda x, c: torch.equal(x, c),
    "all at once": lambda x, c: torch._foreach_add_([x], [c]),
    "random numbers of the CPU": lambda x, c: torch.poisson(x, torch.Generator()),
    "random numbers of the device": lambda x, c: torch.poisson(c, torch.Generator(x.device)),
    "numpy": lambda x, c: x.numpy(),
    "numpy's own way": lambda x, c: np.asarray(x),
}

ALLOWED = {
    "number of Python": lambda x, c: 2 * x - 1.5,
    "CPU number": lambda x, c: x * torch.tensor(2.0),
    "CPU number first": lambda x, c: torch.tensor(2.0) * x,
    "CPU number raised": lambda x, c: torch.tensor(2.0) ** x,
    "two numbers": lambda x, c: x.sum() + c.sum(),
    "CPU indices": lambda x, c: x[torch.tensor([1, 0])],
    "CPU mask": lambda x, c: x[c > 0],
    "chosen of CPU numbers": lambda x, c: torch.where(x > 0, torch.tensor(1.0), torch.tensor(2.0)),
    "filled with a CPU number": lambda x, c: x.masked_fill(x > 1, torch.tensor(0.5)),
    "part set to CPU values": lambda x, c: x.clone().index_fill_(0, (x[:1, 0]).long(), 3.0),
    "copied into": lambda x, c: x.clone().copy_(2 * c),
    "made like it": lambda x, c: torch.zeros_like(x) + torch.ones(2, 3, device=x.device),
    "made new": lambda x, c: x.new_tensor([1.0, 2.0, 3.0]) + x.new_zeros(3),
    "made of numbers": lambda x, c: torch.tensor([1.0, 2.0], device=x.device),
    "moved": lambda x, c: c.to(x) + x,
    "conjugated": lambda x, c: torch.complex(x, x + 1).conj() * torch.complex(x, 2 * x),
    "adjoint": lambda x, c: (torch.complex(x, x + 1).mH @ torch.complex(x, 2 * x)).abs(),
    "imaginary part, negated": lambda x, c: torch.complex(x, x + 1).conj().imag + x,
    "eigenvalues": lambda x, c: torch.linalg.eigvalsh(x.double() @ x.double().T),
}


@pytest.mark.parametrize("how", [nullcontext, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", REFUSED)
def test_mixed_devices_are_refused(there, name, how):
    with how(), pytest.raises((RuntimeError, TypeError, IndexError), match=MIXED):
        REFUSED[name](torch.ones(2, 3, device=there), torch.ones(2, 3))


@pytest.mark.parametrize("how", [nullcontext, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ALLOWED)
def test_what_cuda_allows_gives_what_the_cpu_gives(there, name, how):
    with how():
        c = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.0, 3.0]])
        found = ALLOWED[name](c.to(there), c)
        assert found.device.type == there.type
        torch.testing.assert_close(found.cpu(), ALLOWED[name](c.clone(), c))


def test_values_come_over(there):
    x = torch.arange(3.0, device=there)
    assert x.tolist() == [0, 1, 2]
    assert (float(x.sum()), x[1].item(), bool((x >= 0).all())) == (3.0, 1.0, True)
    assert x.cpu().numpy().tolist() == [0, 1, 2]
    c = torch.zeros(2, 3)
    c[1] = x  # a copy brings values over, in both directions
    x[:2] = torch.full((2,), 7.0)
    assert (c[1].tolist(), x.tolist()) == ([0, 1, 2], [7, 7, 2])
    assert torch.device("cpu") == torch.zeros_like(x, device="cpu").device


def test_random_numbers_follow_from_the_seed(there):
    def drawn() -> list[float]:
        generator = torch.Generator(there).manual_seed(4)
        x = torch.rand(3, device=there, generator=generator)
        return [*x.tolist(), *torch.poisson(10 * x, generator).tolist()]

    assert drawn() == drawn()


def test_a_moved_network_keeps_its_parameters(there):
    net = network()
    before = list(net.parameters())
    assert all(p is q for p, q in zip(before, net.to(there).parameters(), strict=True))
    assert {p.device.type for p in [*net.parameters(), *net.buffers()]} == {there.type}
    with pytest.raises(RuntimeError, match=MIXED):
        net(torch.ones(2, 4))


def learned(where: torch.device, path) -> tuple[list[torch.Tensor], nn.Module]:
    """Weights after some steps, their average, and the network after a round trip by file."""
    net = network().to(where)
    optimiser, average = adamw(net, 0.1, 0.01), WeightAverage(net, 0.9)
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1)).to(where)
    for _ in range(3):
        optimiser.zero_grad(set_to_none=True)
        (net(x) - x[:, :1]).square().mean().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimiser.step()
        torch._foreach_lerp_(*average._averaged[:1], average._current[0], 0.1)
    buffer = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimiser": optimiser.state_dict()}, buffer)
    buffer.seek(0)
    again = copy.deepcopy(net)
    content = torch.load(buffer, map_location=where, weights_only=True)
    again.load_state_dict(content["net"])
    optimiser.load_state_dict(content["optimiser"])
    optimiser.step()
    weights = {k: v.detach().cpu() for k, v in again.state_dict().items()}
    save_weights(path, weights, {})
    assert all(torch.equal(v, weights[k]) for k, v in load_weights(path)[0].items())
    return [t.detach().cpu() for t in (*net.parameters(), *average._averaged[0])], again


def test_training_on_the_device_is_training_on_the_cpu(there, tmp_path):
    expected, _ = learned(torch.device("cpu"), tmp_path / "a.safetensors")
    found, net = learned(there, tmp_path / "b.safetensors")
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert {p.device.type for p in net.parameters()} == {there.type}


def test_autocast_computes_in_bfloat16(there):
    net = network().to(there)
    with torch.autocast(there.type, dtype=torch.bfloat16):
        out = net(torch.ones(2, 4, device=there))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in net.parameters())


def test_the_device_is_gone_afterwards():
    with device():
        pass
    import ignite.distributed as idist

    assert idist.device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    nn.Linear(2, 2)(torch.ones(1, 2)).sum().backward()
