"""NaN from a simulator: the stage stops, names the samples, and writes nothing."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes.background import toy_exposure

from physml.cli.main import main
from physml.exceptions import InputError, NonFiniteError
from physml.io.shards import ShardWriter, write_shard
from physml.stages.simulate import require_finite


def check_refused(pipeline: str, simulate: dict, folder: Path, capsys, sample: int) -> None:
    settings = json.dumps({"simulate": simulate})
    out = folder / "0.h5"
    assert main([pipeline, "simulate", "--settings", settings, "-o", str(out)]) == 1
    message = capsys.readouterr().err
    assert f"with samples {sample}\n" in message
    assert "simulation" in message
    assert "nan" in message
    assert list(folder.iterdir()) == []


def test_tomography(tmp_path: Path, capsys, monkeypatch) -> None:
    from physml.tomography.simulator import histories

    honest, calls = histories.probabilities, itertools.count(1)

    def broken(*arguments):
        found = honest(*arguments).clone()
        if next(calls) == 4:
            found[3, 0] = torch.nan
        return found

    monkeypatch.setattr(histories, "probabilities", broken)
    designs = dict.fromkeys(("adaptive", "product", "random", "mub", "sic"), 0)
    settings = {"n_samples": 8, "shard_size": 8, "n_qubits": [1], "copies": 100, "designs": designs}
    check_refused("tomography", settings, tmp_path, capsys, 3)


def test_cavities(tmp_path: Path, capsys, monkeypatch) -> None:
    from physml.cavities.simulator import render

    honest, calls = render.render, itertools.count(1)

    def broken(*arguments, **options):
        made = honest(*arguments, **options)
        if next(calls) == 2:
            made.expected[0, 3, 4] = torch.nan
        return made

    monkeypatch.setattr(render, "render", broken)
    check_refused("cavities", {"n_samples": 2, "shard_size": 2}, tmp_path, capsys, 1)


def test_background(tmp_path: Path, capsys, monkeypatch) -> None:
    from physml.background.simulator import exposure

    def broken(conditions, base, settings, index, rng):
        frames = toy_exposure(index, 5, rng=rng)
        pixels = frames.pixels.copy()
        if index == 1:
            pixels["energy"][2] = np.nan
        return replace(frames, pixels=pixels)

    monkeypatch.setattr(exposure, "expose", broken)
    check_refused("background", {"n_samples": 2, "shard_size": 2}, tmp_path, capsys, 1)


def test_samples_are_named_in_arrays_and_tables() -> None:
    values = np.zeros((4, 3))
    values[1, 2], values[3, 0] = np.inf, np.nan
    with pytest.raises(NonFiniteError, match=r"counts: found inf .* with samples 11, 13$"):
        require_finite("counts", values, [10, 11, 12, 13])
    table = np.zeros(2, [("x", "f4")])
    table["x"][1] = np.nan
    with pytest.raises(NonFiniteError, match=r"x of stars.*samples 7"):
        require_finite("stars", table, [7])
    require_finite("whole", np.arange(3), [1, 2, 3])


def test_shards_name_the_samples(tmp_path: Path) -> None:
    values = {"x": np.zeros((3, 2), np.float32), "index": np.array([40, 41, 42])}
    values["x"][1, 0] = np.nan
    with pytest.raises(InputError, match=r"nan at index .*, in samples 41"):
        write_shard(tmp_path / "a.h5", values, provenance={})
    with (
        pytest.raises(InputError, match="in samples 41"),
        ShardWriter(tmp_path / "b.h5", provenance={}) as writer,
    ):
        writer.append(values)
    assert list(tmp_path.iterdir()) == []
