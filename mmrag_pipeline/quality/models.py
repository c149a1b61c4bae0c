"""Several models side by side on the same part of a library: figures, who wins which query, and what to do.

Everything is ranked exactly, in memory: no collection is made or touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmrag_pipeline.embedding.model import Encoder
from mmrag_pipeline.quality.figures import QueryFigures
from mmrag_pipeline.quality.gate import LEAST_QUERIES, TOLERANCE, Comparison, compare
from mmrag_pipeline.quality.golden import GoldenQuery
from mmrag_pipeline.quality.scoring import K, is_answerable, score
from mmrag_pipeline.quality.summary import Summary

BETTER, WORSE, NO_DIFFERENCE, TOO_FEW = "better", "worse", "no difference", "too few queries"


@dataclass(frozen=True)
class ModelResult:
    """One model on the sample. `rate` is pictures a second on this machine, None where nothing tells."""

    name: str
    fingerprint: str
    dim: int
    computed: int
    rate: float | None
    figures: dict[str, QueryFigures]
    strata: tuple[Summary, ...]

    @property
    def label(self) -> str:
        """Its name for people: of a folder, the last part."""
        return self.name.rstrip("/").rpartition("/")[2] if self.name.startswith("local-dir:") else self.name

    @property
    def ndcg(self) -> dict[str, float]:
        return {query: each.ndcg10 for query, each in self.figures.items()}


@dataclass(frozen=True)
class Duel:
    """A model beside the one in force: `won` and `lost` are queries, those that changed most first."""

    model: ModelResult
    comparison: Comparison
    won: tuple[str, ...]
    lost: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Better or worse by more than `TOLERANCE` and by more than chance, or neither."""
        comparison = self.comparison
        if comparison.queries < LEAST_QUERIES:
            return TOO_FEW
        if comparison.worse:
            return WORSE
        better = comparison.difference > TOLERANCE and comparison.interval[0] > 0
        return BETTER if better else NO_DIFFERENCE


def rank_exactly(
    encoder: Encoder,
    queries: Sequence[GoldenQuery],
    *,
    vectors: np.ndarray,
    content_ids: Sequence[str],
    graded: Mapping[str, Mapping[str, int]],
) -> dict[str, QueryFigures]:
    """Figures by query among `content_ids` alone, whose unit `vectors` [n, dim] these are; `top` are content ids."""
    figures = {}
    there = set(content_ids)
    for query in queries:
        grades = {content_id: given for content_id, given in graded.get(query.query, {}).items() if content_id in there}
        if not is_answerable(grades):
            continue
        scores = vectors @ encoder.encode_texts([query.query])[0]
        order = np.lexsort((np.arange(len(scores)), -scores))[:K]
        ranked = [content_ids[at] for at in order.tolist()]
        figures[query.query] = score(ranked, grades, top=ranked)
    return figures


def duel(in_force: ModelResult, other: ModelResult) -> Duel | None:
    """None where they have no query in common."""
    before, after = in_force.ndcg, other.ndcg
    comparison = compare(before, after)
    if comparison is None:
        return None
    change = {query: after[query] - before[query] for query in before if query in after}
    ordered = sorted(change, key=lambda query: (-abs(change[query]), query))
    return Duel(
        model=other,
        comparison=comparison,
        won=tuple(query for query in ordered if change[query] > 0),
        lost=tuple(query for query in ordered if change[query] < 0),
    )


def best_of(duels: Sequence[Duel]) -> Duel | None:
    """The one that is better by most; None where none is."""
    better = [each for each in duels if each.verdict == BETTER]
    return max(better, key=lambda each: each.comparison.difference, default=None)


def recommend(in_force: ModelResult, duels: Sequence[Duel], *, weak: bool) -> str:
    """What to do, in plain words."""
    asked = len(in_force.figures)
    if not asked:
        return "None of the queries has a right answer here, so nothing can be said: look at the golden set's fields."
    if not duels:
        return f"Only {in_force.label} was measured: name others with --model to compare them."
    if asked < LEAST_QUERIES:
        return f"{asked} queries are too few to judge by: have {LEAST_QUERIES} or more before you change the model."
    if best := best_of(duels):
        low, high = best.comparison.interval
        said = (
            f"Switch to {best.model.label}: its nDCG@10 is {best.comparison.difference:+.3f} against {in_force.label} "
            f"(95% interval {low:+.3f} to {high:+.3f}), which is more than chance."
        )
        if weak:
            said += " The queries are titles, weak labels: write a golden.csv and measure again before you re-embed."
        return said + _weakest(best.model)
    said = f"Keep {in_force.label}: no other model is better here by more than {TOLERANCE:g} nDCG@10 and chance."
    worse = [f"{each.model.label} ({each.comparison.difference:+.3f})" for each in duels if each.verdict == WORSE]
    if worse:
        said += f" {', '.join(worse)} {'is' if len(worse) == 1 else 'are'} worse, by more than chance."
    undecided = [each.model.label for each in duels if each.verdict == NO_DIFFERENCE]
    if undecided:
        said += f" {asked} queries can't tell {', '.join(undecided)} from it."
    return said + _weakest(in_force)


def _weakest(model: ModelResult) -> str:
    """Where it finds least: there another model, or words in the catalogue, would help most."""
    strata = model.strata[1:]
    if len(strata) < 2:
        return ""
    weakest = min(strata, key=lambda each: each.means["ndcg10"])
    return f" It finds least in {weakest.stratum}: nDCG@10 {weakest.means['ndcg10']:.2f} of {weakest.queries} queries."
