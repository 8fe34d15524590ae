"""Which weights a report is made with."""

from __future__ import annotations

import logging

import pytest

from physml import models
from physml.pipeline import get_pipeline, pipeline_names


@pytest.mark.parametrize("pipeline", pipeline_names())
def test_weights_of_this_run_only_where_none_are_shipped(
    pipeline, tmp_path, monkeypatch, caplog
) -> None:
    loaded = []
    own = tmp_path / "own.safetensors"
    monkeypatch.setattr(
        get_pipeline(pipeline).predictor_class(),
        "load",
        classmethod(lambda cls, path=None: loaded.append(path)),
    )
    assert models.shipped_weights(pipeline).is_file()
    assert "shipped" in models.load_for_report(pipeline, own)[1]
    monkeypatch.setattr(models, "shipped_weights", lambda pipeline: tmp_path / "none")
    with caplog.at_level(logging.WARNING):
        assert "this run" in models.load_for_report(pipeline, own)[1]
    assert "no weights are shipped" in caplog.text
    assert loaded == [None, own]
