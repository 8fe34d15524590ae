"""CADET (pycadet 0.3.5) on a stack of images: natively, or several times faster, same answer.

This file runs in the rival's own environment (numpy, torch, keras, pycadet and nothing of ours):

    python3.11 -m venv cadet-venv
    cadet-venv/bin/pip install -c constraints.txt torch pycadet==0.3.5

``cavities_vs_cadet.py`` calls it with ``--rival-python cadet-venv/bin/python``.

pycadet runs its network through keras, one image and four rotations at a time, and spends most
of its time on kernels of up to 64 x 64 pixels with one to eight output channels. ``FastCadet``
loads the same weights into the same computation: kernels up to 5 x 5 as direct convolutions, the
wider ones by FFT, padded so that nothing wraps around. Float32 throughout; ``--verify`` measures
the difference from the native path, and the benchmark refuses to go on when it is not negligible.

Everything around the network is CADET's own: log10(counts + 1) after its rescaling of images
with values below one, the mean over four rotations, and ``pycadet.decompose`` with the thresholds
of its ``CADET`` function (0.4 for the pixels, more than 12 in summed probability). Its detection
threshold (0.7 on the peak) is left to the caller: every candidate is returned with its peak.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from unittest import mock

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import torch
import torch.nn.functional as F

PIXEL_THRESHOLD, MINIMAL_AREA, DETECTION_THRESHOLD = 0.4, 12, 0.7  # defaults of pycadet.CADET
SIZE = 128
BATCH_NORM_EPSILON = 1e-3  # keras' default, and what the shipped model was built with


def normalise(image: np.ndarray) -> np.ndarray:
    """CADET's input: the smallest non-zero value raised to one, then log10(1 + counts)."""
    smallest = np.min(np.where(image == 0, 1, image))
    return np.log10((image / smallest if smallest < 1 else image) + 1)


def fft_kernel(weight: torch.Tensor, size: int) -> torch.Tensor:
    """Lay a (out, in, k, k) correlation kernel out for a circular convolution of ``size`` pixels.

    Keras pads "same" with (k - 1) // 2 pixels before and the rest after, also for even k.
    """
    k = weight.shape[-1]
    padded = torch.zeros(*weight.shape[:2], size, size)
    padded[:, :, :k, :k] = weight.flip(-1, -2)
    shift = (k - 1) // 2 - (k - 1)
    return torch.roll(padded, (shift, shift), (2, 3))


class FastCadet:
    """CADET's network: five blocks of parallel convolutions, each followed by a 1 x 1 mixing.

    Parameters
    ----------
    weights
        Name of layer -> list of arrays, as ``keras.Model.layers[i].get_weights()`` gives them.
    """

    def __init__(self, weights: dict[str, list[np.ndarray]]) -> None:
        self._weights = weights
        self._conv_index = self._norm_index = 0
        self.first = self._norm()
        self.blocks = [self._block(7, direct=7 if i == 0 else 3, last=False) for i in range(4)]
        self.blocks.append(self._block(4, direct=0, last=True))
        used = {k for k in weights if k.startswith("conv2d")}
        if len(used) != self._conv_index:
            raise ValueError(f"expected {self._conv_index} convolutions, the file has {len(used)}")

    def _conv(self) -> tuple[torch.Tensor, torch.Tensor]:
        i, self._conv_index = self._conv_index, self._conv_index + 1
        kernel, bias = self._weights["conv2d" + (f"_{i}" if i else "")]
        kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        return torch.from_numpy(kernel), torch.from_numpy(bias)

    def _norm(self) -> tuple[torch.Tensor, torch.Tensor]:
        i, self._norm_index = self._norm_index, self._norm_index + 1
        gamma, beta, mean, variance = self._weights["batch_normalization" + (f"_{i}" if i else "")]
        scale = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
        return torch.tensor(scale)[:, None, None], torch.tensor(beta - mean * scale)[:, None, None]

    def _block(self, branches: int, direct: int, last: bool) -> dict:
        convolutions = [self._conv() for _ in range(branches)]
        norms = [self._norm() for _ in range(branches)]
        block: dict = {
            "direct": [
                (w.contiguous(memory_format=torch.channels_last), b)
                for w, b in convolutions[:direct]
            ],
            "fft": None,
            "scale": torch.cat([n[0] for n in norms]),
            "shift": torch.cat([n[1] for n in norms]),
        }
        wide = convolutions[direct:]
        if wide:
            # 144 = 128 + 16 and 192 = 128 + 64 hold the widest kernel's margin and factor well.
            size = 192 if last else 144
            kernels = torch.cat([fft_kernel(w, size) for w, _ in wide])
            spectrum = torch.fft.rfft2(kernels).permute(2, 3, 1, 0)
            block["fft"] = (
                spectrum.reshape(-1, *spectrum.shape[2:]).contiguous(),
                torch.cat([b for _, b in wide])[:, None, None],
                size,
            )
        block["mix"] = self._conv()
        block["mix_norm"] = None if last else self._norm()
        return block

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the probability (batch, 128, 128) of normalised images (batch, 1, 128, 128)."""
        x = images * self.first[0] + self.first[1]
        for block in self.blocks:
            x = x.contiguous(memory_format=torch.channels_last)
            out = [F.conv2d(x, w, b, padding=w.shape[-1] // 2) for w, b in block["direct"]]
            if block["fft"] is not None:
                spectrum, bias, size = block["fft"]
                transformed = torch.fft.rfft2(x.contiguous(), s=(size, size)).permute(2, 3, 0, 1)
                half = size // 2 + 1
                product = torch.bmm(transformed.reshape(size * half, len(x), -1), spectrum)
                product = product.reshape(size, half, len(x), -1).permute(2, 3, 0, 1)
                full = torch.fft.irfft2(product, s=(size, size))
                out.append(full[..., :SIZE, :SIZE] + bias)
            # The normalisation comes after the rectifier and before zero padding: not foldable.
            x = torch.cat(out, 1).relu_() * block["scale"] + block["shift"]
            x = F.conv2d(x.contiguous(memory_format=torch.channels_last), *block["mix"])
            if block["mix_norm"] is not None:
                x = x.relu_() * block["mix_norm"][0] + block["mix_norm"][1]
        return torch.sigmoid(x)[:, 0]


def load_fast() -> FastCadet:
    """Read the weights inside the installed pycadet."""
    import pycadet
    from keras.models import load_model

    path = Path(pycadet.__file__).with_name("CADET.hdf5")
    model = load_model(path, compile=False, safe_mode=True)
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    return FastCadet({k: [np.asarray(a) for a in w] for k, w in weights.items() if w})


def predict_fast(network: FastCadet, image: np.ndarray) -> np.ndarray:
    """Probability map of one image (128, 128), averaged over four rotations as CADET does."""
    x = normalise(image.astype(np.float64))
    rotated = np.stack([np.rot90(x, j) for j in range(4)])[:, None].astype(np.float32)
    out = network(torch.from_numpy(np.ascontiguousarray(rotated))).numpy()
    return np.mean([np.rot90(out[j], -j) for j in range(4)], axis=0, dtype=np.float64)


def candidates(
    probability: np.ndarray,
    pixel: float = PIXEL_THRESHOLD,
    area: float = MINIMAL_AREA,
    volumes: bool = True,
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """All cavities that CADET would consider in a probability map, whatever their peak.

    Parameters
    ----------
    probability
        Map (128, 128).
    pixel, area
        Its threshold for the pixels, and the sum of probabilities that a cavity has to exceed.
    volumes
        Whether CADET's own volumes are wanted, which take most of the time; else they are NaN.

    Returns
    -------
    labels, rows
        Label image (128, 128) uint8 and, for each label from 1, its position, peak probability,
        area (pixels), CADET's own area (sum of probabilities), and CADET's own volume.
    """
    import pycadet

    labels = np.zeros(probability.shape, np.uint8)
    rows = []
    cavities = pycadet.decompose(probability, th1=pixel, th2=0.0, amin=area)
    for k, cavity in enumerate(cavities, start=1):
        inside = cavity > 0
        labels[inside] = k
        y, x = np.nonzero(inside)
        rows.append(
            {
                "label": k,
                "x": float(np.average(x, weights=cavity[inside])),
                "y": float(np.average(y, weights=cavity[inside])),
                "score": float(cavity.max()),
                "area": float(inside.sum()),
                "area_summed": float(cavity.sum()),
                "volume": float(pycadet.make_3D_cavity(cavity).sum()) if volumes else np.nan,
            }
        )
    return labels, rows


def run(images: Path, out: Path) -> None:
    """Predict each stack ``images/NAME.npy`` into ``out/NAME.npz``, leaving out what is there."""
    todo = missing(images, out, ".npy")
    network = load_fast() if todo else None
    for number, path in enumerate(todo, start=1):
        began = time.process_time()
        probability, labels, rows = [], [], []
        for i, image in enumerate(read(path)):
            assert network is not None
            p = predict_fast(network, image)
            mask, found = candidates(p)
            probability.append(p.astype(np.float16))
            labels.append(mask)
            rows += [{"image": i, **row} for row in found]
        save(out / f"{path.stem}.npz", np.stack(probability), labels, rows, began)
        print(f"CADET: {number} of {len(todo)} stacks", file=sys.stderr, flush=True)


def decompose_again(predicted: Path, out: Path, pixel: float, volumes: bool) -> None:
    """Cavities of maps that are there (``predicted/NAME.npz``) at another pixel threshold.

    None is left out for its area: that is the caller's.
    """
    for path in missing(predicted, out, ".npz"):
        began = time.process_time()
        labels, rows = [], []
        with np.load(path, allow_pickle=False) as stored:
            probability = stored["probability"]
        for i, p in enumerate(probability):
            mask, found = candidates(p.astype(np.float64), pixel, 0.0, volumes)
            labels.append(mask)
            rows += [{"image": i, **row} for row in found]
        save(out / path.name, probability, labels, rows, began)


def missing(folder: Path, out: Path, ending: str) -> list[Path]:
    """Files of a folder for which there is no result yet."""
    out.mkdir(parents=True, exist_ok=True)
    return [p for p in sorted(folder.glob(f"*{ending}")) if not (out / f"{p.stem}.npz").exists()]


def save(path: Path, probability: np.ndarray, labels: list, rows: list, began: float) -> None:
    """Write a stack's result; it appears whole or not at all, so that a run can be stopped."""
    temporary = path.with_name(f".{path.stem}.tmp")
    with temporary.open("wb") as file:
        np.savez_compressed(
            file,
            probability=probability,
            labels=np.stack(labels),
            rows=np.frombuffer(json.dumps(rows).encode(), np.uint8),
            cpu_seconds=time.process_time() - began,
        )
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read(path: Path) -> np.ndarray:
    """Read a stack (n, 128, 128) of flat-fielded counts, none negative."""
    images = np.load(path, allow_pickle=False)
    if images.ndim != 3 or images.shape[1:] != (SIZE, SIZE):
        raise SystemExit(f"{path}: expected (n, {SIZE}, {SIZE}), found {images.shape}")
    if not np.isfinite(images).all() or images.min() < 0:
        raise SystemExit(f"{path}: expected finite counts from zero on")
    return images


def verify(images: np.ndarray) -> dict[str, object]:
    """Compare the fast path with pycadet's own on these images, and time each image.

    CPU seconds of this process, three times for each image: ``native`` is what a call of
    ``make_prediction`` takes, which reads the model each time; ``native_loaded`` the same call
    with the model given to it; ``fast`` the path of this file.
    """
    import keras
    import pycadet

    path = Path(pycadet.__file__).with_name("CADET.hdf5")
    model = keras.models.load_model(path, compile=False, safe_mode=True)
    network = load_fast()

    def native(image: np.ndarray) -> np.ndarray:
        return pycadet.make_prediction(image)

    def native_loaded(image: np.ndarray) -> np.ndarray:
        with mock.patch.object(keras.models, "load_model", return_value=model):
            return pycadet.make_prediction(image)

    def fast(image: np.ndarray) -> np.ndarray:
        return predict_fast(network, image)

    ways = {"native": native, "native_loaded": native_loaded, "fast": fast}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():  # first calls: FFT plans, kernels
        way(images[0])
    difference = peak_difference = 0.0
    same_labels = pixels_changed = detected = 0
    for image in images:
        maps = {}
        for name, way in ways.items():
            began = time.process_time()
            maps[name] = way(image)
            pycadet.decompose(
                maps[name], th1=PIXEL_THRESHOLD, th2=DETECTION_THRESHOLD, amin=MINIMAL_AREA
            )
            seconds[name].append(time.process_time() - began)
        difference = max(difference, float(np.abs(maps["native"] - maps["fast"]).max()))
        (a, rows_a), (b, rows_b) = candidates(maps["native"]), candidates(maps["fast"])
        pixels_changed += int((a != b).sum())
        same = len(rows_a) == len(rows_b) and all(
            (r["score"] > DETECTION_THRESHOLD) == (s["score"] > DETECTION_THRESHOLD)
            for r, s in zip(rows_a, rows_b, strict=True)
        )
        same_labels += int(same)
        detected += sum(r["score"] > DETECTION_THRESHOLD for r in rows_a)
        if same and rows_a:
            gaps = [abs(r["score"] - s["score"]) for r, s in zip(rows_a, rows_b, strict=True)]
            peak_difference = max(peak_difference, *gaps)
    return {
        "images": len(images),
        "max_probability_difference": difference,
        "max_peak_difference": peak_difference,
        "images_with_the_same_detections": same_labels,
        "detections": detected,
        "label_pixels_that_differ": pixels_changed,
        "cpu_seconds": seconds,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Command line of the rival's side."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("images", type=Path, help="folder of stacks; with --verify one stack")
    parser.add_argument("out", type=Path, help="folder of results; with --verify a JSON file")
    parser.add_argument("--verify", action="store_true", help="compare with the native path")
    parser.add_argument("--pixel", type=float, help="only decompose predictions at this threshold")
    parser.add_argument("--no-volumes", action="store_true", help="with --pixel: leave volumes out")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.verify:
        arguments.out.write_text(json.dumps(verify(read(arguments.images)), indent=1))
    elif arguments.pixel is not None:
        volumes = not arguments.no_volumes
        decompose_again(arguments.images, arguments.out, arguments.pixel, volumes)
    else:
        run(arguments.images, arguments.out)


if __name__ == "__main__":
    main()
