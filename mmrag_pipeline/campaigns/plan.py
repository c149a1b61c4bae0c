"""A brief and the index -> every picture to make, with its references, prompt, key and price. Nothing is paid
here.

Reading and writing a plan is plan_table.py's work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product as combinations
from typing import TYPE_CHECKING

from mmrag_pipeline.campaigns.backends.base import BackendInfo, backend_info
from mmrag_pipeline.campaigns.brief import Brief, Placement, Product, Scene
from mmrag_pipeline.campaigns.finishing.check import final_size, finishing_of, overlay_mistakes
from mmrag_pipeline.campaigns.finishing.recipe import Finishing
from mmrag_pipeline.campaigns.keys import idempotency_key, seed_of
from mmrag_pipeline.campaigns.prices import Prices
from mmrag_pipeline.campaigns.prompts import Facts, reference_label, render_prompt, style_label, system_instruction
from mmrag_pipeline.campaigns.references import MIME, EncodedReference, ReferencePictures
from mmrag_pipeline.campaigns.registry import ImageModel, image_model
from mmrag_pipeline.campaigns.selection import Chosen, ReferenceFinder, expand, require_product_lines, select
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.decode import MediaError, open_picture
from mmrag_pipeline.media.likeness import look_of, near_duplicates
from mmrag_pipeline.media.rules import Limits

if TYPE_CHECKING:
    from PIL import Image

TEMPERATURE = 1.0


@dataclass(frozen=True)
class Reference:
    """A reference of one variant. `sha256` is that of the bytes that will be sent; `score` None where a sku
    chose it. `role` is product or style; what lies outside of the library has no `media_id` and no `drop`.
    """

    order: int
    role: str
    label: str
    media_id: str
    product_line: str
    drop: str
    path: str
    frame_ms: int | None
    sku: str
    title: str
    score: float | None
    sha256: str
    mime: str
    width: int
    height: int
    bytes: int


@dataclass(frozen=True)
class Variant:
    """One picture to make: product x scene x placement x locale x number.

    `price_usd` is an estimate, whatever the backend; `estimated_usd` is the same, 0 where the backend is free;
    `ceiling_usd` is what one request for it may cost at most, which is what its reservation sets aside. All three are
    prices online: see `CampaignPlan.price_factor`.
    """

    key: str
    product: str
    product_name: str
    product_line: str
    sku: str
    scene: str
    placement: str
    locale: str
    number: int
    aspect_ratio: str
    image_size: str
    width: int
    height: int
    excerpt: str
    prompt: str
    system_instruction: str
    template_sha256: str
    seed: int
    temperature: float
    price_usd: float
    estimated_usd: float
    references: tuple[Reference, ...]
    replaces: str = ""
    """Key of the rejected variant in whose place this one is made."""
    ceiling_usd: float = 0.0

    @property
    def name(self) -> str:
        """How people call it: `golden-watch · suit · feed · en-GB · 1`."""
        return f"{self.product} · {self.scene} · {self.placement} · {self.locale} · {self.number}"


@dataclass(frozen=True)
class LeftOut:
    """A product without a picture in this plan, and why."""

    product: str
    reason: str


@dataclass(frozen=True)
class CampaignPlan:
    """One occurrence of one brief, laid out."""

    campaign: str
    occurrence: str
    title: str
    objective: str
    message: str
    palette: tuple[tuple[str, str | None], ...]
    backend: str
    backend_version: str
    model: str
    planned_at: str
    brief_sha256: str
    budget_usd: float
    budget_usd_per_occurrence: float | None
    variants: tuple[Variant, ...]
    left_out: tuple[LeftOut, ...]
    finishing: Finishing = Finishing()  # noqa: RUF009 - frozen
    approval: str = "required"
    mode: str = "online"
    """`batch` where its pictures are ordered in batches; only a paid backend has them."""

    @property
    def price_factor(self) -> float:
        """What a picture costs in the mode of this plan, of what its variant says, which is the price online."""
        return image_model(self.model).batch_factor if self.mode == "batch" else 1.0

    @property
    def estimated_usd(self) -> float:
        """Estimate of what making all of it costs with its backend and mode: 0 for preview."""
        return sum(variant.estimated_usd for variant in self.variants) * self.price_factor

    @property
    def would_cost_usd(self) -> float:
        """Estimate of what making all of it costs with its model and mode, whatever the backend."""
        return sum(variant.price_usd for variant in self.variants) * self.price_factor

    @property
    def ceiling_usd(self) -> float:
        """What one request for each variant may cost at most with its model and mode, all together."""
        return sum(variant.ceiling_usd for variant in self.variants) * self.price_factor

    def is_for(self, brief: Brief, *, backend_name: str, model: str) -> bool:
        """Whether planning this brief again could only repeat this plan or choose other references.

        Budget, schedule and finish may differ (see `with_budget_of`, `with_finish_of`). A plan without a variant is for
        nothing: the media it lacked may be there now, and no picture of it can have been paid.
        """
        backend = backend_info(brief.backend or backend_name)
        return (
            bool(self.variants)
            and self.brief_sha256 == brief.shape_sha256
            and (self.backend, self.backend_version) == (backend.name, backend.version)
            and self.model == image_model(brief.model or model).id
        )

    def with_budget_of(self, brief: Brief) -> CampaignPlan:
        """The same plan with the brief's budget, approval and mode of today: a raised cap needs no new plan."""
        return replace(
            self,
            budget_usd=brief.budget_usd,
            budget_usd_per_occurrence=brief.budget_usd_per_occurrence,
            mode=mode_of(brief, backend_info(self.backend)),
            approval=brief.approval,
        )

    def with_finish_of(self, brief: Brief) -> CampaignPlan:
        """The same plan with the brief's logo, lines and final sizes of today: what is paid for is finished anew."""
        model = image_model(self.model)
        sizes = {placement.name: final_size(placement, model) for placement in brief.placements}
        return replace(
            self,
            finishing=finishing_of(brief),
            variants=tuple(
                replace(variant, width=sizes[variant.placement][0], height=sizes[variant.placement][1])
                for variant in self.variants
            ),
        )


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
            references = product_references(found, of=len(found) + len(style)) + _style_references(style, len(found))
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


def mode_of(brief: Brief, backend: BackendInfo) -> str:
    """How the pictures of a brief are ordered: what costs nothing is never ordered in batches.

    Raises:
        UserError: the backend is paid and has no batches.
    """
    if brief.mode == "batch" and backend.paid and not backend.batches:
        raise UserError(
            f"campaign {brief.campaign}: backend {backend.name} makes no batches; write `mode: online` in the brief, "
            f"or `backend: gemini`."
        )
    return brief.mode if backend.paid else "online"


def read_candidates(
    candidates: tuple[Chosen, ...], pictures: ReferencePictures, wanted: int
) -> tuple[list[tuple[Chosen, EncodedReference]], str]:
    """The first `wanted` candidates that can be read and don't look the same, and why the last unreadable one could
    not be.
    """
    found: list[tuple[Chosen, EncodedReference]] = []
    looks: list[bytes] = []
    sizes: list[int] = []
    unreadable = ""
    for chosen in candidates:
        if len(found) == wanted:
            break
        try:
            picture = pictures.open(chosen.hit)
        except (MediaError, UserError, FileNotFoundError, PermissionError) as error:
            unreadable = f"{chosen.hit.drop}/{chosen.hit.path}: {error}"
            continue
        look, size = look_of(picture), picture.width * picture.height
        if near_duplicates([*looks, look], [*sizes, size]):
            continue
        encoded = pictures.keep(picture)
        if encoded.sha256 not in {other.sha256 for _, other in found}:
            found.append((chosen, encoded))
            looks.append(look)
            sizes.append(size)
    return found, unreadable


def product_references(found: list[tuple[Chosen, EncodedReference]], *, of: int) -> tuple[Reference, ...]:
    """The first references of a request that has `of` of them."""
    return tuple(
        Reference(
            order=order,
            role="product",
            label=reference_label(order, of),
            media_id=chosen.hit.media_id,
            product_line=chosen.hit.product_line,
            drop=chosen.hit.drop,
            path=chosen.hit.path,
            frame_ms=chosen.hit.frame_ms,
            sku=chosen.hit.sku or "",
            title=chosen.hit.title or "",
            score=chosen.score,
            sha256=picture.sha256,
            mime=MIME,
            width=picture.width,
            height=picture.height,
            bytes=len(picture.data),
        )
        for order, (chosen, picture) in enumerate(found, 1)
    )


def given_reference(name: str, picture: EncodedReference, *, role: str, label: str, order: int) -> Reference:
    """A picture that lies outside of the library."""
    return Reference(
        order=order,
        role=role,
        label=label,
        media_id="",
        product_line="",
        drop="",
        path=name,
        frame_ms=None,
        sku="",
        title=name,
        score=None,
        sha256=picture.sha256,
        mime=MIME,
        width=picture.width,
        height=picture.height,
        bytes=len(picture.data),
    )


def _style_references(style: list[tuple[str, EncodedReference]], after: int) -> tuple[Reference, ...]:
    of = after + len(style)
    return tuple(
        given_reference(name, picture, role="style", label=style_label(order, of), order=order)
        for order, (name, picture) in enumerate(style, after + 1)
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
