"""The pictures of a run at a glance: a small sheet for the Dagster UI."""

from __future__ import annotations

import io

from PIL import Image
from upath import UPath

from mmrag_pipeline.campaigns.outcomes import PicturesReport
from mmrag_pipeline.media.sheet import SheetItem, contact_sheet

TILES = 8


def pictures_sheet(report: PicturesReport, images: UPath) -> Image.Image | None:
    """The pictures that are there after a run; None when there are none."""
    items = []
    for outcome in report.outcomes:
        if outcome.file and len(items) < TILES:
            with (images / outcome.file).open("rb") as file:
                picture = Image.open(io.BytesIO(file.read())).convert("RGB")
            picture.thumbnail((512, 512))
            items.append(SheetItem(image=picture, caption=outcome.name, note=outcome.result.replace("_", " ")))
    return contact_sheet(items, columns=4, tile=160) if items else None
