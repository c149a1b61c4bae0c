"""A digest of what a manifest says of each row. It is stored with the row: comparing reads no other field."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SLICE_ROWS = 50_000  # joined texts have 32-bit offsets


def row_digests(table: pa.Table, *, salt: str) -> np.ndarray:
    """64 bits of BLAKE2b for each row, int64 [n], over every column (texts, integers, lists of texts) and
    `salt`. That is enough to tell a row from what it was before; it is no proof against who wants two to be equal.

    A null is an empty text. Each text is hashed after its length (as in netstrings, D. J. Bernstein, 1997), so that no
    two different rows are the same bytes.
    """
    seed = hashlib.blake2b(salt.encode(), digest_size=8)
    digests = bytearray()
    for start in range(0, len(table), _SLICE_ROWS):
        columns = table.slice(start, _SLICE_ROWS).combine_chunks().columns
        for data in _netstrings(*map(_texts, columns)).cast(pa.binary()).to_pylist():
            digest = seed.copy()
            digest.update(data)
            digests += digest.digest()
    return np.frombuffer(digests, "<i8").astype(np.int64, copy=False)


def _texts(column: pa.ChunkedArray) -> pa.Array:
    values: Any = column.combine_chunks()
    if pa.types.is_list(values.type):
        values = _joined(values)
    return values.cast(pa.string()).fill_null("")


def _joined(lists: pa.ListArray) -> pa.Array:
    """Each list of texts as one text."""
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    elements = _netstrings(lists.flatten().fill_null(""))
    return pc.binary_join(pa.ListArray.from_arrays(offsets, elements), ",")


def _netstrings(*columns: pa.Array) -> pa.Array:
    """The texts of each row, each after its length in bytes."""
    parts = [part for texts in columns for part in (pc.binary_length(texts).cast(pa.string()), texts)]
    return pc.binary_join_element_wise(*parts, ":")
