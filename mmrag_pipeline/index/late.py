"""Drops that were ingested while a collection was staged: brought into it before and after it goes live."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.changes import DropRows, apply, compare, gather_for
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.rows import WantedRows


@dataclass(frozen=True)
class CaughtUp:
    """`waiting` says, a sentence a drop, why some were left as they were staged."""

    upserted: int = 0
    deleted: int = 0
    waiting: tuple[str, ...] = ()

    def __add__(self, other: CaughtUp) -> CaughtUp:
        return CaughtUp(self.upserted + other.upserted, self.deleted + other.deleted, other.waiting)


def catch_up(
    milvus: Milvus, collection: str, drops: Iterable[DropRows], *, fingerprint: str, dim: int, now: datetime
) -> CaughtUp:
    """Make the rows of these drops, and no others, what their manifests say now; a drop without ok rows goes.

    A drop whose vectors are not all there is still being ingested: it waits for its own sync, which finds the alias
    where it is by then.
    """
    upserted, deleted, waiting = 0, 0, []
    for source in drops:
        key = source.drop.key
        wanted = {key: (rows := WantedRows(source.drop, source.manifest))}
        changes = compare(milvus, collection, wanted, only=key)
        if not changes:
            continue
        try:
            block = gather_for(rows, changes.upsert.get(key, []), source.vectors(), dim=dim, fingerprint=fingerprint)
        except UserError as error:
            waiting.append(str(error))
            continue
        apply(milvus, collection, changes, wanted, lambda _, block=block: block, now=now)
        upserted, deleted = upserted + changes.upserts, deleted + len(changes.delete)
    if upserted or deleted:
        milvus.finish_writing(collection)
    return CaughtUp(upserted, deleted, tuple(waiting))
