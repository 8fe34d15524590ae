"""What is fuzzed: for each reader its seeds, how they are changed, and what is asked of it."""

from __future__ import annotations

import gzip
import json
import re
import tempfile
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from physml.exceptions import PhysmlError

from . import archive_files, hdf5_files, mutations, seeds

Read = Callable[[Path], object]
LIMIT = 64 << 20
"""Memory that the readers may take, where they can be told."""


@dataclass(frozen=True)
class Target:
    """One group of readers.

    Attributes
    ----------
    seeds
        Good files to start from, by name.
    content
        Strategy of the content of a file.
    readers
        Each is given the file; what it may raise is `physml.exceptions.InputError` and its kin.
    suffix
        Of the file: some readers go by it.
    """

    seeds: Callable[[], dict[str, bytes]]
    content: Callable[[], st.SearchStrategy[bytes]]
    readers: Callable[[], tuple[Read, ...]]
    suffix: str = ""


def _each(made: dict[str, bytes], *ways: Callable[[bytes], st.SearchStrategy[bytes]]):
    """Any of the seeds, changed in any of the ways."""
    return st.one_of([way(raw) for raw in made.values() for way in ways])


def _hdf5() -> st.SearchStrategy[bytes]:
    tokens = (b"counts", b"sha256", b"TREE", b"SNOD", b"HEAP", b"OHDR", b"\x89HDF\r\n\x1a\n")
    return _each(seeds.hdf5(), lambda raw: mutations.damaged(raw, tokens)) | hdf5_files.built()


def _hdf5_readers() -> tuple[Read, ...]:
    from physml.background.data.frames import open_source
    from physml.io.describe import describe
    from physml.io.shards import Spec, open_shard, read_shard
    from physml.tomography.data.records_file import load_records

    spec = {
        "counts": Spec("u4", (None, 12, 12), optional=True),
        "t": Spec(None, (None,), optional=True),
        "index": Spec("i8", (None,), optional=True),
    }

    def lazily(path: Path) -> None:
        with open_shard(path, spec, max_bytes=LIMIT) as shard:
            for name in shard.names:
                shard.read(name, slice(0, 2))
                if shard.shape(name)[0]:
                    shard.read(name, [-1, 0])

    def frames(path: Path) -> None:
        for _, block in zip(range(3), open_source(path).read(), strict=False):
            block.values.sum() if block.values.dtype.names is None else len(block.values)

    return (
        lambda path: read_shard(path, spec, max_bytes=LIMIT),
        lazily,
        describe,
        load_records,
        frames,
    )


def _packed(raw: bytes) -> st.SearchStrategy[bytes]:
    changed = mutations.damaged(raw) | mutations.cards_changed(raw)
    return changed.map(lambda content: gzip.compress(content, 1))


def _fits() -> st.SearchStrategy[bytes]:
    made = seeds.fits()
    plain = _each(made, mutations.cards_changed, lambda r: mutations.damaged(r, mutations.CARDS))
    torn = mutations.damaged(gzip.compress(made["image"]))
    names = ("image", "cube", "tiles_cube", "events", "sky_events", "regions")
    packed = [_packed(made[name]) for name in names]
    return plain | torn | st.one_of(packed)


def _fits_readers() -> tuple[Read, ...]:
    import numpy as np

    from physml.background.data import frames as readers
    from physml.background.data.event_list import load_events
    from physml.background.results.products import corrected_area
    from physml.cavities.core.energetics import kpc_per_arcsec
    from physml.cavities.data.events.binning import bin_events
    from physml.cavities.data.events.reading import is_event_list
    from physml.cavities.data.events.selection import select_events
    from physml.cavities.data.gas_profile import read_profile
    from physml.cavities.data.masks import read_mask
    from physml.io.catalogues import read_catalogue
    from physml.io.describe import describe
    from physml.io.fits import open_image

    scale = kpc_per_arcsec(0.1)

    def frames(path: Path) -> None:
        if readers.is_event_list(path):
            load_events(path)
        else:
            for _, block in zip(range(3), readers.open_source(path).read(), strict=False):
                block.values.sum() if block.values.dtype.names is None else len(block.values)

    def binned(path: Path) -> None:
        if is_event_list(path):
            bin_events(path, select_events(), progress=False).cut_field()

    return (
        lambda path: open_image(path, max_pixels=LIMIT // 8),
        describe,
        frames,
        binned,
        lambda path: read_mask(path, np.ones((12, 14)), seeds.wcs(), None),
        read_catalogue,
        lambda path: read_profile(path, scale),
        lambda path: corrected_area([0.1, 2.0], [0.2, 3.0], [10.0, 20.0], path),
    )


def _safetensors() -> st.SearchStrategy[bytes]:
    def forged(raw: bytes) -> st.SearchStrategy[bytes]:
        length = 8 + int.from_bytes(raw[:8], "little")

        def joined(header: Any) -> bytes:
            text = json.dumps(header).encode()
            return len(text).to_bytes(8, "little") + text + raw[length:]

        return mutations.trees_changed(json.loads(raw[8:length])).map(joined)

    # What pickles, zip files and other formats begin with.
    heads = (b"PK\x03\x04", b"\x80\x02", b"\x80\x05\x95", b"cos\nsystem\n", b"\x89HDF\r\n\x1a\n")
    return _each(seeds.safetensors(), forged, lambda raw: mutations.damaged(raw, heads))


def _safetensors_readers() -> tuple[Read, ...]:
    from physml.io.describe import describe
    from physml.io.weights import load_weights, read_shapes
    from physml.models import Model

    return load_weights, read_shapes, describe, Model.load


def _settings() -> st.SearchStrategy[bytes]:
    import yaml

    made = seeds.settings()
    ways = (mutations.damaged, mutations.lines_changed)
    trees = [mutations.trees_changed(yaml.safe_load(raw)) for raw in made.values()]
    return _each(made, *ways) | st.one_of(trees).map(lambda tree: json.dumps(tree).encode())


def _settings_readers() -> tuple[Read, ...]:
    from physml.config import load_settings, upstream
    from physml.pipeline import get_pipeline

    models = [get_pipeline(name).settings_model() for name in seeds.PIPELINES]

    def load(model: Any) -> Read:
        return lambda path: json.dumps(upstream(load_settings(model, path), "report"))

    return tuple(map(load, models))


def _regions() -> st.SearchStrategy[bytes]:
    tokens = (b"circle", b"ellipse(", b"polygon(1,2,3)", b"box(", b"annulus(1,1,3,2)", b"rotbox")
    tokens += (b"fk5", b"galactic;", b"physical", b"linear", b"wcsa", b"-circle(1,1,1)", b"||")
    tokens += (b"panda(1,1,0,360,4,1,9,2)", b"text={}}", b"# text={\x1b[2J}", b"circle(1p,1i,1d)")
    tokens += (b"point(1,1)", b"composite", b"&", b"circle(nan,nan,nan)", b'circle(1,1,1e300")')
    return _each(
        seeds.regions(),
        lambda raw: mutations.damaged(raw, tokens),
        lambda raw: mutations.lines_changed(raw, tokens),
    )


def _regions_readers() -> tuple[Read, ...]:
    import numpy as np
    from astropy.io import fits

    from physml.cavities.data.masks import read_mask

    header = fits.Header({"LTM1_1": 0.5, "LTM2_2": 0.5, "LTV1": 1.0, "LTV2": 1.0})
    counts = np.ones((12, 14))
    return (
        lambda path: read_mask(path, counts, seeds.wcs(), header),
        lambda path: read_mask(path, counts, None),
    )


def _records() -> st.SearchStrategy[bytes]:
    made = seeds.records()
    trees = [
        mutations.trees_changed(json.loads(raw)).map(lambda tree: json.dumps(tree).encode())
        for name, raw in made.items()
        if name.endswith(".json")
    ]
    return _each(made, mutations.damaged, mutations.lines_changed) | st.one_of(trees)


def _records_readers() -> tuple[Read, ...]:
    from physml.tomography.data.records_file import load_records
    from physml.tomography.data.state_file import read_state

    return (
        load_records,
        *(
            lambda path, kind=kind: load_records(path, kind=kind)
            for kind in ("photonic", "qiskit", "pygsti")
        ),
        lambda path: load_records(path, measured=[1, 0]),
        lambda path: read_state(path, 1, []),
    )


def _sessions() -> st.SearchStrategy[bytes]:
    def forged(raw: bytes) -> st.SearchStrategy[bytes]:
        events = [json.loads(line) for line in raw.splitlines()]
        return mutations.trees_changed(events).map(_signed)

    return _each(seeds.sessions(), forged, mutations.damaged, mutations.lines_changed)


def _signed(events: Any) -> bytes:
    """Lines whose checksums are right, whatever stands in them."""
    lines = []
    for event in events if isinstance(events, list) else [events]:
        if isinstance(event, dict):
            event = {key: value for key, value in event.items() if key != "crc"}
        start = json.dumps(event).encode()[:-1]
        lines.append(start + b', "crc": "%08x"}' % zlib.crc32(start))
    return b"\n".join([*lines, b""])


def _sessions_readers() -> tuple[Read, ...]:
    from physml.tomography import Tomographer
    from physml.tomography.data.records_file import load_records
    from physml.tomography.data.session import read_session

    def resume(path: Path) -> None:
        Tomographer.resume(path).close()

    return read_session, load_records, resume


def _texts() -> st.SearchStrategy[bytes]:
    made = seeds.texts()
    lines = {name: raw for name, raw in made.items() if name != "a.png"}
    return _each(made, mutations.damaged) | _each(lines, mutations.lines_changed)


def _texts_readers() -> tuple[Read, ...]:
    from physml import datasets
    from physml.cavities.core.energetics import kpc_per_arcsec
    from physml.cavities.data.gas_profile import read_profile
    from physml.io import origin
    from physml.io.atomic import read_json
    from physml.io.catalogues import read_catalogue
    from physml.io.describe import describe
    from physml.tomography.core.measurements import pauli_settings
    from physml.tomography.data.laboratory import parse_answer

    scale, setting = kpc_per_arcsec(0.1), pauli_settings(1)[0]
    return (
        describe,
        origin.read,
        read_json,
        read_catalogue,
        lambda path: read_profile(path, scale),
        datasets.manifest,
        lambda path: parse_answer(path.read_bytes(), setting, str(path)),
    )


def _states() -> st.SearchStrategy[bytes]:
    pickles = (b"\x80\x02cos\nsystem\n", b"cbuiltins\neval\n", b"R.", b"\x93", b"\x81")
    return _each(seeds.states(), lambda raw: mutations.damaged(raw, pickles))


def _states_readers() -> tuple[Read, ...]:
    import torch

    from physml.training.state import Identity, read

    def state(path: Path) -> object:
        (path.parent / "checkpoint.pt").write_bytes(path.read_bytes())
        return read(path.parent, Identity({"seed": "1"}), device=torch.device("cpu"))

    return (state,)


TARGETS: dict[str, Target] = {
    "hdf5": Target(seeds.hdf5, _hdf5, _hdf5_readers, ".h5"),
    "fits": Target(seeds.fits, _fits, _fits_readers, ".fits"),
    "archives": Target(seeds.archives, archive_files.content, archive_files.readers, ".npz"),
    "safetensors": Target(seeds.safetensors, _safetensors, _safetensors_readers, ".safetensors"),
    "settings": Target(seeds.settings, _settings, _settings_readers, ".yaml"),
    "regions": Target(seeds.regions, _regions, _regions_readers, ".reg"),
    "records": Target(seeds.records, _records, _records_readers),
    "sessions": Target(seeds.sessions, _sessions, _sessions_readers, ".jsonl"),
    "texts": Target(seeds.texts, _texts, _texts_readers, ".ecsv"),
    "states": Target(seeds.states, _states, _states_readers, ".bin"),
}


@cache
def readers(name: str) -> tuple[Read, ...]:
    """Readers of a target, made once and used once: what they import late is no file's doing."""
    made = TARGETS[name].readers()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / f"seed{TARGETS[name].suffix}"
        for content in TARGETS[name].seeds().values():
            path.write_bytes(content)
            for reader in made:
                with suppress(PhysmlError):
                    reader(path)
    return made


def check(name: str, content: bytes, folder: Path | None = None) -> tuple[int, int]:
    """Give a file to all readers of a target.

    Returns
    -------
    int, int
        How many read it, and how many refused it.

    Raises
    ------
    BaseException
        Whatever a reader raised that is no refusal, or AssertionError where it did what no reader
        may do.
    """
    from .guard import watched

    if folder is None:
        with tempfile.TemporaryDirectory() as made:
            return check(name, content, Path(made))
    path = folder / f"hostile{TARGETS[name].suffix}"
    path.write_bytes(content)
    read, every = 0, readers(name)
    with watched(folder):
        for reader in every:
            try:
                reader(path)
                read += 1
            except PhysmlError as error:
                if error.exit_code != 2:  # a refusal as it has to be
                    raise
                _check_message(str(error))
    with suppress(FileNotFoundError):
        path.unlink()
    return read, len(every) - read


def _check_message(message: str) -> None:
    assert len(message) < 20_000, f"a message of {len(message)} characters"
    # Terminals obey control characters, and a log must not be forged.
    control = re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", message)
    assert control is None, f"control character {control.group()!r} in {message[:300]!r}"
