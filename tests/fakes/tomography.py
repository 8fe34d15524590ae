"""What the tests of the tomographer's interface share."""

from __future__ import annotations

import json

import numpy as np
import torch

from physml.tomography.core import born as measure
from physml.tomography.core import measurements as povm
from physml.tomography.core.states import named_state


def quick_figure(monkeypatch):
    """Draw next to nothing: for tests that are not about the picture."""
    from matplotlib.figure import Figure

    from physml.tomography.results import overview

    monkeypatch.setattr(overview, "plot_overview", lambda result: Figure(figsize=(1, 1)))


def noisy(name="phi+", noise=0.05, n=2):
    """A named state with white noise, (d, d)."""
    d = 1 << n
    return (1 - noise) * named_state(name, n) + noise * torch.eye(d, dtype=torch.complex128) / d


def pauli_data(rho, shots=500, seed=0):
    """Settings and counts of all Pauli strings."""
    rng = np.random.default_rng(seed)
    n = rho.shape[-1].bit_length() - 1
    out = []
    for setting in povm.pauli_settings(n, shots):
        p = measure.probabilities(torch.from_numpy(setting.effects), rho[None])
        counts = measure.sample_counts(p, shots, rng)[0].numpy().astype(np.int64)
        out.append((setting, counts))
    return out


def write_csv(path, data, columns=None):
    """Wide CSV of Pauli data."""
    names = columns or ["axes", *data[0][0].outcomes]
    lines = [",".join([s.id, *map(str, c)]) for s, c in data]
    path.write_text("\n".join([",".join(names), *lines]) + "\n")
    return path


def write_json(path, data):
    """The JSON that a controller writes: axes and counts."""
    rows = [{"axes": s.id, "counts": [int(x) for x in c]} for s, c in data]
    path.write_text(json.dumps({"measurements": rows}))
    return path
