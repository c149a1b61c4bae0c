"""What a plan is: every picture to make, with its references, prompt, key and price.

planner.py makes one, plan_table.py writes and reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mmrag_pipeline.campaigns.backends.base import BackendInfo, backend_info
from mmrag_pipeline.campaigns.brief import Brief
from mmrag_pipeline.campaigns.finishing.check import final_size, finishing_of
from mmrag_pipeline.campaigns.finishing.recipe import Finishing
from mmrag_pipeline.campaigns.registry import image_model
from mmrag_pipeline.errors import UserError


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
