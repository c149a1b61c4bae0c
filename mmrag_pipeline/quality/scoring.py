"""What one ranked answer to a golden query is worth, in the figures that people who measure search use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmrag_pipeline.quality.figures import QueryFigures
from mmrag_pipeline.quality.golden import ASKED_FOR
from mmrag_pipeline.quality.ndcg import ndcg_at
from mmrag_pipeline.quality.recall import recall_at, reciprocal_rank_at

K = 10


def is_answerable(grades: Mapping[str, int]) -> bool:
    """Whether anything is what was asked for: a query that nothing is right for says nothing about search."""
    return ASKED_FOR in grades.values()


def score(ranked: Sequence[str], grades: Mapping[str, int], *, top: Sequence[str] = ()) -> QueryFigures:
    """Figures of an answer: content ids, best first, and the grade of every content that has one.

    `top` are the media ids of the first answers, kept so that people can be shown them.

    Raises:
        ValueError: nothing is what was asked for (see `is_answerable`).
    """
    right = [content_id for content_id, grade in grades.items() if grade == ASKED_FOR]
    return QueryFigures(
        ndcg10=ndcg_at(K, [grades.get(content_id, 0) for content_id in ranked], grades.values()),
        mrr10=reciprocal_rank_at(K, ranked, right),
        r1=recall_at(1, ranked, right),
        r5=recall_at(5, ranked, right),
        r10=recall_at(K, ranked, right),
        top=tuple(top[:K]),
    )
