"""Several drops in one run: each has its own outcome, and one that fails keeps no other back.

A backfill of forty drops need not start Python forty times. But to Dagster a step of a run over several partitions
succeeds or fails for all of them. So such a run reports its drops one by one: a materialisation or a check's verdict
for each that is well, an observation with the reason for each that is not, which the later steps leave out. The last
step then fails and names them. A run of one drop is as Dagster has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster import DagsterEventType
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

# Private, and the only way to say "this step is done, and I have reported its materialisations myself". pyproject.toml
# keeps Dagster below 1.14, and test_backfill.py fails where it no longer works.
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION as REPORTED
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from mmrag_pipeline.defs.failures import lost_database, user_errors_as_failures
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.defs.verdict import verdict
from mmrag_pipeline.errors import Unavailable, UserError

DROPS_A_RUN = 8
"""Few enough that a run ends within minutes, and that several of them share the machines."""

STEPS = ("drop_manifest", "quarantine_rate", "clip_embeddings", "embeddings_complete", "drop_vectors")
"""In the order in which they run; the last one that a run has fails for all."""

FAILED = "failed"
SHOWN = 10
_PAGE = 1000

Metadata = Mapping[str, Any]
Events = Iterator[dg.MaterializeResult | dg.AssetMaterialization | dg.AssetObservation]
CheckEvents = Iterator[dg.AssetCheckResult | dg.Output]


def in_portions() -> dg.BackfillPolicy:
    """A backfill has a run for so many drops that follow each other in Dagster's list of them."""
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=DROPS_A_RUN)


def for_each_drop(context: dg.AssetExecutionContext, work: Callable[[str], Metadata]) -> Events:
    """Do `work` for each drop of the run; what it returns becomes the metadata of that drop's materialisation."""
    if context.has_partition_key:
        with user_errors_as_failures():
            yield dg.MaterializeResult(metadata=work(context.partition_key))
        return
    name = context.asset_key.to_user_string()
    so_far = _so_far(context)
    unavailable: dict[str, str] = {}
    for key in context.partition_keys:
        if key in so_far.failed or key in so_far.materialised.get(name, ()):  # the latter in an earlier attempt
            continue
        try:
            metadata = work(key)
        except Unavailable as error:
            unavailable[key] = str(error)
        except UserError as error:
            yield _observation(context, so_far, key, str(error))
        except Exception as error:
            if lost_database(error):
                raise
            context.log.exception("%s", key)
            yield _observation(context, so_far, key, f"{type(error).__name__}: {error}")
        else:
            yield dg.AssetMaterialization(asset_key=context.asset_key, partition=key, metadata=metadata)
    if unavailable and context.retry_number < _retries(context):
        raise _failure(unavailable, context.partition_keys, allow_retries=True)
    for key, sentence in unavailable.items():
        yield _observation(context, so_far, key, sentence)
    _raise_if_last(name, so_far, context.partition_keys)
    yield dg.MaterializeResult(metadata={REPORTED: True})


def check_each_drop(
    context: dg.AssetCheckExecutionContext,
    judge: Callable[[str], dg.AssetCheckResult],
    *,
    unread: str,
    blocking: bool = False,
) -> CheckEvents:
    """The verdict on each drop of the run; where it is `blocking`, the later steps leave out those that don't pass.

    `unread` is what to do where `judge` raises: to a run of several drops that is a check which doesn't pass.
    """
    if context.has_partition_key:
        yield judge(context.partition_key)
        return
    so_far = _so_far(context)
    (check,) = context.selected_asset_check_keys
    for key in context.partition_keys:
        if key in so_far.failed:
            continue
        try:
            found = judge(key)
        except Exception as error:
            if lost_database(error):
                raise
            context.log.exception("%s", key)
            found = _not_judged(error, unread, blocking=blocking)
        # Logged, because yielded it would stop the step for the other drops too.
        context.op_execution_context.log_event(
            dg.AssetCheckEvaluation(
                asset_key=check.asset_key,
                check_name=check.name,
                passed=found.passed,
                metadata=found.metadata,
                target_materialization_data=_materialisation(context, check.asset_key, key),
                severity=found.severity,
                description=found.description,
                blocking=blocking,
                partition=key,
            )
        )
        if blocking and not found.passed:
            so_far.failed[key] = f"{check.name}: {found.description}"
    _raise_if_last(check.name, so_far, context.partition_keys)
    yield dg.Output(None)


def failures_in(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, str]:
    """Sentences by drop, from the metadata of a failure of this module; empty for another failure's."""
    listed = metadata.get(FAILED)
    return dict(listed.value) if listed is not None else {}  # type: ignore[arg-type]


def partitions_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """The partitions of a run: one, the drops of a range, or an empty name where it has none."""
    if ASSET_PARTITION_RANGE_START_TAG not in run.tags:
        return [run.tags.get(PARTITION_NAME_TAG, "")]
    drops = list(instance.get_dynamic_partitions(media_drops.name))
    ends = run.tags[ASSET_PARTITION_RANGE_START_TAG], run.tags[ASSET_PARTITION_RANGE_END_TAG]
    if not set(ends) <= set(drops):
        return []  # removed since
    first, last = map(drops.index, ends)
    return drops[first : last + 1]


def done_by(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[str]:
    """The drops that a run has brought to its end, whatever became of the others."""
    return _said_in(instance, run.run_id, but=set()).materialised.get(STEPS[-1], set())


@dataclass
class _SoFar:
    """What the run's events say: which steps it has, and by drop what was materialised and why others failed."""

    planned: set[str] = field(default_factory=set)
    materialised: dict[str, set[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def _so_far(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> _SoFar:
    """What the run's events say; where it continues a failed run, also why drops failed in steps it doesn't repeat."""
    run: dg.DagsterRun | None = context.run
    so_far = _said_in(context.instance, context.run.run_id, but=set())
    repeated = set(so_far.planned)
    while run is not None and run.parent_run_id is not None:
        earlier = _said_in(context.instance, run.parent_run_id, but=repeated)
        so_far.failed = earlier.failed | so_far.failed
        repeated |= earlier.planned
        run = context.instance.get_run_by_id(run.parent_run_id)
    return so_far


def _said_in(instance: dg.DagsterInstance, run_id: str, *, but: set[str]) -> _SoFar:
    """What the events of one run say; failures in these steps apart."""
    found = _SoFar()
    for record in _records(instance, run_id):
        event = record.event_log_entry.dagster_event
        data, kind = event.event_specific_data, event.event_type
        if kind == DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
            found.planned.add(event.asset_key.to_user_string())
        elif kind == DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            found.planned.add(data.check_name)
        elif kind == DagsterEventType.ASSET_MATERIALIZATION:
            found.materialised.setdefault(event.asset_key.to_user_string(), set()).add(event.partition)
        elif kind == DagsterEventType.ASSET_OBSERVATION:
            if event.asset_key.to_user_string() not in but:
                found.failed[event.partition] = str(data.asset_observation.metadata[FAILED].value)
        elif data.blocking and not data.passed and data.check_name not in but:
            found.failed[data.partition] = f"{data.check_name}: {data.description}"
    return found


def _records(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.EventLogRecord]:
    kinds = {
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.ASSET_OBSERVATION,
        DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
        DagsterEventType.ASSET_CHECK_EVALUATION,
    }
    cursor = None
    while True:
        page = instance.get_records_for_run(run_id, cursor=cursor, of_type=kinds, limit=_PAGE)
        yield from page.records
        if not page.has_more:
            return
        cursor = page.cursor


def _materialisation(
    context: dg.AssetCheckExecutionContext, asset: dg.AssetKey, key: str
) -> AssetCheckEvaluationTargetMaterializationData | None:
    """What a verdict is about: without it the UI takes the verdict for an older one."""
    wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[key])
    for record in context.instance.fetch_materializations(wanted, limit=1).records:
        return AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
    return None


def _not_judged(error: Exception, to_do: str, *, blocking: bool) -> dg.AssetCheckResult:
    said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    severity = dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN
    return verdict(to_do, {}, severity=severity, detail=f"can't be judged ({said}): {to_do}.")


def _observation(context: dg.AssetExecutionContext, so_far: _SoFar, key: str, sentence: str) -> dg.AssetObservation:
    so_far.failed[key] = sentence
    context.log.error("%s: %s", key, sentence)
    return dg.AssetObservation(asset_key=context.asset_key, partition=key, metadata={FAILED: sentence})


def _retries(context: dg.AssetExecutionContext) -> int:
    policy = context.op_def.retry_policy
    return policy.max_retries if policy is not None else 0


def _raise_if_last(name: str, so_far: _SoFar, keys: list[str]) -> None:
    later = STEPS[STEPS.index(name) + 1 :]
    if so_far.failed and not so_far.planned.intersection(later):
        raise _failure(so_far.failed, keys, allow_retries=False)


def _failure(failed: Mapping[str, str], keys: list[str], *, allow_retries: bool) -> dg.Failure:
    said = "; ".join(f"{key}: {sentence}" for key, sentence in list(failed.items())[:SHOWN])
    more = f"; and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
    return dg.Failure(
        description=f"{len(failed)} of the {len(keys)} drops of this run failed, the others are done: {said}{more}",
        metadata={FAILED: dg.MetadataValue.json(dict(failed))},
        allow_retries=allow_retries,
    )
