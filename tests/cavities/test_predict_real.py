"""Real images: the known cavities of NGC 5813 and NGC 4649, and none in Abell 1835.

Where they are stands in `physml.cavities.evaluation.real_images`.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from physml.cavities.evaluation.real_images import KNOWN, found_in


@pytest.fixture(scope="module")
def model():
    weights = files("physml") / "weights" / "cavities.safetensors"
    if not weights.is_file():
        pytest.skip("no trained weights in physml/weights; train and ship them first")
    import physml

    return physml.Model.load("cavities")


def test_ngc_5813(model, shared_data):
    table = model.predict(shared_data / "chandra" / "NGC5813.fits").catalogue
    found = found_in(table, KNOWN["ngc5813"])
    assert len(found) >= 4, f"only {sorted(found)}"
    used = found.values()
    others = [row for i, row in enumerate(table) if i not in used and row["probability"] > 0.5]
    assert len(others) <= 2, others


def test_ngc_4649(model, shared_data):
    table = model.predict(shared_data / "chandra" / "NGC4649.fits").catalogue
    found = found_in(table, KNOWN["ngc4649"])
    assert sorted(found) == ["N", "S"], table


def test_abell_1835(model, shared_data, tmp_path):
    xmm = shared_data / "xmm"
    image = xmm / "P0098010101M2U009IMAGE_3000.FTZ"
    maps = {
        "exposure": xmm / "P0098010101M2U009EXPMAP3000.FTZ",
        "mask": xmm / "M2ptsrc.txt",
        "redshift": 0.252,
    }
    # Its background map was made from the image with the cluster in it: to subtract it cuts the
    # cluster's own light. That is told, and nothing found with it is sure.
    subtracted = model.predict(image, background=xmm / "P0098010101M2X000BKGMAP3000.FTZ", **maps)
    assert any("it holds light of the cluster" in w for w in subtracted.warnings)
    assert all(map(subtracted.is_candidate, range(len(subtracted.catalogue))))
    # Without a map the background is fitted as a constant.
    result = model.predict(image, **maps)
    assert not result.observation.doubts
    assert all(str(flags) for flags in result.catalogue["flags"]), result.catalogue
    assert not np.any(result.catalogue["probability"] > 0.9)
    assert np.hypot(result.centre[0] - 328, result.centre[1] - 348) < 3
    out = result.write(tmp_path / "a1835")
    assert (out / "overview.png").stat().st_size > 50_000
