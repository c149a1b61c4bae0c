"""Drops that were ingested while a collection was staged: brought into it before and after it goes live."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.changes import MASS_DELETION, Changes, DropRows, apply, compare, gather_for
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.rows import WantedRows
from mmrag_pipeline.index.vectors import VectorBlock


@dataclass(frozen=True)
class CaughtUp:
    """`waiting` says, a sentence a drop, why some were left as they were staged."""

    upserted: int = 0
    deleted: int = 0
    waiting: tuple[str, ...] = ()

    def __add__(self, other: CaughtUp) -> CaughtUp:
        return CaughtUp(self.upserted + other.upserted, self.deleted + other.deleted, other.waiting)


def catch_up(milvus: Milvus, collection: str, drops: Iterable[DropRows], *, fingerprint: str, dim: int) -> CaughtUp:
    """Make the rows of these drops, and no others, what their manifests say now; a drop without ok rows goes.

    A drop whose vectors are not all there is still being ingested: it waits for its own sync, which finds the alias
    where it is by then.

    Raises:
        UserError: more than half of the collection would go; nothing was written.
    """
    found, waiting = [], []
    for source in drops:
        wanted = {source.drop.key: WantedRows(source.drop, source.manifest)}
        if not (changes := compare(milvus, collection, wanted, only=source.drop)):
            continue
        try:
            _gather(source, wanted, changes, dim=dim, fingerprint=fingerprint)
        except UserError as error:
            waiting.append(str(error))
        else:
            found.append((source, wanted, changes))
    _guard_mass_deletion(milvus, collection, sum(len(changes.delete) for _, _, changes in found))
    upserted, deleted = 0, 0
    for source, wanted, changes in found:
        try:  # again, because the vectors of all drops at once may be more than memory holds
            block = _gather(source, wanted, changes, dim=dim, fingerprint=fingerprint)
        except UserError as error:
            waiting.append(str(error))
            continue
        apply(milvus, collection, changes, wanted, lambda _, block=block: block)
        upserted, deleted = upserted + changes.upserts, deleted + len(changes.delete)
    if upserted or deleted:
        milvus.finish_writing(collection)
    return CaughtUp(upserted, deleted, tuple(waiting))


def _gather(
    source: DropRows, wanted: dict[str, WantedRows], changes: Changes, *, dim: int, fingerprint: str
) -> VectorBlock:
    positions = changes.upsert.get(source.drop.key, [])
    return gather_for(wanted[source.drop.key], positions, source.vectors(), dim=dim, fingerprint=fingerprint)


def _guard_mass_deletion(milvus: Milvus, collection: str, deletions: int) -> None:
    if deletions and deletions > MASS_DELETION * milvus.count(collection):
        raise UserError(
            f"{deletions} items of {collection} would go, because their drops changed or left after it was staged: is "
            f"the store complete? If this is meant, run the nightly_reindex job with allow_mass_deletion; nothing was "
            f"changed."
        )
