from __future__ import annotations

import numpy as np
import pytest

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.search import SearchRequest, items, search, why_empty
from mmrag_pipeline_tests.index.library import BAGS, WATCHES, FakeEncoder, Item, picture

ENCODER = FakeEncoder()


@pytest.fixture
def library(milvus, sync):
    """Both drops live."""
    sync(WATCHES)
    sync(BAGS)
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
        hits = search(library, ENCODER, SearchRequest(text="golden watch", k=10, **filters))
        return {hit.path for hit in hits}

    assert found(product_line="vela") == set(BAGS.items)
    assert found(drop="lunar__2026-09", media_type="video") == {"promo.mp4"}
    assert found(sku="L-1") == {"gold.jpg", "gold-side.jpg"}
    assert found(origin="generated") == set()
    assert len(found(origin=None)) == 6
    assert found(min_score=0.9999) == {"gold.jpg"}
    assert found(product_line='x" or 1==1 or "') == set()


def test_an_empty_result_says_why(library):
    def reason(**filters):
        request = SearchRequest(text="golden watch", **filters)
        assert search(library, ENCODER, request) == []
        return why_empty(library, request)

    assert "product_line 'nope'" in reason(product_line="nope")
    assert "score of 1.5" in reason(min_score=1.5)
    assert "origin 'generated'" in reason(origin="generated")


def test_an_empty_live_collection_gives_no_hits(milvus, sync):
    sync(BAGS)
    sync(BAGS.without(*BAGS.items))
    request = SearchRequest(text="bag")
    assert search(milvus, ENCODER, request) == []
    assert "holds no items" in why_empty(milvus, request)


def test_nothing_live_is_said(milvus):
    with pytest.raises(UserError, match="mmrag demo"):
        search(milvus, ENCODER, SearchRequest(text="bag"))
    assert "mmrag demo" in why_empty(milvus, SearchRequest(text="bag"))


def test_another_model_is_refused(library):
    with pytest.raises(UserError) as refused:
        search(library, FakeEncoder("other-0002"), SearchRequest(text="bag"))
    assert "fake-0001" in str(refused.value) and "other-0002" in str(refused.value)


@pytest.mark.parametrize("request_", [SearchRequest(), SearchRequest(text=" "), SearchRequest(text="x", k=0)])
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
