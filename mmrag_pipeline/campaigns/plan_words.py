"""A plan in words for people: what the terminal and the Dagster UI both say of a reference and of a product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mmrag_pipeline.campaigns.plan import CampaignPlan, Reference, Variant

APPROVALS = {
    "required": "a person approves each picture before it is exported",
    "none": "pictures are exported without anybody's approval",
}


@dataclass(frozen=True)
class Planned:
    """One product of a plan: its references are the same in all of its pictures."""

    product: str
    name: str
    references: tuple[Reference, ...]
    variants: tuple[Variant, ...]
    price_factor: float

    @property
    def would_cost_usd(self) -> float:
        """Estimate, whatever the backend."""
        return sum(variant.price_usd for variant in self.variants) * self.price_factor

    @property
    def pictures(self) -> str:
        """`4: suit, still-life in feed, story`; what there is one of is left out."""
        parts = [(v.scene, v.placement, v.locale) for v in self.variants]
        axes = [list(dict.fromkeys(axis)) for axis in zip(*parts, strict=True)]
        several = [", ".join(axis) for axis in axes if len(axis) > 1]
        return f"{len(self.variants)}" + (f": {' in '.join(several)}" if several else "")


def by_product(plan: CampaignPlan) -> Iterator[Planned]:
    """The products of a plan in its order."""
    variants: dict[str, list[Variant]] = {}
    for variant in plan.variants:
        variants.setdefault(variant.product, []).append(variant)
    for product, its in variants.items():
        yield Planned(product, its[0].product_name, its[0].references, tuple(its), plan.price_factor)


def ordered_how(plan: CampaignPlan) -> str:
    """` in batches, at 50% of the price online`; nothing where they are made online."""
    return f" in batches, at {plan.price_factor:.0%} of the price online" if plan.mode == "batch" else ""


def likeness(reference: Reference) -> str:
    """Why it is there: how near it is to what was looked for, or who chose it."""
    if reference.score is not None:
        return f"{reference.score:.3f}"
    if reference.role == "style":
        return "style"
    return "same sku" if reference.drop else "given"


def place(reference: Reference) -> str:
    """Where it lies: `lunar__2026-09/cape.jpg`, a frame of a video with its time."""
    where = f"{reference.drop}/{reference.path}" if reference.drop else reference.path
    return where if reference.frame_ms is None else f"{where} at {reference.frame_ms / 1000:.2f} s"


def count(things: Sequence[object], one: str) -> str:
    """`1 picture`, `3 pictures`."""
    return f"{len(things)} {one}{'' if len(things) == 1 else 's'}"
