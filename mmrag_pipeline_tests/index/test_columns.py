"""Packed columns are what pymilvus itself would send."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrag_pipeline.index.columns import messages, pack
from mmrag_pipeline.index.layout import Layout
from mmrag_pipeline.index.schema import FIELDS, INT_FIELDS, MAX_BYTES, WIDE_INT_FIELDS, build_schema

DIM = 8
MIB = 1024 * 1024


def a_row(number=0, *, dim=DIM, **values):
    row = {name: f"{name} {number}" for name in MAX_BYTES} | dict.fromkeys(INT_FIELDS, number)
    vector = np.full(dim, number, dtype=np.float32)
    return row | {"id": f"{number:x}", "tags": [], "embedding": vector} | values


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(-(2**31), 2**31 - 1)
rows = st.lists(
    st.fixed_dictionaries(
        dict.fromkeys(MAX_BYTES, words)
        | {name: st.integers(-(2**63), 2**63 - 1) if name in WIDE_INT_FIELDS else numbers for name in INT_FIELDS}
        | {"tags": st.lists(words, max_size=3)}
        | {"embedding": st.lists(st.floats(-1, 1, width=32), min_size=DIM, max_size=DIM).map(np.float32)},
        optional={"season": words, "price": st.floats(-1e6, 1e6), 'a "b"': st.booleans(), "gone": st.none()},
    ),
    min_size=1,
    max_size=4,
)


def as_pymilvus_packs(rows, vectors):
    from pymilvus.client.prepare import Prepare

    fields = build_schema(DIM, Layout("FLAT", vectors)).to_dict()["fields"]
    given = [row | {"embedding": row["embedding"].astype(np.dtype(vectors))} for row in rows]
    request = Prepare.row_upsert_param("c", given, "", fields, enable_dynamic=True)
    return {field.field_name or "$meta": field for field in request.fields_data}


@pytest.mark.parametrize("vectors", ["float32", "float16"])
@settings(max_examples=60, deadline=None)
@given(rows=rows)
def test_columns_equal_those_of_pymilvus(vectors, rows):
    import json

    ours = {field.field_name: field for field in pack(rows, vectors=vectors)}
    theirs = as_pymilvus_packs(rows, vectors)
    assert ours.keys() == theirs.keys() == {*FIELDS, "$meta"}
    for name in FIELDS:
        assert ours[name] == theirs[name], name
    meta = [[json.loads(text) for text in side["$meta"].scalars.json_data.data] for side in (ours, theirs)]
    assert meta[0] == meta[1] and ours["$meta"].is_dynamic


def test_messages_stay_below_the_limit_and_lose_nothing():
    many = [a_row(number, dim=4096, title="\N{SNOWMAN}" * 300) for number in range(3000)]
    packed = list(messages(many, vectors="float32"))
    assert max(sum(field.ByteSize() for field in fields) for fields, _ in packed) <= 16 * MIB
    sent = [id_ for fields, _ in packed for id_ in fields[list(MAX_BYTES).index("id")].scalars.string_data.data]
    assert sent == [row["id"] for row in many] and sum(count for _, count in packed) == 3000


def test_a_message_has_each_id_once_and_the_last_counts():
    [(fields, count)] = messages([a_row(1, sku="old"), a_row(2), a_row(1, sku="new")], vectors="float32")
    by_name = {field.field_name: field for field in fields}
    assert count == 2 and list(by_name["sku"].scalars.string_data.data) == ["new", "sku 2"]
