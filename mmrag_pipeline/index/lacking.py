"""Drops whose vectors are not all in the store, because their ingest failed or is under way: what can be shown is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmrag_pipeline.index.changes import DropRows

Fetch = Callable[[Sequence[str], tuple[str, ...]], Mapping[str, Mapping[str, Any]]]


def without_lacking(source: DropRows, fetch: Fetch, *, dim: int) -> tuple[DropRows, int]:
    """The drop without the pictures that have a vector neither in the store nor in the live collection, and how many
    those are.

    Args:
        fetch: (ids, fields) -> rows of the live collection by id; it must be of the same model.
    """
    lacking = _lacking(source)
    live = _from_live(lacking, fetch)
    content = source.manifest["content_id"]
    gone = pa.array([each for each in lacking["content_id"].unique().to_pylist() if each not in live], pa.string())
    keep = pc.invert(pc.and_(pc.equal(source.manifest["status"], "ok"), pc.is_in(content, gone)))
    manifest = source.manifest.filter(pc.fill_null(keep, True))

    def vectors():
        return chain(source.vectors(), [_batch(live, dim)] if live else ())

    return replace(source, manifest=manifest, vectors=vectors), len(source.manifest) - len(manifest)


def _lacking(source: DropRows) -> pa.Table:
    ok = source.manifest.filter(pc.equal(source.manifest["status"], "ok")).select(["media_id", "content_id"])
    stored = [batch["content_id"] for batch in source.vectors()]
    there = pa.chunked_array(stored, pa.string())
    return ok.filter(pc.invert(pc.is_in(ok["content_id"], value_set=there.combine_chunks())))


def _from_live(lacking: pa.Table, fetch: Fetch) -> dict[str, np.ndarray]:
    """Vectors by content id, where the live row of that id shows the same content."""
    rows = fetch(lacking["media_id"].to_pylist(), ("content_id", "embedding")) if len(lacking) else {}
    found = {}
    for media_id, content_id in zip(*(lacking[name].to_pylist() for name in ("media_id", "content_id")), strict=True):
        if media_id in rows and rows[media_id]["content_id"] == content_id:
            vector = np.asarray(rows[media_id]["embedding"], dtype=np.float32)
            found[content_id] = vector / np.linalg.norm(vector)  # as it is kept there it may be of half precision
    return found


def _batch(vectors: Mapping[str, np.ndarray], dim: int) -> pa.RecordBatch:
    flat = pa.array(np.concatenate(list(vectors.values())))
    embedding = pa.FixedSizeListArray.from_arrays(flat, dim)
    return pa.record_batch({"content_id": pa.array(list(vectors), pa.string()), "embedding": embedding})
