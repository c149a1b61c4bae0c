"""The health of each drop: a row a picture with its measures and what somebody should look at, never a verdict.

Kept as `quality/health/<drop>.parquet` in the store. Only contents that were not measured before are opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from mmrag_pipeline.media.decode import decode_pixels
from mmrag_pipeline.media.health import SIDE, Concern, Measures, concerns_of, measure
from mmrag_pipeline.media.listing import list_entries
from mmrag_pipeline.media.pictures import read_file
from mmrag_pipeline.media.rules import Limits, MediaError
from mmrag_pipeline.store import Damaged, Store, whole_table, write_table

PEOPLE = {"person", "people", "face", "portrait", "on model", "on-model"}
"""Tags that say somebody is in the picture; a column `people` that isn't empty or a no says so too."""
RELEASES = ("release", "model_release", "rights_cleared")
"""Columns of the catalogue that say, with anything but a no, that the people in it have agreed."""
_NO = {"", "no", "none", "false", "0", "n", "missing", "pending"}
SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("content_id", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("sharpness", pa.float32(), nullable=False),
        pa.field("bright", pa.float32(), nullable=False),
        pa.field("entropy", pa.float32(), nullable=False),
        pa.field("concerns", pa.list_(pa.field("element", pa.string())), nullable=False),
    ]
)
_MADE_OF = b"mmrag.made_of"
_VERSION = 1  # raise it when the same picture would now get other measures


def examine_drop(
    manifest: pa.Table, folder: UPath, limits: Limits, *, before: pa.Table | None, made_of: str = ""
) -> pa.Table:
    """A row for every ok still of the drop; measures of contents that `before` has are taken from it.

    A picture that can't be read now is left out, and looked for again next time.
    """
    known = _measured(before)
    stills = manifest.filter(pc.and_(pc.equal(manifest["status"], "ok"), pc.is_null(manifest["frame_ms"]))).select(
        ["path", "content_id", "width", "height", "tags", "extra"]
    )
    rows = []
    for row, measures in _with_measures(stills.to_pylist(), folder, limits, known):
        concerns = concerns_of(measures, width=row["width"], height=row["height"])
        if has_rights_to_clear(row["tags"], row["extra"]):
            concerns.append(Concern.RIGHTS)
        values = {name: row[name] for name in ("path", "content_id", "width", "height")} | vars(measures)
        rows.append(values | {"concerns": [concern.value for concern in concerns]})
    if len(rows) < len(stills):
        made_of = f"{_VERSION} incomplete"  # looked at again next time
    schema = SCHEMA.with_metadata({_MADE_OF: made_of.encode()})
    return pa.Table.from_pylist(rows, schema)


def has_rights_to_clear(tags: Iterable[str], extra: str) -> bool:
    """Whether the catalogue says that people are shown, and does not say that they agreed."""
    columns = {name: str(value).strip().lower() for name, value in json.loads(extra or "{}").items()}
    shown = columns.get("people", "") not in _NO or bool(PEOPLE & {tag.lower() for tag in tags})
    return shown and not any(columns.get(name, "") not in _NO for name in RELEASES)


def count_concerns(table: pa.Table) -> dict[str, int]:
    """Pictures by concern, every concern there is."""
    found = pc.value_counts(pc.list_flatten(table["concerns"])).to_pylist()
    counts = {entry["values"]: entry["counts"] for entry in found}
    return {concern.value: counts.get(concern.value, 0) for concern in Concern}


class HealthStore:
    """The tables, by drop."""

    def __init__(self, store: Store):
        self.folder = store.root / "quality" / "health"

    def read(self, drop: str) -> pa.Table | None:
        """None when the drop was not examined, by another version of this program, or its table is damaged."""
        try:
            table = whole_table(self.folder / f"{drop}.parquet")
        except (FileNotFoundError, Damaged):
            return None
        return table if table.schema.equals(SCHEMA) else None

    def write(self, drop: str, table: pa.Table) -> None:
        write_table(self.folder / f"{drop}.parquet", table)

    def remove(self, drop: str) -> None:
        (self.folder / f"{drop}.parquet").unlink(missing_ok=True)

    def keep_only(self, drops: Iterable[str]) -> None:
        """Remove the tables of other drops: they left the library."""
        try:
            there = {entry.path for entry in list_entries(self.folder)}
        except FileNotFoundError:
            return
        for name in there - {f"{drop}.parquet" for drop in drops}:
            if name.endswith(".parquet") and not name.startswith("."):
                (self.folder / name).unlink(missing_ok=True)


def examine_library(
    manifests: Mapping[str, tuple[pa.Table, str]],
    folder: Callable[[str], UPath],
    limits: Limits,
    kept: HealthStore,
    *,
    unread: Collection[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, pa.Table], list[str]]:
    """The tables of all drops by key, and the keys of those that were examined anew.

    `manifests` has each drop's table with the hash of its file: while that is the same, so is the drop's health. Drops
    whose manifest is `unread` keep the table that they have.
    """
    tables, anew = {}, []
    for done, (drop, (manifest, digest)) in enumerate(sorted(manifests.items())):
        made_of, table = f"{_VERSION} {digest}", kept.read(drop)
        if table is None or (table.schema.metadata or {}).get(_MADE_OF) != made_of.encode():
            table = examine_drop(manifest, folder(drop), limits, before=table, made_of=made_of)
            kept.write(drop, table)
            anew.append(drop)
        tables[drop] = table
        if progress:
            progress(done + 1, len(manifests))
    kept.keep_only({*manifests, *unread})
    return tables, anew


def _measured(before: pa.Table | None) -> dict[str, Measures]:
    if before is None or not (before.schema.metadata or {}).get(_MADE_OF, b"").startswith(f"{_VERSION} ".encode()):
        return {}
    names = ("sharpness", "bright", "entropy")
    rows = before.select(["content_id", *names]).to_pylist()
    return {row["content_id"]: Measures(*(row[name] for name in names)) for row in rows}


def _with_measures(
    rows: list[dict[str, Any]], folder: UPath, limits: Limits, known: Mapping[str, Measures]
) -> Iterator[tuple[dict[str, Any], Measures]]:
    """Rows with their measures, in order; a picture a core at a time is opened where none are known."""

    def look(row: dict[str, Any]) -> Measures | None:
        if row["content_id"] in known:
            return known[row["content_id"]]
        try:
            return measure(decode_pixels(read_file(folder, row["path"]), limits, short_side=SIDE))
        except MediaError:
            return None

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for row, measures in zip(rows, threads.map(look, rows), strict=True):
            if measures is not None:
                yield row, measures
