"""Ids and one field of the rows of a Lite collection, taken from its engine, which runs in this process.

Asked over gRPC, it makes every row whole, with its vector, whatever fields are wanted, which takes many times as long.
What counts as a row is left to Lite's own functions, in the order of its `Collection.query`; they are not its public
interface, so its version is bound in pyproject.toml.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from mmrag_pipeline.index.columns import Pairs


def pairs(database: Any, name: str, field: str, *, filter: str) -> Pairs:
    """As `columns.pairs`, from a `milvus_lite.db.MilvusLite`. The caller sees to it that nothing is written meanwhile.

    Raises:
        MilvusException: there is no such collection, it is released, or the filter is none; as pymilvus would say it.
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
    unflushed, numbers, *_, in_memory = memtable.to_search_snapshot(vector_field=None, include_table=True)

    # every version of every row: those in files, then those in memory
    ids = [*chain.from_iterable(segment.pks for segment in segments), *unflushed]
    sequence = np.concatenate([*(segment.seqs for segment in segments), numbers])
    tables = [*(segment.table for segment in segments), in_memory]
    mask = np.concatenate([evaluate_mask(wanted, table) for table in tables]) if wanted else None
    valid = build_valid_mask(ids, sequence, deleted, filter_mask=mask, memtable=memtable)
    values = list(chain.from_iterable(table[field].to_pylist() for table in tables))
    found = np.flatnonzero(valid).tolist()
    return [ids[at] for at in found], [values[at] for at in found]
