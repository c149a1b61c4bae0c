"""An occurrence of a brief becomes a plan, the plan pictures, the pictures a page for people."""

from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field
from upath import UPath

from mmrag_pipeline.campaigns.backends import batches_of, closing
from mmrag_pipeline.campaigns.backends.base import backend_info
from mmrag_pipeline.campaigns.backends.gemini_judge import GeminiJudge
from mmrag_pipeline.campaigns.batch_ledger import held_by_batches
from mmrag_pipeline.campaigns.brief import Brief
from mmrag_pipeline.campaigns.finder import MilvusReferenceFinder
from mmrag_pipeline.campaigns.gallery import write_gallery
from mmrag_pipeline.campaigns.judge import JudgeReport, judge_pictures
from mmrag_pipeline.campaigns.ledger import Ledger
from mmrag_pipeline.campaigns.making import make_pictures
from mmrag_pipeline.campaigns.occurrence_lock import hold_occurrence
from mmrag_pipeline.campaigns.outcomes import PicturesReport
from mmrag_pipeline.campaigns.overview import pictures_sheet
from mmrag_pipeline.campaigns.plan import CampaignPlan
from mmrag_pipeline.campaigns.plan_markdown import plan_markdown
from mmrag_pipeline.campaigns.plan_table import find_plan, read_plan, write_plan
from mmrag_pipeline.campaigns.planner import plan_campaign
from mmrag_pipeline.campaigns.provenance_check import check_provenance
from mmrag_pipeline.campaigns.references import ReferencePictures, hit_opener
from mmrag_pipeline.campaigns.replacements import plan_replacements, with_replacements
from mmrag_pipeline.campaigns.schedule import Occurrence
from mmrag_pipeline.campaigns.scores import ScoresReport, score_pictures
from mmrag_pipeline.defs.campaigns.checks import PICTURE_CHECKS, check_pictures
from mmrag_pipeline.defs.campaigns.provenance import PROVENANCE_VALID, provenance_result
from mmrag_pipeline.defs.campaigns.retries import fail_without_pictures
from mmrag_pipeline.defs.failures import HOOKS, WAIT_FOR_MILVUS, user_errors_as_failures
from mmrag_pipeline.defs.index.assets import media_index
from mmrag_pipeline.defs.partitions import campaign_occurrences
from mmrag_pipeline.defs.verdict import verdict
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.sheet import inline_markdown
from mmrag_pipeline.quality.near_duplicates import NearDuplicateStore
from mmrag_pipeline.resources import (
    BriefsResource,
    ClipEncoderResource,
    ImageBackendResource,
    MediaLibraryResource,
    MilvusResource,
    StoreResource,
)

PLAN = "plan.parquet"
SCORING_WAIT_S = 60.0  # whoever holds the occurrence for longer writes a gallery, and so scores, itself


class CampaignPlanConfig(dg.Config):
    """Switches for one materialisation."""

    replan: bool = False


class CampaignImagesConfig(dg.Config):
    """Switches for one materialisation. `retry_ambiguous` asks again for what may have been billed already;
    `budget_usd` lowers what this run may spend (MMRAG_BUDGET_USD_PER_RUN), and never raises it; `online` makes at full
    price what a brief with `mode: batch` has not ordered yet.
    """

    retry_ambiguous: bool = False
    budget_usd: float | None = Field(None, ge=0)
    online: bool = False


@dg.asset(
    partitions_def=campaign_occurrences,
    deps=[media_index],
    hooks=HOOKS,
    group_name="campaigns",
    kinds={"milvus", "parquet"},
    pool="milvus",
    retry_policy=WAIT_FOR_MILVUS,
)
def campaign_plan(
    context: dg.AssetExecutionContext,
    config: CampaignPlanConfig,
    briefs: BriefsResource,
    media_library: MediaLibraryResource,
    store: StoreResource,
    clip_encoder: ClipEncoderResource,
    milvus: MilvusResource,
    image_backend: ImageBackendResource,
) -> dg.MaterializeResult:
    """Every picture of one occurrence laid out: references, prompt, estimated cost. Nothing is paid yet.

    A plan is kept as long as its brief, backend and model are what they were: planning again over a library that
    has grown could choose other references and so pay for the same picture twice. `replan: true` does it all the same.
    A plan whose batch jobs are not collected yet stays as it is where its brief asks for another backend.
    """
    with user_errors_as_failures():
        occurrence, folder = _occurrence(context, store)
        brief = briefs.brief(occurrence.campaign, model=image_backend.model)
        opener = hit_opener(media_library.library(), media_library.limits())
        pictures = ReferencePictures(folder / "references", load=opener)
        found = find_plan(folder / PLAN)
        held = found is not None and held_by_batches(
            found, brief, backend_name=image_backend.backend, ledger=image_backend.ledger
        )
        earlier = None if config.replan and not held else found
        kept = held or (
            earlier is not None and earlier.is_for(brief, backend_name=image_backend.backend, model=image_backend.model)
        )
        if held:
            plan = earlier
            context.log.warning(
                "the plan for %s is kept: its batch jobs still make pictures that are paid for. Run campaign_plan "
                "again when they are collected.",
                plan.backend,
            )
        elif kept:
            plan = earlier.with_budget_of(brief).with_finish_of(brief)
        else:
            plan = _plan(context, brief, occurrence, pictures, store, clip_encoder, milvus, image_backend)
            _require_a_variant(plan)
        plan = with_replacements(plan, folder)
        if plan != earlier:
            write_plan(folder / PLAN, plan)
        table = plan_markdown(plan, pictures)
    for left_out in plan.left_out:
        context.log.warning("%s is left out: %s", left_out.product, left_out.reason)
    return dg.MaterializeResult(
        metadata={
            "pictures_planned": len(plan.variants),
            "products_left_out": len(plan.left_out),
            "kept_from_earlier_run": kept,
            "backend": plan.backend,
            "model": plan.model,
            "mode": plan.mode,
            "estimated_usd": round(plan.estimated_usd, 4),
            "would_cost_usd": round(plan.would_cost_usd, 4),
            "would_cost_at_most_usd": round(plan.ceiling_usd, 4),
            "approval": plan.approval,
            "plan": dg.MetadataValue.path(str(folder / PLAN)),
            "plan_table": dg.MetadataValue.md(table),
        }
    )


@dg.asset(
    partitions_def=campaign_occurrences,
    deps=[campaign_plan],
    hooks=HOOKS,
    group_name="campaigns",
    kinds={"gemini", "pillow"},
    pool="image_backend",
    check_specs=[
        dg.AssetCheckSpec(
            "complete",
            asset="campaign_images",
            description="Every product of the brief is in the plan, and every variant of the plan has its picture.",
            partitions_def=campaign_occurrences,
        ),
        *PICTURE_CHECKS,
        PROVENANCE_VALID,
    ],
)
def campaign_images(
    context: dg.AssetExecutionContext,
    config: CampaignImagesConfig,
    store: StoreResource,
    image_backend: ImageBackendResource,
) -> dg.MaterializeResult:
    """The pictures of the plan, each with a sidecar. Re-running makes, and pays for, only what is missing."""
    with user_errors_as_failures():
        occurrence, folder = _occurrence(context, store)
        plan, credentials = plan_replacements(folder / PLAN), image_backend.credentials()
        ledger, caps = Ledger(image_backend.ledger), image_backend.caps(plan, run_usd=config.budget_usd)
        with closing(image_backend.open(plan.backend)) as backend:
            report = make_pictures(
                replace(plan, mode="online") if config.online else plan,
                backend=backend,
                ledger=ledger,
                folder=folder,
                references=ReferencePictures(folder / "references"),
                caps=caps,
                run_id=context.run.run_id,
                progress=context.log.info,
                retry_ambiguous=config.retry_ambiguous,
                threads=image_backend.threads,
                rate=image_backend.rate(),
                batches=batches_of(backend),
                batch_deadline=image_backend.batch_deadline,
                prices=image_backend.price_list(),
                credentials=credentials,
            )
        provenance = check_provenance(plan, images=folder / "images", credentials=credentials)
    if report.none_succeeded:
        fail_without_pictures(report, occurrence.key)
    sheet, now = pictures_sheet(report, folder / "images"), datetime.now(UTC)
    return dg.MaterializeResult(
        metadata={
            **report.counts,
            "refinished": report.refinished,
            "requests": report.requests,
            "ambiguous": report.ambiguous,
            "spent_usd": round(report.spent_usd, 4),
            "stopped": report.stopped or "no",
            "backend": report.backend,
            "reasons": dg.MetadataValue.json(report.reasons),
            "images": dg.MetadataValue.path(str(folder / "images")),
            **({"pictures": dg.MetadataValue.md(inline_markdown(sheet, alt=occurrence.key))} if sheet else {}),
        },
        check_results=[
            _complete(plan, report),
            *check_pictures(plan, report, ledger=ledger, caps=caps, now=now),
            provenance_result(provenance),
        ],
    )


@dg.asset(
    partitions_def=campaign_occurrences, deps=[campaign_images], hooks=HOOKS, group_name="campaigns", kinds={"html"}
)
def campaign_gallery(
    context: dg.AssetExecutionContext,
    store: StoreResource,
    clip_encoder: ClipEncoderResource,
    image_backend: ImageBackendResource,
) -> dg.MaterializeResult:
    """One self-contained HTML page: each picture beside its references, with prompt, scores, cost and state.

    New pictures are scored first, and judged where MMRAG_GEMINI_JUDGE names a model. Where they can't be, the page says
    so and is written all the same.
    """
    with user_errors_as_failures():
        _, folder = _occurrence(context, store)
        plan, references = read_plan(folder / PLAN), ReferencePictures(folder / "references")
        verdicts = _judge(context, plan, folder, references, image_backend)
        scored = _score(context, plan, folder, references, store, clip_encoder, image_backend.ledger)
        report = write_gallery(plan, folder=folder, references=references, ledger=image_backend.ledger)
    return dg.MaterializeResult(
        metadata={
            "scored": scored.scored,
            "scores_kept": scored.kept,
            "scoring_problems": dg.MetadataValue.json(list(scored.problems)),
            "judged": verdicts.judged,
            "judged_before": verdicts.kept,
            "judged_for_usd": round(verdicts.usd, 4),
            "judging_problems": dg.MetadataValue.json(list(verdicts.problems)),
            "gallery": dg.MetadataValue.path(str(report.path)),
            "pictures": report.pictures,
            "bytes": report.bytes,
        }
    )


def _judge(
    context: dg.AssetExecutionContext,
    plan: CampaignPlan,
    folder: UPath,
    references: ReferencePictures,
    image_backend: ImageBackendResource,
) -> JudgeReport:
    """Verdicts where a judge is named; a page without them is still a page."""
    if image_backend.judge is None or not backend_info(plan.backend).paid:
        return JudgeReport()
    ledger = Ledger(image_backend.ledger)
    try:
        with (
            closing(image_backend.open(plan.backend)) as backend,
            hold_occurrence(ledger.path, campaign=plan.campaign, occurrence=plan.occurrence, wait_s=SCORING_WAIT_S),
        ):
            report = judge_pictures(
                plan,
                folder=folder,
                references=references,
                judge=GeminiJudge(backend, model=image_backend.judge),
                ledger=ledger,
                caps=image_backend.caps(plan),
                run_id=context.run.run_id,
                now=datetime.now(UTC),
                rate=image_backend.rate(),
                progress=context.log.info,
            )
    except (UserError, OSError) as error:
        report = JudgeReport(problems=(f"nothing was judged: {error}",))
    for problem in report.problems:
        context.log.warning("%s", problem)
    return report


def _score(
    context: dg.AssetExecutionContext,
    plan: CampaignPlan,
    folder: UPath,
    references: ReferencePictures,
    store: StoreResource,
    clip_encoder: ClipEncoderResource,
    ledger: str,
) -> ScoresReport:
    try:
        with hold_occurrence(ledger, campaign=plan.campaign, occurrence=plan.occurrence, wait_s=SCORING_WAIT_S):
            report = score_pictures(
                plan,
                folder=folder,
                references=references,
                encoder=clip_encoder.encoder(store.open()),
                now=datetime.now(UTC),
                progress=context.log.info,
            )
    except (UserError, OSError, RuntimeError) as error:  # torch's own, out of memory among them, are RuntimeErrors
        report = ScoresReport(0, 0, (f"nothing was scored: {error}",))
    for problem in report.problems:
        context.log.warning("%s", problem)
    return report


LEFT_OVER = {
    "skipped_budget": "raise the budget that the reasons name and run again",
    "blocked": "word the blocked scenes or products differently in the brief",
    "no_image": "run again for those answered without a picture",
    "failed": "mend what the reasons of the failed ones say and run again",
    "in_batch": "wait for the batch jobs, or run campaign_batch where the reasons say that nothing is ordered",
    "products_left_out": "mend the left out products in the brief or ingest the drop that has them, then run again",
}
"""What to do about what is not there, by the count that says how much of it there is."""


def _complete(plan: CampaignPlan, report: PicturesReport) -> dg.AssetCheckResult:
    found = {**report.counts, "products_left_out": len(plan.left_out)}
    left_over = {name: found[name] for name in LEFT_OVER}
    to_do = "; ".join(LEFT_OVER[name] for name, count in left_over.items() if count)
    reasons = report.reasons | {f"{product.product} is left out: {product.reason}": 1 for product in plan.left_out}
    return verdict(to_do, {**left_over, "reasons": dg.MetadataValue.json(reasons)}, name="complete")


def _require_a_variant(plan: CampaignPlan) -> None:
    """Raises UserError where every product is left out: a run without a picture must not look like a success."""
    if not plan.variants:
        reasons = "; ".join(f"{product.product}: {product.reason}" for product in plan.left_out)
        raise UserError(
            f"no picture can be planned for {plan.occurrence} because every product is left out ({reasons}): mend the "
            f"products of the brief, or ingest the drop that has them."
        )


def _occurrence(context: dg.AssetExecutionContext, store: StoreResource) -> tuple[Occurrence, UPath]:
    occurrence = Occurrence.parse(context.partition_key)
    return occurrence, store.open().occurrence(occurrence.campaign, occurrence.name)


def _plan(
    context: dg.AssetExecutionContext,
    brief: Brief,
    occurrence: Occurrence,
    pictures: ReferencePictures,
    store: StoreResource,
    clip_encoder: ClipEncoderResource,
    milvus: MilvusResource,
    image_backend: ImageBackendResource,
) -> CampaignPlan:
    encoder = clip_encoder.encoder(store.open())
    encoder.load_for_words()  # before the connection: a Milvus Lite file must not stay locked for seconds
    with milvus.connect() as connection:
        return plan_campaign(
            brief,
            occurrence=occurrence.name,
            finder=MilvusReferenceFinder(connection, encoder, copies=NearDuplicateStore(store.open()).copies()),
            pictures=pictures,
            backend_name=image_backend.backend,
            model=image_backend.model,
            now=datetime.now(UTC),
            progress=context.log.info,
            prices=image_backend.price_list(),
        )
