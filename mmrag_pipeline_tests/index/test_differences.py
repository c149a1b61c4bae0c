"""Where Milvus Lite and a server differ, the adapter makes them alike; docs/milvus.md lists where and by which test."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from pathlib import Path
from random import Random

import numpy as np
import pytest

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index import columns
from mmrag_pipeline.index.layout import Layout
from mmrag_pipeline.index.milvus import Milvus, MilvusConfig, connect
from mmrag_pipeline.index.rebuild import check_staged, publish, stage
from mmrag_pipeline.index.schema import FIELDS
from mmrag_pipeline.index.search import SearchRequest, search
from mmrag_pipeline.index.status import live_ids
from mmrag_pipeline_tests.index.library import BAGS, DIM, FINGERPRINT, NOW, WATCHES, FakeEncoder, Item

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "milvus.md"
TESTS = Path(__file__).resolve().parent
ENCODER = FakeEncoder()
GOLD = WATCHES.id_of("gold.jpg")
(GOLDEN,) = ENCODER.encode_texts(["golden watch"])


@pytest.fixture
def live(milvus, sync) -> str:
    """The live collection, which holds the watches."""
    return sync(WATCHES).collection


@pytest.fixture
def gold(milvus, live):
    """A row that can be written again."""
    (row,) = milvus.get(live, [GOLD], FIELDS).values()
    return row | {"tags": list(row["tags"]), "embedding": np.asarray(row["embedding"], np.float32)}


def titles(milvus: Milvus, collection: str, media_id: str) -> list[str]:
    return [row["title"] for page in milvus.rows(collection, ("title",)) for row in page if row["id"] == media_id]


def test_an_id_twice_in_one_message_is_one_row_the_last(milvus, live, gold):
    twice = [gold | {"title": "first"}, gold | {"id": "0" * 32, "title": "another"}, gold | {"title": "second"}]
    assert milvus.upsert(live, twice) == 2
    assert milvus.count(live) == len(WATCHES.ids) + 1
    assert titles(milvus, live, GOLD) == ["second"] and titles(milvus, live, "0" * 32) == ["another"]


def test_an_id_written_again_is_one_row_also_under_another_product_line(milvus, live, gold):
    for line in ("lunar", "vela", "lunar", "other"):
        milvus.upsert(live, [gold | {"product_line": line, "title": f"of {line}"}])
        assert milvus.count(live) == len(WATCHES.ids) and titles(milvus, live, GOLD) == [f"of {line}"]
        assert milvus.count(live, f'product_line == "{line}" and id == "{GOLD}"') == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_what_is_no_number_or_no_direction_is_refused_before_anything_is_written(milvus, sync, writes, live, value):
    writes.calls.clear()
    broken = FakeEncoder()
    broken.encode_texts = lambda texts: np.where(
        np.arange(DIM) == 3, value, ENCODER.encode_texts(texts) * (value == value)
    )
    more = WATCHES.add({"new.jpg": Item("new watch")}).embedded_by(broken)
    with pytest.raises(UserError, match="not a unit vector"):
        sync(more)
    with pytest.raises(UserError, match="not a unit vector"):
        stage(milvus, drops=[more.rows], fingerprint=FINGERPRINT, dim=DIM, now=NOW, mode="reconcile")
    assert writes.calls == [] and live_ids(milvus) == WATCHES.ids


def test_a_hit_has_its_id_and_the_fields_that_were_asked_for(milvus, live):
    for fields in ((), ("id",), ("path", "title")):
        ((media_id, score, found),) = milvus.search(live, GOLDEN, limit=1, fields=fields)
        assert media_id == GOLD and score == pytest.approx(1.0, abs=1e-5)
        assert found.keys() - {"id"} == set(fields) - {"id"}  # no vector that nobody wants
        row = milvus.get(live, [GOLD], fields)[GOLD]
        assert row.keys() - {"id"} == set(fields) - {"id"}


def test_deleting_what_is_not_there_is_no_error_and_deletes_nothing_else(milvus, live):
    assert milvus.delete(live, ["0" * 32, GOLD, "f" * 32]) is None
    assert live_ids(milvus) == WATCHES.ids - {GOLD}
    milvus.delete(live, [GOLD])
    milvus.delete(live, [])
    assert live_ids(milvus) == WATCHES.ids - {GOLD}


def test_what_any_alias_points_to_is_not_dropped_and_no_alias_is_taken_for_a_collection(milvus, live):
    spare = milvus.create(fingerprint=FINGERPRINT, dim=DIM, layout=Layout("FLAT"), now=NOW + timedelta(days=1))
    theirs = f"{milvus.alias}_0badcafe_20260901T000000"  # even one that is named like a collection of ours
    milvus._client.create_alias(spare.name, theirs)
    try:
        for name in (live, spare.name, milvus.alias, theirs):
            with pytest.raises(ValueError, match="not dropped"):
                milvus.drop(name)
        assert {info.name for info in milvus.collections()} == {live, spare.name}
    finally:
        milvus._client.drop_alias(theirs)
    milvus.drop(spare.name)
    assert [info.name for info in milvus.collections()] == [live] and live_ids(milvus) == WATCHES.ids


def test_a_search_through_the_alias_finds_what_was_just_ingested(milvus_config, milvus, sync, live):
    """Searches read with bounded staleness, in another connection, and under the alias: they need not wait."""
    with connect(milvus_config) as other:
        drop = WATCHES
        for number in range(5):
            drop = drop.add({"new.jpg": Item(f"new thing {number}", title=f"number {number}")})
            sync(drop)
            (vector,) = ENCODER.encode_texts([f"new thing {number}"])
            ((_, score, row),) = other.search(milvus.alias, vector, limit=1, fields=("title",))
            assert row["title"] == f"number {number}" and score > 0.999
            assert milvus.count(live) == len(drop.ids)


def test_lite_is_flushed_after_each_ingest_and_a_server_only_after_a_rebuild(milvus, sync, writes):
    sync(WATCHES)
    sync(BAGS)
    assert writes.calls.count("flush") == (2 if milvus.is_lite else 0)
    writes.calls.clear()
    stage(milvus, drops=[WATCHES.rows, BAGS.rows], fingerprint=FINGERPRINT, dim=DIM, now=NOW, mode="rebuild")
    assert writes.calls.count("flush") == 1


def test_calls_that_one_of_them_does_not_survive_are_not_made(milvus, sync, monkeypatch):
    """`insert` would write an id twice on a server, `refresh_load` never returns on Lite, statistics are wrong."""
    made, call = [], milvus._call
    monkeypatch.setattr(
        milvus, "_call", lambda action, method, *a, **o: made.append(method) or call(action, method, *a, **o)
    )
    sync(WATCHES)
    assert "upsert" in made and "insert" not in made
    staged = stage(milvus, drops=[WATCHES.rows], fingerprint=FINGERPRINT, dim=DIM, now=NOW, mode="rebuild")
    assert made.count("insert") == 1 and made[: made.index("insert")].count("create_collection") == 2
    check_staged(milvus, staged, [WATCHES.rows], encode=ENCODER.encode_texts)
    publish(milvus, staged, now=NOW + timedelta(days=1), keep=0, grace=timedelta(0))
    search(milvus, ENCODER, SearchRequest(text="watch"))
    assert "search" in made and not set(made) & {"refresh_load", "get_collection_stats"}


def test_an_insert_whose_answer_was_lost_is_made_again_as_an_upsert(milvus, monkeypatch):
    """Servers keep both rows of two inserts."""
    from pymilvus import MilvusException

    from mmrag_pipeline.index import columns, connection

    inserted = []

    def deaf(client, name, fields, count, *, timeout):
        columns.insert(client, name, fields, count, timeout=timeout)
        inserted.append(count)
        raise MilvusException(code=2, message="service unavailable: the answer got lost")

    monkeypatch.setitem(connection._WRITES, "insert", deaf)
    staged = stage(milvus, drops=[WATCHES.rows], fingerprint=FINGERPRINT, dim=DIM, now=NOW, mode="rebuild")
    assert inserted == [4] and milvus.count(staged.collection) == 4
    assert all(check.passed for check in check_staged(milvus, staged, [WATCHES.rows], encode=ENCODER.encode_texts))


def test_a_vector_of_another_length_is_refused_by_us_not_by_milvus(milvus, sync, live, writes):
    longer = FakeEncoder(dim=2 * DIM)  # under the same name
    with pytest.raises(UserError, match="MMRAG_CLIP_MODEL"):
        search(milvus, longer, SearchRequest(text="watch"))
    writes.calls.clear()
    with pytest.raises(UserError, match="32 dimensions, the model gives 16"):
        sync(
            WATCHES.add({"new.jpg": Item("new")}),
            vectors=WATCHES.add({"new.jpg": Item("new")}).embedded_by(longer).batches(),
        )
    assert writes.calls == []


def test_lite_is_told_by_its_address():
    assert MilvusConfig("store/milvus.db").is_lite and MilvusConfig("/var/lib/milvus.db").is_lite
    assert not any(MilvusConfig(uri).is_lite for uri in ("http://host:19530", "https://host/milvus.db"))


def test_every_test_that_the_documentation_names_is_there():
    rows = [line for line in DOCUMENTED.read_text().splitlines() if line.startswith("| ") and "`test_" in line]
    named = {name for row in rows for name in re.findall(r"`(test_\w+)`", row)}
    there = {
        name for file in TESTS.glob("test_*.py") for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
    }
    assert len(rows) > 20 and named - there == set()


@pytest.mark.slow
def test_messages_and_answers_of_more_than_64_mib_are_split(milvus, sync):
    """Also of more than 100 MB, the most that a server answers with."""
    heavy = {"notes": "n" * 32_000}
    drop = BAGS.add({f"{number:05}.jpg": Item(f"thing {number % 50}", extra=heavy) for number in range(3600)})
    assert sync(drop).upserted == 3603
    assert sync(drop).unchanged == 3603
    live = milvus.live().name
    assert milvus.count(live) == 3603
    assert (
        sum(len(row["notes"]) for page in milvus.rows(live, ("$meta",)) for row in page if "notes" in row) > 100 << 20
    )


def read_pairs(ranges):
    return [pair for ids, values in ranges for pair in zip(ids, values, strict=True)]


@pytest.mark.parametrize("about", [0, None, 30, 200_000])
def test_ranges_of_ids_that_are_too_large_are_halved_and_every_row_comes_once(milvus, sync, monkeypatch, about):
    live = sync(WATCHES.add({f"{number}.jpg": Item("golden watch") for number in range(30)})).collection
    from pymilvus import MilvusException

    ask, refused = columns.pairs, []
    monkeypatch.setattr(milvus, "_file", None)  # Lite, too, is asked as a server is

    def at_most_three(*args, **options):
        if len((found := ask(*args, **options))[0]) > 3:
            refused.append(options["filter"])
            raise MilvusException(message="query results exceed the limit size 3")
        return found

    monkeypatch.setattr(columns, "pairs", at_most_three)
    pairs = read_pairs(milvus.pairs(live, "filename", about=about))
    rows = {row["id"]: row["filename"] for page in milvus.rows(live, ("filename",)) for row in page}
    assert len(pairs) == len(rows) == 34 and dict(pairs) == rows
    wanted = [media_id for media_id, name in rows.items() if name == "7.jpg"]
    found = read_pairs(milvus.pairs(live, "path", 'filename == "7.jpg"', about=about))
    assert found == [(wanted[0], "7.jpg")]
    assert refused or about == 200_000  # so many ranges hold three rows at most


def test_ids_and_a_field_are_those_of_the_rows_flushed_or_not(milvus, live, gold, monkeypatch):
    """Lite's are taken from its engine, not asked for: from older and newer files, memory, and what was deleted."""
    if milvus.is_lite:
        monkeypatch.delattr(columns, "pairs")
    random = Random(20261128)
    for step in range(12):
        known = [f"{number:032x}" for number in random.sample(range(20), 8)]
        title = f"of step {step}"
        milvus.upsert(live, [gold | {"id": each, "title": title, "path": f"{each}.jpg"} for each in known[:5]])
        milvus.delete(live, known[4:])
        if random.random() < 0.4:
            milvus.finish_writing(live, built=milvus.is_lite)
        for where in ("", 'title == "of step 3"', 'product_line == "lunar" and title in ["of step 1", "of step 7"]'):
            rows = {row["id"]: row["title"] for page in milvus.rows(live, ("title",), where) for row in page}
            pairs = read_pairs(milvus.pairs(live, "title", where, about=20))
            assert sorted(pairs) == sorted(rows.items())
    assert len(read_pairs(milvus.pairs(live, "title", 'title == "of step 11"', about=20))) == 4


def test_a_flush_does_not_come_between_files_and_memory(milvus_config, milvus, live, gold, monkeypatch):
    """Lite moves rows from memory to a file; who had read the files already, and then memory, would miss them."""
    from milvus_lite.engine.collection import Collection

    milvus.upsert(live, [gold | {"id": "0" * 32}])
    look, reader, flushes = Collection._read_snapshot, threading.get_ident(), []
    with connect(milvus_config) as other:

        def and_flush(collection):
            seen = look(collection)
            if threading.get_ident() == reader:
                flushes.append(threading.Thread(target=other.finish_writing, args=(live,)))
                flushes[-1].start()
                flushes[-1].join(0.5)
            return seen

        monkeypatch.setattr(Collection, "_read_snapshot", and_flush)
        found = {media_id for media_id, _ in read_pairs(milvus.pairs(live, "title", about=5))}
        for flush in flushes:
            flush.join()
    assert found == WATCHES.ids | {"0" * 32} and len(flushes) == milvus.is_lite


def test_ids_and_a_field_of_a_collection_that_is_not_there_are_an_error(milvus, live):
    from pymilvus import MilvusException

    milvus._loaded.add(f"{live}_2")  # it was, a moment ago
    with pytest.raises(MilvusException, match=r"(?i)does not exist|not found|can't find"):
        read_pairs(milvus.pairs(f"{live}_2", "title", about=20))


@pytest.mark.slow
def test_more_rows_than_one_answer_may_hold_are_read_in_order(milvus, live, gold):
    """A server gives at most 16,384 rows at once."""
    count = 20_000
    milvus.upsert(live, (gold | {"id": f"{number:032x}", "path": f"{number}.jpg"} for number in range(count)))
    milvus.finish_writing(live)
    ids = [row["id"] for page in milvus.rows(live, ()) for row in page]
    assert ids == sorted(ids) and set(ids) == WATCHES.ids | {f"{number:032x}" for number in range(count)}
    pairs = read_pairs(milvus.pairs(live, "path", about=count))
    assert len(pairs) == len(ids) and dict(pairs)[f"{7:032x}"] == "7.jpg"
    milvus.delete(live, ids[:count])
    assert milvus.count(live) == len(ids) - count
