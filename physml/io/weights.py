"""Trained weights as safetensors: numbers and a JSON header, nothing that can run.

A pickle (``.pt``, ``.pth``, ``.ckpt``) runs code when it is loaded and is refused unread.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from physml import provenance as prov
from physml.exceptions import InputError
from physml.io.atomic import atomic_path
from physml.io.files import require_file

if TYPE_CHECKING:
    from torch import Tensor

#: Largest file that is read.
MAX_BYTES = 4 << 30
#: Largest header: names, shapes and metadata.
MAX_HEADER_BYTES = 64 << 20
#: Metadata key of the digest; not part of what `read_metadata` gives.
DIGEST = "sha256"


def save_weights(
    path: str | PathLike[str],
    state_dict: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    dtype: Literal["float32", "float16"] = "float32",
    overwrite: bool = False,
) -> None:
    """Write weights atomically.

    Parameters
    ----------
    path : path
        Where to.
    state_dict : mapping of Tensor
        Name -> tensor. Whole numbers keep their type.
    metadata : mapping
        Anything that JSON can hold: card, thresholds, calibration. ``pipeline`` names the
        pipeline, by which `physml.Model.load` finds the predictor; ``provenance`` is the run
        record.
    dtype : {"float32", "float16"}
        Type of the stored floats; float16 halves the file.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    InputError
        A weight is NaN or infinite, or too large for float16.
    OutputError
        The file exists, or there is no room.
    """
    import torch
    from safetensors.torch import save

    target = Path(path)
    kinds = {"float32": torch.float32, "float16": torch.float16}
    tensors: dict[str, Tensor] = {}
    for name, value in state_dict.items():
        # A copy of its own: safetensors refuses tensors that share memory.
        tensor = value.detach().to("cpu", copy=True).contiguous()
        if tensor.is_floating_point():
            tensor = tensor.to(kinds[dtype])
            if not torch.isfinite(tensor).all():
                raise InputError.expected(
                    target, f"finite {dtype} weights in {name!r}", "NaN or infinity"
                )
        tensors[name] = tensor
    # safetensors' metadata are texts; JSON keeps the structure.
    header = {
        key: json.dumps(prov.jsonable(value), allow_nan=False) for key, value in metadata.items()
    }
    if DIGEST in header:
        raise ValueError(f"metadata must not be named {DIGEST!r}")
    # The digest stands in the header and is not of itself; the numbers are the same both times.
    plain = save(tensors, metadata=header)
    length = int.from_bytes(plain[:8], "little")
    header[DIGEST] = _digest(json.loads(plain[8 : 8 + length]), plain[8 + length :])
    with atomic_path(target, overwrite) as temporary:
        temporary.write_bytes(save(tensors, metadata=header))


def version_of(weights: Mapping[str, Tensor]) -> str:
    """Short hash of the tensors, by which a model is known."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].numpy().tobytes())
    return digest.hexdigest()[:12]


def _digest(header: Mapping[str, Any], body: bytes) -> str:
    """SHA-256 of what the header says, in whatever order, and of the numbers."""
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict):
        metadata = {key: text for key, text in metadata.items() if key != DIGEST}
    told = json.dumps({**header, "__metadata__": metadata or {}}, sort_keys=True)
    digest = hashlib.sha256(told.encode("utf-8", "surrogatepass"))
    digest.update(body)
    return digest.hexdigest()


def read_digest(path: str | PathLike[str]) -> str | None:
    """Digest that a weights file carries, or None."""
    found = _header(Path(path)).get("__metadata__", {})
    value = found.get(DIGEST) if isinstance(found, dict) else None
    return value if isinstance(value, str) else None


def _header(path: Path) -> dict[str, Any]:
    """Header of a safetensors file, checked; every other format is refused by name."""
    size = require_file(path, "weights in safetensors format", MAX_BYTES).stat().st_size
    with open(path, "rb") as file:
        head = file.read(16)
        what = _foreign(head)
        if what is None:
            length = int.from_bytes(head[:8], "little")
            if len(head) < 16 or length > min(size - 8, MAX_HEADER_BYTES) or head[8:9] != b"{":
                what = "another kind of file, or a damaged one"
            else:
                file.seek(8)
                raw = file.read(length)
    if what is not None:
        raise InputError.expected(
            path,
            "weights in safetensors format",
            what,
            "Only safetensors is read, because pickled weights run code."
            if "pickle" in what
            else None,
        )
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError.expected(path, "a safetensors header in JSON", str(error)) from error
    if not isinstance(header, dict):
        raise InputError.expected(path, "a safetensors header", "JSON of another form")
    return header


def _foreign(head: bytes) -> str | None:
    """Name of the format, where the first bytes are those of another one."""
    signatures = (
        (b"PK\x03\x04", "a zip archive (a PyTorch checkpoint is a zipped pickle)"),
        (b"PK\x05\x06", "an empty zip archive"),
        (b"\x89HDF", "an HDF5 file"),
        (b"\x1f\x8b", "a gzip file"),
        (b"SIMPLE  =", "a FITS file"),
    )
    for signature, name in signatures:
        if head.startswith(signature):
            return name
    # Protocols 2 to 5 start with PROTO; older ones are text with these opcodes.
    if (
        head[:1] == b"\x80"
        and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
        and head[8:9] != b"{"
    ):
        return "a pickle"
    if head[:1] in (b"(", b"c") and head[8:9] != b"{":
        return "a text pickle or another kind of file"
    return None


def read_metadata(path: str | PathLike[str]) -> dict[str, Any]:
    """Metadata of a weights file, without reading the weights or importing torch.

    Raises
    ------
    InputError
        Not a safetensors file.
    """
    found = _header(Path(path)).get("__metadata__", {})
    if not isinstance(found, dict):
        raise InputError.expected(path, "metadata as a mapping", type(found).__name__)
    metadata: dict[str, Any] = {}
    for key, text in found.items():
        if key == DIGEST:
            continue
        try:
            metadata[str(key)] = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            metadata[str(key)] = text  # written by another program
    return metadata


def read_shapes(path: str | PathLike[str]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> (type, shape) of each tensor in a weights file, without reading the weights.

    Raises
    ------
    InputError
        Not a safetensors file.
    """
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, entry in _header(Path(path)).items():
        if name == "__metadata__":
            continue
        try:
            shape = tuple(int(n) for n in entry["shape"])
            if not all(0 <= n < 1 << 48 for n in shape) or len(shape) > 64:
                raise ValueError("no shape of a tensor")
            shapes[name] = (str(entry["dtype"]), shape)
        except (TypeError, KeyError, ValueError, OverflowError) as error:
            raise InputError.expected(path, f"type and shape of {name!r}", repr(entry)) from error
    return shapes


def load_weights(path: str | PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read weights and metadata.

    Returns
    -------
    state_dict : dict of Tensor
        Floats as float32, whatever they were stored as.
    metadata : dict
        As given to `save_weights`.

    Raises
    ------
    InputError
        Not a safetensors file, damaged (also where only its digest tells), or with a NaN or
        infinity.
    """
    source = Path(path)
    metadata = read_metadata(source)
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    raw = source.read_bytes()
    wanted = read_digest(source)
    if wanted is not None:
        length = int.from_bytes(raw[:8], "little")
        found = _digest(_header(source), raw[8 + length :])
        if found != wanted:
            raise InputError.expected(
                source, f"weights with SHA-256 {wanted}", f"{found} (damaged)"
            )
    try:
        tensors = load(raw)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise InputError.expected(
            source, "complete weights in safetensors format", f"a damaged file ({error})"
        ) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            tensors[name] = tensor.to(torch.float32)
            if not torch.isfinite(tensors[name]).all():
                raise InputError.expected(source, f"finite weights in {name!r}", "NaN or infinity")
    return tensors, metadata
