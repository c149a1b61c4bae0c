"""Ends runs that died with their code server, so that they are started again.

Dagster's DefaultRunLauncher runs everything in child processes of the code server, and only that server notices when
one dies. Killed with it (a power cut, no memory), a run stays "started" until its maximum run time, and its drop waits.
Whoever starts a code server that has its database to itself says when in CODE_SERVER_SINCE, as docker-compose.yml does:
what was started earlier is dead. Ended as failed it is run again once, as any crashed run is.

A sensor, not a step before the server starts: Dagster tries a run again only if the code location is there at the
moment that it fails, and never later; a sensor has its tick when it is there.
"""

import os

import dagster as dg
from dagster import DagsterRunStatus

SINCE = "CODE_SERVER_SINCE"
"""Seconds since the epoch."""
WHY = "The code server that this run was a process of is gone: it was stopped or killed before the run had ended."


def end_orphaned_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Runs that have not begun yet are left to `start_timeout_seconds`."""
    since, ended = float(os.environ[SINCE]), []
    statuses = [DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    for record in context.instance.get_run_records(dg.RunsFilter(statuses=statuses)):
        if record.start_time is None or record.start_time >= since:
            continue
        run = record.dagster_run
        if run.status == DagsterRunStatus.STARTED:
            context.instance.report_run_failed(run, WHY)
        else:
            context.instance.report_run_canceled(run, WHY)
        context.log.warning("run %s: %s", run.run_id, WHY)
        ended.append(run.run_id)
    return dg.SkipReason(f"{len(ended)} runs ended" if ended else "no run was left behind")


@dg.definitions
def sensors() -> dg.Definitions:
    """The sensor, always on, where it is known since when the code server is there; else none."""
    if SINCE not in os.environ:
        return dg.Definitions()
    return dg.Definitions(
        sensors=[
            dg.SensorDefinition(
                name="orphaned_runs",
                evaluation_fn=end_orphaned_runs,
                minimum_interval_seconds=30,
                description="Ends runs whose code server is gone, so that they are started again.",
                default_status=dg.DefaultSensorStatus.RUNNING,
            )
        ]
    )
