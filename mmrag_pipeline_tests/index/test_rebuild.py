from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from mmrag_pipeline.embedding.store import DamagedVectors
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index import rebuild, schema
from mmrag_pipeline.index.layout import Layout
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.index.rebuild import check_staged, publish, rollback, stage
from mmrag_pipeline.index.rows import WantedRows
from mmrag_pipeline.index.schema import BUILDING, PUBLISHED
from mmrag_pipeline.index.search import SearchRequest, search
from mmrag_pipeline.index.status import live_ids, product_lines
from mmrag_pipeline_tests.index.library import BAGS, DIM, FINGERPRINT, NOW, WATCHES, FakeEncoder, Item

BOTH = (WATCHES, BAGS)
ENCODE = FakeEncoder().encode_texts


@pytest.fixture
def staging(milvus):
    """`staging(*drops, day=1)`: stage them, `day` days after `NOW`."""

    def run(*drops, day=1, **options):
        defaults = {"fingerprint": FINGERPRINT, "dim": DIM, "now": NOW + timedelta(days=day)}
        return stage(milvus, drops=[drop.rows for drop in drops], **(defaults | options))

    return run


def at(day):
    return NOW + timedelta(days=day)


def names(milvus):
    return [info.name for info in milvus.collections()]


def ids_of(*drops):
    return set().union(*(drop.ids for drop in drops))


def test_the_first_publication(milvus, staging):
    staged = staging(*BOTH)
    assert (staged.mode, staged.rows, staged.upserted, staged.is_live) == ("rebuild", 7, 7, False)
    assert milvus.live() is None
    checks = check_staged(milvus, staged, [drop.rows for drop in BOTH], encode=ENCODE)
    assert [check.name for check in checks] == ["model", "rows", "ids", "fields", "vectors", "self_search", "recall"]
    assert all(check.passed for check in checks), checks
    published = publish(milvus, staged, now=at(1))
    assert published.swapped and published.previous is None and published.dropped == ()
    assert live_ids(milvus) == ids_of(*BOTH) and milvus.live().state == PUBLISHED
    again = publish(milvus, staged, now=at(2))
    assert not again.swapped and again.dropped == ()


def test_in_sync_writes_nothing(milvus, sync, staging, writes):
    for drop in BOTH:
        sync(drop)
    writes.calls.clear()
    staged = staging(*BOTH)
    assert (staged.mode, staged.collection, staged.is_live) == ("unchanged", milvus.live().name, True)
    assert (staged.rows, staged.upserted, staged.deleted) == (7, 0, 0)
    assert all(check.passed for check in check_staged(milvus, staged, [drop.rows for drop in BOTH], encode=ENCODE))
    assert not publish(milvus, staged).swapped
    assert writes.calls == []


def test_drift_in_a_small_library_rebuilds_beside_the_live_one(milvus, sync, staging):
    first = sync(WATCHES).collection
    staged = staging(*BOTH)
    assert staged.mode == "rebuild" and staged.live_before == first
    assert live_ids(milvus) == WATCHES.ids
    published = publish(milvus, staged, now=at(1))
    assert (published.previous, published.swapped) == (first, True)
    assert live_ids(milvus) == ids_of(*BOTH)


def test_drift_in_a_large_library_is_mended_in_place(milvus, sync, staging, writes, monkeypatch):
    monkeypatch.setattr(rebuild, "SMALL_LIBRARY_ROWS", 0)
    large = WATCHES.add({f"{number}.jpg": Item(f"thing {number}") for number in range(40)})
    sync(large)
    sync(BAGS)
    writes.calls.clear()
    changed = large.without("3.jpg").add({"new.jpg": Item("new thing"), "4.jpg": Item("thing 4", title="Four")})
    staged = staging(changed)  # the drop of bags left the library
    assert (staged.mode, staged.is_live, staged.upserted, staged.deleted) == ("reconcile", True, 2, 4)
    assert live_ids(milvus) == changed.ids and "create_collection" not in writes.calls
    assert all(check.passed for check in check_staged(milvus, staged, [changed.rows], encode=ENCODE))
    assert not publish(milvus, staged).swapped


def test_large_drift_rebuilds(milvus, sync, staging, monkeypatch):
    monkeypatch.setattr(rebuild, "SMALL_LIBRARY_ROWS", 0)
    sync(WATCHES)
    assert staging(*BOTH).mode == "rebuild"


def test_modes_can_be_forced(milvus, sync, staging):
    with pytest.raises(UserError, match="no live collection"):
        staging(WATCHES, mode="reconcile")
    sync(WATCHES)
    assert staging(WATCHES, mode="rebuild").mode == "rebuild"
    assert staging(*BOTH, mode="reconcile").mode == "reconcile"
    assert live_ids(milvus) == ids_of(*BOTH)


def test_another_model_builds_a_new_collection_and_searches_only_that(milvus, sync, staging):
    sync(WATCHES)
    other = FakeEncoder("other-0002", dim=32)
    drops = [drop.embedded_by(other) for drop in BOTH]
    with pytest.raises(UserError, match="MMRAG_CLIP_MODEL"):
        staging(*drops, mode="reconcile", fingerprint=other.fingerprint, dim=32)
    staged = staging(*drops, fingerprint=other.fingerprint, dim=32)
    assert search(milvus, FakeEncoder(), SearchRequest(text="golden watch", k=1))
    publish(milvus, staged, now=at(1))
    assert search(milvus, other, SearchRequest(text="golden watch", k=1))[0].path == "gold.jpg"
    assert all(check.passed for check in check_staged(milvus, staged, [drop.rows for drop in drops], encode=ENCODE))


def test_a_live_collection_of_an_earlier_schema_is_searched_until_the_next_night(milvus, sync, staging):
    live = milvus.info(sync(WATCHES).collection)
    milvus.mark(replace(live, schema_version=live.schema_version - 1))
    assert search(milvus, FakeEncoder(), SearchRequest(text="golden watch", k=1))[0].path == "gold.jpg"
    with pytest.raises(UserError, match=f"schema version {live.schema_version - 1}, .* run the nightly_reindex job"):
        sync(BAGS)
    staged = staging(*BOTH)
    assert (staged.mode, staged.upserted, staged.is_live) == ("rebuild", 7, False)
    publish(milvus, staged)
    assert live_ids(milvus) == ids_of(*BOTH) and staging(*BOTH, day=2).mode == "unchanged"


def test_a_collection_from_before_rows_had_digests_is_counted_and_replaced(milvus, staging, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(schema, "INT_FIELDS", tuple(name for name in schema.INT_FIELDS if name != schema.DIGEST))
        made = milvus.create(fingerprint=FINGERPRINT, dim=DIM, layout=milvus.layout_for(0), now=at(0), state=PUBLISHED)
    milvus.mark(made := replace(made, schema_version=1, published_at=at(0).isoformat()))
    (row,) = WantedRows(WATCHES.drop, WATCHES.manifest).take([0])
    del row[schema.DIGEST]
    milvus._client.insert(made.name, [row | {"embedding": [1.0] + [0.0] * (DIM - 1)}])
    assert milvus.claim_alias(made.name)
    milvus.finish_writing(made.name)
    assert live_ids(milvus) == live_ids(milvus, WATCHES.key) == {row["id"]}
    assert product_lines(milvus) == [WATCHES.drop.product_line]
    staged = staging(WATCHES)
    assert (staged.mode, staged.upserted) == ("rebuild", len(WATCHES.ids))
    publish(milvus, staged)
    assert live_ids(milvus) == WATCHES.ids


def test_a_library_that_lost_most_of_its_pictures_is_not_a_deletion(milvus, sync, staging, writes):
    for drop in BOTH:
        sync(drop)
    writes.calls.clear()
    small = WATCHES.without("gold.jpg", "gold-side.jpg", "silver.jpg")
    for mode in ("auto", "rebuild", "reconcile"):
        with pytest.raises(UserError, match="6 of the 7 live items"):
            staging(small, mode=mode)
    with pytest.raises(UserError, match="no drop has a picture"):
        staging(WATCHES.without(*WATCHES.items))
    assert writes.calls == [] and live_ids(milvus) == ids_of(*BOTH)
    publish(milvus, staging(small, allow_mass_deletion=True), now=at(1))
    assert live_ids(milvus) == small.ids


def test_a_missing_vector_leaves_the_live_collection_alone(milvus, sync, staging, monkeypatch):
    sync(WATCHES)
    drop = WATCHES.add({"new.jpg": Item("new thing")})
    incomplete = drop.rows.__class__(drop.drop, drop.manifest, WATCHES.batches)
    for mode in ("rebuild", "reconcile"):
        with pytest.raises(UserError, match="have no vector"):
            stage(milvus, drops=[incomplete], fingerprint=FINGERPRINT, dim=DIM, now=at(1), mode=mode)
        assert live_ids(milvus) == WATCHES.ids


def test_all_drops_without_vectors_are_told_in_one_sentence(milvus, sync, staging):
    sync(WATCHES)
    other = {"fingerprint": "other-0002", "dim": 32}
    drops = [replace(WATCHES, key=f"lunar__{number}") for number in range(7)]
    unembedded = [replace(drop.rows, vectors=lambda: iter(())) for drop in drops]
    embedded = BAGS.embedded_by(FakeEncoder("other-0002", dim=32)).rows
    with pytest.raises(UserError, match=r"^7 of 8 drops have pictures that have no vector") as caught:
        stage(milvus, drops=[embedded, *unembedded], now=at(1), mode="rebuild", allow_mass_deletion=True, **other)
    message = str(caught.value)
    assert "(lunar__0, lunar__1, lunar__2, lunar__3, lunar__4, ...)" in message and "other-0002" in message
    assert "clip_embeddings" in message and live_ids(milvus) == WATCHES.ids


def test_damaged_vectors_of_one_drop_have_no_other_read_again(milvus):
    opened = []

    def damaged():
        raise DamagedVectors("a bit turned")

    def sound():
        opened.append("sound")
        return first.batches()

    first, second = sorted(BOTH, key=lambda drop: drop.key)
    drops = [replace(first.rows, vectors=sound), replace(second.rows, vectors=damaged)]
    with pytest.raises(DamagedVectors, match="a bit turned"):
        stage(milvus, drops=drops, fingerprint=FINGERPRINT, dim=DIM, now=at(1))
    assert opened == ["sound"]


def test_checks_see_what_is_wrong(milvus, staging):
    staged = staging(*BOTH)
    expected = [drop.rows for drop in BOTH]

    def failed(drops=expected, of=staged):
        return {check.name for check in check_staged(milvus, of, drops, encode=ENCODE) if not check.passed}

    assert failed() == set()
    assert failed([WATCHES.rows]) == {"rows", "ids"}
    assert failed([WATCHES.rows, BAGS.without("red.jpg").add({"new.jpg": Item("red bag")}).rows]) == {
        "ids",
        "vectors",
    }
    assert failed([WATCHES.rows, BAGS.add({"red.jpg": Item("red bag", sku="other")}).rows]) == {"fields"}
    media_id = WATCHES.id_of("silver.jpg")
    fields = [name for name in milvus._client.describe_collection(staged.collection)["fields"]]
    row = milvus.get(staged.collection, [media_id], [field["name"] for field in fields])[media_id]
    milvus.upsert(staged.collection, [row | {"title": "another"}])  # with the digest of the right one
    assert failed() == {"fields"}
    milvus.upsert(staged.collection, [row | {"row_digest": 1}])
    assert failed() == {"fields"}
    milvus.upsert(staged.collection, [row | {"embedding": FakeEncoder().encode_texts(["wrong"])[0]}])
    assert failed() == {"vectors", "self_search"}
    milvus.delete(staged.collection, [media_id])
    assert {"rows", "ids", "vectors", "self_search"} == failed()


def test_checks_refuse_another_model(milvus, staging):
    staged = replace(staging(*BOTH), fingerprint="other-0002")
    checks = check_staged(milvus, staged, [drop.rows for drop in BOTH], encode=ENCODE)
    assert [check.name for check in checks if not check.passed] == ["model"]
    assert FINGERPRINT in checks[0].detail and "other-0002" in checks[0].detail


def test_rollback_goes_back_and_stops_at_the_first(milvus, sync, staging):
    with pytest.raises(UserError, match="no earlier collection"):
        rollback(milvus)
    first = sync(WATCHES).collection
    staged = staging(*BOTH)
    publish(milvus, staged, now=at(1))
    back = rollback(milvus)
    assert (back.collection, back.previous, back.swapped) == (first, staged.collection, True)
    assert live_ids(milvus) == WATCHES.ids
    assert search(milvus, FakeEncoder(), SearchRequest(text="golden watch", k=1))
    with pytest.raises(UserError, match="no earlier collection"):
        rollback(milvus)
    better = staging(BAGS, WATCHES, day=2)
    assert names(milvus) == [first, better.collection]  # what was rolled back from is gone
    publish(milvus, better, now=at(2))
    assert rollback(milvus).collection == first


def test_rollback_where_the_live_one_was_dropped_by_hand(milvus, sync, staging):
    first = sync(WATCHES).collection
    staged = staging(*BOTH)
    publish(milvus, staged, now=at(1))
    milvus._client.drop_alias(milvus.alias)
    milvus._client.drop_collection(staged.collection)
    milvus._loaded.clear()
    back = rollback(milvus)
    assert (back.collection, back.previous) == (first, None) and live_ids(milvus) == WATCHES.ids


def test_old_collections_are_kept_and_then_dropped_but_never_what_is_live(milvus, sync, staging):
    made = [sync(WATCHES).collection]
    for day in range(1, 5):
        staged = staging(WATCHES, day=day, mode="rebuild")
        made.append(staged.collection)
        published = publish(milvus, staged, keep=2, now=at(day))
        assert names(milvus) == made[-3:]
    assert published.dropped == (made[1],)
    rollback(milvus)
    assert milvus.live().name == made[3]
    again = staging(WATCHES, day=6, mode="rebuild")
    assert publish(milvus, again, keep=0, grace=timedelta(0), now=at(6)).collection == again.collection
    assert names(milvus) == [again.collection] and live_ids(milvus) == WATCHES.ids


def test_what_was_just_replaced_stays_for_its_grace_period(milvus, sync, staging):
    made = [sync(WATCHES).collection]
    for hour in range(1, 4):
        staged = staging(WATCHES, mode="rebuild", now=NOW + timedelta(hours=hour))
        made.append(staged.collection)
        publish(milvus, staged, keep=1, grace=timedelta(hours=2), now=NOW + timedelta(hours=hour))
    assert names(milvus) == made[1:]  # the first was replaced two hours before the last was published


def test_the_target_of_an_alias_can_not_be_dropped(milvus, sync):
    live = sync(WATCHES).collection
    with pytest.raises(ValueError, match="target of alias"):
        milvus.drop(live)
    with pytest.raises(ValueError, match="not made by this pipeline"):
        milvus.drop(milvus.alias)
    assert live_ids(milvus) == WATCHES.ids


def test_what_was_staged_but_never_published_is_removed_by_the_next_run(milvus, sync, staging):
    first = sync(WATCHES).collection
    unpublished = staging(*BOTH).collection
    half_built = milvus.create(fingerprint=FINGERPRINT, dim=DIM, layout=Layout("FLAT"), now=at(1), state=BUILDING).name
    assert set(names(milvus)) == {first, unpublished, half_built}
    staged = staging(*BOTH, day=2)
    assert set(names(milvus)) == {first, staged.collection}
    with pytest.raises(UserError, match="gone"):
        publish(milvus, staged.__class__(**(vars(staged) | {"collection": unpublished})))
    assert milvus.live().name == first


def test_a_half_built_collection_is_not_published(milvus, staging):
    staged = staging(*BOTH)
    half_built = milvus.create(fingerprint=FINGERPRINT, dim=DIM, layout=Layout("FLAT"), now=at(1), state=BUILDING).name
    with pytest.raises(UserError, match="half-built"):
        publish(milvus, staged.__class__(**(vars(staged) | {"collection": half_built})))
    assert milvus.live() is None


def test_somebody_elses_alias_is_left_alone(milvus, sync, staging):
    other = "someone_elses_collection"
    if milvus._client.has_collection(other):
        milvus._client.drop_collection(other)
    milvus._client.create_collection(other, dimension=4)
    milvus._client.create_alias(other, milvus.alias)
    for attempt in (lambda: sync(WATCHES), lambda: staging(WATCHES), lambda: live_ids(milvus)):
        with pytest.raises(UserError, match="MMRAG_MILVUS_ALIAS"):
            attempt()
    assert milvus.alias_target() == other
    milvus._client.drop_alias(milvus.alias)
    milvus._client.drop_collection(other)


def test_a_live_collection_dropped_by_hand_is_built_again(milvus, sync, staging):
    live = sync(WATCHES).collection
    milvus._client.drop_alias(milvus.alias)
    milvus._client.drop_collection(live)
    milvus._loaded.clear()
    assert milvus.live() is None
    publish(milvus, staging(WATCHES), now=at(1))
    assert live_ids(milvus) == WATCHES.ids


def test_who_searches_on_looks_up_the_alias_alone_and_sees_where_another_points_it(milvus, sync, staging, monkeypatch):
    sync(WATCHES)
    monkeypatch.setattr("mmrag_pipeline.index.milvus._LATELY_S", -1.0)  # a second has always passed
    first = milvus.lately_live()
    asked, call = [], milvus._call

    def listening(action, method, *args, **options):
        asked.append(method)
        return call(action, method, *args, **options)

    monkeypatch.setattr(milvus, "_call", listening)
    assert milvus.lately_live() == first and asked == ["describe_alias"]
    staged = staging(*BOTH)
    with connect(milvus.config) as another:
        publish(another, staged, now=at(1))
    assert milvus.lately_live().name == staged.collection


def test_searches_through_swaps_never_fail_and_never_mix(milvus_config, milvus, sync, staging):
    sync(WATCHES)
    stop, seen, errors = threading.Event(), [], []

    def keep_searching():
        with connect(milvus_config) as own:
            while not stop.is_set():
                try:
                    hits = search(own, FakeEncoder(), SearchRequest(text="watch", k=50))
                    seen.append(frozenset(hit.media_id for hit in hits))
                except Exception as error:
                    errors.append(error)
                stop.wait(0.02)

    threads = [threading.Thread(target=keep_searching) for _ in range(2)]
    for thread in threads:
        thread.start()
    versions = [WATCHES]
    for day in range(1, 4):
        versions.append(versions[-1].add({f"new-{day}.jpg": Item(f"new watch {day}")}).without(f"new-{day - 1}.jpg"))
        publish(milvus, staging(versions[-1], day=day), now=at(day))
    rollback(milvus)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(seen) > 10 and set(seen) <= {frozenset(version.ids) for version in versions}


def test_progress_counts_to_the_end(staging):
    told = []
    staging(*BOTH, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (7, 7) and np.all(np.diff([done for done, _ in told]) > 0)
