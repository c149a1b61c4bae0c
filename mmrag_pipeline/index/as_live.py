"""What the live collection says of a drop, as a manifest: for a night in which the drop's own can't be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from mmrag_pipeline.index.filter import both, equals
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.schema import DYNAMIC, FIELDS, GENERATED, SCALAR_FIELDS, STILL
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest import MANIFEST_SCHEMA, as_generated

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOLDER = "campaigns"
"""Where generated pictures lie, as far as a row of the collection tells."""


def manifest_as_live(milvus: Milvus, live: str, drop: Drop) -> pa.Table:
    """The ok rows that the drop has in the collection `live`; what a manifest knows besides is empty."""
    where = both(equals("product_line", drop.product_line), equals("drop", drop.key))
    rows = [row for page in milvus.rows(live, (*SCALAR_FIELDS, DYNAMIC), where) for row in page]
    found = [
        {
            "path": row["path"],
            "media_id": row["id"],
            "content_id": row["content_id"],
            "media_type": row["media_type"],
            "bytes": 0,
            "mtime_ns": 0,
            "format": "",
            "width": row["width"] or None,
            "height": row["height"] or None,
            "frame_ms": None if row["frame_ms"] == STILL else row["frame_ms"],
            "status": "ok",
            "reason": "",
            "detail": "",
            "first_seen": _EPOCH + timedelta(milliseconds=row["ingested_at"]),
            "sku": row["sku"],
            "title": row["title"],
            "tags": list(row["tags"]),
            "extra": _extra({name: value for name, value in row.items() if name not in (*FIELDS, DYNAMIC)}),
        }
        for row in rows
    ]
    table = pa.Table.from_pylist(found, MANIFEST_SCHEMA)
    return as_generated(table, _FOLDER) if any(row["origin"] == GENERATED for row in rows) else table


def _extra(columns: dict[str, object]) -> str:
    """As the catalogue writes them, so that the row's digest is the same where nothing of it was cut."""
    known = {name: value for name, value in columns.items() if value is not None}
    return json.dumps(known, sort_keys=True, ensure_ascii=False)
