"""Vectors from record batches into one numpy block: only those needed, checked before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmrag_pipeline.errors import UserError

_UNIT_TOLERANCE = 1e-3


class VectorBlock:
    """Unit vectors by content id, float32 [n, dim]."""

    def __init__(self, positions: dict[str, int], block: np.ndarray):
        self._positions = positions
        self._block = block

    def __getitem__(self, content_id: str) -> np.ndarray:
        return self._block[self._positions[content_id]]


def gather(
    content_ids: Sequence[str], batches: Iterable[pa.RecordBatch], *, dim: int, drop: str, fingerprint: str
) -> VectorBlock:
    """Collect the vectors of these content ids.

    Raises:
        UserError: one is missing, of another dimension, or not a finite unit vector.
    """
    positions = {content_id: position for position, content_id in enumerate(dict.fromkeys(content_ids))}
    block = np.empty((len(positions), dim), dtype=np.float32)
    filled = np.zeros(len(positions), dtype=bool)
    if positions:
        ids = pa.array(list(positions), pa.string())
        for batch in batches:
            _fill(block, filled, batch, ids, dim=dim, drop=drop)
            if filled.all():
                break
    if not filled.all():
        missing = [content_id for content_id, position in positions.items() if not filled[position]]
        raise UserError(
            f"drop {drop}: {len(missing)} of its pictures have no vector of model {fingerprint} (content "
            f"{missing[0][:16]} is one): materialise clip_embeddings of this drop first (or, where a campaign "
            f"made them, run mmrag campaign index again); nothing was written."
        )
    lengths = np.sqrt(np.einsum("ij,ij->i", block, block))  # not linalg.norm: it would copy the block
    wrong = ~(np.abs(lengths - 1.0) <= _UNIT_TOLERANCE)  # also true for NaN, which Lite would accept
    if wrong.any():
        content_id = list(positions)[int(np.flatnonzero(wrong)[0])]
        raise UserError(
            f"drop {drop}: the stored vector of content {content_id[:16]} is not a unit vector: delete the "
            f"drop's folder under embeddings/{fingerprint} and materialise clip_embeddings again; nothing "
            f"was written."
        )
    return VectorBlock(positions, block)


def to_numpy(column: pa.Array) -> np.ndarray:
    """A list or fixed-size-list column of floats as float32 [n, any]."""
    values = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(column), -1).astype(np.float32, copy=False)


def _fill(block: np.ndarray, filled: np.ndarray, batch: pa.RecordBatch, ids: pa.Array, *, dim: int, drop: str) -> None:
    where = pc.index_in(batch["content_id"].cast(pa.string()), value_set=ids)
    known = where.is_valid()
    if not pc.any(known).as_py():
        return
    targets = where.drop_null().to_numpy()
    vectors = to_numpy(batch["embedding"].filter(known))
    if vectors.shape[1] != dim:
        raise UserError(
            f"drop {drop}: its stored vectors have {vectors.shape[1]} dimensions, the model gives {dim}: "
            f"materialise clip_embeddings again; nothing was written."
        )
    block[targets] = vectors
    filled[targets] = True
