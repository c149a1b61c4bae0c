"""Near-duplicate groups as one HTML page: the keeper of each beside its copies, the largest groups first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from PIL import Image

from mmrag_pipeline.errors import Unavailable
from mmrag_pipeline.media.rules import MediaError
from mmrag_pipeline.pages import inline_jpeg, templates

MOST_GROUPS = 200
"""Shown on the page; the table has all."""
MOST_PICTURES = 12
"""Of one group."""
_SIDE = 220


@dataclass(frozen=True)
class Shown:
    """One picture of a group: its row of the table, and a data URI ("" where the file is gone)."""

    row: dict[str, Any]
    picture: str


@dataclass(frozen=True)
class Group:
    """`more` pictures are not shown."""

    id: str
    pictures: tuple[Shown, ...]
    more: int


def render_duplicates(table: pa.Table, *, load: Callable[[str, str], Image.Image]) -> str:
    """The page as text; `load` opens a picture by drop and path."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        rows.setdefault(row["group"], []).append(row)
    ordered = sorted(rows.items(), key=lambda group: (-len(group[1]), group[0]))
    groups = [
        Group(
            id=group_id,
            pictures=tuple(Shown(row, _picture(row, load)) for row in members[:MOST_PICTURES]),
            more=max(0, len(members) - MOST_PICTURES),
        )
        for group_id, members in ordered[:MOST_GROUPS]
    ]
    spare = sum(row["bytes"] for row in table.to_pylist() if not row["keeper"])
    return (
        templates(__package__)
        .get_template("duplicates.html.j2")
        .render(groups=groups, count=len(rows), pictures=table.num_rows, spare_mb=spare / 1e6)
    )


def _picture(row: dict[str, Any], load: Callable[[str, str], Image.Image]) -> str:
    try:
        return inline_jpeg(load(row["drop"], row["path"]), _SIDE, quality=78)
    except (MediaError, Unavailable):
        return ""  # the page still says which file it was
