"""Is one set of figures worse than another, by more than a little and by more than chance?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

TOLERANCE = 0.01
"""A mean that is lower by no more than this is as good."""
LEAST_QUERIES = 10
"""With fewer, a bootstrap takes chance for certainty."""
RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0


@dataclass(frozen=True)
class Comparison:
    """Means over the `queries` that both sides have a figure for.

    `difference` is `after` minus `before`; `interval` is its 95% bootstrap interval, lower and upper end.
    """

    queries: int
    before: float
    after: float
    difference: float
    interval: tuple[float, float]

    @property
    def worse(self) -> bool:
        """Lower by more than `TOLERANCE`, and not by chance: enough queries, and the interval is wholly below 0."""
        return self.queries >= LEAST_QUERIES and self.difference < -TOLERANCE and self.interval[1] < 0


def compare(before: Mapping[str, float], after: Mapping[str, float]) -> Comparison | None:
    """Compare figures by query; a query that only one side has is left out. None when no query is left."""
    paired = [query for query in before if query in after]
    if not paired:
        return None
    old, new = (np.array([side[query] for query in paired]) for side in (before, after))
    return Comparison(
        queries=len(paired),
        before=float(old.mean()),
        after=float(new.mean()),
        difference=float((new - old).mean()),
        interval=bootstrap_interval(new - old),
    )


def bootstrap_interval(differences: Sequence[float] | np.ndarray, *, seed: int = SEED) -> tuple[float, float]:
    """95% percentile interval of the mean of paired `differences` [queries]; the same for the same input.

    Queries are drawn with replacement, each with both of its figures: Sakai, SIGIR 2006. scipy.stats.bootstrap does
    the same, but scipy is not among what the pipeline needs to run.
    """
    values = np.asarray(differences, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values[drawn].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)
