"""The network for other programs: ONNX, TorchScript and 8-bit integers, with proof of equality.

What is exported takes sets of events and clusters as `inputs.members` describes them and gives
calibrated logits, so that a sigmoid and the table of cuts (both in the file's metadata) are all
that flight software needs to add.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physml.exceptions import InputError
from physml.io.atomic import atomic_path
from physml.nn.device import device_of
from physml.progress import quiet

from .detector import BackgroundDetector
from .inputs import FEATURES, PLACE, SIDE
from .network import CLASSES, EventNet

INPUTS = ("patch", "feature", "place", "present")
OUTPUTS = ("event", "frame")
#: Name of our entry in the metadata.
KEY = "physml"
OPSET = 18
#: Largest difference of a probability.
PARITY = 1e-5
# Everything but the shapes of n sets of k members is fixed.
_EXAMPLE = (3, 7)


class Calibrated(nn.Module):
    """Network with its Platt scaling.

    Parameters
    ----------
    network : EventNet
    slope, offset : float
    """

    def __init__(self, network: EventNet, slope: float, offset: float) -> None:
        super().__init__()
        self.network = network
        self.slope, self.offset = slope, offset

    def forward(
        self, patch: Tensor, feature: Tensor, place: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Give calibrated logits (n, k) of members, and logits (n, 3) of the classes."""
        event, frame = self.network(patch, feature, place, present)
        return self.slope * event + self.offset, frame


def exported(detector: BackgroundDetector) -> Calibrated:
    """Give what is exported of a detector, as a module."""
    c = detector.card.get("calibration", {})
    network = Calibrated(deepcopy(detector.network), c.get("slope", 1.0), c.get("offset", 0.0))
    return network.cpu().eval().requires_grad_(False)


def description(detector: BackgroundDetector) -> dict[str, Any]:
    """Metadata that travel with the exported network."""
    card = detector.card
    kept = ("pipeline", "version", "network", "limit", "calibration", "thresholds", "event_level")
    return {
        **{name: card[name] for name in kept if name in card},
        "inputs": {
            "patch": f"(n, k, {SIDE}, {SIDE}) float32, keV",
            "feature": f"(n, k, {len(FEATURES)}) float32: {', '.join(FEATURES)}",
            "place": f"(n, k, {len(PLACE)}) float32: {', '.join(PLACE)}",
            "present": "(n, k) bool",
        },
        "outputs": {
            "event": "(n, k) float32, logit of P(background), calibrated",
            "frame": f"(n, {len(CLASSES)}) float32, logits of {', '.join(CLASSES)}",
        },
    }


def example(sets: int, members: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw inputs of a given size, of the order of real ones, with holes."""
    rng = np.random.default_rng(seed)
    shape = (sets, members)
    present = rng.random(shape) < 0.8
    present[:, 0] = True
    arrays = (
        rng.exponential(0.5, (*shape, SIDE, SIDE)).astype(np.float32),
        rng.normal(0, 1, (*shape, len(FEATURES))).astype(np.float32),
        np.concatenate(
            [rng.uniform(0, 512, (*shape, 2)), rng.uniform(-0.7, 0.7, (*shape, 2))], -1
        ).astype(np.float32),
        present,
    )
    return tuple(torch.from_numpy(v) for v in arrays)  # type: ignore[return-value]


def to_torchscript(detector: BackgroundDetector, path: Path, *, overwrite: bool = False) -> None:
    """Write a TorchScript file, for programs in C++ without Python.

    Notes
    -----
    By tracing: torch deprecates scripting and tracing alike in favour of `torch.export`, whose
    files C++ reads only after ahead-of-time compilation for one machine. The network has no
    branches, so that the trace is all of it; the numbers of sets and members stay free.
    """
    with _without_warnings():
        traced = torch.jit.trace(exported(detector), example(*_EXAMPLE), check_trace=False)
        with atomic_path(Path(path), overwrite) as temporary:
            extra = {KEY: json.dumps(description(detector))}
            torch.jit.save(traced, str(temporary), _extra_files=extra)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep quiet about deprecated, but only, ways to a TorchScript file, and about constants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _need(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise InputError.expected(
            None, f"the package {name}", "none", "Install it with: pip install 'physml[export]'."
        ) from error


def to_onnx(detector: BackgroundDetector, path: Path, *, overwrite: bool = False) -> None:
    """Write an ONNX file with free numbers of sets and members.

    Raises
    ------
    InputError
        onnx or onnxscript is not installed.
    """
    onnx = _need("onnx")
    _need("onnxscript")
    n, k = torch.export.Dim("sets"), torch.export.Dim("members")
    with (
        _without_warnings(),
        quiet("torch.onnx", logging.ERROR),
        atomic_path(Path(path), overwrite) as temporary,
    ):
        torch.onnx.export(
            exported(detector),
            example(*_EXAMPLE),
            str(temporary),
            dynamo=True,
            dynamic_shapes=({0: n, 1: k},) * len(INPUTS),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
        model = onnx.load(str(temporary))
        _tidy(model)
        onnx.helper.set_model_props(model, {KEY: json.dumps(description(detector))})
        onnx.checker.check_model(model)
        onnx.save(model, str(temporary))


def _tidy(model: Any) -> None:
    """Drop the exporter's notes on its own source code: they are half of the file."""
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""


def to_int8(source: Path, path: Path, *, overwrite: bool = False) -> None:
    """Write a variant of an ONNX file whose matrix products are in 8-bit integers.

    Weights are rounded here, activations while it runs, each by its own range. Convolutions,
    which are few, stay as they are.

    Raises
    ------
    InputError
        onnxruntime is not installed.
    """
    onnx = _need("onnx")
    _need("onnxruntime")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    original = onnx.load(str(source))
    kept = {p.key: p.value for p in original.metadata_props}
    # Shapes noted before weights are transposed would contradict those found after.
    _tidy(original)
    with quiet("root", logging.ERROR), atomic_path(Path(path), overwrite) as temporary:
        quantize_dynamic(
            original,
            str(temporary),
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
        )
        model = onnx.load(str(temporary))
        onnx.helper.set_model_props(model, kept)
        onnx.save(model, str(temporary))


class OnnxNetwork:
    """An exported network in the place of `EventNet`.

    Parameters
    ----------
    path : Path
    threads : int
        CPU threads.

    Raises
    ------
    InputError
        onnxruntime is not installed, or the file is not one of ours.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        runtime = _need("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        try:
            self.session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's own exceptions have no common base
            raise InputError.expected(path, "a network in ONNX", str(error)) from error
        props = self.session.get_modelmeta().custom_metadata_map
        if KEY not in props:
            raise InputError.expected(path, "an exported network", "another one")
        self.card: dict[str, Any] = json.loads(props[KEY])

    def eval(self) -> OnnxNetwork:
        """Return itself: it only ever evaluates."""
        return self

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Give what `Calibrated.forward` gives."""
        feed = {
            name: np.ascontiguousarray(v.numpy()) for name, v in zip(INPUTS, inputs, strict=True)
        }
        event, frame = self.session.run(list(OUTPUTS), feed)
        return torch.from_numpy(event), torch.from_numpy(frame)


def onnx_detector(path: Path, threads: int = 1) -> BackgroundDetector:
    """Detector that runs an ONNX file."""
    network = OnnxNetwork(path, threads)
    # The calibration is part of the exported network.
    card = {**network.card, "calibration": {}}
    return BackgroundDetector(network, card)  # type: ignore[arg-type]


def torchscript_detector(path: Path) -> BackgroundDetector:
    """Detector that runs a TorchScript file.

    Raises
    ------
    InputError
        Not an exported network. Load only files you trust: TorchScript is a program.
    """
    extra = {KEY: ""}
    try:
        with _without_warnings():
            network = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    except (RuntimeError, ValueError) as error:
        raise InputError.expected(path, "a network in TorchScript", str(error)[:200]) from error
    if not extra[KEY]:
        raise InputError.expected(path, "an exported network", "another one")
    return BackgroundDetector(network, {**json.loads(extra[KEY]), "calibration": {}})


def parity(
    detector: BackgroundDetector,
    other: BackgroundDetector,
    inputs: list[tuple[Tensor, Tensor, Tensor, Tensor]],
) -> dict[str, float]:
    """Largest differences of an exported network from the original.

    Parameters
    ----------
    detector, other : BackgroundDetector
        The original, and one of `onnx_detector` or `torchscript_detector`.
    inputs : list of tuple of Tensor
        As for the network, of any sizes; e.g. of `example`.

    Returns
    -------
    dict
        Largest and mean difference of P(background) over the members that are there
        (``event``, ``event_mean``), and of the classes' probabilities (``frame``).
    """
    event: list[NDArray] = []
    frame: list[NDArray] = []
    for one in inputs:
        present = one[3].numpy()
        logits = []
        for d in (detector, other):
            with torch.inference_mode():
                made = [v.cpu() for v in d.network(*(v.to(device_of(d.network)) for v in one))]
            logits.append((d.calibrated(made[0].numpy()), made[1].double().softmax(1).numpy()))
        p, q = (1 / (1 + np.exp(-made[0][present])) for made in logits)
        event.append(np.abs(p - q))
        frame.append(np.abs(logits[0][1] - logits[1][1]).ravel())
    every = np.concatenate(event)
    return {
        "event": float(every.max()),
        "event_mean": float(every.mean()),
        "frame": float(np.concatenate(frame).max()),
    }
