"""A plan and its pictures at a glance: small sheets for the Dagster UI."""

from __future__ import annotations

import io

from PIL import Image
from upath import UPath

from mmrag_pipeline.campaigns.outcomes import PicturesReport
from mmrag_pipeline.campaigns.plan import CampaignPlan, Reference
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.media.sheet import SheetItem, contact_sheet

TILES = 8


def references_sheet(plan: CampaignPlan, references: ReferencePictures) -> Image.Image | None:
    """The distinct references of a plan with their scores; None when it has no variant."""
    distinct: dict[str, Reference] = {}
    for variant in plan.variants:
        for reference in variant.references:
            distinct.setdefault(reference.sha256, reference)
    if not distinct:
        return None
    return contact_sheet(
        [
            SheetItem(
                image=Image.open(io.BytesIO(references.read(sha256))),
                caption=reference.title or reference.path,
                note="named by sku" if reference.score is None else f"similarity {reference.score:.3f}",
            )
            for sha256, reference in list(distinct.items())[:TILES]
        ],
        columns=4,
        tile=128,
    )


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
