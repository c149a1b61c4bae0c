"""The pictures of an occurrence, ordered in batches; campaign_images takes them when they are made."""

import dagster as dg

from mmrag_pipeline.campaigns.backends import batches_of, closing
from mmrag_pipeline.campaigns.batch_submit import submit_batches
from mmrag_pipeline.campaigns.ledger import Ledger
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.replacements import plan_replacements
from mmrag_pipeline.campaigns.schedule import Occurrence
from mmrag_pipeline.defs.campaigns.assets import PLAN, campaign_plan
from mmrag_pipeline.defs.failures import HOOKS, user_errors_as_failures
from mmrag_pipeline.defs.partitions import campaign_occurrences
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.resources import ImageBackendResource, StoreResource

WAIT_FOR_BATCHES = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL)
"""Though it costs money: an order is looked for before it is made, so trying again never makes it twice."""


@dg.asset(
    partitions_def=campaign_occurrences,
    deps=[campaign_plan],
    hooks=HOOKS,
    group_name="campaigns",
    kinds={"gemini"},
    pool="image_backend",
    retry_policy=WAIT_FOR_BATCHES,
)
def campaign_batch(
    context: dg.AssetExecutionContext, store: StoreResource, image_backend: ImageBackendResource
) -> dg.MaterializeResult:
    """The batch jobs of a brief with `mode: batch`. Re-running orders, and pays for, only what is missing."""
    with user_errors_as_failures():
        occurrence = Occurrence.parse(context.partition_key)
        folder = store.open().occurrence(occurrence.campaign, occurrence.name)
        plan = plan_replacements(folder / PLAN)
        with closing(image_backend.open(plan.backend)) as backend:
            service = batches_of(backend)
            if plan.mode != "batch" or service is None:
                raise UserError(
                    f"the pictures of {occurrence.key} are made online: run campaign_images, or write `mode: batch` "
                    f"and `backend: gemini` in the brief and run campaign_plan again."
                )
            report = submit_batches(
                plan,
                backend=backend,
                service=service,
                ledger=Ledger(image_backend.ledger),
                folder=folder,
                references=ReferencePictures(folder / "references"),
                caps=image_backend.caps(plan),
                run_id=context.run.run_id,
                progress=context.log.info,
                prices=image_backend.price_list(),
                credentials=image_backend.credentials(),
            )
    for reason in report.reasons:
        context.log.warning("%s", reason)
    return dg.MaterializeResult(
        metadata={
            "ordered": report.ordered,
            "ordered_before": report.ordered_before,
            "not_ordered": dg.MetadataValue.json(report.results),
            "reasons": dg.MetadataValue.json(report.reasons),
            "reserved_usd": round(report.reserved_usd, 4),
            "jobs": dg.MetadataValue.json(list(report.jobs)),
        }
    )
