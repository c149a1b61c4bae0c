"""Ends runs that died with their code server: `python -m mmrag_pipeline.defs.operate.orphaned_runs`, before one starts.

Dagster's DefaultRunLauncher runs everything in child processes of the code server, and only that server notices when
one dies. Killed with it (a power cut, an upgrade, no memory), a run stays "started" until its maximum run time, and its
drop waits. Where a code server is the only one of its database, whatever is still started when it starts is dead:
reported as failed it is run again, once, as any crashed run is.
"""

import logging

import dagster as dg
from dagster import DagsterRunStatus

WHY = "The code server that this run was a process of is gone: it was stopped or killed before the run had ended."
_log = logging.getLogger("mmrag_pipeline.orphaned_runs")


def end_orphaned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report them; returns their ids. A run that has not begun yet is left to `start_timeout_seconds`."""
    ended = []
    for status in (DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING):
        for run in instance.get_runs(dg.RunsFilter(statuses=[status])):
            if status == DagsterRunStatus.STARTED:
                instance.report_run_failed(run, WHY)
            else:
                instance.report_run_canceled(run, WHY)
            ended.append(run.run_id)
    return ended


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with dg.DagsterInstance.get() as found:
        for run_id in end_orphaned_runs(found):
            _log.warning("run %s: %s", run_id, WHY)
