"""Figures of one answer by hand, and their means by stratum with intervals."""

from __future__ import annotations

from math import log2

import pytest

from mmrag_pipeline.quality.golden import GoldenQuery
from mmrag_pipeline.quality.scoring import score
from mmrag_pipeline.quality.summary import summarise


def test_one_answer_by_hand() -> None:
    ranked = ["wrong", "kin", "right", *(f"wrong-{n}" for n in range(3)), "also-right", "x", "y", "z", "too-late"]
    found = score(ranked, {"right": 2, "also-right": 2, "too-late": 2, "kin": 1}, top=["a", "b"])
    assert (found.mrr10, found.r1, found.r5, found.r10) == (pytest.approx(1 / 3), 0, 1 / 3, 2 / 3)
    gained = 1 / log2(3) + 3 / log2(4) + 3 / log2(8)
    assert found.ndcg10 == pytest.approx(gained / (3 + 3 / log2(3) + 3 / log2(4) + 1 / log2(5)))
    assert found.top == ("a", "b")
    with pytest.raises(ValueError, match="nothing is relevant"):
        score(ranked, {"kin": 1})


def test_nothing_right_among_the_first_ten_is_nothing() -> None:
    found = score([f"wrong-{n}" for n in range(10)] + ["right"], {"right": 2})
    assert (found.ndcg10, found.mrr10, found.r10) == (0, 0, 0)


def test_by_stratum_all_first_and_only_what_was_answered() -> None:
    right, wrong = score(["a"], {"a": 2}), score(["b"], {"a": 2})
    queries = [GoldenQuery(f"q{n}", "colour" if n < 4 else "thing", ()) for n in range(6)]
    figures = {f"q{n}": right if n in (0, 1, 2, 4) else wrong for n in range(5)}
    summaries = summarise(figures, queries)
    assert [(each.stratum, each.queries) for each in summaries] == [("all", 5), ("colour", 4), ("thing", 1)]
    assert [each.means["r1"] for each in summaries] == [pytest.approx(0.8), 0.75, 1]
    low, high = summaries[1].intervals["ndcg10"]
    assert 0 <= low < 0.75 < high <= 1
    assert summarise({}, queries) == []
