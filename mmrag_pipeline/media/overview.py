"""A drop at a glance: a small sheet of some of its pictures."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from upath import UPath

from mmrag_pipeline.errors import Unavailable
from mmrag_pipeline.media.pictures import load_picture
from mmrag_pipeline.media.rules import Limits, MediaError
from mmrag_pipeline.media.sheet import SheetItem, contact_sheet

_TILE = 128


def drop_sheet(folder: UPath, manifest: pa.Table, *, limits: Limits, tiles: int = 8) -> Image.Image | None:
    """Up to `tiles` pictures of a drop, spread evenly over its manifest; None when there is none to show."""
    rows = manifest.filter(pc.equal(manifest["status"], "ok")).to_pylist()
    count = min(tiles, len(rows))
    items = []
    for row in (rows[i * len(rows) // count] for i in range(count)):
        try:
            image = load_picture(folder, row["path"], row["frame_ms"], limits)
        except (MediaError, Unavailable):
            continue  # gone since the scan: the manifest says what was there, the sheet shows what is
        image.thumbnail((2 * _TILE, 2 * _TILE))  # at full size eight large pictures would fill the memory
        items.append(SheetItem(image, row["title"] or row["path"], row["path"] if row["title"] else ""))
    return contact_sheet(items, columns=4, tile=_TILE) if items else None
