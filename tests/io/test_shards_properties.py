"""For every array: a shard gives back what was put in, and any index reads like numpy's."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physml.io.shards import Spec, open_shard, read_shard, write_shard

types = st.sampled_from(
    ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "c8", "?"]
)
shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=9)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    dtype = np.dtype(draw(types))
    options = {"allow_nan": False, "allow_infinity": False} if dtype.kind in "fc" else {}
    elements = hnp.from_dtype(dtype, **options)
    return draw(hnp.arrays(dtype, draw(shapes), elements=elements))


@settings(deadline=None, max_examples=60)
@given(values=arrays(), order=st.sampled_from("CF"), big_endian=st.booleans())
def test_round_trip(values: np.ndarray, order: str, big_endian: bool) -> None:
    stored = np.asarray(values, order=order)
    if big_endian:
        stored = stored.astype(stored.dtype.newbyteorder(">"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        write_shard(path, {"x": stored}, provenance={"n": 1})
        shard = read_shard(path, {"x": Spec(values.dtype, (None,) * values.ndim)})
    np.testing.assert_array_equal(shard["x"], values)
    assert shard["x"].dtype.kind == values.dtype.kind
    assert len(shard) == len(values)


@settings(deadline=None, max_examples=40)
@given(
    length=st.integers(1, 40),
    width=st.sampled_from([1, 3, 2000]),
    data=st.data(),
)
def test_lazy_reading(length: int, width: int, data: st.DataObject) -> None:
    values = np.arange(length * width, dtype=np.float32).reshape(length, width)
    position = st.integers(-length, length - 1)
    index = data.draw(position | st.lists(position, max_size=20) | st.slices(length))
    if isinstance(index, slice) and (index.step or 1) < 0:
        index = list(range(length))[index]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        write_shard(path, {"x": values}, provenance={})
        with open_shard(path, {"x": Spec("f4", (None, width))}) as shard:
            found = shard.read("x", index)
    wanted = values[np.array(index, int) if isinstance(index, list) else index]
    np.testing.assert_array_equal(found, wanted)
