"""Weights: safetensors with a card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from physml import provenance
from physml.exceptions import InputError
from physml.io import origin
from physml.io.weights import load_weights, read_metadata, read_shapes, save_weights


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def test_round_trip(tmp_path: Path, net: nn.Module) -> None:
    path = tmp_path / "a.safetensors"
    record = provenance.record("train", {"seed": 3})
    card = {
        "pipeline": "cavities",
        "threshold": {"counts": [1e3, 1e4], "value": [0.5, np.float64(0.4)]},
        "text": "a card",
        "provenance": record,
    }
    save_weights(path, net.state_dict(), card)
    state, metadata = load_weights(path)
    assert set(state) == set(net.state_dict())
    for name, tensor in net.state_dict().items():
        assert torch.equal(state[name], tensor)
        assert state[name].dtype == tensor.dtype
    assert metadata == json.loads(
        json.dumps({**card, "threshold": provenance.jsonable(card["threshold"])})
    )
    assert origin.read(path) == record
    fresh = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    fresh.load_state_dict(state)


def test_half_precision_on_disk_single_in_memory(tmp_path: Path, net: nn.Module) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, net.state_dict(), {}, dtype="float16")
    assert read_shapes(path)["0.weight"] == ("F16", (4, 1, 3, 3))
    assert read_shapes(path)["1.num_batches_tracked"][0] == "I64"
    state, _ = load_weights(path)
    for name, tensor in net.state_dict().items():
        assert state[name].dtype in (torch.float32, torch.int64)
        torch.testing.assert_close(state[name], tensor, rtol=1e-3, atol=1e-6)


def test_metadata_without_torch_or_tensors(tmp_path: Path, net: nn.Module) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, net.state_dict(), {"pipeline": "cavities"})
    assert read_metadata(path) == {"pipeline": "cavities"}
    # Metadata of another program are texts, not JSON.
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, path, {"format": "pt"})
    assert read_metadata(path) == {"format": "pt"}


def test_tied_sliced_and_gradient_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    base = torch.arange(12.0).reshape(3, 4).requires_grad_()
    save_weights(path, {"a": base, "b": base, "c": base.T, "d": base[:, 1]}, {})
    state, _ = load_weights(path)
    assert torch.equal(state["a"], base.detach())
    assert torch.equal(state["b"], base.detach())
    assert torch.equal(state["c"], base.detach().T)
    assert torch.equal(state["d"], base.detach()[:, 1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_weights_are_not_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(InputError, match="finite float32 weights in 'a'"):
        save_weights(tmp_path / "a.safetensors", {"a": torch.tensor([1.0, value])}, {})
    assert list(tmp_path.iterdir()) == []


def test_too_large_for_half_precision(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="finite float16 weights in 'a'"):
        save_weights(tmp_path / "a.safetensors", {"a": torch.tensor([1e5])}, {}, dtype="float16")


def test_header_of_any_length_is_no_pickle(tmp_path: Path) -> None:
    """The length of the header is the first byte: it may look like that of another format."""
    path = tmp_path / "a.safetensors"
    seen = set()
    for n in range(0, 300, 8):
        save_weights(path, {"a": torch.zeros(2)}, {"pad": "x" * n}, overwrite=True)
        seen.add(path.read_bytes()[0])
        assert torch.equal(load_weights(path)[0]["a"], torch.zeros(2))
    assert {0x80, ord("(")} & seen
