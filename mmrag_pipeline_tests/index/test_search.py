from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.filter import Filter
from mmrag_pipeline.index.hit import Hit
from mmrag_pipeline.index.rebuild import stage
from mmrag_pipeline.index.search import SearchRequest, answer, items, mmr, search, spread, why_empty
from mmrag_pipeline_tests.index.library import BAGS, DIM, FINGERPRINT, NOW, WATCHES, FakeEncoder, Item, picture

ENCODER = FakeEncoder()


@pytest.fixture
def library(milvus, sync):
    """Both drops live, a day after their files were first seen."""
    sync(WATCHES, now=NOW + timedelta(days=1))
    sync(BAGS, now=NOW + timedelta(days=1))
    return milvus


def paths(hits):
    return [hit.path for hit in hits]


def test_finds_by_words_with_cosines(library):
    hits = search(library, ENCODER, SearchRequest(text="golden watch", k=3))
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert hits[0].path == "gold.jpg" and hits[0].score == pytest.approx(1.0, abs=1e-5)
    expected = float(ENCODER.encode_texts(["golden watch"])[0] @ ENCODER.encode_texts(["golden watch side"])[0])
    side = next(hit for hit in hits if hit.path == "gold-side.jpg")
    assert side.score == pytest.approx(expected, abs=1e-4)
    assert all(-1.0 <= hit.score <= 1.0 for hit in hits)
    assert hits[0].score >= hits[1].score >= hits[2].score


def test_a_hit_says_where_it_is_from(library):
    hit = search(library, ENCODER, SearchRequest(text="golden watch", k=1))[0]
    assert (hit.product_line, hit.drop, hit.sku, hit.title) == (
        "lunar",
        "lunar__2026-09",
        "L-1",
        "Golden watch",
    )
    assert hit.media_id == WATCHES.id_of("gold.jpg") and hit.tags == ("gold", "metal")
    assert (hit.frame_ms, hit.media_type, hit.width, hit.height) == (None, "image", 640, 480)
    shown = hit.to_json()
    assert {"rank", "score", "media_id", "product_line", "drop", "path", "frame_ms"} <= shown.keys()
    assert shown["tags"] == ["gold", "metal"]


def test_a_video_hit_carries_its_time(library):
    hit = search(library, ENCODER, SearchRequest(text="watch film", k=1))[0]
    assert (hit.path, hit.frame_ms, hit.media_type) == ("promo.mp4", 1500, "video")


def test_finds_by_picture_and_by_both(library):
    assert paths(search(library, ENCODER, SearchRequest(image=picture("blue bag"), k=1))) == ["blue.jpg"]
    both = {"text": "red bag", "image": picture("silver watch"), "k": 1}
    assert paths(search(library, ENCODER, SearchRequest(**both, image_weight=0.1))) == ["red.jpg"]
    assert paths(search(library, ENCODER, SearchRequest(**both, image_weight=0.9))) == ["silver.jpg"]


def test_equal_pictures_count_once_unless_asked(library):
    once = search(library, ENCODER, SearchRequest(text="golden watch", k=10))
    assert len({hit.content_id for hit in once}) == len(once) == 6
    twice = search(library, ENCODER, SearchRequest(text="golden watch", k=10, one_per_content=False))
    assert paths(twice)[:2] == ["gold.jpg", "copy-of-gold.jpg"] and len(twice) == 7


def test_ties_are_ordered_by_place_and_copies_do_not_crowd_out(milvus, sync):
    copies = {f"copy-{number:03}.jpg": Item("golden watch") for number in reversed(range(120))}
    sync(WATCHES.add(copies))
    one = SearchRequest(text="golden watch", k=2)
    assert paths(search(milvus, ENCODER, one)) == ["copy-000.jpg", "gold-side.jpg"]
    all_of_them = search(milvus, ENCODER, SearchRequest(text="golden watch", k=5, one_per_content=False))
    assert paths(all_of_them) == [f"copy-{number:03}.jpg" for number in range(5)]


def test_filters(library):
    def found(**filters):
        hits = search(library, ENCODER, SearchRequest(text="golden watch", k=10, where=Filter(**filters)))
        return {hit.path for hit in hits}

    assert found(product_line="vela") == set(BAGS.items)
    assert found(drop="lunar__2026-09", media_type="video") == {"promo.mp4"}
    assert found(sku="L-1") == {"gold.jpg", "gold-side.jpg"}
    assert found(origin="generated") == set()
    assert len(found(origin=None)) == 6
    assert found(product_line='x" or 1==1 or "') == set()
    assert found(tags=("gold",)) == found(tags=("gold", "metal")) == {"gold.jpg"}
    assert found(tags=("gold", "wood")) == found(tags=("gol",)) == set()
    assert found(min_width=640, min_height=480, product_line="vela") == set(BAGS.items)
    assert found(min_width=641) == found(min_height=481) == set()
    assert found(since=NOW, product_line="vela") == set(BAGS.items)
    assert found(since=NOW + timedelta(milliseconds=1)) == found(until=NOW) == set()
    assert found(until=NOW + timedelta(milliseconds=1), sku="L-2") == {"silver.jpg"}


def test_a_least_score(library):
    hits = search(library, ENCODER, SearchRequest(text="golden watch", k=10, min_score=0.9999))
    assert paths(hits) == ["gold.jpg"]


def test_pages_follow_each_other(library):
    def page(number):
        return search(library, ENCODER, SearchRequest(text="golden watch", k=2, offset=2 * number))

    whole = search(library, ENCODER, SearchRequest(text="golden watch", k=10))
    paged = [hit for number in range(3) for hit in page(number)]
    assert paged == whole and [hit.rank for hit in paged] == [1, 2, 3, 4, 5, 6]
    beyond = SearchRequest(text="golden watch", k=2, offset=6)
    assert search(library, ENCODER, beyond) == [] and "no more than 6" in why_empty(library, beyond)


def test_diversity_prefers_what_is_unlike_the_hits_before(milvus, sync):
    views = {f"view-{number}.jpg": Item(f"golden watch golden watch {number}") for number in range(6)}
    sync(WATCHES.add(views))
    plain = search(milvus, ENCODER, SearchRequest(text="golden watch", k=4))
    mixed = search(milvus, ENCODER, SearchRequest(text="golden watch", k=4, diversity=0.7))
    assert mixed[0] == plain[0]
    assert likeness(milvus, mixed) < likeness(milvus, plain)
    known = {hit.path: hit.score for hit in search(milvus, ENCODER, SearchRequest(text="golden watch", k=20))}
    assert all(hit.score == pytest.approx(known[hit.path], abs=1e-6) for hit in mixed)
    assert [hit.rank for hit in mixed] == [1, 2, 3, 4]


def likeness(milvus, hits):
    rows = milvus.get(milvus.live().name, [hit.media_id for hit in hits], ["embedding"])
    vectors = np.array([row["embedding"] for row in rows.values()])
    return (vectors @ vectors.T).mean()


def test_views_are_spread(milvus, sync):
    alike = {f"front-{number}.jpg": Item(f"watch watch watch watch {number}", sku="W") for number in range(4)}
    sync(WATCHES.add(alike | {"side.jpg": Item("strap", sku="W"), "top.jpg": Item("dial", sku="W")}))
    found = items(milvus, sku="W", limit=9)
    assert paths(found)[:3] == ["front-0.jpg", "front-1.jpg", "front-2.jpg"]
    different = spread(milvus, found)
    assert paths(different)[0] == "front-0.jpg" and set(paths(different)[1:3]) == {"side.jpg", "top.jpg"}
    assert sorted(paths(different)) == sorted(paths(found)) and [hit.rank for hit in different] == [1, 2, 3, 4, 5, 6]
    assert spread(milvus, []) == []


def test_mmr_by_hand():
    hits = [a_hit(score) for score in (0.9, 0.89, 0.5)]
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    order = [hit.score for hit in mmr(hits, vectors, diversity=0.5, count=3)]
    assert order == [0.9, 0.5, 0.89]  # after the first: 0.445 - 0.5 against 0.25 - 0
    assert [hit.score for hit in mmr(hits, vectors, diversity=0.0, count=2)] == [0.9, 0.89]
    assert len(mmr(hits, vectors, diversity=1.0, count=9)) == 3


def a_hit(score):
    where = {"product_line": "", "drop": "", "path": "", "frame_ms": None, "sku": "", "title": "", "tags": ()}
    return Hit(rank=0, score=score, media_id="", content_id="", media_type="image", width=1, height=1, **where)


def test_an_answer_explains_itself(library):
    request = SearchRequest(text="golden watch", where=Filter(product_line="lunar"))
    how = answer(library, ENCODER, request).explanation
    live = library.live()
    assert (how.fingerprint, how.collection, how.index) == (live.fingerprint, live.name, "FLAT")
    assert how.filter == 'product_line == "lunar" and origin == "library"'
    assert how.candidates >= 3 and how.encode_s > 0 and how.search_s > 0


def test_an_empty_result_says_why(library):
    def reason(min_score=None, **filters):
        request = SearchRequest(text="golden watch", where=Filter(**filters), min_score=min_score)
        assert search(library, ENCODER, request) == []
        return why_empty(library, request)

    assert "product_line 'nope'" in reason(product_line="nope")
    assert "score of 1.5" in reason(min_score=1.5)
    assert "origin 'generated'" in reason(origin="generated")
    assert "tags 'gold' and 'wood'" in reason(tags=("gold", "wood"))
    assert NOW.isoformat() in reason(until=NOW)


def test_an_empty_live_collection_gives_no_hits(milvus, sync):
    sync(BAGS)
    sync(BAGS.without(*BAGS.items))
    request = SearchRequest(text="bag")
    assert search(milvus, ENCODER, request) == []
    assert "holds no items" in why_empty(milvus, request)


def test_nothing_found_in_a_collection_that_was_replaced_meanwhile_is_not_believed(library, monkeypatch):
    """A server finds nothing, and says nothing, where a collection is dropped under a search."""
    real, asked = library.search, []
    drops = [WATCHES.rows, BAGS.rows]
    staged = stage(library, drops=drops, fingerprint=FINGERPRINT, dim=DIM, now=NOW + timedelta(days=2), mode="rebuild")

    def dropped(name, *arguments, **options):
        asked.append(name)
        if len(asked) > 1:
            return real(name, *arguments, **options)
        library.point_alias(staged.collection)
        return []

    monkeypatch.setattr(library, "search", dropped)
    found = answer(library, ENCODER, SearchRequest(text="golden watch", k=1))
    assert paths(found.hits) == ["gold.jpg"] and found.explanation.collection == staged.collection
    assert asked == [staged.live_before, staged.collection]


def test_nothing_live_is_said(milvus):
    with pytest.raises(UserError, match="mmrag demo"):
        search(milvus, ENCODER, SearchRequest(text="bag"))
    assert "mmrag demo" in why_empty(milvus, SearchRequest(text="bag"))


def test_another_model_is_refused(library):
    with pytest.raises(UserError) as refused:
        search(library, FakeEncoder("other-0002"), SearchRequest(text="bag"))
    assert "fake-0001" in str(refused.value) and "other-0002" in str(refused.value)


SENSELESS = [
    SearchRequest(),
    SearchRequest(text=" "),
    SearchRequest(text="x", k=0),
    SearchRequest(text="x", offset=-1),
    SearchRequest(text="x", diversity=1.1),
    SearchRequest(text="x", diversity=0.5, k=10, offset=91),
    SearchRequest(text="x", image=picture("bag"), image_weight=2),
    SearchRequest(text="x", where=Filter(since=datetime(2026, 9, 1))),
    SearchRequest(text="x", where=Filter(tags=("t" * 257,))),
]


@pytest.mark.parametrize("request_", SENSELESS)
def test_requests_that_ask_nothing(lite_config, request_):
    from mmrag_pipeline.index.milvus import connect

    with connect(lite_config) as milvus, pytest.raises(UserError):
        search(milvus, ENCODER, request_)


def test_items_by_attribute(library):
    assert paths(items(library, sku="L-1", limit=10)) == ["gold-side.jpg", "gold.jpg"]
    assert paths(items(library, product_line="vela", limit=2)) == ["blue.jpg", "copy-of-gold.jpg"]
    assert [hit.score for hit in items(library, drop="vela__spring", limit=2)] == [1.0, 1.0]
    assert items(library, sku="nope", limit=5) == []


def test_search_agrees_with_numpy(milvus, sync):
    words = np.random.default_rng(0).choice(["gold", "red", "bag", "cape", "shoe", "blue", "tall"], size=(300, 4))
    drop = BAGS.add({f"{number:03}.jpg": Item(" ".join(row) + f" {number}") for number, row in enumerate(words)})
    sync(drop)
    names = [path for path, item in drop.items.items() if item.status == "ok"]
    vectors = ENCODER.encode_texts([drop.items[path].words for path in names])
    for text in ("gold bag", "tall blue shoe", "red cape 17"):
        scores = vectors @ ENCODER.encode_texts([text])[0]
        hits = search(milvus, ENCODER, SearchRequest(text=text, k=10))
        best = np.sort(scores)[::-1][:10]
        assert [hit.score for hit in hits] == pytest.approx(best.tolist(), abs=1e-4)
