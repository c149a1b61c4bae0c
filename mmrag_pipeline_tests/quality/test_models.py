"""Models side by side: who is better by more than chance, on which part of the library, and what is advised."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mmrag_pipeline.quality.golden import GoldenQuery, Judgement
from mmrag_pipeline.quality.library import grade, library_items
from mmrag_pipeline.quality.models import ModelResult, duel, rank_exactly, recommend
from mmrag_pipeline.quality.sample import choose_sample
from mmrag_pipeline.quality.scoring import score
from mmrag_pipeline.quality.summary import summarise
from mmrag_pipeline_tests.index.library import BAGS, WATCHES, FakeEncoder

MANIFESTS = {drop.key: drop.manifest for drop in (WATCHES, BAGS)}
QUERIES = (
    GoldenQuery("golden watch", "watches", (Judgement(2, "sku", "L-1"), Judgement(1, "sku", "L-2"))),
    GoldenQuery("red bag", "bags", (Judgement(2, "path", "vela/spring/red.jpg"),)),
    GoldenQuery("a shoe", "shoes", (Judgement(2, "sku", "X-1"),)),
    GoldenQuery("autumn", "extra", (Judgement(2, "season", "fall"), Judgement(1, "tags", "gold;metal"))),
)


def result(name: str, *ndcgs: float, figures=None) -> ModelResult:
    """A model whose queries q0, q1... are answered right at once (1) or not among ten (0)."""
    found = figures or {
        f"q{n}": score(["right"] if value else ["wrong"], {"right": 2}) for n, value in enumerate(ndcgs)
    }
    strata = tuple(summarise(found, [GoldenQuery(query, "any", ()) for query in found]))
    return ModelResult(name, f"{name}-0123", 16, 0, None, found, strata)


def test_the_library_is_graded_as_a_collection_would_be() -> None:
    graded = grade(library_items(MANIFESTS), QUERIES)
    by_path = {item.path: item.content_id for item in library_items(MANIFESTS)}
    # the copy has the bytes of gold.jpg: one content, with the highest of its grades
    assert graded["golden watch"] == {by_path["gold.jpg"]: 2, by_path["gold-side.jpg"]: 2, by_path["silver.jpg"]: 1}
    assert graded["autumn"] == {by_path["gold.jpg"]: 2}
    assert "a shoe" not in graded and "broken.jpg" not in by_path


def test_ranking_is_that_of_exact_search() -> None:
    graded = grade(library_items(MANIFESTS), QUERIES)
    words = {item.content_id: item.path for item in library_items(MANIFESTS)}
    spoken = {"gold.jpg": "golden watch", "copy-of-gold.jpg": "golden watch", "gold-side.jpg": "golden watch side"}
    spoken |= {"silver.jpg": "silver watch", "promo.mp4": "watch film", "red.jpg": "red bag", "blue.jpg": "blue bag"}
    contents = sorted(words)
    vectors = FakeEncoder().encode_texts([spoken[words[content_id]] for content_id in contents])
    figures = rank_exactly(FakeEncoder(), QUERIES, vectors=vectors, content_ids=contents, graded=graded)
    assert list(figures) == ["golden watch", "red bag", "autumn"]  # nobody has a shoe
    assert figures["golden watch"].top[0] in words and figures["golden watch"].ndcg10 == pytest.approx(1)
    assert figures["red bag"].r1 == 1


def test_verdicts() -> None:
    weak, strong = result("weak", *[0, 1] * 10), result("strong", *[1] * 20)
    better = duel(weak, strong)
    assert better.verdict == "better" and len(better.won) == 10 and not better.lost
    assert duel(strong, weak).verdict == "worse"
    assert duel(strong, strong).verdict == "no difference"
    assert duel(result("a", 0, 0), result("b", 1, 1)).verdict == "too few queries"
    assert duel(strong, result("none", figures={"other": score(["x"], {"x": 2})})) is None


def test_what_is_advised() -> None:
    weak, strong = result("weak", *[0, 1] * 10), result("strong", *[1] * 20)
    switch = recommend(weak, [duel(weak, strong)], weak=False)
    assert switch.startswith("Switch to strong: its nDCG@10 is +0.500 against weak") and "golden.csv" not in switch
    assert "write a golden.csv" in recommend(weak, [duel(weak, strong)], weak=True)
    assert recommend(strong, [duel(strong, weak)], weak=False).startswith("Keep strong")
    assert "can't tell strong from it" in recommend(strong, [duel(strong, strong)], weak=False)
    assert "weak (-0.500) is worse, by more than chance" in recommend(strong, [duel(strong, weak)], weak=False)
    assert "Only strong was measured" in recommend(strong, [], weak=False)
    few = result("few", 1, 1)
    assert recommend(few, [duel(few, few)], weak=False).startswith("2 queries are too few")
    assert "nothing can be said" in recommend(result("none", figures={}), [], weak=False)


def test_a_sample_has_right_answers_and_stays_the_same() -> None:
    contents = [hashlib.sha256(bytes([n])).hexdigest() for n in range(200)]
    graded = {"q": dict.fromkeys(contents[:20], 2) | {contents[50]: 1}, "other": {contents[199]: 2}}
    chosen = choose_sample(reversed(contents), graded, most=30)
    assert chosen == sorted(chosen) == choose_sample(contents, graded, most=30) and len(chosen) == 30
    assert contents[199] in chosen and len(set(chosen) & set(contents[:20])) >= 5
    assert choose_sample(contents, graded, most=200) == sorted(contents)
    assert np.array_equal(choose_sample([], {}, most=10), [])
