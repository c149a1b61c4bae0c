"""What is ingested while a collection is staged is in it when it goes live, and nothing else changes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.index.layout import Layout
from mmrag_pipeline.index.publish import publish, rollback
from mmrag_pipeline.index.rebuild import stage
from mmrag_pipeline.index.schema import PUBLISHED, STAGED, WITHDRAWN
from mmrag_pipeline.index.status import live_ids
from mmrag_pipeline_tests.index.library import BAGS, DIM, FINGERPRINT, NOW, WATCHES, Item

TOMORROW = NOW + timedelta(days=1)
CHANGED = WATCHES.without("silver.jpg").add({"new.jpg": Item("new watch")})


@pytest.fixture
def staged(milvus, sync):
    """Both drops are live, and staged in a collection of their own."""
    sync(WATCHES)
    sync(BAGS)
    drops = [WATCHES.rows, BAGS.rows]
    return stage(milvus, drops=drops, fingerprint=FINGERPRINT, dim=DIM, now=TOMORROW, mode="rebuild")


def test_a_drop_that_came_between_staging_and_publishing_is_live(milvus, sync, staged):
    sync(CHANGED)
    published = publish(milvus, staged, late=lambda: [CHANGED.rows], now=TOMORROW)
    assert published.swapped and live_ids(milvus) == CHANGED.ids | BAGS.ids
    assert (published.late.upserted, published.late.deleted, published.late.waiting) == (1, 1, ())
    assert milvus.live().name == staged.collection


def test_a_drop_that_comes_while_the_alias_moves_is_live(milvus, sync, staged):
    asked: list[str] = []

    def late():
        asked.append(milvus.live().name)
        return [CHANGED.rows] if len(asked) == 2 else []

    published = publish(milvus, staged, late=late, now=TOMORROW)
    assert asked == [staged.live_before, staged.collection]
    assert (published.late.upserted, published.late.deleted) == (1, 1)
    assert live_ids(milvus) == CHANGED.ids | BAGS.ids


def test_a_drop_that_left_is_gone(milvus, staged):
    gone = replace(BAGS, items={})
    publish(milvus, staged, late=lambda: [gone.rows], now=TOMORROW)
    assert live_ids(milvus) == WATCHES.ids


def test_a_drop_without_its_vectors_waits_as_it_was_staged(milvus, staged, writes):
    unembedded = replace(CHANGED.rows, vectors=WATCHES.batches)
    published = publish(milvus, staged, late=lambda: [unembedded], now=TOMORROW)
    assert published.swapped and live_ids(milvus) == WATCHES.ids | BAGS.ids
    (sentence,) = published.late.waiting
    assert WATCHES.key in sentence and "clip_embeddings" in sentence
    assert not {"upsert", "delete"} & set(writes.calls)


def test_what_would_go_with_a_drop_that_waits_is_no_mass_deletion(milvus, staged):
    anew = replace(WATCHES, items={"anew.mp4": Item("another film", frame_ms=100)}).rows
    published = publish(milvus, staged, late=lambda: [replace(anew, vectors=tuple)], now=TOMORROW)
    assert published.swapped and live_ids(milvus) == WATCHES.ids | BAGS.ids
    assert len(published.late.waiting) == 1


def test_what_a_killed_run_left_out_comes_with_the_next(milvus, staged):
    def killed():
        if milvus.live().name == staged.collection:
            raise KeyboardInterrupt
        return []

    with pytest.raises(KeyboardInterrupt):
        publish(milvus, staged, late=killed, now=TOMORROW)
    assert live_ids(milvus) == WATCHES.ids | BAGS.ids
    again = publish(milvus, staged, late=lambda: [CHANGED.rows], now=TOMORROW)
    assert not again.swapped and live_ids(milvus) == CHANGED.ids | BAGS.ids


def test_manifests_that_went_away_are_not_a_deletion(milvus, staged, writes):
    gone = [replace(drop, items={}).rows for drop in (WATCHES, BAGS)]
    with pytest.raises(UserError, match="7 items"):
        publish(milvus, staged, late=lambda: gone, now=TOMORROW)
    assert milvus.live().name == staged.live_before and writes.calls == []


def test_what_was_rolled_back_from_is_not_published_again_by_hand(milvus, staged):
    publish(milvus, staged, now=TOMORROW)
    assert rollback(milvus).collection == staged.live_before
    with pytest.raises(UserError, match="withdrawn"):
        publish(milvus, staged, now=TOMORROW)
    assert milvus.live().name == staged.live_before


def test_what_was_staged_beside_another_one_is_not_published(milvus, staged):
    between = milvus.create(fingerprint=FINGERPRINT, dim=DIM, layout=Layout("FLAT"), now=TOMORROW, state=PUBLISHED)
    milvus.point_alias(between.name)
    with pytest.raises(UserError, match="staged beside"):
        publish(milvus, staged, now=TOMORROW)
    assert milvus.live().name == between.name


@pytest.fixture(params=[Unavailable("no answer"), RuntimeError("a bug"), KeyboardInterrupt()], ids=repr)
def failing_search(request, milvus, monkeypatch):
    """A context in which no search succeeds, and the test expects its error."""

    def fails(name, *_, **__):
        raise request.param

    @contextmanager
    def failing():
        with monkeypatch.context() as patch, pytest.raises(type(request.param)):
            patch.setattr(milvus, "search", fails)
            yield

    return failing


def test_a_search_that_fails_moves_the_alias_back(milvus, staged, failing_search):
    with failing_search():
        publish(milvus, staged, now=TOMORROW)
    assert milvus.live().name == staged.live_before
    assert milvus.info(staged.collection).state == STAGED
    assert publish(milvus, staged, now=TOMORROW).swapped


def test_a_rollback_that_fails_changes_nothing(milvus, staged, failing_search):
    publish(milvus, staged, now=TOMORROW)
    before = milvus.collections()
    with failing_search():
        rollback(milvus)
    assert milvus.live().name == staged.collection and milvus.collections() == before
    assert rollback(milvus).collection == staged.live_before


def test_a_collection_that_does_not_answer_is_not_left_live(milvus, staged, monkeypatch):
    monkeypatch.setattr(Layout, "same", 2.0)  # no answer is good enough
    with pytest.raises(UserError, match="does not find"):
        publish(milvus, staged, now=TOMORROW)
    assert milvus.live().name == staged.live_before
    assert milvus.info(staged.collection).state == WITHDRAWN
