"""A run whose process was killed is ended; one that lives, or is of another launcher or location, is left alone."""

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
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import GRPC_INFO_TAG

from mmrag_pipeline.defs.operate.lost_runs import GONE, end_lost_runs
from mmrag_pipeline.processes import is_run_worker, run_workers, still_runs

HERE = RegisteredCodeLocationOrigin("mmrag_pipeline")
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(HERE, "__repository__"), "nightly")
WORKER = """
import sys
import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._serdes import deserialize_value

@dg.op
def waits():
    print("begun", flush=True)
    sys.stdin.read()

@dg.job(executor_def=dg.in_process_executor)
def nightly():
    waits()

with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    tags = {name: "{}" for name in sys.argv[3:]}
    run = instance.create_run_for_job(nightly, tags=tags, remote_job_origin=deserialize_value(sys.argv[2]))
    execute_run(InMemoryJob(nightly), run, instance)
"""


@dg.op
def nothing() -> None: ...


@dg.job
def nightly():
    nothing()


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
            [sys.executable, "-c", WORKER, str(tmp_path), dg.serialize_value(ORIGIN), *tags],
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


def begun(instance: dg.DagsterInstance, *, pid: int, location: str = HERE.location_name) -> str:
    """A run that a code server has started and that has said that it runs."""
    server = RegisteredCodeLocationOrigin(location)
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(server, "__repository__"), nightly.name)
    run = instance.create_run_for_job(nightly, tags={GRPC_INFO_TAG: "{}"}, remote_job_origin=origin)
    started = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, nightly.name, pid=pid)
    instance.report_dagster_event(started, run.run_id)
    return run.run_id


def tick(instance: dg.DagsterInstance) -> str:
    with dg.SensorEvaluationContext(None, instance=instance, code_location_origin=HERE) as context:
        return end_lost_runs(context).skip_message


def status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_only_a_run_that_lost_its_process_is_ended(
    instance: dg.DagsterInstance, workers: list[subprocess.Popen[str]]
) -> None:
    (ours,) = instance.get_runs(dg.RunsFilter(tags={GRPC_INFO_TAG: "{}"}))
    assert tick(instance) == "0 runs had lost their process"
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
    workers[0].wait()  # of the other one a zombie is left
    elsewhere = begun(instance, pid=workers[0].pid, location="another")  # a number of another container
    assert tick(instance) == "1 runs had lost their process"
    assert status(instance, ours.run_id) == dg.DagsterRunStatus.FAILURE
    (failed,) = instance.get_records_for_run(ours.run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    assert failed.event_log_entry.dagster_event.message == GONE
    assert status(instance, elsewhere) == dg.DagsterRunStatus.STARTED
    assert len(instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))) == 2
    assert tick(instance) == "0 runs had lost their process"


def test_a_lost_run_does_not_hide_behind_a_later_one_with_its_number(instance: dg.DagsterInstance) -> None:
    elsewhere = begun(instance, pid=os.getpid(), location="another")
    lost, alive = (begun(instance, pid=os.getpid()) for _ in range(2))
    later_elsewhere = begun(instance, pid=os.getpid(), location="another")
    assert tick(instance) == "1 runs had lost their process"
    assert status(instance, lost) == dg.DagsterRunStatus.FAILURE
    for run_id in (elsewhere, alive, later_elsewhere):
        assert status(instance, run_id) == dg.DagsterRunStatus.STARTED


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


def test_the_workers_of_a_code_server_are_known_until_they_end() -> None:
    script = (
        "import multiprocessing as m, time\n"
        "if __name__ == '__main__':\n"
        "    m.get_context('spawn').Process(target=time.sleep, args=(600,)).start()\n"
        "    print('begun', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stdout.readline() == "begun\n"
        (worker,) = run_workers(server.pid)  # not the process that multiprocessing has besides
        server.kill()
        server.wait()
        assert is_run_worker(worker)
        worker.kill()
    deadline = time.monotonic() + 30
    while is_run_worker(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_run_worker(worker) and not run_workers(server.pid)
