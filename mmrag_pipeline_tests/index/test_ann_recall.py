"""An approximate index must find what exact search finds, or it doesn't go live."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmrag_pipeline.index import rebuild
from mmrag_pipeline.index.ann_recall import K, exact_scores, measure_recall, titles
from mmrag_pipeline.index.rebuild import check_staged, stage
from mmrag_pipeline.index.rows import WantedRows
from mmrag_pipeline.index.search import SearchRequest, search
from mmrag_pipeline_tests.index.library import BAGS, DIM, FINGERPRINT, NOW, WATCHES, FakeEncoder, Item

ENCODER = FakeEncoder()
MANY = BAGS.add({f"{number:03}.jpg": Item(f"bag {number % 290}", title=f"bag {number % 290}") for number in range(300)})
SOURCES = {drop.key: drop.rows for drop in (WATCHES, MANY)}
WANTED = {key: WantedRows(source.drop, source.manifest) for key, source in SOURCES.items()}


@pytest.fixture
def staged(milvus, monkeypatch):
    """Both drops in a collection with an HNSW index."""
    monkeypatch.setattr(milvus, "config", replace(milvus.config, index="HNSW"))
    return stage(milvus, drops=SOURCES.values(), fingerprint=FINGERPRINT, dim=DIM, now=NOW)


def recall(milvus, staged):
    checks = check_staged(milvus, staged, SOURCES.values(), encode=ENCODER.encode_texts)
    return next(check for check in checks if check.name == "recall")


def test_hnsw_finds_what_exact_search_finds(milvus, staged):
    found = recall(milvus, staged)
    assert found.passed and found.found == found.expected == K * len(titles(WANTED, seed=0))
    assert milvus.info(staged.collection).index == "HNSW"
    rebuild.publish(milvus, staged, now=NOW)
    assert [hit.path for hit in search(milvus, ENCODER, SearchRequest(text="golden watch", k=1))] == ["gold.jpg"]


def test_a_filter_that_leaves_few_pictures_hides_none_of_them(milvus, staged):
    for vector in ENCODER.encode_texts(["golden watch", *(f"bag {number}" for number in range(40))]):
        found = milvus.search(staged.collection, vector, limit=10, fields=("id",), filter=f'drop == "{WATCHES.key}"')
        assert {media_id for media_id, _, _ in found} == WATCHES.ids
        scores = [score for _, score, _ in found]
        assert scores == sorted(scores, reverse=True)


def test_an_index_that_misses_pictures_does_not_pass(milvus, staged):
    milvus.delete(staged.collection, sorted(MANY.ids)[: len(MANY.ids) // 2])
    milvus.finish_writing(staged.collection)
    found = recall(milvus, staged)
    assert not found.passed and found.found < found.expected


def test_exact_scores_are_those_of_all_rows_copies_included():
    vectors = ENCODER.encode_texts(["golden watch", "bag 7", "red"])
    words = [item.words for drop in (WATCHES, MANY) for item in drop.items.values() if item.status == "ok"]
    every = -np.sort(-(vectors @ ENCODER.encode_texts(words).T), axis=1)[:, :K]
    np.testing.assert_allclose(exact_scores(vectors, SOURCES, WANTED), every, atol=1e-6)
    few = exact_scores(vectors, {WATCHES.key: WATCHES.rows}, {WATCHES.key: WANTED[WATCHES.key]})
    assert np.isfinite(few[:, :4]).all() and np.isneginf(few[:, 4:]).all()


def test_titles_are_the_same_each_time_and_from_all_drops():
    chosen = titles(WANTED, seed=1)
    assert chosen == titles(WANTED, seed=1) and len(set(chosen)) == len(chosen) <= 50
    assert {"Golden watch", "Silver watch"} & set(chosen) and any(title.startswith("bag") for title in chosen)


def test_recall_is_measured_at_10_and_100_with_and_without_a_filter(milvus, staged):
    vectors = ENCODER.encode_texts(titles(WANTED, seed=0))

    def by_scope():
        found = measure_recall(milvus, staged.collection, SOURCES, vectors)
        return {(each.product_line, each.k): each for each in found}

    measured = by_scope()
    assert {line for line, _ in measured} == {"", "vela", "lunar"} and {k for _, k in measured} == {10, 100}
    assert measured["", 100].expected == 100 * len(vectors)
    assert measured["lunar", 10].expected == 4 * len(vectors)  # there are no more
    assert {key: each.share for key, each in measured.items() if key[0] != "lunar" and each.share < 0.99} == {}
    assert measured["lunar", 10].share == 1.0

    milvus.delete(staged.collection, sorted(MANY.ids)[: len(MANY.ids) // 2])
    milvus.finish_writing(staged.collection)
    again = by_scope()
    assert again["vela", 10].share < 0.8 and again["", 100].share < 0.8
