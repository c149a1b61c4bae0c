"""A plan as a Markdown table with thumbnails, for the Dagster UI and for files: bounded, and no catalogue text is
markup in it.
"""

from __future__ import annotations

import io
import re
import unicodedata

from PIL import Image

from mmrag_pipeline.campaigns.plan import CampaignPlan, Reference
from mmrag_pipeline.campaigns.plan_words import APPROVALS, Planned, by_product, count, likeness, ordered_how
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.sheet import inline_markdown

SIDE = 88
COLUMNS = 6
MAX_BYTES = 192 * 1024
THUMB_BYTES = 6 * 1024
WORDS_BYTES = 48 * 1024
"""Of all: what is kept for words; the rest is for thumbnails."""
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~:@&$=])")


def plan_markdown(plan: CampaignPlan, references: ReferencePictures, *, max_bytes: int = MAX_BYTES) -> str:
    """The whole plan in at most `max_bytes`: first later products have no thumbnails, then they are only counted."""
    products = list(by_product(plan))
    thumbs = _Thumbs(references, max_bytes - WORDS_BYTES)
    columns = min(COLUMNS, max((len(product.references) for product in products), default=1))
    numbered = [f"reference {number}" for number in range(1, columns + 1)]
    head = ["product", *numbered, "pictures", "about"]
    lines = [_totals(plan, products), "", _cells(head), _cells(["---"] * len(head))]
    used, left = sum(map(len, lines)), WORDS_BYTES // 2
    for number, product in enumerate(products):
        row, words = _row(product, thumbs, columns)
        used += words
        if used > left:
            lines.append(_cells([f"and {count(products[number:], 'more product')}", *[""] * (len(head) - 1)]))
            break
        lines.append(row)
    if plan.left_out:
        lines += ["", "| left out | why |", "| --- | --- |"]
        room = WORDS_BYTES // 4
        for number, out in enumerate(plan.left_out):
            row = f"| {escaped(out.product, 60)} | {escaped(out.reason, 400)} |"
            room -= len(row.encode())
            if room < 0:
                lines.append(f"| and {count(plan.left_out[number:], 'more')} | |")
                break
            lines.append(row)
    return "\n".join(lines)


def escaped(text: str, limit: int) -> str:
    """`text` on one line and as it is: nothing in it is markup, a link or a picture."""
    shown = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    shown = " ".join(shown.split())
    return _MARKUP.sub(r"\\\1", shown if len(shown) <= limit else shown[: limit - 1] + "…")


def _totals(plan: CampaignPlan, products: list[Planned]) -> str:
    paid = f"costs about {plan.estimated_usd:.2f} USD{ordered_how(plan)}" if plan.estimated_usd else "costs nothing"
    more = "" if plan.estimated_usd else f", would cost about {plan.would_cost_usd:.2f} USD"
    cap = plan.budget_usd_per_occurrence or plan.budget_usd
    return (
        f"**{count(plan.variants, 'picture')}** of {count(products, 'product')} by {escaped(plan.backend, 40)} "
        f"({escaped(plan.model, 60)}), {paid}{more}; cap {cap:g} USD; {APPROVALS[plan.approval]}."
    )


def _row(product: Planned, thumbs: _Thumbs, columns: int) -> tuple[str, int]:
    """The row, and how many bytes of it are words."""
    name, shown = escaped(product.name, 80), escaped(product.pictures, 120)
    said = [f"{escaped(likeness(r), 20)} {escaped(r.title or r.path, 40)}" for r in product.references[:columns]]
    if more := len(product.references) - columns:
        said[-1] += f" (and {more} more)" if more > 0 else ""
    pictures = [f"{thumbs.of(r)} {words}".strip() for r, words in zip(product.references, said, strict=False)]
    pictures += [""] * (columns - len(pictures))
    row = _cells([name, *pictures, shown, f"{product.would_cost_usd:.3f} USD"])
    return row, len(f"{name}{''.join(said)}{shown}".encode()) + 60


def _cells(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


class _Thumbs:
    """Thumbnails as long as there is room."""

    def __init__(self, references: ReferencePictures, room: int):
        self._references, self._room = references, room
        self._made: dict[str, str] = {}

    def of(self, reference: Reference) -> str:
        thumb = self._made.get(reference.sha256)
        if thumb is None:
            thumb = self._made[reference.sha256] = self._make(reference)
        if len(thumb) > self._room:
            return ""
        self._room -= len(thumb)
        return thumb

    def _make(self, reference: Reference) -> str:
        if self._room < THUMB_BYTES:
            return ""
        try:
            data = self._references.read(reference.sha256)
        except UserError:
            return ""  # the table still tells which reference it was
        with Image.open(io.BytesIO(data)) as picture:
            small = picture.convert("RGB")
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        return inline_markdown(small, max_bytes=THUMB_BYTES, alt=str(reference.order))
