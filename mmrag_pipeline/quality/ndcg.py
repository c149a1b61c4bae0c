"""nDCG: how far up the right answers stand, when some are more right than others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log2


def ndcg_at(k: int, ranked: Sequence[int], all_grades: Iterable[int]) -> float:
    """Normalised discounted cumulative gain of the first `k` answers, 0 to 1.

    `ranked` are the answers' grades, best first; `all_grades` those of everything that could have been answered, of
    which the best possible order is made (zeros may be left out). Järvelin and Kekäläinen, ACM TOIS 2002, with the
    gain 2^grade - 1 of Burges et al., ICML 2005, and the discount log2(rank + 1).

    Raises:
        ValueError: nothing has a grade, so no order is better than another.
    """
    ideal = _dcg(sorted(all_grades, reverse=True)[:k])
    if not ideal:
        raise ValueError("nothing is relevant to this query")
    return _dcg(ranked[:k]) / ideal


def _dcg(grades: Sequence[int]) -> float:
    return sum((2**grade - 1) / log2(rank + 1) for rank, grade in enumerate(grades, 1))
