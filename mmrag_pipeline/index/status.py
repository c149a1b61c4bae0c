"""What is live, read without a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmrag_pipeline.index.filter import equals
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.schema import DIGEST


@dataclass(frozen=True)
class LiveStatus:
    """The live collection; None and 0 before the first one. `rows` counts every finished write."""

    alias: str
    collection: str | None
    fingerprint: str | None
    dim: int | None
    rows: int


def live_status(milvus: Milvus) -> LiveStatus:
    """What the alias points to.

    Raises:
        UserError: the alias or its collection was made by someone else.
    """
    live = milvus.live()
    if live is None:
        return LiveStatus(milvus.alias, None, None, None, 0)
    return LiveStatus(milvus.alias, live.name, live.fingerprint, live.dim, milvus.count(live.name))


def live_ids(milvus: Milvus, drop: str | None = None) -> set[str]:
    """Media ids in the live collection, of one drop (by key) or of all; empty when nothing is live."""
    live = milvus.live()
    if live is None:
        return set()
    # a field that collections of every schema have; a drop is small, so in the fewest ranges
    expression, about = ("", None) if drop is None else (equals("drop", drop), 0)
    return {media_id for ids, _ in milvus.pairs(live.name, "drop", expression, about=about) for media_id in ids}


def held_by(milvus: Milvus, collection: str) -> str:
    """A hash of which rows the collection holds and what they say: another one when any of them is.

    Of the digests that rows are compared by, so that it takes no longer than finding out whether anything changed.
    """
    rows = total = 0
    for ids, digests in milvus.pairs(collection, DIGEST):
        rows += len(ids)
        total = (total + int(np.array(digests, np.int64).sum())) % 2**64  # pages come in any order
    return f"{rows}-{total:016x}"


def product_lines(milvus: Milvus) -> list[str]:
    """The product lines that have items in the live collection, sorted; empty when nothing is live."""
    live = milvus.live()
    if live is None:
        return []
    return sorted({line for _, lines in milvus.pairs(live.name, "product_line") for line in lines})
