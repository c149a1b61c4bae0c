"""A variant of a plan -> the request for its picture, with the reference bytes that the plan vouches for."""

from __future__ import annotations

from mmrag_pipeline.campaigns.backends.base import Card, GenerationRequest, ReferencePicture
from mmrag_pipeline.campaigns.plan import CampaignPlan, Variant
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.registry import ImageModel


def request_for(plan: CampaignPlan, variant: Variant, references: ReferencePictures) -> GenerationRequest:
    """What is sent (or drawn) for a variant; the reference bytes are checked against the plan's hashes."""
    sent = tuple(
        ReferencePicture(references.read(r.sha256), r.mime, r.sha256, r.label, caption=r.title or r.path)
        for r in variant.references
    )
    card = Card(
        title=plan.title,
        message=plan.message,
        product=variant.product_name,
        scene=variant.scene,
        placement=variant.placement,
        locale=variant.locale,
        number=str(variant.number),
        excerpt=variant.excerpt,
        cost=f"would cost about ${variant.price_usd:.3f} with {plan.model}",
        palette=plan.palette,
    )
    return GenerationRequest(
        key=variant.key,
        model=plan.model,
        prompt=variant.prompt,
        system_instruction=variant.system_instruction,
        references=sent,
        aspect_ratio=variant.aspect_ratio,
        image_size=variant.image_size,
        pixels=(variant.width, variant.height),
        seed=variant.seed,
        temperature=variant.temperature,
        card=card,
    )


def ceiling_of(request: GenerationRequest, model: ImageModel) -> float:
    """What this very request may cost at most, in US dollars, with a model that carries the prices in force.

    The answer is bounded by the limit that is sent along; that it covers thinking too is how Gemini 3 was seen to
    behave (python-genai #2062).
    """
    return model.request_ceiling(
        request.image_size,
        system=request.system_instruction,
        prompt=request.prompt,
        labels=[reference.label for reference in request.references],
    )
