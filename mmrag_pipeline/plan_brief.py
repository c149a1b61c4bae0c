"""What one occurrence of a brief will be, before anything is written or paid: `mmrag campaign plan`."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from croniter import croniter
from upath import UPath

from mmrag_pipeline import wiring
from mmrag_pipeline.campaigns.batch_ledger import held_by_batches
from mmrag_pipeline.campaigns.brief import Brief
from mmrag_pipeline.campaigns.brief_folder import load_brief, load_briefs
from mmrag_pipeline.campaigns.finder import MilvusReferenceFinder
from mmrag_pipeline.campaigns.ledger import Ledger
from mmrag_pipeline.campaigns.plan import CampaignPlan, Variant
from mmrag_pipeline.campaigns.plan_markdown import plan_markdown
from mmrag_pipeline.campaigns.plan_table import find_plan, write_plan
from mmrag_pipeline.campaigns.planner import plan_campaign
from mmrag_pipeline.campaigns.references import ReferencePictures, ReferencesInMemory, hit_opener
from mmrag_pipeline.campaigns.replacements import with_replacements
from mmrag_pipeline.campaigns.schedule import Occurrence
from mmrag_pipeline.campaigns.sidecar import GENERATED, read_sidecar
from mmrag_pipeline.embedding.model import Encoder
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.milvus import Milvus, connect
from mmrag_pipeline.quality.near_duplicates import NearDuplicateStore
from mmrag_pipeline.settings import Settings
from mmrag_pipeline.store import Store, write_bytes


@dataclass(frozen=True)
class Cap:
    """A limit on what is spent. `usd` None: there is none of that kind."""

    what: str
    usd: float | None
    spent_usd: float

    @property
    def left_usd(self) -> float | None:
        return None if self.usd is None else max(0.0, self.usd - self.spent_usd)


@dataclass(frozen=True)
class BriefPlan:
    """A plan as a run would have it. `kept`: it is that of an earlier run; `missing`: what isn't there yet."""

    brief: Brief
    occurrence: Occurrence
    plan: CampaignPlan
    kept: bool
    missing: tuple[Variant, ...]
    caps: tuple[Cap, ...]
    references: ReferencePictures

    @property
    def affordable(self) -> int:
        """How many of the pictures that are missing all caps have room for, if they cost what they are estimated to."""
        left = min((cap.left_usd for cap in self.caps if cap.left_usd is not None), default=float("inf"))
        fits, spent, factor = 0, 0.0, self.plan.price_factor
        for variant in self.missing:
            if variant.estimated_usd and spent + variant.ceiling_usd * factor > left:  # set aside before, settled after
                break
            # The pictures of a batch are all set aside before the first is settled.
            spent += (variant.ceiling_usd if self.plan.mode == "batch" else variant.estimated_usd) * factor
            fits += 1
        return fits


def plan_brief(
    settings: Settings,
    brief: str,
    *,
    now: datetime,
    occurrence: str | None = None,
    replan: bool = False,
    encoder: Encoder | None = None,
    milvus: Milvus | None = None,
) -> BriefPlan:
    """Lay out one occurrence of a brief, a file or the name of a campaign; the next one due unless it is named.

    A run keeps the plan that an earlier one made of the same brief, and so this shows that plan, unless `replan`.

    Raises:
        UserError: what is wrong with the brief, or it can't be planned: see the sentence.
    """
    wanted = _brief(settings, brief)
    place = _occurrence(wanted, occurrence, now)
    folder = Store(settings.store).occurrence(place.campaign, place.name)
    by = {"backend_name": settings.image_backend, "model": settings.gemini_model}
    found = find_plan(folder / "plan.parquet")
    earlier = None if replan else found
    if found is not None and held_by_batches(
        found, wanted, backend_name=settings.image_backend, ledger=settings.ledger_file
    ):
        plan, kept, references = with_replacements(found, folder), True, ReferencePictures(folder / "references")
    elif earlier is not None and earlier.is_for(wanted, **by):
        plan, kept = with_replacements(earlier.with_budget_of(wanted).with_finish_of(wanted), folder), True
        references = ReferencePictures(folder / "references")
    else:
        kept, references = False, ReferencesInMemory(load=hit_opener(wiring.library(settings), wiring.limits(settings)))
        if encoder is None:
            own = wiring.encoder(settings)
            own.load_for_words()  # before the connection: a Milvus Lite file must not stay locked for seconds
            encoder = own
        with nullcontext(milvus) if milvus else connect(wiring.milvus(settings)) as connection:
            copies = NearDuplicateStore(Store(settings.store)).copies()
            finder = MilvusReferenceFinder(connection, encoder, copies=copies)
            options = by | {"prices": wiring.prices(settings), "now": now}
            plan = plan_campaign(wanted, occurrence=place.name, finder=finder, pictures=references, **options)
    missing = tuple(variant for variant in plan.variants if not _is_made(folder, plan, variant))
    return BriefPlan(wanted, place, plan, kept, missing, _caps(settings, plan, now), references)


def write_brief_plan(planned: BriefPlan, folder: UPath) -> None:
    """Write the plan as a run would (`plan.parquet`, `references/`) and as a table for people (`plan.md`).

    Raises:
        UserError: the folder can't be written, or a reference of a kept plan is gone.
    """
    try:
        sent = {reference.sha256 for variant in planned.plan.variants for reference in variant.references}
        planned.references.copy_to(folder / "references", sent)
        write_bytes(folder / "plan.md", plan_markdown(planned.plan, planned.references).encode())
        write_plan(folder / "plan.parquet", planned.plan)
    except OSError as error:
        raise UserError(f"{folder} can't be written ({error.strerror or error}): give a folder that can.") from error


def _brief(settings: Settings, brief: str) -> Brief:
    if brief.endswith((".yaml", ".yml")) or os.path.sep in brief:
        return load_brief(brief, model=settings.gemini_model)
    return load_briefs(settings.campaigns_root, model=settings.gemini_model).get(brief)


def _occurrence(brief: Brief, named: str | None, now: datetime) -> Occurrence:
    if named is not None:
        occurrence = Occurrence.parse(named if "__" in named else f"{brief.campaign}__{named}")
        if occurrence.campaign != brief.campaign:
            raise UserError(f"occurrence {named} is not one of {brief.campaign}: write {brief.campaign}__<date>.")
        return occurrence
    if brief.schedule is None:
        return brief.occurrence(now)
    local = now.astimezone(ZoneInfo(brief.schedule.timezone))
    return brief.occurrence(croniter(brief.schedule.cron, local).get_next(datetime))


def _is_made(folder: UPath, plan: CampaignPlan, variant: Variant) -> bool:
    sidecar = read_sidecar(folder / "images", plan, variant)
    return sidecar is not None and sidecar["status"] == GENERATED


def _caps(settings: Settings, plan: CampaignPlan, now: datetime) -> tuple[Cap, ...]:
    ledger = Ledger(settings.ledger_file) if os.path.exists(settings.ledger_file) else None  # opening one makes it

    def spent(**what: object) -> float:
        return ledger.spent(**what) if ledger else 0.0

    return (
        Cap("this campaign", plan.budget_usd, spent(campaign=plan.campaign)),
        Cap(
            "this occurrence",
            plan.budget_usd_per_occurrence,
            spent(campaign=plan.campaign, occurrence=plan.occurrence),
        ),
        Cap("one run", settings.budget_usd_per_run, 0.0),
        Cap("today, all campaigns", settings.budget_usd_per_day, spent(day=now)),
    )
