"""A run whose process was killed is ended; one that lives, or is another launcher's, is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import GRPC_INFO_TAG

from mmrag_pipeline.defs.operate.lost_runs import GONE, end_lost_runs
from mmrag_pipeline.processes import still_runs

WORKER = """
import sys, time
import dagster as dg

@dg.op
def waits():
    print("begun", flush=True)
    sys.stdin.read()

@dg.job
def nightly():
    waits()

with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    nightly.execute_in_process(instance=instance, tags={name: "{}" for name in sys.argv[2:]})
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """A worker of the code server and one of another launcher, each in the middle of its run."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), *tags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for tags in ([GRPC_INFO_TAG], [])
    ]
    for worker in started:
        assert worker.stdout is not None and worker.stdout.readline() == "begun\n"
    yield started
    for worker in started:
        worker.kill()
        worker.wait()


def test_only_a_run_that_lost_its_process_is_ended(
    instance: dg.DagsterInstance, workers: list[subprocess.Popen[str]]
) -> None:
    def tick() -> str:
        with dg.build_sensor_context(instance=instance) as context:
            return end_lost_runs(context).skip_message

    assert tick() == "0 runs had lost their process"
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
    workers[0].wait()  # of the other one a zombie is left
    assert tick() == "1 runs had lost their process"
    (ours,) = instance.get_runs(dg.RunsFilter(tags={GRPC_INFO_TAG: "{}"}))
    assert ours.status == dg.DagsterRunStatus.FAILURE
    (failed,) = instance.get_records_for_run(ours.run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    assert failed.event_log_entry.dagster_event.message == GONE
    assert len(instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))) == 1
    assert tick() == "0 runs had lost their process"


def test_a_younger_process_of_the_same_number_is_another_unless_its_command_says_otherwise() -> None:
    def runs(seen_at: float, command: str) -> bool:
        return still_runs(os.getpid(), seen_at=seen_at, command=command)

    last_week = time.time() - 7 * 24 * 3600
    assert runs(time.time(), "no such word") and not runs(last_week, "no such word")
    assert runs(last_week, "python")


def test_a_zombie_does_not_run() -> None:
    def runs(pid: int) -> bool:
        return still_runs(pid, seen_at=time.time(), command="")

    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        deadline = time.monotonic() + 30
        while runs(ended.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not runs(ended.pid)
    assert not runs(ended.pid)
