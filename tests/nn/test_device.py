"""Half precision only where the device computes in it."""

from __future__ import annotations

import pytest
import torch

from physml.nn.device import half_precision


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, None),
        ({"avx2": True, "avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"neon": True, "bf16": True}, torch.bfloat16),
        ({}, None),
    ],
)
def test_a_processor_without_bfloat16_computes_in_float32(monkeypatch, instructions, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert half_precision(torch.device("cpu")) is expected


def test_other_devices_compute_in_bfloat16():
    assert half_precision(torch.device("cuda")) is torch.bfloat16
