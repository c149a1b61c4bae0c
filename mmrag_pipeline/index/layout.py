"""How a collection keeps its rows in Milvus: index, number type of the vectors, partition key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

AUTO = "auto"
FLOAT32, FLOAT16 = "float32", "float16"
PARTITION_KEY = "product_line"
PARTITIONS = 16  # buckets that product lines are hashed into; Milvus's default
EXACT_ROWS = 200_000  # up to here comparing with every row is fast enough, and exact
SAME_COSINE = 0.9999
"""A stored vector is the one that was written when their cosine is at least this."""
QUANTISED_COSINE = 0.98
LEAST_BREADTH = 128
"""How many candidates an approximate index keeps while it searches, at least."""


@dataclass(frozen=True)
class Layout:
    """What may change from one rebuild to the next while the rows stay the same.

    `index` is a key of `INDEXES`; `vectors` is float32 or float16; `partition_key` is a field, or "" for none.
    """

    index: str
    vectors: str = FLOAT32
    partition_key: str = ""

    @property
    def same(self) -> float:
        """A row that is found with its own vector has at least this score."""
        return INDEXES[self.index].same if self.vectors == FLOAT32 else QUANTISED_COSINE


@dataclass(frozen=True)
class IndexType:
    """Parameters for building and, for a search of `limit` rows, for searching.

    `exact`: every row is compared. `same`: see `Layout.same`. `on_lite`:
    Milvus Lite has it; others it takes without a word and does something else.
    """

    build: Mapping[str, Any] = field(default_factory=dict)
    search: Callable[[int], dict[str, Any]] = lambda limit: {}
    exact: bool = False
    same: float = SAME_COSINE
    on_lite: bool = False


def _graph(limit: int) -> dict[str, Any]:
    return {"ef": max(LEAST_BREADTH, limit)}


def _lists(limit: int) -> dict[str, Any]:
    return {"nprobe": LEAST_BREADTH}


# Parameters after the index pages of the Milvus documentation; the recall check has the last word on them.
INDEXES: Mapping[str, IndexType] = {
    "FLAT": IndexType(exact=True, on_lite=True),
    "HNSW": IndexType({"M": 16, "efConstruction": 200}, _graph, on_lite=True),
    "HNSW_SQ": IndexType(
        {"M": 16, "efConstruction": 200, "sq_type": "SQ8", "refine": True, "refine_type": "FP16"},
        lambda limit: _graph(limit) | {"refine_k": 2},
        same=QUANTISED_COSINE,
    ),
    "IVF_FLAT": IndexType({"nlist": 1024}, _lists, on_lite=True),
    "IVF_SQ8": IndexType({"nlist": 1024}, _lists, same=QUANTISED_COSINE, on_lite=True),
    "IVF_RABITQ": IndexType(
        {"nlist": 1024, "refine": True, "refine_type": "SQ8"},
        lambda limit: _lists(limit) | {"refine_k": 4},
        same=QUANTISED_COSINE,
    ),
    "DISKANN": IndexType(search=lambda limit: {"search_list": max(LEAST_BREADTH, limit)}),
    "AUTOINDEX": IndexType(same=QUANTISED_COSINE, on_lite=True),
}


def choose_layout(rows: int, *, index: str, vectors: str, server: str | None) -> Layout:
    """The layout for so many rows: the index that is asked for, or with `auto` FLAT while it is fast enough and HNSW
    above. Product lines are kept apart on a server, where a filter on one then reads less.

    `server` is the version that it gives, None for Milvus Lite.
    """
    chosen = ("FLAT" if rows <= EXACT_ROWS else "HNSW") if index == AUTO else index
    return Layout(chosen, vectors, PARTITION_KEY if server and _keeps_partitions(server) else "")


def _keeps_partitions(version: str) -> bool:
    """Servers before 2.4.5 put upserted or imported rows into partitions where filters on the key do not find them
    (milvus-io/milvus#30607, #33237).
    """
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return found is not None and tuple(int(part or 99) for part in found.groups()) >= (2, 4, 5)
