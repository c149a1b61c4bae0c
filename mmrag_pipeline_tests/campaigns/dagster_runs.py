"""campaign_images materialised for a desk: the real asset and the real resources, without an index.

The job has a retry policy, as a deployment may give it one: what must not be repeated has to hold against that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

from mmrag_pipeline.campaigns.plan_table import write_plan
from mmrag_pipeline.defs.campaigns.assets import campaign_images
from mmrag_pipeline.defs.partitions import campaign_occurrences
from mmrag_pipeline.resources import ImageBackendResource, StoreResource
from mmrag_pipeline_tests.campaigns.conftest import MODEL, Desk
from mmrag_pipeline_tests.integration.gemini_server import KEY


def materialise(
    desk: Desk, instance: dg.DagsterInstance, *, url: str, config: dict[str, Any] | None = None, **more: Any
) -> dg.ExecuteInProcessResult:
    """One run; `config` is the asset's run config, `more` goes to the resource. A failure is in the result."""
    folder = Path(str(desk.folder))
    key = f"{folder.parent.name}__{folder.name}"
    if not (folder / "plan.parquet").exists():
        write_plan(desk.folder / "plan.parquet", desk.plan)
    instance.add_dynamic_partitions(campaign_occurrences.name, [key])
    options = {"api_key": KEY, "timeout_s": 20.0, "threads": 1, **more}
    job = dg.define_asset_job("pictures", selection=[campaign_images], op_retry_policy=dg.RetryPolicy(max_retries=2))
    backend = ImageBackendResource(backend="gemini", model=MODEL, base_url=url, ledger=desk.ledger.path, **options)
    definitions = dg.Definitions(
        assets=[campaign_images],
        jobs=[job],
        resources={"store": StoreResource(root=str(folder.parents[2])), "image_backend": backend},
    )
    return definitions.resolve_job_def("pictures").execute_in_process(
        instance=instance,
        partition_key=key,
        run_config={"ops": {"campaign_images": {"config": config or {}}}},
        raise_on_error=False,
    )


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """The sentence that the step failed with, as Dagster shows it."""
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None, event.step_failure_data.error
    return str(event.step_failure_data.user_failure_data.description)


def metadata_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    return {name: entry.value for name, entry in event.step_materialization_data.materialization.metadata.items()}


def retries_of(result: dg.ExecuteInProcessResult) -> int:
    return sum(event.is_step_up_for_retry for event in result.all_events)


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}
