"""One occurrence as one HTML page: each picture beside what it was made from, totals on top, no network
needed.

Reads the plan, the sidecars, the reviews, the picture files and which pictures batch jobs make; never a backend, never
the index.
"""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from upath import UPath

from mmrag_pipeline.campaigns.backends.base import backend_info
from mmrag_pipeline.campaigns.batch_ledger import keys_in_batches
from mmrag_pipeline.campaigns.decisions import (
    APPROVED,
    EXPORTED,
    PENDING,
    REJECTED,
    Decision,
    Review,
    read_decisions,
    review_of,
)
from mmrag_pipeline.campaigns.judge import judgement_in
from mmrag_pipeline.campaigns.plan import CampaignPlan, Reference, Variant
from mmrag_pipeline.campaigns.plan_table import find_plan
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.replacements import MAX_REPLACEMENTS, replacements_left
from mmrag_pipeline.campaigns.scores import Scores, scores_of
from mmrag_pipeline.campaigns.sidecar import AMBIGUOUS, GENERATED, PREVIEW_PREFIX, is_whole, look_of, read_sidecar
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.pages import inline_jpeg, templates
from mmrag_pipeline.store import write_bytes

PICTURE_SIDES = (1000, 760, 560, 420)
THUMB_SIDE = 220
PICTURE_BYTES = 12_000_000
"""What all pictures of a page may weigh together: with many of them each is shown smaller."""
_SHOWN = re.compile(r'<img src="(data:image/jpeg;base64,[A-Za-z0-9+/=]+)" data-of="([0-9a-f]{64}-[0-9]+)"')
IN_BATCH = "in_batch"
STATES = {
    GENERATED: "made",
    "blocked": "blocked",
    "no_image": "no picture",
    AMBIGUOUS: "no answer, maybe billed",
    "failed": "failed",
    "skipped_budget": "over budget",
    IN_BATCH: "in a batch",
    "missing": "not made yet",
}
REVIEWS = {
    PENDING: "waiting for review",
    APPROVED: "approved",
    REJECTED: "rejected",
    EXPORTED: "exported",
}


@dataclass(frozen=True)
class Entry:
    """One variant as the page shows it; `picture` is a data URI or empty, `picture_of` what it was made from."""

    variant: Variant
    state: str
    reason: str
    picture: str
    picture_of: str
    size: str
    scores: Scores | None
    judgement: dict[str, Any] | None
    review: Review
    successor: str
    successors_left: int
    usd: float
    made_at: str
    file: str
    warnings: tuple[str, ...]
    origin: str
    references: tuple[tuple[Reference, str], ...]
    """Each with the id of its thumbnail on the page, "" where the file is gone."""

    @property
    def can_be_reviewed(self) -> bool:
        return self.state == GENERATED and not self.file.startswith(PREVIEW_PREFIX)

    @property
    def shown_as(self) -> tuple[str, ...]:
        """The filters that show it."""
        return (self.state, self.review.state) if self.can_be_reviewed else (self.state,)


@dataclass(frozen=True)
class GalleryReport:
    path: UPath
    pictures: int
    bytes: int


def write_gallery(
    plan: CampaignPlan,
    *,
    folder: UPath,
    references: ReferencePictures,
    ledger: str | os.PathLike[str] | None = None,
) -> GalleryReport:
    """Write `<folder>/gallery.html` for an occurrence, whatever state its pictures are in. `ledger` knows those that
    batch jobs make.
    """
    path = folder / "gallery.html"
    thumbs = _thumbs(plan, references)
    in_batches = keys_in_batches(plan, ledger=ledger) if ledger else set()
    entries = _entries(plan, folder, thumbs, _shown_before(path), in_batches)
    data = render_gallery(plan, entries, thumbs).encode()
    write_bytes(path, data)
    return GalleryReport(path, sum(entry.state == GENERATED for entry in entries), len(data))


def refresh_gallery(folder: UPath, *, ledger: str | os.PathLike[str] | None = None) -> None:
    """Write the page of an occurrence again where it has one: it must not show a decision that was changed."""
    plan = find_plan(folder / "plan.parquet")
    if plan is not None and (folder / "gallery.html").exists():
        write_gallery(plan, folder=folder, references=ReferencePictures(folder / "references"), ledger=ledger)


def render_gallery(plan: CampaignPlan, entries: list[Entry], thumbs: Mapping[str, str]) -> str:
    """The whole page as text. `thumbs`: data URIs by reference hash, each once on the page, shown where it is used."""
    paid = backend_info(plan.backend).paid
    return (
        templates(__package__)
        .get_template("gallery.html.j2")
        .render(
            plan=plan,
            paid=paid,
            entries=entries,
            states=STATES,
            made=sum(entry.state == GENERATED for entry in entries),
            counts=Counter(name for entry in entries for name in entry.shown_as),
            reviews=REVIEWS,
            thumbs={sha256: uri for sha256, uri in thumbs.items() if uri},
            occurrence=f"{plan.campaign}__{plan.occurrence.split('__')[-1]}",
            max_successors=MAX_REPLACEMENTS,
            reasons=Counter(entry.reason for entry in entries if entry.reason).most_common(),
            spent=sum(entry.usd for entry in entries),
        )
    )


def _thumbs(plan: CampaignPlan, references: ReferencePictures) -> dict[str, str]:
    thumbs: dict[str, str] = {}
    for variant in plan.variants:
        for reference in variant.references:
            if reference.sha256 not in thumbs:
                thumbs[reference.sha256] = _thumb(references, reference.sha256)
    return thumbs


def _shown_before(page: UPath) -> dict[str, str]:
    """What the page shows already, so that one decision doesn't make hundreds of pictures small again."""
    try:
        html = page.read_text("utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    return {of: uri for uri, of in _SHOWN.findall(html)}


def _entries(
    plan: CampaignPlan,
    folder: UPath,
    thumbs: Mapping[str, str],
    shown_before: Mapping[str, str],
    in_batches: Collection[str],
) -> list[Entry]:
    decisions = read_decisions(folder)
    successors = {variant.replaces: variant.key for variant in plan.variants if variant.replaces}
    allowance = PICTURE_BYTES // max(1, len(plan.variants))
    return [
        _entry(
            plan,
            variant,
            folder / "images",
            thumbs,
            decisions.get(variant.key, ()),
            successors,
            allowance,
            shown_before,
            variant.key in in_batches,
        )
        for variant in plan.variants
    ]


def _entry(
    plan: CampaignPlan,
    variant: Variant,
    images: UPath,
    thumbs: Mapping[str, str],
    decisions: Sequence[Decision],
    successors: Mapping[str, str],
    allowance: int,
    shown_before: Mapping[str, str],
    in_batch: bool,
) -> Entry:
    sidecar: dict[str, Any] = read_sidecar(images, plan, variant) or {}
    state, reason = sidecar.get("status", "missing"), sidecar.get("reason", "")
    picture, cost = sidecar.get("picture") or {}, sidecar.get("cost", {})
    if state == GENERATED and not is_whole(images, sidecar):
        state, reason, picture = "missing", "the picture file is gone or was altered", {}
    if in_batch and state != GENERATED:
        state, reason = IN_BATCH, "a batch job makes it, and is not done yet"
    picture_of = f"{picture['sha256']}-{allowance}" if picture else ""
    shown = shown_before.get(picture_of, "")
    if picture and not shown:
        shown = _within((images / picture["file"]).read_bytes(), allowance)
    return Entry(
        variant=variant,
        state=state if state in STATES else "missing",
        reason=reason,
        picture=shown,
        picture_of=picture_of,
        size=f"{picture['width']} x {picture['height']}" if picture else f"{variant.width} x {variant.height}",
        scores=scores_of(sidecar) if picture else None,
        judgement=judgement_in(sidecar) if picture else None,
        review=review_of(decisions, look_of(sidecar) if picture else ""),
        successor=successors.get(variant.key, ""),
        successors_left=replacements_left(plan.variants, variant),
        usd=cost.get("usd", 0.0) + cost.get("earlier_usd", 0.0) + (sidecar.get("judge") or {}).get("usd", 0.0),
        made_at=sidecar.get("created_at", "")[:16].replace("T", " "),
        file=picture.get("file", ""),
        warnings=tuple(sidecar.get("warnings", ())),
        origin=_origin(sidecar.get("provenance") or {}) if picture else "",
        references=tuple(
            (reference, f"r-{reference.sha256[:16]}" if thumbs[reference.sha256] else "")
            for reference in variant.references
        ),
    )


def _origin(provenance: Mapping[str, Any]) -> str:
    """What the credentials inside the file say; it was read when it was signed, and is byte for byte that file."""
    if not provenance:
        return "no content credentials: run campaign_images again"
    count = len(provenance["ingredients"])
    sources = f"{count} reference{'' if count == 1 else 's'}"
    return f"{provenance['digital_source_type']} from {sources}, signed by {provenance['signer']}"


def _thumb(references: ReferencePictures, sha256: str) -> str:
    try:
        picture = _opened(references.read(sha256), THUMB_SIDE)
    except UserError:
        return ""  # the page still tells which reference it was
    return inline_jpeg(picture, THUMB_SIDE, quality=80)


def _within(data: bytes, allowance: int) -> str:
    """A picture as a data URI as large as the allowance of bytes lets it be, or as small as it gets."""
    picture = _opened(data, PICTURE_SIDES[0])
    for side in PICTURE_SIDES:
        uri = inline_jpeg(picture, side, quality=82)
        if len(uri) <= allowance:
            break
    return uri


def _opened(data: bytes, side: int) -> Image.Image:
    """A picture decoded once, its longest side at most `side` pixels."""
    with Image.open(io.BytesIO(data)) as image:
        image.draft("RGB", (side, side))  # JPEG can leave out what is not needed
        picture = image.convert("RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return picture
