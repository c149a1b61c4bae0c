"""Hostile values: each finds exactly the rows that have it, or is refused in one sentence."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.filter import both, equals
from mmrag_pipeline.index.schema import MAX_BYTES
from mmrag_pipeline_tests.index.library import BAGS, Item

NASTY = [
    'x" or 1==1 or "', "x' or 1==1 or '", '\\', '\\"', '"', '""', '\\\\', 'a\\', "'", '\n', 'a\nb',
    '\r\n', '\t', '\\n', '") or (id != "', '%', '_', 'like %', '{x}', '{}', '$meta', 'é', "e\u0301", '☃',
    '😀', '\u2028', '\x85', '\x01', '\x7f', '\ufeff', '\u202e', 'true', 'null', '-1', '1e5', '[1]', '/* */',
    '--', ';', 'id in []', '?', '??/', '\\x41', '\\u0041', '\\101', ' ', '  lead', 'trail  ', "x" * 256,
]  # fmt: skip


@pytest.fixture
def skus(milvus, sync):
    """A drop with one item for each nasty sku."""
    drop = BAGS.add({f"{number:03}.jpg": Item(f"thing {number}", sku=sku) for number, sku in enumerate(NASTY)})
    sync(drop)
    return milvus


def having(milvus, sku):
    pages = milvus.rows(milvus.live().name, ("sku",), equals("sku", sku))
    return [row["sku"] for page in pages for row in page]


def test_each_value_finds_its_own_row(skus):
    for sku in NASTY:
        assert having(skus, sku) == [sku]


fragments = st.sampled_from([*NASTY, "or", "and", "==", "(", ")", "V-1", "sku", "id", "not", "in", "[", "]", ","])
hostile = st.one_of(
    st.lists(fragments, min_size=1, max_size=6).map("".join),
    st.text(min_size=1, max_size=60),
    st.text(alphabet="\"'\\\n\t\r or1=()%_{}$", min_size=1, max_size=40),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=hostile)
def test_a_hostile_value_finds_only_itself_or_is_refused(skus, value):
    with refusal_is_fine():
        assert all(sku == value for sku in having(skus, value))


@contextmanager
def refusal_is_fine():
    try:
        yield
    except UserError as error:
        assert "\n" not in str(error) and "filter on sku" in str(error)


@pytest.mark.parametrize("value", ["\0", "a\0b", "x" * 257, "é" * 129, "y" * 65_536, "\ud800"])
def test_values_that_no_row_can_have_are_refused(value):
    with pytest.raises(UserError, match="filter on sku"):
        equals("sku", value)


def test_parts_are_joined():
    assert both("", equals("drop", "a"), "") == 'drop == "a"'
    assert both(equals("drop", "a"), equals("sku", 'b"')) == 'drop == "a" and sku == "b\\""'
    assert both() == ""
    assert len(equals("path", "p" * MAX_BYTES["path"])) == MAX_BYTES["path"] + len('path == ""')
