"""The queries that are answered worst, as a contact sheet: what was asked for, and what came."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from PIL import Image

from mmrag_pipeline.errors import Unavailable
from mmrag_pipeline.media.rules import MediaError
from mmrag_pipeline.media.sheet import SheetItem, contact_sheet
from mmrag_pipeline.quality.golden import ASKED_FOR
from mmrag_pipeline.quality.library import LibraryItem

ANSWERS = 4
_TILE = 150

Opener = Callable[[LibraryItem], Image.Image]


def worst_sheet(
    worst: Sequence[tuple[str, float]],
    *,
    answers: Mapping[str, Sequence[LibraryItem]],
    grades: Mapping[str, Mapping[str, int]],
    right: Mapping[str, LibraryItem],
    load: Opener,
) -> Image.Image | None:
    """A row a query: a picture that was asked for, then the first answers, each called right, kin or wrong."""
    cards = []
    for query, ndcg in worst:
        if query not in right:
            continue
        cards.append(_card(right[query], load, caption=query, note=f"asked for; nDCG {ndcg:.2f}"))
        first = list(answers.get(query, ()))[:ANSWERS]
        for rank, item in enumerate(first, 1):
            given = grades.get(query, {}).get(item.content_id, 0)
            verdict = "right" if given == ASKED_FOR else "kin" if given else "wrong"
            cards.append(_card(item, load, caption=item.title or item.path, note=f"answer {rank}: {verdict}"))
        empty = Image.new("RGB", (1, 1), "white")
        cards += [SheetItem(empty, "", "no further answer")] * (ANSWERS - len(first))
    return contact_sheet(cards, columns=1 + ANSWERS, tile=_TILE) if cards else None


def _card(item: LibraryItem, load: Opener, *, caption: str, note: str) -> SheetItem:
    try:
        picture = load(item)
    except (MediaError, Unavailable):
        return SheetItem(Image.new("RGB", (_TILE, _TILE), "lightgrey"), caption, f"{note} (the file is gone)")
    picture.thumbnail((2 * _TILE, 2 * _TILE))
    return SheetItem(picture, caption, note)
