"""A wish in words -> the plan of one picture, with references found for it. Nothing is paid or written here.

It is a plan like that of a campaign, so ledger, retries, sidecar and review are the same. What was asked for decides
its folder, `campaigns/on-demand/<date>/<digest>-<number>/`: the same again finds the same picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import ValidationError
from upath import UPath

from mmrag_pipeline.campaigns.backends.base import BackendInfo
from mmrag_pipeline.campaigns.brief import Product
from mmrag_pipeline.campaigns.keys import idempotency_key, seed_of
from mmrag_pipeline.campaigns.plan import CampaignPlan, Reference, Variant
from mmrag_pipeline.campaigns.plan_references import given_reference, product_references, read_candidates
from mmrag_pipeline.campaigns.planner import TEMPERATURE
from mmrag_pipeline.campaigns.prices import Prices
from mmrag_pipeline.campaigns.prompts import SYSTEM, listed, reference_label
from mmrag_pipeline.campaigns.references import EncodedReference, ReferencePictures, encode_reference
from mmrag_pipeline.campaigns.registry import ImageModel, image_model
from mmrag_pipeline.campaigns.schedule import ON_DEMAND
from mmrag_pipeline.campaigns.selection import Chosen, ReferenceFinder, require_product_lines, select
from mmrag_pipeline.campaigns.templates import MAX_SCENE, catalogue
from mmrag_pipeline.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

    from mmrag_pipeline.index.hit import Hit

CAMPAIGN = ON_DEMAND
WORDS_VERSION = "1"
MAX_FIND = 500
VIEWS = 3
"""Pictures of each product that is looked for, at most."""


@dataclass(frozen=True)
class GivenPicture:
    """A picture of the asker's own, RGB and upright, that is sent along."""

    name: str
    image: Image.Image


@dataclass(frozen=True)
class Wish:
    """What was asked for, checked.

    `find` are the products to look for in the library; where there are none and no `given` pictures, the prompt itself
    is looked for.
    """

    prompt: str
    find: tuple[str, ...]
    given: tuple[GivenPicture, ...]
    product_line: str | None
    aspect_ratio: str
    image_size: str
    backend: BackendInfo
    model: ImageModel

    @property
    def sought(self) -> tuple[str, ...]:
        return self.find or (() if self.given else (self.prompt[:MAX_FIND],))

    @cached_property
    def digest(self) -> str:
        """16 hex digits that say what was asked for."""
        given = [encode_reference(one.image).sha256 for one in self.given]
        asked = [self.prompt, self.find, given, self.product_line, self.aspect_ratio, self.image_size]
        made_by = [self.backend.name, self.backend.version, self.model.id, WORDS_VERSION]
        return idempotency_key({"wish": asked, "by": made_by})[:16]


@dataclass(frozen=True)
class Sought:
    """What was looked for, and which references of the request show it (counted from 1)."""

    text: str
    orders: tuple[int, ...]
    best: Hit


@dataclass(frozen=True)
class Found:
    """The references of a wish in the order in which they are sent."""

    references: tuple[Reference, ...]
    sought: tuple[Sought, ...]


def wish_for(
    prompt: str,
    *,
    find: Sequence[str] = (),
    given: Sequence[GivenPicture] = (),
    product_line: str | None = None,
    aspect_ratio: str,
    image_size: str,
    backend: BackendInfo,
    model: str,
    prices: Prices = Prices(),  # noqa: B008 - frozen
    now: datetime,
) -> Wish:
    """A wish that can be granted.

    Raises:
        UserError: no words or too many; a ratio, a size or so many references that the model does not take; a model
            that is shut down.
    """
    words, sought = _folded(prompt), tuple(dict.fromkeys(filter(None, map(_folded, find))))
    if not words:
        raise UserError("there is no prompt: say in words what the picture shows.")
    if len(words) > MAX_SCENE:
        raise UserError(f"the prompt has {len(words)} characters: say it in {MAX_SCENE}.")
    if too_long := [text for text in sought if len(text) > MAX_FIND]:
        raise UserError(f"what to find has {len(too_long[0])} characters: say it in {MAX_FIND}.")
    chosen = prices.of(image_model(model))
    if backend.paid:
        chosen.require_alive(now.date())
    references = max(1, len(given) + len(sought))
    if references > chosen.max_references:
        raise UserError(
            f"{references} products and pictures are more than the {chosen.max_references} references that "
            f"{chosen.id} takes: ask for fewer."
        )
    chosen.require(ratio=aspect_ratio, size=image_size, references=references, where="the picture")
    return Wish(words, sought, tuple(given), product_line or None, aspect_ratio, image_size, backend, chosen)


def find_references(wish: Wish, finder: ReferenceFinder, pictures: ReferencePictures) -> Found:
    """Views of the product that each text finds, then the pictures that were given.

    Raises:
        UserError: an unknown product line, or nothing usable is found for a text.
    """
    room = wish.model.max_references - len(wish.given)
    views = max(1, min(VIEWS, room // len(wish.sought)))
    products = [_product(text, wish.product_line) for text in wish.sought]
    require_product_lines(products, finder, CAMPAIGN)
    views_of: dict[str, list[tuple[Chosen, EncodedReference]]] = {}
    for text, product in zip(wish.sought, products, strict=True):
        selection = select(product, finder, wanted=views)
        views_of[text], unreadable = read_candidates(selection.candidates, pictures, views)
        if not views_of[text]:
            reason = selection.reason or f"none of its pictures can be read ({unreadable})"
            raise UserError(
                f"nothing to go by for {text!r}: {reason}; word it differently, or ingest a drop that has it."
            )
    return _in_order(wish, views_of, pictures)


def only_given(wish: Wish, pictures: ReferencePictures) -> Found:
    """The references of a wish for which nothing is `sought`: no index is asked."""
    return _in_order(wish, {}, pictures)


def _in_order(
    wish: Wish, views_of: Mapping[str, Sequence[tuple[Chosen, EncodedReference]]], pictures: ReferencePictures
) -> Found:
    # By hash: two texts may find the same product.
    distinct = {encoded.sha256: (chosen, encoded) for views in views_of.values() for chosen, encoded in views}
    of = len(distinct) + len(wish.given)
    found = product_references(list(distinct.values()), of=of)
    order_of = {reference.sha256: reference.order for reference in found}
    sought = tuple(
        Sought(text, tuple(sorted(order_of[encoded.sha256] for _, encoded in views)), views[0][0].hit)
        for text, views in views_of.items()
    )
    given = tuple(
        given_reference(
            one.name, pictures.keep(one.image), role="product", label=reference_label(order, of), order=order
        )
        for order, one in enumerate(wish.given, len(found) + 1)
    )
    return Found(found + given, sought)


def lay_out(wish: Wish, found: Found, *, number: int, now: datetime, budget_usd: float) -> CampaignPlan:
    """The plan of the picture; each `number` is another picture of the same."""
    prompt, digest = _prompt(wish, found), wish.digest
    seed = seed_of(CAMPAIGN, digest, number)
    price = wish.model.price(wish.image_size, references=len(found.references))
    width, height = wish.model.pixels(wish.aspect_ratio, wish.image_size)
    best = found.sought[0].best if found.sought else None
    shape = {
        "coordinates": [CAMPAIGN, digest, number],
        "backend": [wish.backend.name, wish.backend.version],
        "model": wish.model.id,
        "prompt": prompt,
        "system": SYSTEM,
        "references": [[r.media_id, r.role, r.order, r.label, r.sha256, r.mime] for r in found.references],
        "generation": [wish.aspect_ratio, wish.image_size, seed, TEMPERATURE],
    }
    product = Product(query=(wish.find or (wish.prompt,))[0][:MAX_FIND])
    variant = Variant(
        key=idempotency_key(shape),
        product=product.id,
        product_name=product.shown,
        product_line=best.product_line if best else "",
        sku=(best.sku or "") if best else "",
        scene=CAMPAIGN,
        placement=wish.aspect_ratio.replace(":", "-"),
        locale="any",
        number=number,
        aspect_ratio=wish.aspect_ratio,
        image_size=wish.image_size,
        width=width,
        height=height,
        excerpt=wish.prompt,
        prompt=prompt,
        system_instruction=SYSTEM,
        template_sha256=hashlib.sha256(WORDS_VERSION.encode()).hexdigest(),
        seed=seed,
        temperature=TEMPERATURE,
        price_usd=price,
        estimated_usd=price if wish.backend.paid else 0.0,
        references=found.references,
        ceiling_usd=wish.model.request_ceiling(
            wish.image_size, system=SYSTEM, prompt=prompt, labels=[r.label for r in found.references]
        ),
    )
    return CampaignPlan(
        campaign=CAMPAIGN,
        occurrence=f"{now:%Y-%m-%d}/{digest}-{number}",
        title=wish.prompt[:80],
        objective="A picture on demand.",
        message="",
        palette=(),
        backend=wish.backend.name,
        backend_version=wish.backend.version,
        model=wish.model.id,
        planned_at=now.isoformat(),
        brief_sha256=digest,
        budget_usd=budget_usd,
        budget_usd_per_occurrence=None,
        variants=(variant,),
        left_out=(),
    )


def numbers_made(root: UPath, wish: Wish) -> dict[int, UPath]:
    """Folders of this wish by number, whatever their date; `root` is `campaigns/on-demand/`."""
    if not root.exists():
        return {}
    found = root.glob(f"*/{wish.digest}-*")
    return {int(folder.name.rpartition("-")[2]): folder for folder in found if (folder / "plan.parquet").exists()}


def _prompt(wish: Wish, found: Found) -> str:
    lines = [f"Scene: {wish.prompt}"]
    for one in found.sought:
        # The prompt itself is no name of a product: what was found for it is "the product".
        name = f"what is meant by {catalogue(one.text)}" if wish.find else "the product"
        lines.append(f"Product: {_which(one.orders)} {name}. Keep every feature of it completely unchanged.")
        known = {"title": one.best.title, "sku": one.best.sku, "tags": ", ".join(one.best.tags[:8])}
        if data := "; ".join(f"{key}: {catalogue(value)}" for key, value in known.items() if value):
            lines.append(f"Catalogue data: {data}.")
    if wish.given:
        orders = tuple(reference.order for reference in found.references if not reference.media_id)
        lines.append(f"Given: {_which(orders)} what the picture is about. Keep it completely unchanged.")
    lines += [f"Composition for a {wish.aspect_ratio} picture.", "Answer with one image."]
    return "\n".join(lines)


def _which(orders: Sequence[int]) -> str:
    named = listed([str(order) for order in orders])
    return f"image {named} shows" if len(orders) == 1 else f"images {named} show"


def _product(text: str, product_line: str | None) -> Product:
    try:
        return Product(query=text, product_line=product_line)
    except ValidationError as error:
        raise UserError(f"{text!r} can't be looked for: {error.errors()[0]['msg']}.") from None


def _folded(text: str) -> str:
    """On one line: what is asked for must not look like a line of ours."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
