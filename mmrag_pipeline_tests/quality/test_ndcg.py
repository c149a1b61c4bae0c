"""nDCG by hand."""

from __future__ import annotations

from math import log2

import pytest

from mmrag_pipeline.quality.ndcg import ndcg_at


def test_the_best_order_is_one_whatever_follows() -> None:
    assert ndcg_at(10, [2, 1, 1, 0, 0], [1, 2, 1]) == pytest.approx(1)
    assert ndcg_at(2, [2, 1, 0, 0], [2, 1, 1, 1]) == pytest.approx(1)  # what the cut leaves out counts on neither side


def test_by_hand() -> None:
    # gains 3 for grade 2 and 1 for grade 1, at ranks 1 to 4
    found = 0 / log2(2) + 1 / log2(3) + 0 / log2(4) + 3 / log2(5)
    ideal = 3 / log2(2) + 3 / log2(3) + 1 / log2(4)
    assert ndcg_at(10, [0, 1, 0, 2], [1, 2, 2]) == pytest.approx(found / ideal)
    assert ndcg_at(3, [0, 1, 0, 2], [1, 2, 2]) == pytest.approx((1 / log2(3)) / ideal)


def test_asked_for_before_kin_is_better_than_after() -> None:
    assert ndcg_at(10, [2, 1], [1, 2]) > ndcg_at(10, [1, 2], [1, 2]) > ndcg_at(10, [0, 0, 1, 2], [1, 2])


def test_an_answer_that_is_not_found_counts() -> None:
    assert ndcg_at(10, [2], [2, 2]) == pytest.approx(1 / (1 + 1 / log2(3)))
    assert ndcg_at(10, [], [2]) == 0


def test_without_a_right_answer_there_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing is relevant"):
        ndcg_at(10, [0, 0], [0])
