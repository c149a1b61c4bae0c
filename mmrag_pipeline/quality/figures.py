"""What was measured with golden queries, and where it is kept: `quality/golden/<collection>.json` in the store.

It is kept because a collection of another model can't be asked with the encoder in force.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import fmean

from mmrag_pipeline.store import Store, write_json

LABELS = {"ndcg10": "nDCG@10", "mrr10": "MRR@10", "r1": "R@1", "r5": "R@5", "r10": "R@10"}
"""The numbers of `QueryFigures`, in the order and under the names that people are shown."""


@dataclass(frozen=True)
class QueryFigures:
    """How one query is answered, each 0 to 1: nDCG@10 by grades, MRR@10 and R@1, R@5, R@10 of what was asked for.

    `top` are the media ids of the first ten answers.
    """

    ndcg10: float
    mrr10: float
    r1: float
    r5: float
    r10: float
    top: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figures:
    """What one collection answers, by query; a query without a right answer in it is not there.

    `golden` is the digest of the golden set; `library` a hash of what the collection was staged from (the manifests,
    and what of them was left out), "" where that is not known; `measured_at` is ISO 8601.
    """

    collection: str
    fingerprint: str
    golden: str
    library: str
    measured_at: str
    queries: dict[str, QueryFigures]

    def mean(self, name: str) -> float:
        """Of one figure over all queries; there must be one."""
        return fmean(getattr(each, name) for each in self.queries.values())

    def by_query(self, name: str) -> dict[str, float]:
        return {query: getattr(each, name) for query, each in self.queries.items()}


class FiguresStore:
    """Figures by collection."""

    def __init__(self, store: Store):
        self._folder = store.root / "quality" / "golden"

    def read(self, collection: str, *, golden: str, fingerprint: str) -> Figures | None:
        """What is kept of this collection; None when that is nothing, or of another golden set or model."""
        try:
            values = json.loads(self._path(collection).read_text())
            asked = values.pop("queries").items()
            queries = {query: QueryFigures(**each | {"top": tuple(each["top"])}) for query, each in asked}
            figures = Figures(**values, queries=queries)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None  # none, or of another version of this program: measured again
        return figures if (figures.golden, figures.fingerprint) == (golden, fingerprint) else None

    def keep(self, figures: Figures) -> None:
        """Write them, in place of what was kept of the collection."""
        write_json(self._path(figures.collection), asdict(figures))

    def forget(self, is_gone: Callable[[str], bool]) -> None:
        """Remove those of collections that are gone."""
        for path in self._folder.glob("*.json") if self._folder.exists() else ():
            if is_gone(path.stem):
                path.unlink(missing_ok=True)

    def _path(self, collection: str):
        return self._folder / f"{collection}.json"
