"""`lost_runs`: ends runs whose process is gone, so that Dagster starts them again.

A code server that is killed takes its runs with it, and nobody else notices: the launcher that starts runs beside the
code server can't say whether they live. Such a run would be "started" for ever, and keep its drop and its pool. This
sensor is evaluated in the code server, where the runs' processes are seen. Runs of other launchers (a pod, a container
each) are Dagster's own run monitoring's; those of other code locations have their processes elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType
from dagster._core.storage.tags import GRPC_INFO_TAG

from mmrag_pipeline.processes import RUN_WORKER, still_runs
from mmrag_pipeline.settings import load_settings

GONE = (
    "the process of the run is gone: it, its code server or its machine was stopped or killed, or there was not enough "
    "memory. Nothing is doubled when it is run again."
)


@dataclass(frozen=True)
class _Begun:
    """A run that says that it runs: in which process, and since when (seconds since the epoch)."""

    run: dg.DagsterRun
    pid: int
    at: float


def end_lost_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """No cursor: what is lost is seen anew each time."""
    instance, ended = context.instance, 0
    begun = sorted(_begun_here(context), key=lambda each: each.at)
    latest = {each.pid: each for each in begun}  # a process has one run: an older one had another of that number
    for each in begun:
        if latest[each.pid] is each and still_runs(each.pid, seen_at=each.at, command=RUN_WORKER):
            continue
        current = instance.get_run_by_id(each.run.run_id)  # a process writes how its run ended before it goes
        if current is not None and current.status == dg.DagsterRunStatus.STARTED:
            context.log.warning("run %s of %s: %s", each.run.run_id, each.run.job_name, GONE)
            instance.report_run_failed(current, GONE)
            ended += 1
    return dg.SkipReason(f"{ended} runs had lost their process")


def _begun_here(context: dg.SensorEvaluationContext) -> Iterator[_Begun]:
    """The runs of this code location's server that have said that they began."""
    here = context.code_location_origin
    for run in context.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        origin = run.remote_job_origin
        if here is None or origin is None or origin.location_name != here.location_name:
            continue
        if GRPC_INFO_TAG not in run.tags:
            continue
        records = context.instance.get_records_for_run(run.run_id, of_type=DagsterEventType.RUN_START).records
        for record in records[-1:]:
            pid = record.event_log_entry.dagster_event.pid
            if pid is not None:
                yield _Begun(run, pid, record.event_log_entry.timestamp)


@dg.definitions
def sensors() -> dg.Definitions:
    """The sensor of lost runs, started with the deployment when MMRAG_AUTOSTART says so."""
    settings = load_settings()
    return dg.Definitions(
        sensors=[
            dg.SensorDefinition(
                name="lost_runs",
                evaluation_fn=end_lost_runs,
                minimum_interval_seconds=settings.sensor_interval_s,
                description="Ends runs whose process is gone (a code server was killed); Dagster starts them again.",
                default_status=dg.DefaultSensorStatus.RUNNING if settings.autostart else dg.DefaultSensorStatus.STOPPED,
            )
        ]
    )
