"""HDF5 shards: one sample a chunk, checked in both directions.

HDF5 can refer to other files (external storage, soft and external links, virtual datasets), load
filter plugins, and declare terabytes in a file of a kilobyte. Reading here touches only the names
that the caller expects, in the forms that `write_shard` writes, within a limit of memory.
"""

from physml.io.shards.datasets import Spec
from physml.io.shards.files import hdf5_errors, open_hdf5
from physml.io.shards.packed import PackedArray, PackedShard, open_arrays
from physml.io.shards.reading import LazyShard, Shard, open_shard, read_provenance, read_shard
from physml.io.shards.verify import verify_shard
from physml.io.shards.writing import ShardWriter, write_shard

__all__ = [
    "LazyShard",
    "PackedArray",
    "PackedShard",
    "Shard",
    "ShardWriter",
    "Spec",
    "hdf5_errors",
    "open_arrays",
    "open_hdf5",
    "open_shard",
    "read_provenance",
    "read_shard",
    "verify_shard",
    "write_shard",
]
