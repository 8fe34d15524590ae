"""Images drawn anew at each step: those of simulator and preprocessing, and reproducible."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes.device import device

from physml.cavities.inference.networks import CavityNet
from physml.cavities.learning.fresh import FreshImages, found_sources
from physml.cavities.learning.image_sets import CavityImages
from physml.cavities.learning.losses import CavityLoss
from physml.cavities.learning.prepared import prepare_batch
from physml.cavities.settings import LossSettings, NetworkSettings, SimulateSettings
from physml.cavities.simulator.batch import POINT_SOURCE, observe, simulate_batch
from physml.cavities.simulator.prior import draw
from physml.exceptions import Checkpointed
from physml.random import stream
from physml.training.initialise import initialise
from physml.training.loop import fit
from physml.training.settings import TrainBase

#: Everything that an image can have, in most of them.
RICH = SimulateSettings.model_validate(
    {
        "image_size": 64,
        "cavities": {"none": 0.1, "rims": 0.6},
        "nuisance": {"sources": 0.9, "sloshing": 0.5, "front": 0.5, "clump": 0.5, "jet": 0.3},
        "instrument": {"exposure": 0.7},
    }
)
N = 8


@pytest.fixture(scope="module")
def images() -> FreshImages:
    return FreshImages(RICH, 5, N, rethin=0.5, flatten=0.5)


def drawn(images: FreshImages, step: int, augment: bool = True, mine: slice = slice(None)):
    return images.part(np.arange(N), stream(5, "augment", step), augment, mine)


def test_what_is_rendered_is_what_the_simulator_renders(images):
    raw = drawn(images, 0)
    scene, made = images.rendered(raw)
    seen, masked = 0, 0
    fwhm = scene.params["psf_fwhm"] * (1 + 0.5 * scene.params["psf_growth"])
    circles = found_sources(raw["sources"], fwhm, made.expected)
    for row, number in enumerate(raw["id"].tolist()):
        _, exposure, alone = observe(RICH, draw(RICH, 5, number))
        np.testing.assert_array_equal(raw["exposure"][row].numpy(), exposure[0])
        close = {"rtol": 2e-4, "atol": 1e-4 * float(alone.expected.max())}
        torch.testing.assert_close(made.expected[row], alone.expected[0], **close)
        torch.testing.assert_close(made.background[row], alone.background[0])
        whole = simulate_batch(RICH, 5, [number])
        hidden = (whole.invalid[0] & POINT_SOURCE) > 0
        assert (circles[row].numpy() > 0).tolist() == hidden.tolist()
        seen, masked = seen + len(draw(RICH, 5, number).cavities), masked + hidden.any()
    assert seen >= N - 2  # most images have cavities ...
    assert masked >= 2  # ... and some have sources that are masked


def test_a_batch_is_what_preprocessing_makes_of_the_same_images(images):
    raw = drawn(images, 1, augment=False)
    made = images.finish(raw)
    simulated = simulate_batch(RICH, 5, raw["id"].tolist())
    whole = CavityImages(
        prepare_batch(simulated, 5)
        | {name: getattr(simulated, name) for name in ("mask", "cavities", "index", "cluster")}
    ).batch(np.arange(N), stream(5, "augment", 1), False)
    assert made.keys() == whole.keys()
    assert made["id"].tolist() == whole["id"].tolist()
    # Labels, masks and exposure are the same; the noise is another.
    for name in ("cavity", "size_weight", "clear", "weight"):
        agree = (made[name] == whole[name]).float().mean()
        assert agree > 0.999, name
    torch.testing.assert_close(made["centre"], whole["centre"], rtol=0, atol=0.05)
    assert made["image"].shape == whole["image"].shape
    for channel in range(7):
        mine, theirs = made["image"][:, channel], whole["image"][:, channel]
        assert abs(float(mine.mean() - theirs.mean())) < 0.1 * float(theirs.std() + 1e-3), channel
        assert float(mine.std()) == pytest.approx(float(theirs.std()), rel=0.15, abs=1e-3), channel


def test_a_batch_follows_from_its_generator_and_no_image_comes_twice(images):
    one, two, other = (images.batch(np.arange(N), stream(5, "augment", k), True) for k in (3, 3, 4))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not set(one["id"].tolist()) & set(other["id"].tolist())


def test_processes_draw_their_shares_of_the_same_batch(images):
    """The last digit of what is rendered depends on the batch, with it a count here or there."""
    whole = images.finish(drawn(images, 6))
    for rank in range(2):
        mine = slice(rank, None, 2)
        share = images.finish(drawn(images, 6, mine=mine))
        assert share["id"].tolist() == whole["id"][mine].tolist()
        for name, value in share.items():
            same = (value - whole[name][mine]).abs() <= 0.02 * (1 + value.abs())
            assert same.float().mean() > 0.99, name


def test_a_batch_on_a_device_is_that_on_the_cpu(images):
    raw = drawn(images, 7)
    expected = images.finish(raw)
    with device() as there:
        found = images.finish({k: v if k == "id" else v.to(there) for k, v in raw.items()})
        assert {v.device.type for k, v in found.items() if k != "id"} == {there.type}
        found = {k: v.cpu() for k, v in found.items()}
    if torch.cuda.is_available():  # whose random numbers are others
        assert found["cavity"].shape == expected["cavity"].shape
        return
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-3, msg=name)


def test_a_training_with_new_images_goes_on_where_it_was_stopped(images, tmp_path):
    settings = TrainBase(epochs=2, batch_size=4, checkpoint_minutes=0)
    network = NetworkSettings(widths=(4, 8), decoder_widths=(4, 8))
    valid = FreshImages(RICH, 6, 4)

    def trained(folder, limit=None):
        model = initialise(lambda: CavityNet(network), 1)
        loss = CavityLoss(LossSettings())
        return fit(model, loss, images, valid, settings, state=folder, seed=1, time_limit_s=limit)

    whole = trained(tmp_path / "whole").weights
    with pytest.raises(Checkpointed):
        trained(tmp_path / "stopped", 0.0)
    again = trained(tmp_path / "stopped").weights
    assert all(torch.equal(again[name], value) for name, value in whole.items())
