"""One occurrence as one HTML page: each picture beside what it was made from, totals on top, no network
needed.

Reads the plan, the sidecars and the picture files; never a backend, never the index.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image
from upath import UPath

from mmrag_pipeline.campaigns.backends.base import backend_info
from mmrag_pipeline.campaigns.plan import CampaignPlan, Reference, Variant
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.sidecar import AMBIGUOUS, GENERATED, is_whole, read_sidecar
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import write_bytes

PICTURE_SIDE = 1000
THUMB_SIDE = 220
STATES = {
    GENERATED: "made",
    "blocked": "blocked",
    "no_image": "no picture",
    AMBIGUOUS: "no answer, maybe billed",
    "failed": "failed",
    "skipped_budget": "over budget",
    "missing": "not made yet",
}


@dataclass(frozen=True)
class Entry:
    """One variant as the page shows it; `picture` is a data URI or empty."""

    variant: Variant
    state: str
    reason: str
    picture: str
    size: str
    usd: float
    made_at: str
    file: str
    warnings: tuple[str, ...]
    references: tuple[tuple[Reference, str], ...]


@dataclass(frozen=True)
class GalleryReport:
    path: UPath
    pictures: int
    bytes: int


def write_gallery(plan: CampaignPlan, *, folder: UPath, references: ReferencePictures) -> GalleryReport:
    """Write `<folder>/gallery.html` for an occurrence, whatever state its pictures are in."""
    entries = _entries(plan, folder / "images", references)
    data = render_gallery(plan, entries).encode()
    path = folder / "gallery.html"
    write_bytes(path, data)
    return GalleryReport(path, sum(entry.state == GENERATED for entry in entries), len(data))


def render_gallery(plan: CampaignPlan, entries: list[Entry]) -> str:
    """The whole page as text."""
    paid = backend_info(plan.backend).paid
    return (
        _environment()
        .get_template("gallery.html.j2")
        .render(
            plan=plan,
            paid=paid,
            entries=entries,
            states=STATES,
            made=sum(entry.state == GENERATED for entry in entries),
            counts=Counter(entry.state for entry in entries),
            reasons=Counter(entry.reason for entry in entries if entry.reason).most_common(),
            spent=sum(entry.usd for entry in entries),
        )
    )


def _entries(plan: CampaignPlan, images: UPath, references: ReferencePictures) -> list[Entry]:
    thumbs: dict[str, str] = {}
    for variant in plan.variants:
        for reference in variant.references:
            if reference.sha256 not in thumbs:
                thumbs[reference.sha256] = _thumb(references, reference.sha256)
    return [_entry(plan, variant, images, thumbs) for variant in plan.variants]


def _entry(plan: CampaignPlan, variant: Variant, images: UPath, thumbs: dict[str, str]) -> Entry:
    sidecar: dict[str, Any] = read_sidecar(images, plan, variant) or {}
    state, reason = sidecar.get("status", "missing"), sidecar.get("reason", "")
    picture, cost = sidecar.get("picture") or {}, sidecar.get("cost", {})
    if state == GENERATED and not is_whole(images, sidecar):
        state, reason, picture = "missing", "the picture file is gone or was altered", {}
    shown = _inline((images / picture["file"]).read_bytes(), PICTURE_SIDE, quality=84) if picture else ""
    return Entry(
        variant=variant,
        state=state if state in STATES else "missing",
        reason=reason,
        picture=shown,
        size=f"{picture['width']} x {picture['height']}" if picture else f"{variant.width} x {variant.height}",
        usd=cost.get("usd", 0.0) + cost.get("earlier_usd", 0.0),
        made_at=sidecar.get("created_at", "")[:16].replace("T", " "),
        file=picture.get("file", ""),
        warnings=tuple(sidecar.get("warnings", ())),
        references=tuple((reference, thumbs[reference.sha256]) for reference in variant.references),
    )


def _thumb(references: ReferencePictures, sha256: str) -> str:
    try:
        return _inline(references.read(sha256), THUMB_SIDE, quality=80)
    except UserError:
        return ""  # the page still tells which reference it was


def _inline(data: bytes, side: int, *, quality: int) -> str:
    """A picture as a JPEG data URI, longest side at most `side` pixels."""
    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    sink = io.BytesIO()
    small.save(sink, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(sink.getvalue()).decode()}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("mmrag_pipeline.campaigns", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
