"""Worse means: by more than a little, and by more than chance."""

from __future__ import annotations

import numpy as np
import pytest

from mmrag_pipeline.quality.gate import bootstrap_interval, compare


def figures(*values: float) -> dict[str, float]:
    return {f"q{number}": value for number, value in enumerate(values)}


def test_only_queries_that_both_sides_have_are_compared() -> None:
    comparison = compare({"a": 1.0, "b": 0.5, "gone": 0.0}, {"a": 0.9, "b": 0.5, "new": 0.0})
    assert comparison is not None
    assert (comparison.queries, comparison.before, comparison.after) == (2, 0.75, pytest.approx(0.7))
    assert comparison.difference == pytest.approx(-0.05)
    assert compare({"a": 1.0}, {"b": 1.0}) is None


@pytest.mark.parametrize(
    ("changes", "worse"),
    [
        ([-0.05] * 40, True),
        ([-0.009] * 40, False),  # certain, but within the tolerance
        ([-0.8] + [0.0] * 39, False),  # 0.02 lower, but of one query: chance
        ([-0.8] * 8 + [0.0] * 32, True),
        ([0.05] * 40, False),
        ([0.0] * 40, False),
    ],
)
def test_worse_by_more_than_a_little_and_more_than_chance(changes: list[float], worse: bool) -> None:
    comparison = compare(figures(*[0.9] * 40), figures(*(0.9 + change for change in changes)))
    assert comparison is not None
    assert comparison.worse is worse


def test_the_interval_is_that_of_the_mean_and_always_the_same() -> None:
    differences = np.random.default_rng(1).normal(-0.1, 0.2, size=200)
    low, high = bootstrap_interval(differences)
    error = 1.96 * differences.std() / np.sqrt(200)
    assert (low, high) == pytest.approx((differences.mean() - error, differences.mean() + error), abs=0.004)
    assert bootstrap_interval(differences) == (low, high)


def test_a_few_queries_are_no_verdict() -> None:
    few = compare({"a": 1.0}, {"a": 0.0})
    assert few.interval == (-1.0, -1.0) and not few.worse
    many = compare({str(number): 1.0 for number in range(10)}, {str(number): 0.0 for number in range(10)})
    assert many.worse
