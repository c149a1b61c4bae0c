"""Rows as the columns of one Milvus message, packed and read several times faster than pymilvus does it by dicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from mmrag_pipeline.index.layout import FLOAT16
from mmrag_pipeline.index.schema import DYNAMIC, FIELDS, INT_FIELDS, MAX_BYTES, WIDE_INT_FIELDS

if TYPE_CHECKING:
    from pymilvus import MilvusClient
    from pymilvus.grpc_gen.schema_pb2 import FieldData

Row = dict[str, Any]
Pairs = tuple[list[str], list[Any]]

_MESSAGE_BYTES = 16 * 1024 * 1024  # a quarter of what a server accepts at most
_BATCH_ROWS = 2000
_FIELDS = frozenset(FIELDS)
_FLOATS = b"\x0a"  # field 1, length-delimited: `FloatArray.data`


def pack(rows: Sequence[Row], *, vectors: str) -> list[FieldData]:
    """Whole rows (every field of the schema, `embedding` as float32 [dim]) as `schema.proto`'s FieldData, one a field.

    What is in a row besides goes into the dynamic field.
    """
    from pymilvus import DataType
    from pymilvus.grpc_gen.schema_pb2 import (
        ArrayArray,
        FieldData,
        IntArray,
        JSONArray,
        LongArray,
        ScalarField,
        StringArray,
    )

    def scalars(name: str, kind: int, values: ScalarField, **options: Any) -> FieldData:
        return FieldData(type=kind, field_name=name, scalars=values, **options)

    def column(name: str) -> list[Any]:
        return [row[name] for row in rows]

    def texts(values: Sequence[str]) -> ScalarField:
        return ScalarField(string_data=StringArray(data=values))

    fields = [scalars(name, DataType.VARCHAR, texts(column(name))) for name in MAX_BYTES]
    for name in INT_FIELDS:
        if name in WIDE_INT_FIELDS:
            wide = ScalarField(long_data=LongArray(data=column(name)))
            fields.append(scalars(name, DataType.INT64, wide))
        else:
            narrow = ScalarField(int_data=IntArray(data=column(name)))
            fields.append(scalars(name, DataType.INT32, narrow))
    # Pictures of one delivery share theirs.
    tags = ArrayArray(data=list(map(cache(texts), map(tuple, column("tags")))))
    fields.append(scalars("tags", DataType.ARRAY, ScalarField(array_data=tags)))
    extra = ScalarField(json_data=JSONArray(data=list(map(dynamic_json, rows))))
    fields.append(scalars(DYNAMIC, DataType.JSON, extra, is_dynamic=True))

    block = np.stack(column("embedding")).astype(np.float32, copy=False)
    field = FieldData(type=DataType.FLOAT_VECTOR, field_name="embedding")
    field.vectors.dim = block.shape[1]
    if vectors == FLOAT16:
        field.type = DataType.FLOAT16_VECTOR
        field.vectors.float16_vector = block.astype("<f2").tobytes()
    else:
        field.vectors.float_vector.MergeFromString(_float_array(block))
    fields.append(field)
    return fields


def _float_array(block: np.ndarray) -> bytes:
    """`FloatArray` as it travels: packed floats are their little-endian bytes (protobuf encoding), so none becomes a
    Python object.
    """
    data = block.astype("<f4", copy=False).tobytes()
    size, length = len(data), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    length.append(size)
    return b"".join((_FLOATS, length, data))


def dynamic_json(row: Mapping[str, Any]) -> bytes:
    """The row's further catalogue columns as JSON."""
    return orjson.dumps({name: row[name] for name in sorted(row.keys() - _FIELDS)})


def upsert(client: MilvusClient, name: str, fields: Sequence[FieldData], count: int, *, timeout: float) -> None:
    """Send packed columns; pymilvus takes a finished request as `upsert_param`."""
    from pymilvus.grpc_gen.milvus_pb2 import UpsertRequest

    request = UpsertRequest(collection_name=name, fields_data=fields, num_rows=count)
    client._get_connection().upsert(
        name,
        [],
        upsert_param=request,
        schema={"fields": ()},  # only looked at to make a request
        timeout=timeout,
        context=client._generate_call_context(),
    )


def insert(client: MilvusClient, name: str, fields: Sequence[FieldData], count: int, *, timeout: float) -> None:
    """Send packed columns of rows that are in no message before: a fifth faster than an upsert.

    One request, whatever happens: pymilvus's own call repeats it when an answer is lost, and servers keep both rows.
    """
    from pymilvus.client.call_context import _api_level_md
    from pymilvus.client.utils import check_status
    from pymilvus.grpc_gen.milvus_pb2 import InsertRequest

    request = InsertRequest(collection_name=name, fields_data=fields, num_rows=count)
    metadata = _api_level_md(client._generate_call_context())
    check_status(client._get_connection()._stub.Insert(request, timeout=timeout, metadata=metadata).status)


def pairs(client: MilvusClient, name: str, field: str, *, filter: str, timeout: float) -> Pairs:
    """Ids of every row that matches, and a scalar field of each, finished writes included.

    Raises:
        MilvusException, grpc.RpcError: as pymilvus's own `query` does.
    """
    from pymilvus.client.call_context import _api_level_md
    from pymilvus.client.utils import check_status
    from pymilvus.grpc_gen.milvus_pb2 import QueryRequest

    # consistency level 0 is Strong, for which the server takes the newest timestamp itself
    request = QueryRequest(collection_name=name, expr=filter, output_fields=["id", field], consistency_level=0)
    metadata = _api_level_md(client._generate_call_context())
    answer = client._get_connection()._stub.Query(request, timeout=timeout, metadata=metadata)
    check_status(answer.status)
    found = {each.field_name: getattr(each.scalars, each.scalars.WhichOneof("data")) for each in answer.fields_data}
    return (list(found["id"].data), list(found[field].data)) if found else ([], [])


def messages(rows: Iterable[Row], *, vectors: str) -> Iterator[tuple[list[FieldData], int]]:
    """Rows in order as packed messages of at most 2,000 rows and 16 MB, each with its number of rows.

    A message has each id once, the last of equal ones: servers keep both of two, or refuse them.
    """
    rows = iter(rows)
    while batch := {row["id"]: row for row in islice(rows, _BATCH_ROWS)}:
        yield from _small_enough(list(batch.values()), vectors)


def _small_enough(rows: list[Row], vectors: str) -> Iterator[tuple[list[FieldData], int]]:
    fields = pack(rows, vectors=vectors)
    if len(rows) == 1 or sum(field.ByteSize() for field in fields) <= _MESSAGE_BYTES:
        yield fields, len(rows)
        return
    half = len(rows) // 2
    yield from _small_enough(rows[:half], vectors)
    yield from _small_enough(rows[half:], vectors)
