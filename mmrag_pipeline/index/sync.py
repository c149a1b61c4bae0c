"""One drop into the live collection, in place: afterwards its rows are the ok rows of its manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.changes import apply, compare, everything, gather_for
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.rows import WantedRows
from mmrag_pipeline.index.schema import PUBLISHED, SCHEMA_VERSION, STAGED, CollectionInfo
from mmrag_pipeline.media.library import Drop


@dataclass(frozen=True)
class SyncReport:
    """`rows` of the drop are live now; `collection` is None when there is none and the drop needs none."""

    collection: str | None
    upserted: int
    deleted: int
    unchanged: int
    rows: int


def sync_drop(
    milvus: Milvus,
    *,
    drop: Drop,
    manifest: pa.Table,
    vectors: Iterable[pa.RecordBatch],
    fingerprint: str,
    dim: int,
    now: datetime,
) -> SyncReport:
    """Upsert what is new or changed, delete what is gone, touch nothing else; a second run writes nothing.

    The first drop ever makes the first collection and the alias, so it is searchable at once. `vectors` holds
    `content_id` and `embedding` [dim] of unit norm.

    Raises:
        UserError: the live collection is of another model or schema, or an ok row has no usable vector;
            nothing was written.
    """
    wanted = {drop.key: (rows := WantedRows(drop, manifest))}
    live = milvus.live()
    if live is not None:
        require_fit(live, fingerprint=fingerprint, dim=dim)
        if live.state != PUBLISHED:  # whoever made it was killed after the alias
            live = _mark_published(milvus, live, now=now)
    elif not rows:
        return SyncReport(collection=None, upserted=0, deleted=0, unchanged=0, rows=0)
    changes = compare(milvus, live.name, wanted, only=drop) if live else everything(wanted)
    if live and not changes:
        return SyncReport(live.name, upserted=0, deleted=0, unchanged=changes.unchanged, rows=len(rows))

    positions = changes.upsert.get(drop.key, [])
    block = gather_for(rows, positions, vectors, dim=dim, fingerprint=fingerprint)
    if live is None:
        live = _first_collection(milvus, fingerprint=fingerprint, dim=dim, now=now)
    apply(milvus, live.name, changes, wanted, lambda _: block)
    milvus.finish_writing(live.name)
    return SyncReport(
        live.name,
        upserted=len(positions),
        deleted=len(changes.delete),
        unchanged=changes.unchanged,
        rows=len(rows),
    )


def require_fit(live: CollectionInfo, *, fingerprint: str, dim: int) -> None:
    """Raises UserError, one sentence naming both models, unless rows of this model belong into `live`."""
    if live.fits(fingerprint=fingerprint, dim=dim):
        return
    if live.fingerprint == fingerprint and live.dim == dim:
        raise UserError(
            f"the live collection {live.name} has schema version {live.schema_version}, this version writes "
            f"{SCHEMA_VERSION}: run the nightly_reindex job, which rebuilds it."
        )
    raise UserError(
        f"the live collection {live.name} holds vectors of model {live.fingerprint} ({live.dim} dimensions), "
        f"the model in force is {fingerprint} ({dim}): materialise clip_embeddings for every drop and run the "
        f"nightly_reindex job, or set MMRAG_CLIP_MODEL back."
    )


def _first_collection(milvus: Milvus, *, fingerprint: str, dim: int, now: datetime) -> CollectionInfo:
    """An empty live collection; where another drop's sync was quicker, its collection."""
    made = milvus.create(fingerprint=fingerprint, dim=dim, layout=milvus.layout_for(0), now=now, state=STAGED)
    if milvus.claim_alias(made.name):
        return _mark_published(milvus, made, now=now)  # only now: killed before it, no rollback may choose an empty one
    milvus.drop(made.name)
    live = milvus.live()
    if live is None:
        raise UserError(f"alias {milvus.alias} vanished while it was made: run the ingest again.")
    require_fit(live, fingerprint=fingerprint, dim=dim)
    return live


def _mark_published(milvus: Milvus, info: CollectionInfo, *, now: datetime) -> CollectionInfo:
    published = replace(info, state=PUBLISHED, published_at=now.isoformat())
    milvus.mark(published)
    return published
