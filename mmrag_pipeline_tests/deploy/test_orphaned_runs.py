"""Runs whose code server is gone are ended, and only those."""

from __future__ import annotations

import time

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from mmrag_pipeline.defs.operate.orphaned_runs import SINCE, WHY, end_orphaned_runs, sensors


def test_what_was_started_before_is_a_crashed_run_and_the_rest_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.instance_for_test(overrides={"run_retries": {"enabled": True, "max_retries": 1}}) as instance:
        dead, cancelled, waiting = _started(instance), _started(instance), create_run_for_test(instance).run_id
        instance.report_run_canceling(instance.get_run_by_id(cancelled))
        ended = _started(instance)
        instance.report_run_failed(instance.get_run_by_id(ended), "of itself")
        time.sleep(0.01)
        monkeypatch.setenv(SINCE, str(time.time()))
        alive = _started(instance)

        assert "2 runs" in _tick(instance)
        assert _statuses(instance, dead, cancelled) == [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
        assert _statuses(instance, alive, waiting) == [DagsterRunStatus.STARTED, DagsterRunStatus.NOT_STARTED]
        assert instance.get_run_by_id(dead).tags["dagster/will_retry"] == "true", "it would not be run again"
        (failure,) = instance.get_records_for_run(dead, of_type=DagsterEventType.RUN_FAILURE).records
        assert failure.event_log_entry.dagster_event.message == WHY
        assert "no run" in _tick(instance)


def test_the_sensor_is_there_only_where_somebody_says_since_when(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SINCE, raising=False)
    assert not list(sensors().sensors or [])
    monkeypatch.setenv(SINCE, "1")
    (sensor,) = sensors().sensors
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


def _started(instance: DagsterInstance) -> str:
    run = create_run_for_test(instance, "ingest_drop", status=DagsterRunStatus.STARTING)
    instance.report_dagster_event(DagsterEvent(DagsterEventType.RUN_START.value, run.job_name), run.run_id)
    return run.run_id


def _statuses(instance: DagsterInstance, *runs: str) -> list[DagsterRunStatus]:
    return [instance.get_run_by_id(run).status for run in runs]


def _tick(instance: DagsterInstance) -> str:
    with dg.build_sensor_context(instance=instance) as context:
        return end_orphaned_runs(context).skip_message
