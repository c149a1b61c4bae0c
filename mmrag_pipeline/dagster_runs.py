"""Runs the pipeline's own jobs and its drop sensor in this process, against the real Dagster instance.

`make dev` then shows these runs, their events and their asset metadata: the demo and `mmrag backfill` have no path of
their own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from mmrag_pipeline.command_runs import as_command
from mmrag_pipeline.dagster_home import ensure_dagster_home
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.settings import Settings

_CURSOR = "mmrag_demo/drop_sensor"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunOutcome:
    """What the assets of one run reported, by asset name, how long the run took, and why steps failed, by step.

    `error` is what the first of these failures is as an exception; None where the run succeeded.
    """

    metadata: dict[str, dict[str, Any]]
    seconds: float
    failed: dict[str, str] = field(default_factory=dict)
    error: Exception | None = None


class DagsterRuns:
    """A context manager around the Dagster instance and this project's definitions."""

    def __init__(self, settings: Settings):
        self._settings = settings

    def __enter__(self) -> DagsterRuns:
        from mmrag_pipeline.definitions import defs

        home = ensure_dagster_home(self._settings)
        logging.getLogger("dagster").setLevel(logging.CRITICAL)
        self._instance = dg.DagsterInstance.get()
        self._command = as_command(self._instance, home)
        self._tags = self._command.__enter__()
        self._defs: dg.Definitions = defs()
        self._asked_before: set[str] = set()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._command.__exit__(*raised)
        self._instance.dispose()

    def sense_drops(self) -> list[str]:
        """One tick of the drop sensor: adds the partitions it asks for, returns the drops that it wants ingested.

        It does not wait for drops to be quiet: whoever ticks by hand has finished delivering.
        """
        from mmrag_pipeline.defs.ingest.sensors import find_drops
        from mmrag_pipeline.defs.partitions import media_drops

        storage = self._instance.daemon_cursor_storage
        self._asked_before = set(self._instance.get_dynamic_partitions(media_drops.name))
        media_library = self._defs.resources["media_library"].model_copy(update={"quiet_s": 0.0})
        with dg.build_sensor_context(
            instance=self._instance,
            cursor=storage.get_cursor_values({_CURSOR}).get(_CURSOR),
        ) as context:
            result = find_drops(context, media_library=media_library)
        for request in result.dynamic_partitions_requests or []:
            self._instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        if result.cursor:
            storage.set_cursor_values({_CURSOR: result.cursor})
        return [request.partition_key for request in result.run_requests or [] if request.job_name == "ingest_drop"]

    def drops(self) -> list[str]:
        """Drops that have a partition."""
        from mmrag_pipeline.defs.partitions import media_drops

        return list(self._instance.get_dynamic_partitions(media_drops.name))

    def unfinished(self, drops: list[str]) -> list[str]:
        """Those of these drops that an earlier, interrupted demo asked for and never indexed."""
        done = self._instance.get_materialized_partitions(dg.AssetKey("drop_vectors"))
        return [drop for drop in drops if drop in self._asked_before and drop not in done]

    def add_drops(self, drops: Iterable[str]) -> None:
        """Give these drops a partition, in this order; those that have one keep it."""
        from mmrag_pipeline.defs.partitions import media_drops

        self._instance.add_dynamic_partitions(media_drops.name, list(drops))

    def indexed(self) -> set[str]:
        """Drops that were ingested to the end at least once."""
        return self._instance.get_materialized_partitions(dg.AssetKey("drop_vectors"))

    def portions(self, drops: Collection[str]) -> list[list[str]]:
        """These drops as runs can take them: so many as a backfill has, one after the other in Dagster's list."""
        from mmrag_pipeline.defs.ingest.each_drop import DROPS_A_RUN

        portions: list[list[str]] = []
        unbroken = False
        for key in self.drops():
            if key not in drops:
                unbroken = False
                continue
            if not unbroken or len(portions[-1]) == DROPS_A_RUN:
                portions.append([])
            portions[-1].append(key)
            unbroken = True
        return portions

    def ingest(self, portion: Sequence[str], *, only: list[str] | None = None) -> dict[str, str]:
        """One run of `ingest_drop`, or only of these of its assets, for all of a portion; why drops failed, by drop."""
        from mmrag_pipeline.defs.ingest.each_drop import failures_in

        if len(portion) == 1:
            tags = {PARTITION_NAME_TAG: portion[0]}
        else:
            tags = {ASSET_PARTITION_RANGE_START_TAG: portion[0], ASSET_PARTITION_RANGE_END_TAG: portion[-1]}
        result = self._execute("ingest_drop", tags=tags, only=only)
        if result.success:
            return {}
        for event in result.all_events:
            if event.is_step_failure and event.step_failure_data.user_failure_data is not None:
                failed = failures_in(event.step_failure_data.user_failure_data.metadata)
                if failed:
                    return failed
        return dict.fromkeys(portion, str(_failure(result)))

    def add_occurrence(self, key: str) -> None:
        """Register an occurrence, as the brief's schedule does when it is due."""
        from mmrag_pipeline.defs.partitions import campaign_occurrences

        self._instance.add_dynamic_partitions(campaign_occurrences.name, [key])

    def occurrences(self, campaign: str) -> list[str]:
        """Occurrences of a campaign that are registered already, oldest first."""
        from mmrag_pipeline.defs.partitions import campaign_occurrences

        keys = self._instance.get_dynamic_partitions(campaign_occurrences.name)
        return [key for key in keys if key.startswith(f"{campaign}__")]

    def run(
        self,
        job: str,
        partition_key: str | None = None,
        *,
        config: dict[str, Any] | None = None,
        only: list[str] | None = None,
    ) -> RunOutcome:
        """Execute a job, or only these of its assets; `config` is run config, as one would type it in the UI.

        Raises:
            UserError: the run failed for a reason that a person can mend; the sentence is the asset's own.
            RuntimeError: it failed for another reason; the text holds the traceback.
        """
        outcome = self.attempt(job, partition_key, config=config, only=only)
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def attempt(
        self,
        job: str,
        partition_key: str | None = None,
        *,
        config: dict[str, Any] | None = None,
        only: list[str] | None = None,
    ) -> RunOutcome:
        """As `run`; what was done before a step failed is in the outcome, with the failure, instead of raised."""
        started = time.monotonic()
        result = self._execute(job, config=config, partition_key=partition_key, only=only)
        metadata: dict[str, dict[str, Any]] = {}
        for event in result.get_asset_materialization_events():
            materialization = event.step_materialization_data.materialization
            name = materialization.asset_key.to_user_string()
            metadata[name] = {key: entry.value for key, entry in materialization.metadata.items()}
        seconds, error = time.monotonic() - started, None if result.success else _failure(result)
        return RunOutcome(metadata, seconds, failed=_sentences(result), error=error)

    def _execute(
        self,
        job: str,
        *,
        config: dict[str, Any] | None = None,
        partition_key: str | None = None,
        tags: dict[str, str] | None = None,
        only: list[str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        return self._defs.resolve_job_def(job).execute_in_process(
            run_config=_QUIET | (config or {}),
            instance=self._instance,
            partition_key=partition_key,
            tags=self._tags | (tags or {}),
            asset_selection=[dg.AssetKey(name) for name in only] if only else None,
            raise_on_error=False,
        )


def _sentences(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Why steps failed, by step."""
    from mmrag_pipeline.defs.operate.ticks import sentence_of

    found = {}
    for event in result.all_events:
        if event.is_step_failure:
            data, said = event.step_failure_data, "it failed without a word"
            if data.user_failure_data is not None:
                said = str(data.user_failure_data.description)
            elif data.error is not None:
                said = sentence_of(data.error.cause or data.error)
            found[str(event.step_key)] = said
    return found


def _failure(result: dg.ExecuteInProcessResult) -> Exception:
    """The first failed step's own sentence as a `UserError`; anything else is a bug and keeps its traceback."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None:
                return UserError(str(data.user_failure_data.description))
            return RuntimeError(data.error.to_string() if data.error else f"{event.step_key} failed")
    failed = [event.message for event in result.all_events if event.is_failure]
    return RuntimeError(failed[0] if failed else "the run failed")
