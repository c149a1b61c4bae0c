"""The pictures of a library as golden queries judge them, read from manifests: no collection, no file is opened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from mmrag_pipeline.index.rows import catalogue_fields
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest import generated_in
from mmrag_pipeline.quality.golden import GoldenQuery
from mmrag_pipeline.quality.grading import Grader

_COLUMNS = ["media_id", "content_id", "path", "frame_ms", "media_type", "sku", "title", "tags", "extra"]


@dataclass(frozen=True)
class LibraryItem:
    """One picture or video frame; `described` has what judgements may name."""

    media_id: str
    content_id: str
    drop: str
    path: str
    frame_ms: int | None
    title: str
    described: Mapping[str, str] = field(repr=False)

    @property
    def place(self) -> str:
        """For people: `<drop>/<path>`, and the moment of a frame."""
        moment = "" if self.frame_ms is None else f" at {self.frame_ms / 1000:.1f} s"
        return f"{self.drop}/{self.path}{moment}"


def library_items(
    manifests: Mapping[str, pa.Table],
    *,
    media_ids: Collection[str] | None = None,
    content_ids: Collection[str] | None = None,
) -> Iterator[LibraryItem]:
    """The ok rows, generated pictures apart; only those of `media_ids` or `content_ids` where they are given."""
    for key in sorted(manifests):
        table = manifests[key]
        if generated_in(table) is not None:
            continue
        wanted = pc.equal(table["status"], "ok")
        for column, ids in (("media_id", media_ids), ("content_id", content_ids)):
            if ids is not None:
                wanted = pc.and_(wanted, pc.is_in(table[column], pa.array(list(ids), pa.string())))
        drop = Drop.parse(key)
        for row in table.filter(wanted).select(_COLUMNS).to_pylist():
            further = {name: str(value) for name, value in catalogue_fields(row["extra"]).items() if value is not None}
            described = further | {name: row[name] for name in ("sku", "title", "media_type")}
            described |= {"path": f"{drop.product_line}/{drop.name}/{row['path']}", "tags": ";".join(row["tags"])}
            described |= {"drop": key, "product_line": drop.product_line}
            yield LibraryItem(
                media_id=row["media_id"],
                content_id=row["content_id"],
                drop=key,
                path=row["path"],
                frame_ms=row["frame_ms"],
                title=row["title"],
                described=described,
            )


def grade(items: Iterable[LibraryItem], queries: Sequence[GoldenQuery]) -> dict[str, dict[str, int]]:
    """By query, the grade of every content that has one; of copies with equal bytes the highest."""
    grader = Grader(queries)
    graded: dict[str, dict[str, int]] = defaultdict(dict)
    for item in items:
        for query, given in grader.grades(item.described).items():
            graded[query][item.content_id] = max(given, graded[query].get(item.content_id, 0))
    return graded
