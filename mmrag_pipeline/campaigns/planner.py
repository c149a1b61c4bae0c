"""A brief and the index -> the plan of an occurrence. Nothing is paid here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import product as combinations
from typing import TYPE_CHECKING

from mmrag_pipeline.campaigns.backends.base import BackendInfo, backend_info
from mmrag_pipeline.campaigns.brief import Brief, Placement, Product, Scene
from mmrag_pipeline.campaigns.finishing.check import final_size, finishing_of, overlay_mistakes
from mmrag_pipeline.campaigns.keys import idempotency_key, seed_of
from mmrag_pipeline.campaigns.plan import CampaignPlan, LeftOut, Reference, Variant, mode_of
from mmrag_pipeline.campaigns.plan_references import product_references, read_candidates, style_references
from mmrag_pipeline.campaigns.prices import Prices
from mmrag_pipeline.campaigns.prompts import Facts, render_prompt, system_instruction
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.registry import ImageModel, image_model
from mmrag_pipeline.campaigns.selection import Chosen, ReferenceFinder, expand, require_product_lines, select
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.decode import open_picture
from mmrag_pipeline.media.rules import Limits

if TYPE_CHECKING:
    from PIL import Image

TEMPERATURE = 1.0


def plan_campaign(
    brief: Brief,
    *,
    occurrence: str,
    finder: ReferenceFinder,
    pictures: ReferencePictures,
    backend_name: str,
    model: str,
    now: datetime,
    progress: Callable[[str], None] | None = None,
    prices: Prices = Prices(),  # noqa: B008 - frozen
) -> CampaignPlan:
    """Lay out one occurrence. The brief's own backend and model win over `backend_name` and `model`.

    Raises:
        UserError: unknown backend, model, product line, ratio or size; a retired model on a paid backend;
            a scene that can't be filled in; an overlay without words for a locale or room for them.
    """
    backend = backend_info(brief.backend or backend_name)
    chosen_model = prices.of(image_model(brief.model or model))
    mode = mode_of(brief, backend)
    if backend.paid:
        chosen_model.require_alive(now.date())
    for at, placement in enumerate(brief.placements):
        chosen_model.require(
            ratio=placement.aspect_ratio,
            size=placement.image_size,
            references=brief.references.most,
            where=f"campaign {brief.campaign}: placements[{at}]",
        )
    if mistakes := overlay_mistakes(brief, chosen_model):
        raise UserError(f"campaign {brief.campaign}: {mistakes[0]}")
    require_product_lines(brief.products, finder, brief.campaign)
    expansion = expand(brief.products, finder)
    style = [(name, pictures.keep(_beside(brief, name))) for name in brief.references.style]
    variants: list[Variant] = []
    left_out = [LeftOut(product, reason) for product, reason in expansion.left_out]
    for product in expansion.products:
        image = _beside(brief, product.image) if product.image else None
        wanted = brief.references.max_per_product
        selection = select(product, finder, policy=brief.references, image=image, wanted=wanted)
        found, unreadable = read_candidates(selection.candidates, pictures, wanted)
        if found:
            references = product_references(found, of=len(found) + len(style)) + style_references(style, len(found))
            layout = _Layout(brief, occurrence, product, references, selection.candidates[0], backend, chosen_model)
            variants += layout.variants()
            said = f"{len(references)} references"
        else:
            reason = selection.reason or f"none of its references can be read ({unreadable})"
            left_out.append(LeftOut(product.id, reason))
            said = f"left out: {reason}"
        if progress:
            progress(f"{product.id}: {said}")
    return CampaignPlan(
        campaign=brief.campaign,
        occurrence=occurrence,
        title=brief.title,
        objective=brief.objective,
        message=brief.message or "",
        palette=_palette(brief),
        backend=backend.name,
        backend_version=backend.version,
        model=chosen_model.id,
        planned_at=now.isoformat(),
        brief_sha256=brief.shape_sha256,
        budget_usd=brief.budget_usd,
        budget_usd_per_occurrence=brief.budget_usd_per_occurrence,
        variants=tuple(variants),
        left_out=tuple(left_out),
        finishing=finishing_of(brief),
        approval=brief.approval,
        mode=mode,
    )


def _beside(brief: Brief, name: str) -> Image.Image:
    return open_picture(brief.file(name), Limits())


@dataclass(frozen=True)
class _Layout:
    """One product with its references -> its variants."""

    brief: Brief
    occurrence: str
    product: Product
    references: tuple[Reference, ...]
    best: Chosen
    backend: BackendInfo
    model: ImageModel

    def variants(self) -> Iterator[Variant]:
        brief = self.brief
        numbers = range(1, brief.n + 1)
        for scene, placement, locale, number in combinations(brief.scenes, brief.placements, brief.locales, numbers):
            yield self._variant(scene, placement, locale, number)

    def _variant(self, scene: Scene, placement: Placement, locale: str, number: int) -> Variant:
        brief, product, references = self.brief, self.product, self.references
        hit = self.best.hit
        facts = Facts(hit.title or "", hit.sku or "", hit.product_line, tuple(hit.tags))
        style = sum(reference.role == "style" for reference in references)
        system = system_instruction(style=style)
        try:
            prompt = render_prompt(
                brief,
                scene=scene,
                product=product,
                facts=facts,
                placement=placement,
                locale=locale,
                references=len(references) - style,
                style=style,
            )
        except ValueError as error:
            raise UserError(f"campaign {brief.campaign}: scene {scene.name} for {product.id}: {error}.") from None
        coordinates = (
            brief.campaign,
            self.occurrence,
            product.id,
            scene.name,
            placement.name,
            locale,
            number,
        )
        fixed = (brief.campaign, *coordinates[2:])
        seed = seed_of(*(fixed if brief.seed == "fixed" else coordinates))
        price = self.model.price(placement.image_size, references=len(references))
        size = final_size(placement, self.model)
        shape = {
            "coordinates": coordinates,
            "backend": [self.backend.name, self.backend.version],
            "model": self.model.id,
            "template": prompt.template_sha256,
            "prompt": prompt.text,
            "system": system,
            "references": [[r.media_id, r.role, r.order, r.label, r.sha256, r.mime] for r in references],
            "generation": [placement.aspect_ratio, placement.image_size, seed, TEMPERATURE],
        }
        if not self.backend.paid:  # preview draws these; a paid picture must not be paid again for them
            captions = [[r.title, r.sku, r.path] for r in references]
            shape["drawn"] = [
                brief.title,
                brief.message,
                _palette(brief),
                product.shown,
                round(price, 4),
                captions,
            ]
        return Variant(
            key=idempotency_key(shape),
            product=product.id,
            product_name=product.shown,
            product_line=hit.product_line,
            sku=hit.sku or "",
            scene=scene.name,
            placement=placement.name,
            locale=locale,
            number=number,
            aspect_ratio=placement.aspect_ratio,
            image_size=placement.image_size,
            width=size[0],
            height=size[1],
            excerpt=prompt.scene,
            prompt=prompt.text,
            system_instruction=system,
            template_sha256=prompt.template_sha256,
            seed=seed,
            temperature=TEMPERATURE,
            price_usd=price,
            estimated_usd=price if self.backend.paid else 0.0,
            references=references,
            ceiling_usd=self.model.request_ceiling(
                placement.image_size, system=system, prompt=prompt.text, labels=[r.label for r in references]
            ),
        )


def _palette(brief: Brief) -> tuple[tuple[str, str | None], ...]:
    return tuple((colour.words, colour.hex) for colour in brief.brand.palette)
