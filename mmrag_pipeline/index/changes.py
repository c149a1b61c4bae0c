"""What must be written so that a collection equals manifests, and writing it; for sync and rebuild alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat

import numpy as np
import pyarrow as pa

from mmrag_pipeline.index.columns import Row
from mmrag_pipeline.index.filter import both, equals
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.rows import WantedRows
from mmrag_pipeline.index.schema import DIGEST
from mmrag_pipeline.index.vectors import VectorBlock, gather
from mmrag_pipeline.media.library import Drop

Progress = Callable[[int, int], None]
MASS_DELETION = 0.5
"""Share of a collection's rows; more of them are only deleted when someone says so."""


@dataclass(frozen=True)
class DropRows:
    """One drop as it should be indexed; each call of `vectors` opens its batches (content_id, embedding)."""

    drop: Drop
    manifest: pa.Table
    vectors: Callable[[], Iterable[pa.RecordBatch]]


@dataclass
class Changes:
    """Positions (in `WantedRows`) to upsert, by drop, and ids to delete."""

    upsert: dict[str, list[int]] = field(default_factory=dict)
    delete: list[str] = field(default_factory=list)
    lingering: dict[str, Row] = field(default_factory=dict)  # nulls by id, see `Milvus.lingering_columns`
    unchanged: int = 0
    stored: int = 0

    @property
    def upserts(self) -> int:
        return sum(map(len, self.upsert.values()))

    def __bool__(self) -> bool:
        return bool(self.delete) or self.upserts > 0


def compare(milvus: Milvus, collection: str, wanted: Mapping[str, WantedRows], *, only: Drop | None = None) -> Changes:
    """Compare stored rows (of drop `only`, or all) with the wanted ones, by id and digest; writes nothing."""
    # the product line besides: where it is the partition key, only its partitions are read
    where = both(equals("product_line", only.product_line), equals("drop", only.key)) if only else ""
    stored = milvus.pairs(collection, DIGEST, where, about=sum(map(len, wanted.values())))
    # made while a server's first rows travel; numpy compares, because Python's objects would take longer than those
    position = {media_id: at for at, media_id in enumerate(chain.from_iterable(rows.ids for rows in wanted.values()))}
    digests = np.concatenate([np.empty(0, np.int64), *(rows.digests for rows in wanted.values())])
    is_stored, is_equal = np.zeros(len(digests), bool), np.zeros(len(digests), bool)
    changes = Changes()
    for ids, values in stored:
        at_wanted = np.fromiter(map(position.get, ids, repeat(-1)), np.int64, len(ids))
        known = at_wanted >= 0
        changes.stored += len(ids)
        changes.delete += [ids[at] for at in np.flatnonzero(~known).tolist()]
        is_stored[at_wanted[known]] = True
        is_equal[at_wanted[known]] = digests[at_wanted[known]] == np.array(values, np.int64)[known]
    changes.unchanged = int(is_equal.sum())
    different: list[str] = []
    start = 0
    for key, rows in wanted.items():
        end = start + len(rows)
        if positions := np.flatnonzero(~is_equal[start:end]).tolist():
            changes.upsert[key] = positions
            different += [rows.ids[at] for at in np.flatnonzero((is_stored & ~is_equal)[start:end]).tolist()]
        start = end
    changes.lingering = milvus.lingering_columns(collection, sorted(different))
    return changes


def everything(wanted: Mapping[str, WantedRows]) -> Changes:
    """The changes that fill an empty collection."""
    return Changes(upsert={key: list(range(len(rows))) for key, rows in wanted.items() if len(rows)})


def gather_for(
    rows: WantedRows, positions: list[int], batches: Iterable[pa.RecordBatch], *, dim: int, fingerprint: str
) -> VectorBlock:
    """The vectors of these rows; raises UserError before anything is written."""
    return gather(rows.content_ids(positions), batches, dim=dim, drop=rows.drop.key, fingerprint=fingerprint)


def apply(
    milvus: Milvus,
    collection: str,
    changes: Changes,
    wanted: Mapping[str, WantedRows],
    vectors: Callable[[str], VectorBlock],
    *,
    new: bool = False,
    guard: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the changes drop by drop; `vectors` gives the block of a drop when its turn comes.

    `new`: they fill a collection that this process has just made. `guard` may raise before each write.

    New rows go in before old ones go out, so that a renamed file is found at any moment.
    """
    told = partial(_tell, progress, changes.upserts) if progress else None
    milvus.upsert(collection, entities(changes, wanted, vectors), new=new, guard=guard, progress=told)
    if guard and changes.delete:
        guard()
    milvus.delete(collection, changes.delete)


def _tell(progress: Progress, total: int, done: int) -> None:
    progress(done, total)


def entities(
    changes: Changes, wanted: Mapping[str, WantedRows], vectors: Callable[[str], VectorBlock]
) -> Iterator[Row]:
    """Every row to write, with its `embedding`, drop by drop."""
    for key, positions in sorted(changes.upsert.items()):
        block = vectors(key)
        for row in wanted[key].take(positions):
            row["embedding"] = block[row["content_id"]]
            lingering = changes.lingering.get(row["id"])
            yield lingering | row if lingering else row
