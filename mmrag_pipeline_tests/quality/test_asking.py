"""Golden queries are asked of the collection that is named, and of all that is in it."""

from __future__ import annotations

from math import log2

import pytest

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.filter import Filter
from mmrag_pipeline.index.rebuild import stage
from mmrag_pipeline.index.search import SearchRequest, search
from mmrag_pipeline.quality.asking import Remembering, ask
from mmrag_pipeline.quality.golden import GoldenQuery, Judgement
from mmrag_pipeline_tests.index.library import BAGS, DIM, FINGERPRINT, NOW, WATCHES, FakeDrop, FakeEncoder

ENCODER = FakeEncoder()


def query(text: str, *judgements: tuple[int, str, str]) -> GoldenQuery:
    return GoldenQuery(text, "any", tuple(Judgement(*each) for each in judgements))


def staged(milvus, *drops: FakeDrop):
    index = stage(milvus, drops=[drop.rows for drop in drops], fingerprint=FINGERPRINT, dim=DIM, now=NOW)
    return milvus.info(index.collection)


def test_the_named_collection_is_searched_although_nothing_is_live(milvus) -> None:
    collection = staged(milvus, WATCHES, BAGS)
    assert milvus.live() is None
    hits = search(milvus, ENCODER, SearchRequest(text="red bag", k=1), collection=collection)
    assert hits[0].path == "red.jpg"
    with pytest.raises(UserError, match="the model in force is other"):
        search(milvus, FakeEncoder("other"), SearchRequest(text="red bag"), collection=collection)


def test_by_path_sku_tags_title_and_a_further_column(milvus) -> None:
    queries = [
        query("golden watch", (2, "path", "lunar/2026-09/gold.jpg")),
        query("silver watch", (2, "sku", "L-2")),
        query("watch golden", (2, "tags", "metal; gold")),
        query("red bag", (2, "title", "Red bag")),
        query("golden", (2, "season", "fall")),
        query("bag", (2, "product_line", "vela")),
    ]
    found = ask(milvus, ENCODER, queries, collection=staged(milvus, WATCHES, BAGS))
    assert list(found) == [each.query for each in queries]
    assert all(each.r1 == 1 for each in found.values())
    assert found["golden watch"].ndcg10 == pytest.approx(1)


def test_what_nothing_is_a_right_answer_to_is_left_out(milvus) -> None:
    queries = [query("a shoe", (2, "sku", "X-1"), (1, "product_line", "lunar")), query("red bag", (2, "sku", "V-1"))]
    assert list(ask(milvus, ENCODER, queries, collection=staged(milvus, WATCHES, BAGS))) == ["red bag"]


def test_video_frames_are_answers_unless_only_stills_are_asked_for(milvus) -> None:
    collection, film = staged(milvus, WATCHES, BAGS), [query("watch film", (2, "path", "lunar/2026-09/promo.mp4"))]
    assert ask(milvus, ENCODER, film, collection=collection)["watch film"].r1 == 1
    assert ask(milvus, ENCODER, film, collection=collection, where=Filter(media_type="image")) == {}


def test_equal_bytes_are_one_answer_with_the_highest_of_their_grades(milvus) -> None:
    # vela's copy of gold.jpg is not found beside it: neither may it be missing from a best order
    both = query("golden watch", (2, "path", "vela/spring/copy-of-gold.jpg"), (1, "path", "lunar/2026-09/gold.jpg"))
    found = ask(milvus, ENCODER, [both], collection=staged(milvus, WATCHES, BAGS))["golden watch"]
    assert (found.ndcg10, found.r1, found.r10) == (1, 1, 1)


def test_a_right_answer_lower_down_by_hand(milvus) -> None:
    wanted = query("golden watch", (2, "path", "lunar/2026-09/gold-side.jpg"))
    found = ask(milvus, ENCODER, [wanted], collection=staged(milvus, WATCHES, BAGS))["golden watch"]
    assert (found.r1, found.r10) == (0, 1)
    assert found.ndcg10 == pytest.approx(1 / log2(3))


def test_words_are_encoded_once(milvus) -> None:
    asked: list[str] = []
    honest = ENCODER.encode_texts
    counting = replace_method(FakeEncoder(), lambda texts: asked.extend(texts) or honest(texts))
    encoder, collection = Remembering(counting), staged(milvus, WATCHES, BAGS)
    for _ in range(2):
        ask(milvus, encoder, [query("red bag", (2, "sku", "V-1"))], collection=collection)
    assert asked == ["red bag"]


def replace_method(encoder: FakeEncoder, encode_texts) -> FakeEncoder:
    encoder.encode_texts = encode_texts
    return encoder
