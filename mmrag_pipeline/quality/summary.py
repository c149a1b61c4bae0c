"""Figures by query -> figures by stratum, each mean with the interval that chance alone explains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from mmrag_pipeline.quality.figures import LABELS, QueryFigures
from mmrag_pipeline.quality.gate import bootstrap_interval
from mmrag_pipeline.quality.golden import GoldenQuery

ALL = "all"


@dataclass(frozen=True)
class Summary:
    """One stratum, or `ALL` queries: each figure's mean, and the 95% bootstrap interval of that mean."""

    stratum: str
    queries: int
    means: dict[str, float]
    intervals: dict[str, tuple[float, float]]


def summarise(figures: Mapping[str, QueryFigures], queries: Iterable[GoldenQuery]) -> list[Summary]:
    """All queries first, then by stratum in order of name; nothing when no query has figures."""
    strata: dict[str, list[QueryFigures]] = {}
    for query in queries:
        if query.query in figures:
            strata.setdefault(query.stratum or "none", []).append(figures[query.query])
    if not strata:
        return []
    every = [each for group in strata.values() for each in group]
    return [_summary(ALL, every), *(_summary(name, strata[name]) for name in sorted(strata))]


def _summary(stratum: str, group: list[QueryFigures]) -> Summary:
    values = {name: [getattr(each, name) for each in group] for name in LABELS}
    return Summary(
        stratum=stratum,
        queries=len(group),
        means={name: fmean(column) for name, column in values.items()},
        intervals={name: bootstrap_interval(column) for name, column in values.items()},
    )
