from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrag_pipeline.index.digest import row_digests
from mmrag_pipeline.index.rows import WantedRows
from mmrag_pipeline_tests.index.library import WATCHES, Item

SCHEMA = pa.schema(
    [("path", pa.string()), ("width", pa.int32()), ("sku", pa.string()), ("tags", pa.list_(pa.string()))]
)
texts = st.text(alphabet=["a", "1", ":", ",", "é", "\0"], max_size=3)
rows = st.fixed_dictionaries(
    {
        "path": texts,
        "width": st.none() | st.integers(-1, 12),
        "sku": st.none() | texts,
        "tags": st.none() | st.lists(texts, max_size=3),
    }
)


def digests(some: list[dict], salt: str = "") -> list[int]:
    return row_digests(pa.Table.from_pylist(some, SCHEMA), salt=salt).tolist()


def normal(row: dict) -> tuple:
    return tuple(
        tuple(row[name] or ()) if name == "tags" else "" if row[name] is None else str(row[name])
        for name in SCHEMA.names
    )


@settings(deadline=None)
@given(st.lists(rows, max_size=6))
def test_digests_are_equal_where_the_rows_are(some):
    found = digests(some)
    assert all(-(2**63) <= digest < 2**63 for digest in found)
    assert len({normal(row): digest for row, digest in zip(some, found, strict=True)}) == len(set(found))
    assert found == [digest for row in some for digest in digests([row])]


@settings(deadline=None)
@given(st.lists(rows, min_size=1, max_size=6), st.integers(0, 5), st.integers(0, 5))
def test_a_slice_of_a_table_has_the_digests_of_its_rows(some, start, length):
    table = pa.concat_tables([pa.Table.from_pylist([row], SCHEMA) for row in some])
    assert row_digests(table.slice(start, length), salt="").tolist() == digests(some)[start : start + length]


def test_another_salt_gives_other_digests():
    row = {"path": "a", "width": 1, "sku": "b", "tags": ["c"]}
    assert digests([row], "1") != digests([row], "2") and digests([row]) == digests([row])


def test_whatever_is_stored_of_a_row_is_in_its_digest():
    plain = WATCHES.items["gold.jpg"]
    (before,) = WantedRows(WATCHES.drop, replaced(plain)).digests
    others = [
        Item("another picture", plain.sku, plain.title, plain.tags, plain.extra),
        Item(plain.words, "other", plain.title, plain.tags, plain.extra),
        Item(plain.words, plain.sku, "other", plain.tags, plain.extra),
        Item(plain.words, plain.sku, plain.title, ("other",), plain.extra),
        Item(plain.words, plain.sku, plain.title, plain.tags, {"season": "spring"}),
        Item(plain.words, plain.sku, plain.title, plain.tags, plain.extra, frame_ms=40),
    ]
    for other in others:
        (after,) = WantedRows(WATCHES.drop, replaced(other)).digests
        assert after != before, other


def replaced(item: Item) -> pa.Table:
    return WATCHES.without(*WATCHES.items).add({"gold.jpg": item}).manifest
