"""Drops whose vectors are not all in the store, because their ingest failed or is under way: what can be shown is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmrag_pipeline.embedding.store import DamagedVectors
from mmrag_pipeline.errors import Unavailable
from mmrag_pipeline.index.changes import DropRows
from mmrag_pipeline.index.columns import Row
from mmrag_pipeline.index.filter import both, equals
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.schema import STILL

_OF_THE_FILE = ("content_id", "path", "frame_ms", "media_type", "width", "height")


def without_lacking(source: DropRows, milvus: Milvus, live: str, *, dim: int) -> tuple[DropRows, int]:
    """The drop without the pictures that have a vector neither in the store nor in the collection `live`, which must be
    of the same model, and how many those are.

    A file that has such a picture was exported again: what is live of it stays until the new one can be shown.
    """
    stored = _stored(source)
    ok = pc.equal(source.manifest["status"], "ok")
    have = stored if stored is not None else pa.array([], pa.string())
    lacking = source.manifest.filter(pc.and_(ok, pc.invert(pc.is_in(source.manifest["content_id"], have))))
    lacking = lacking.select(["media_id", "content_id", "path"]).to_pylist()
    there = milvus.get(live, [row["media_id"] for row in lacking], ("content_id",)) if lacking else {}
    same = {key for row in lacking if there.get(key := row["media_id"], {}).get("content_id") == row["content_id"]}
    gone = {row["media_id"]: row["path"] for row in lacking if row["media_id"] not in same}
    stay = _live_of(source, milvus, live, set(gone.values())) if gone else []

    manifest = _with(source.manifest, stay, without=list(gone))
    contents = {row["media_id"]: row["content_id"] for row in lacking if row["media_id"] in same}
    contents |= {row["id"]: row["content_id"] for row in stay}
    known = set(have.to_pylist()) if contents else set()
    taken = _vectors(milvus, live, {key: content for key, content in contents.items() if content not in known})

    def vectors():
        return chain(source.vectors() if stored is not None else (), [_batch(taken, dim)] if taken else ())

    return replace(source, manifest=manifest, vectors=vectors), len(gone)


def _stored(source: DropRows) -> pa.Array | None:
    """Content ids that have a vector in the store; None where a part is lost or damaged: its next ingest mends it."""
    try:
        return pa.chunked_array([batch["content_id"] for batch in source.vectors()], pa.string()).combine_chunks()
    except (Unavailable, DamagedVectors):
        return None


def _live_of(source: DropRows, milvus: Milvus, live: str, paths: set[str]) -> list[Row]:
    where = both(equals("product_line", source.drop.product_line), equals("drop", source.drop.key))
    return [row for page in milvus.rows(live, _OF_THE_FILE, where) for row in page if row["path"] in paths]


def _with(manifest: pa.Table, stay: Sequence[Row], *, without: Sequence[str]) -> pa.Table:
    """The manifest without these media ids, and with live rows in place of those of their files; the catalogue may have
    changed meanwhile, so what it says is the manifest's.
    """
    replaced = pa.array({row["path"] for row in stay}, pa.string())
    out = pc.or_(pc.is_in(manifest["path"], replaced), pc.is_in(manifest["media_id"], pa.array(without, pa.string())))
    rest = manifest.filter(pc.invert(out))
    if not stay:
        return rest
    kept = manifest.take(pc.index_in(pa.array([row["path"] for row in stay]), manifest["path"].combine_chunks()))
    values = {
        "media_id": [row["id"] for row in stay],
        "content_id": [row["content_id"] for row in stay],
        "media_type": [row["media_type"] for row in stay],
        "width": [row["width"] or None for row in stay],
        "height": [row["height"] or None for row in stay],
        "frame_ms": [None if row["frame_ms"] == STILL else row["frame_ms"] for row in stay],
    }
    for name, column in values.items():
        field = manifest.schema.field(name)
        kept = kept.set_column(manifest.schema.get_field_index(name), field, pa.array(column, field.type))
    return pa.concat_tables([rest, kept])


def _vectors(milvus: Milvus, live: str, contents: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Live vectors by content id, for the contents of these live rows."""
    found = {}
    for media_id, row in milvus.get(live, list(contents), ("embedding",)).items():
        vector = np.asarray(row["embedding"], dtype=np.float32)
        found[contents[media_id]] = vector / np.linalg.norm(vector)  # as it is kept there it may be of half precision
    return found


def _batch(vectors: Mapping[str, np.ndarray], dim: int) -> pa.RecordBatch:
    flat = pa.array(np.concatenate(list(vectors.values())))
    embedding = pa.FixedSizeListArray.from_arrays(flat, dim)
    return pa.record_batch({"content_id": pa.array(list(vectors), pa.string()), "embedding": embedding})
