"""Models side by side as one HTML page that needs nothing else: who wins which query, with the pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from PIL import Image

from mmrag_pipeline.errors import Unavailable
from mmrag_pipeline.media.rules import MediaError
from mmrag_pipeline.pages import inline_jpeg, templates
from mmrag_pipeline.quality.figures import LABELS
from mmrag_pipeline.quality.golden import ASKED_FOR
from mmrag_pipeline.quality.library import LibraryItem
from mmrag_pipeline.quality.models import Duel, ModelResult, best_of

SHOWN = 5
"""Answers of each model that are shown for a query."""
WINNERS = 6
WORST = 6
_SIDE = 192

Opener = Callable[[LibraryItem], Image.Image]


@dataclass(frozen=True)
class Facts:
    """What was measured on; `left_out` queries have no right answer in it."""

    library: str
    pictures: int
    sampled: int
    queries: int
    left_out: int
    labels: str
    weak: bool
    measured_at: datetime


@dataclass(frozen=True)
class Answer:
    """One answer on the page: its thumbnail's id ("" where the file is gone), a name, and right, kin or wrong."""

    thumb: str
    name: str
    verdict: str


@dataclass(frozen=True)
class Row:
    """One model's answers to a query."""

    model: str
    ndcg: float
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Case:
    """One query: up to `SHOWN` of the right pictures, how many there are, and each model's first answers."""

    query: str
    right: tuple[Answer, ...]
    rights: int
    change: float | None
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Chapter:
    """The queries in which a model differs most from the one in force."""

    duel: Duel
    won: tuple[Case, ...]
    lost: tuple[Case, ...]


def render_report(
    results: Sequence[ModelResult],
    duels: Sequence[Duel],
    recommendation: str,
    facts: Facts,
    *,
    failed: Sequence[str],
    graded: Mapping[str, Mapping[str, int]],
    items: Mapping[str, LibraryItem],
    load: Opener,
) -> str:
    """The page as text. `graded` are grades by query and content id, `items` the sample by content id."""
    album = _Album(items, graded, load)
    in_force = results[0]
    chapters = [
        Chapter(
            duel=each,
            won=tuple(album.case(query, [in_force, each.model]) for query in each.won[:WINNERS]),
            lost=tuple(album.case(query, [in_force, each.model]) for query in each.lost[:WINNERS]),
        )
        for each in duels
    ]
    highest = {query: max(result.ndcg.get(query, 0.0) for result in results) for query in in_force.figures}
    worst = sorted(highest, key=lambda query: (highest[query], query))[:WORST]
    return (
        templates(__package__)
        .get_template("report.html.j2")
        .render(
            results=results,
            in_force=in_force,
            duels={each.model.name: each for each in duels},
            chapters=chapters,
            worst=[album.case(query, results, change_shown=False) for query in worst if highest[query] < 1],
            strata=[summary.stratum for summary in in_force.strata[1:]],
            by_stratum={result.name: {summary.stratum: summary for summary in result.strata} for result in results},
            recommendation=recommendation,
            switch_to=best.model.name if (best := best_of(duels)) else "",
            facts=facts,
            failed=failed,
            labels=LABELS,
            thumbs=album.thumbs,
        )
    )


class _Album:
    """Pictures of a page, each once."""

    def __init__(self, items: Mapping[str, LibraryItem], graded: Mapping[str, Mapping[str, int]], load: Opener):
        self._items, self._graded, self._load = items, graded, load
        self.thumbs: dict[str, str] = {}
        self._gone: set[str] = set()

    def case(self, query: str, results: Sequence[ModelResult], *, change_shown: bool = True) -> Case:
        grades = {each: given for each, given in self._graded[query].items() if each in self._items}
        right = sorted(content_id for content_id, given in grades.items() if given == ASKED_FOR)
        rows = [
            Row(
                model=result.label,
                ndcg=result.figures[query].ndcg10,
                answers=tuple(self._answer(each, grades) for each in result.figures[query].top[:SHOWN]),
            )
            for result in results
            if query in result.figures
        ]
        change = rows[1].ndcg - rows[0].ndcg if change_shown else None
        return Case(query, tuple(self._answer(each, grades) for each in right[:SHOWN]), len(right), change, tuple(rows))

    def _answer(self, content_id: str, grades: Mapping[str, int]) -> Answer:
        item, given = self._items[content_id], grades.get(content_id, 0)
        verdict = "right" if given == ASKED_FOR else "kin" if given else "wrong"
        return Answer(self._thumb(content_id), item.title or item.place, verdict)

    def _thumb(self, content_id: str) -> str:
        name = f"t-{content_id[:16]}{content_id.partition('#')[2]}"
        if name not in self.thumbs and name not in self._gone:
            try:
                self.thumbs[name] = inline_jpeg(self._load(self._items[content_id]), _SIDE, quality=76)
            except (MediaError, Unavailable):
                self._gone.add(name)  # the page still says which picture it was
        return name if name in self.thumbs else ""
