"""Hostile values: each finds exactly the rows that have it, or is refused in one sentence."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.filter import TEXT_FIELDS, Filter, both, equals
from mmrag_pipeline.index.schema import FIELDS, MAX_BYTES
from mmrag_pipeline.index.search import SearchRequest, items, search
from mmrag_pipeline_tests.index.hostile import FRAGMENTS, IMPOSSIBLE, NASTY, fits, hostile_values
from mmrag_pipeline_tests.index.library import BAGS, FakeDrop, FakeEncoder, Item

THING = FakeEncoder().encode_texts(["thing"])[0]


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


hostile = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=6).map("".join),
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


@pytest.mark.parametrize("value", IMPOSSIBLE)
def test_values_that_no_row_can_have_are_refused(value):
    with pytest.raises(UserError, match="filter on sku"):
        equals("sku", value)


def test_the_hostile_values_are_always_the_same_and_of_every_kind():
    values = hostile_values(2000)
    assert values == hostile_values(2000) and len(set(values)) == 2000 and values[:200] == hostile_values(200)
    sizes = Counter(len(value.encode("utf-8", "replace")) for value in values)
    assert min(sizes[256], sizes[257], sizes[65_536]) >= 10
    assert 1600 < sum(fits(value, MAX_BYTES["sku"]) for value in values) < 1900


@pytest.fixture(params=[200, pytest.param(2000, marks=pytest.mark.slow)])
def values(request):
    return hostile_values(request.param)


def test_a_hostile_value_finds_its_own_row_or_is_refused(milvus, sync, values):
    possible = [value for value in values if fits(value, MAX_BYTES["sku"])]
    path = {value: f"{number:04}.jpg" for number, value in enumerate(possible)}
    sync(FakeDrop("bags__hostile", {path[value]: item(value) for value in possible}))
    for value in values:
        if value in path:
            assert near(milvus, Filter(sku=value)) == [(path[value], value, value, [value, "every"])]
        else:
            assert_refused(sku=value)
    for value in values[::10]:
        if value in path:
            assert near(milvus, Filter(tags=(value,))) == [(path[value], value, value, [value, "every"])]
            assert [hit.path for hit in found(milvus, sku=value, tags=("every", value))] == [path[value]]
        else:
            assert_refused(tags=(value,))
    for value in possible[::50]:
        assert [hit.path for hit in items(milvus, sku=value, limit=9)] == [path[value]]
    assert len(found(milvus, tags=("every",))) == min(len(possible), 1000)


def near(milvus, where):
    """What a search through the alias finds, without looking first what is live."""
    fields = ("path", "sku", "title", "tags")
    rows = milvus.search(milvus.alias, THING, limit=9, fields=fields, filter=where.expression())
    return [(row["path"], row["sku"], row["title"], list(row["tags"])) for _, _, row in rows]


def item(value):
    return Item(f"thing {value.encode().hex()}", sku=value, title=value, tags=(value, "every"))


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_a_hostile_value_of_any_field_finds_its_own_row_or_is_refused(milvus, sync, field):
    """Also of those fields that the pipeline fills with values of its own making only."""
    live = sync(BAGS).collection
    pattern = milvus.get(live, [BAGS.id_of("red.jpg")], [*FIELDS])[BAGS.id_of("red.jpg")]
    pattern["embedding"] = np.asarray(pattern["embedding"], np.float32)
    pattern["tags"] = list(pattern["tags"])
    values = hostile_values(400)[::4]
    possible = [value for value in values if fits(value, MAX_BYTES[field])]
    milvus.upsert(
        live, [pattern | {"id": f"{number:032x}", "path": value, field: value} for number, value in enumerate(possible)]
    )
    milvus.finish_writing(live)
    for value in values:
        if value in possible:
            assert [hit.path for hit in found(milvus, **{"origin": None, field: value})] == [value]
        else:
            assert_refused(**{field: value})


def found(milvus, **filters):
    request = SearchRequest(text="thing", k=1000, where=Filter(**filters), one_per_content=False)
    return search(milvus, FakeEncoder(), request)


def assert_refused(**filters):
    with pytest.raises(UserError) as error:
        Filter(**filters).expression()
    (name,) = filters
    message = str(error.value)
    assert message.startswith(f"the filter on {name} ") and message.endswith(".") and "\n" not in message
    assert len(message) < 200


def test_parts_are_joined():
    assert both("", equals("drop", "a"), "") == 'drop == "a"'
    assert both(equals("drop", "a"), equals("sku", 'b"')) == 'drop == "a" and sku == "b\\""'
    assert both() == ""
    assert len(equals("path", "p" * MAX_BYTES["path"])) == MAX_BYTES["path"] + len('path == ""')
