"""Manifest rows as rows of a collection: what a drop should look like in Milvus, vectors apart."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.digest import row_digests
from mmrag_pipeline.index.schema import (
    DIGEST,
    FIELDS,
    GENERATED,
    LIBRARY,
    MAX_BYTES,
    MAX_EXTRA_BYTES,
    MAX_TAG_BYTES,
    MAX_TAGS,
    SCALAR_FIELDS,
    SCHEMA_VERSION,
    STILL,
    cut,
)
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest import generated_in

Row = dict[str, Any]
_COLUMNS = (
    "path", "media_id", "content_id", "media_type", "width", "height", "frame_ms", "sku", "title", "tags",
    "extra", "first_seen",
)  # fmt: skip
_PAGE = 2000
_NO_EXTRA = (None, "", "{}")


class WantedRows:
    """The ok rows of one drop's manifest, made when they are asked for: memory stays that of the table.

    Raises:
        UserError: a path is longer than the collection can hold (it names the file, so it can't be cut).
    """

    def __init__(self, drop: Drop, manifest: pa.Table):
        self.drop = drop
        self._origin = GENERATED if generated_in(manifest) else LIBRARY
        table = manifest.filter(pc.equal(manifest["status"], "ok")).select(_COLUMNS)
        first_seen = table["first_seen"].cast(pa.timestamp("ms", "UTC"), safe=False).cast(pa.int64())
        table = table.set_column(_COLUMNS.index("first_seen"), "first_seen", first_seen)
        self._table = table.combine_chunks()
        self.ids: list[str] = self._table["media_id"].to_pylist()  # by position
        if len(set(self.ids)) != len(self.ids):
            raise ValueError(f"the manifest of {drop.key} holds a media id twice")
        if self._table["content_id"].null_count:
            raise ValueError(f"the manifest of {drop.key} has an ok row without a content id")
        too_long = pc.greater(pc.binary_length(self._table["path"]), MAX_BYTES["path"])
        for path in self._table["path"].filter(too_long)[:1].to_pylist():
            raise UserError(
                f"drop {drop.key}: the path {path[:80]}... is longer than {MAX_BYTES['path']} bytes: shorten it."
            )

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def digests(self) -> np.ndarray:
        """int64 [n], by position."""
        return row_digests(self._table, salt=f"{SCHEMA_VERSION} {self.drop.key}")

    def content_ids(self, positions: Sequence[int]) -> list[str]:
        return self._table["content_id"].take(pa.array(positions, pa.int64())).to_pylist()

    def take(self, positions: Sequence[int]) -> Iterator[Row]:
        """Rows without `embedding`, a page at a time; `ingested_at` is when the file was first seen, in epoch ms."""
        for start in range(0, len(positions), _PAGE):
            page = positions[start : start + _PAGE]
            for position, values in zip(page, self._table.take(pa.array(page, pa.int64())).to_pylist(), strict=True):
                yield self._row(values, int(self.digests[position]))

    def _row(self, values: Row, digest: int) -> Row:
        path = values["path"]
        frame_ms = values["frame_ms"]
        row: Row = {
            "id": values["media_id"],
            "content_id": values["content_id"],
            "product_line": self.drop.product_line,
            "drop": self.drop.key,
            "path": path,
            "filename": cut(path.rpartition("/")[2], MAX_BYTES["filename"]),
            "media_type": values["media_type"],
            "frame_ms": STILL if frame_ms is None else frame_ms,
            "width": values["width"] or 0,
            "height": values["height"] or 0,
            "origin": self._origin,
            "sku": cut(values["sku"] or "", MAX_BYTES["sku"]),
            "title": cut(values["title"] or "", MAX_BYTES["title"]),
            "ingested_at": values["first_seen"],
            DIGEST: digest,
            "tags": [cut(tag, MAX_TAG_BYTES) for tag in (values["tags"] or [])[:MAX_TAGS]],
        }
        if values["extra"] not in _NO_EXTRA:
            row |= catalogue_fields(values["extra"])
        return row


def differs(wanted: Row, stored: Row) -> bool:
    """Whether any field but the vector differs; catalogue columns that are null are as good as none."""
    for name in SCALAR_FIELDS:
        if wanted[name] != (list(stored[name]) if name == "tags" else stored[name]):
            return True
    return _catalogue(wanted) != _catalogue(stored)


def catalogue_fields(extra: str | None) -> Row:
    """The manifest's JSON object of further catalogue columns as dynamic fields, made safe for Milvus.

    A column named like one of our fields gets the prefix `catalogue_`; nested values become JSON text;
    columns beyond 32 kB in all are left out (Milvus refuses a row with more than 64 kB of them).
    """
    columns = json.loads(extra or "{}")
    fields: Row = {}
    # one character of JSON is at most 12 bytes where it is escaped: short ones need no measuring
    room = None if len(extra or "") < MAX_EXTRA_BYTES // 16 else MAX_EXTRA_BYTES
    for key in sorted(columns):
        value = _plain(columns[key])
        name = cut(key, 256)
        if not name or value is None:
            continue
        if name in FIELDS or name.startswith("$"):
            name = f"catalogue_{name.removeprefix('$')}"
        if room is not None:
            size = len(json.dumps({name: value}))
            if size > room:
                continue
            room -= size
        fields[name] = value
    return fields


def _catalogue(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in FIELDS and value is not None}


def _plain(value: Any) -> str | int | float | bool | None:
    if isinstance(value, str):
        return cut(value, MAX_EXTRA_BYTES)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return json.dumps(value, sort_keys=True)
