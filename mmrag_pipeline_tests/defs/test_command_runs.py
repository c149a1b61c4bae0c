"""A command that was killed in the middle of a run of its own leaves nothing that the next one waits for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import dagster as dg
import pytest

from mmrag_pipeline.command_runs import GONE, TAG
from mmrag_pipeline.dagster_runs import DagsterRuns
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline

DROP = "stripes__d00"
STARTED = dg.DagsterRunStatus.STARTED
_INGEST = """
import os, signal, sys
from mmrag_pipeline.dagster_runs import DagsterRuns
from mmrag_pipeline.defs.ingest import assets
from mmrag_pipeline.settings import load_settings
if "killed" in sys.argv:
    assets.embed_manifest = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
with DagsterRuns(load_settings()) as runs:
    runs.sense_drops()
    runs.run("ingest_drop", sys.argv[1])
"""


def ingest(*words: str) -> int:
    """A process that ingests the drop, as `mmrag backfill` does; one that waits for a place in a pool never ends."""
    return subprocess.run([sys.executable, "-c", _INGEST, DROP, *words], env=dict(os.environ), timeout=120).returncode


@pytest.mark.slow
def test_a_command_killed_within_a_pool_does_not_keep_its_place(pipeline: Pipeline) -> None:
    pipeline.deliver(DROP, {"a.png": COLOURS["red"]})
    assert ingest("killed") == -signal.SIGKILL
    assert ingest() == 0
    assert pipeline.status().in_sync
    with DagsterRuns(pipeline.settings):
        instance = dg.DagsterInstance.get()
        done, killed = instance.get_runs()
        assert (done.status, killed.status) == (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)
        assert any(
            GONE in record.event_log_entry.message for record in instance.get_records_for_run(killed.run_id).records
        )


def test_a_run_of_a_command_that_lives_or_is_elsewhere_is_left_alone(pipeline: Pipeline) -> None:
    def status(run: dg.DagsterRun) -> dg.DagsterRunStatus:
        return instance.get_run_by_id(run.run_id).status

    with pytest.raises(KeyboardInterrupt), DagsterRuns(pipeline.settings) as runs:
        instance = dg.DagsterInstance.get()
        ours, other_machines = (
            instance.create_run_for_job(dg.job(name="going")(lambda: None), status=STARTED, tags={TAG: name})
            for name in (runs._tags[TAG], "a-lock-file-of-another-machine")
        )
        with DagsterRuns(pipeline.settings):
            assert (status(ours), status(other_machines)) == (STARTED, STARTED)
        raise KeyboardInterrupt
    with DagsterRuns(pipeline.settings):
        assert (status(ours), status(other_machines)) == (dg.DagsterRunStatus.FAILURE, STARTED)
