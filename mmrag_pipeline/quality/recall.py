"""Recall and reciprocal rank of ranked answers."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence


def recall_at(k: int, ranked: Sequence[Hashable], relevant: Collection[Hashable]) -> float:
    """Share of the relevant (at most `k` of them) among the first `k`; with `k` = 1, whether the first is right.

    Raises:
        ValueError: nothing is relevant, so nothing can be recalled.
    """
    if not relevant:
        raise ValueError("nothing is relevant to this query")
    return len(set(relevant) & set(ranked[:k])) / min(k, len(relevant))


def reciprocal_rank_at(k: int, ranked: Sequence[Hashable], relevant: Collection[Hashable]) -> float:
    """1 / rank of the first relevant answer among the first `k`; 0 when there is none. Its mean is MRR@k."""
    wanted = set(relevant)
    return next((1 / rank for rank, answer in enumerate(ranked[:k], 1) if answer in wanted), 0.0)
