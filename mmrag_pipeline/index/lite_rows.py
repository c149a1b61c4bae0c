"""Ids and one field of the rows of a Lite collection, taken from its engine, which runs in this process.

Asked over gRPC, it makes every row whole, with its vector, whatever fields are wanted, which takes many times as long.
What counts as a row is left to Lite's own functions, in the order of its `Collection.query` (3.2); they are not its
public interface, so its version is bound in pyproject.toml.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from mmrag_pipeline.index.columns import Pairs


def pairs(database: Any, name: str, field: str, *, filter: str) -> Pairs:
    """As `columns.pairs`, from a `milvus_lite.db.MilvusLite`. Nothing may be written meanwhile.

    Raises:
        MilvusException: as the engine's answer would be read by pymilvus.
    """
    from milvus_lite.adapter.grpc.errors import to_status_kwargs
    from milvus_lite.exceptions import MilvusLiteError
    from milvus_lite.search.bitmap import build_valid_mask
    from milvus_lite.search.filter import evaluate_mask
    from pymilvus import MilvusException

    try:
        collection = database.get_collection(name)
        collection._require_loaded()
        wanted = collection._compile_filter(filter) if filter else None
        segments, deleted = collection._read_snapshot()
    except MilvusLiteError as error:
        status = to_status_kwargs(error)
        raise MilvusException(code=status["code"], message=status["reason"]) from error
    memtable = collection._memtable
    unflushed, numbers, *_, table = memtable.to_search_snapshot(vector_field=None, include_table=True)
    versions = [(segment.pks, segment.seqs, segment.table) for segment in segments] + [(unflushed, numbers, table)]
    ids = list(chain.from_iterable(ids for ids, _, _ in versions))
    mask = np.concatenate([evaluate_mask(wanted, table) for _, _, table in versions]) if wanted else None
    newest = np.concatenate([numbers for _, numbers, _ in versions])
    valid = build_valid_mask(ids, newest, deleted, filter_mask=mask, memtable=memtable)
    values = list(chain.from_iterable(table[field].to_pylist() for _, _, table in versions))
    found = np.flatnonzero(valid).tolist()
    return [ids[at] for at in found], [values[at] for at in found]
