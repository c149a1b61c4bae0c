"""A brief with `mode: batch` through real Dagster runs: ordered, watched by the sensor, collected."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from mmrag_pipeline.campaigns.batch_ledger import BatchLedger
from mmrag_pipeline.dagster_runs import DagsterRuns, RunOutcome
from mmrag_pipeline.definitions import defs
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.plan_brief import plan_brief
from mmrag_pipeline.settings import load_settings
from mmrag_pipeline_tests.defs.test_campaigns import BRIEF, KEY, completeness, occurrence
from mmrag_pipeline_tests.integration.gemini_batches import LEFT_OUT, GeminiBatchServer
from mmrag_pipeline_tests.integration.gemini_server import error
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[GeminiBatchServer]:
    with GeminiBatchServer(states=["PENDING", "RUNNING"]) as running:
        monkeypatch.setenv("MMRAG_IMAGE_BACKEND", "gemini")
        monkeypatch.setenv("MMRAG_GEMINI_API_KEY", running.key)
        monkeypatch.setenv("MMRAG_GEMINI_BASE_URL", running.url)
        yield running
        assert running.problems == []


@pytest.fixture
def campaign(pipeline: Pipeline, server: GeminiBatchServer) -> Pipeline:
    pipeline.deliver("lunar__2026-09", {f"{name}.png": colour for name, colour in COLOURS.items()})
    pipeline.ingest()
    (pipeline.root / "briefs" / "spring.yaml").write_text(BRIEF + "mode: batch\n")
    return pipeline


def run(pipeline: Pipeline, job: str) -> RunOutcome:
    with DagsterRuns(pipeline.settings) as runs:
        runs.add_occurrence(KEY)
        return runs.run(job, KEY)


def tick() -> tuple[list[dg.RunRequest], str]:
    """One tick of the sensor as the daemon makes it, on the real instance: what it asks for, or why for nothing."""
    loaded = defs()
    repository = loaded.get_repository_def()
    sensor = repository.get_sensor_def("campaign_batches")
    needed = {"image_backend": loaded.resources["image_backend"]}
    with (
        dg.DagsterInstance.get() as instance,
        dg.build_sensor_context(
            instance_ref=instance.get_ref(), repository_def=repository, sensor_name=sensor.name, resources=needed
        ) as context,
    ):
        data = sensor.evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message or ""


def answer(request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    """The run that a request asks for, with its tags."""
    with dg.DagsterInstance.get() as instance:
        return (
            defs()
            .resolve_job_def(request.job_name)
            .execute_in_process(
                instance=instance, partition_key=request.partition_key, tags=dict(request.tags), raise_on_error=False
            )
        )


def test_ordered_watched_and_collected_at_half_price(campaign: Pipeline, server: GeminiBatchServer) -> None:
    assert tick() == ([], "nothing was ever ordered")
    ordered = run(campaign, "submit_campaign").metadata
    assert ordered["campaign_batch"]["ordered"] == 2 and len(server.jobs) == 1
    assert tick() == ([], "1 batch jobs run, 0 have ended, 0 are not submitted")
    server.scripted["get"] = [error(503, "UNAVAILABLE", "busy")]
    requests, said = tick()
    assert requests == [] and "ask after a batch job" in said
    waiting = run(campaign, "collect_campaign").metadata["campaign_images"]
    assert (waiting["in_batch"], waiting["requests"]) == (2, 0)
    assert not completeness().passed and "wait for the batch jobs" in completeness().description.lower()

    server.finish()
    (request,), _ = tick()
    assert (request.job_name, request.partition_key) == ("collect_campaign", KEY)
    assert tick()[0][0].run_key == request.run_key, "Dagster takes the same request twice for one"
    assert answer(request).success
    assert tick() == ([], "no batch job is open")
    images = occurrence(campaign) / "images"
    assert len(list(images.glob("*.jpg"))) == 2 and (occurrence(campaign) / "gallery.html").exists()
    assert completeness().passed and server.requests == []
    assert BatchLedger(campaign.settings.ledger_file).spent() == pytest.approx(server.billed_usd, abs=1e-5)

    files = [path for path in campaign.root.rglob("*") if path.is_file()]
    assert len(files) > 20 and not [path for path in files if server.key.encode() in path.read_bytes()]
    again = run(campaign, "submit_campaign").metadata["campaign_batch"]
    assert again["ordered"] == 0 and len(server.jobs) == 1


@pytest.mark.slow
def test_a_run_that_failed_is_asked_for_again_after_a_while(
    campaign: Pipeline, server: GeminiBatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(campaign, "submit_campaign")
    server.finish()
    server.lines = [LEFT_OUT]
    (first,), _ = tick()
    server.scripted["download"] = [error(503, "UNAVAILABLE", "busy")]
    assert not answer(first).success
    assert tick()[0] == [], "not at once"
    monkeypatch.setattr("mmrag_pipeline.defs.campaigns.sensors.AT_MOST", -timedelta(seconds=1))
    (second,), _ = tick()
    assert second.run_key != first.run_key and second.tags == first.tags
    assert answer(second).success and len(server.requests) == 1, "the missing key went online"
    assert tick()[0] == []


@pytest.mark.slow
def test_an_order_whose_run_died_is_gone_on_with_by_the_sensor(
    campaign: Pipeline, server: GeminiBatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(*_: object, **__: object) -> None:
        raise UserError("killed")

    with monkeypatch.context() as killing, pytest.raises(UserError, match="killed"):
        killing.setattr(BatchLedger, "submitted", dying)
        run(campaign, "submit_campaign")
    assert tick() == ([], "0 batch jobs run, 0 have ended, 1 are not submitted"), "its run may still be at it"
    monkeypatch.setattr("mmrag_pipeline.defs.campaigns.sensors.AGAIN", -timedelta(seconds=1))
    (request,), _ = tick()
    assert request.job_name == "submit_campaign" and len(server.jobs) == 1
    assert answer(request).success and len(server.jobs) == 1
    assert tick() == ([], "1 batch jobs run, 0 have ended, 0 are not submitted")


@pytest.mark.slow
def test_a_run_that_failed_for_weeks_hides_no_job(
    campaign: Pipeline, server: GeminiBatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(campaign, "submit_campaign")
    server.finish()
    (request,), _ = tick()
    job = defs().resolve_job_def("collect_campaign")
    with dg.DagsterInstance.get() as instance:
        for _ in range(60):
            instance.create_run_for_job(job, tags=dict(request.tags), status=dg.DagsterRunStatus.FAILURE)
    assert tick()[0] == [], "not at once, but it waits"
    monkeypatch.setattr("mmrag_pipeline.defs.campaigns.sensors.AT_MOST", -timedelta(seconds=1))
    assert [again.run_key for again in tick()[0]] == [request.run_key.replace("#0", "#60")]


def test_an_order_that_never_got_through_is_released_by_the_sensor_though_its_brief_is_gone(
    campaign: Pipeline, server: GeminiBatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(*_: object, **__: object) -> None:
        raise UserError("killed")

    with monkeypatch.context() as killing, pytest.raises(UserError, match="killed"):
        killing.setattr("mmrag_pipeline.campaigns.batch_submit._Submission._submit", dying)
        run(campaign, "submit_campaign")
    (campaign.root / "briefs" / "spring.yaml").unlink()
    monkeypatch.setattr("mmrag_pipeline.resources.ImageBackendResource.batch_deadline", timedelta(0))
    (request,), _ = tick()
    assert request.job_name == "collect_campaign"
    assert answer(request).success
    assert tick() == ([], "no batch job is open") and server.jobs == {} and server.requests == []
    assert BatchLedger(campaign.settings.ledger_file).spent() == 0


@pytest.mark.slow
def test_another_backend_waits_until_the_jobs_are_collected(
    campaign: Pipeline, server: GeminiBatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(campaign, "submit_campaign")
    monkeypatch.setenv("MMRAG_IMAGE_BACKEND", "preview")
    assert plan_brief(load_settings(), "spring", now=datetime.now(UTC), occurrence=KEY).plan.backend == "gemini"
    replan = {"ops": {"campaign_plan": {"config": {"replan": True}}}}
    for config in ({}, replan):
        waiting = campaign.run("run_campaign", KEY, config=config).metadata
        assert waiting["campaign_plan"]["backend"] == "gemini" and waiting["campaign_plan"]["kept_from_earlier_run"]
        assert waiting["campaign_images"]["in_batch"] == 2
    server.finish()
    (request,), _ = tick()
    assert answer(request).success and tick() == ([], "no batch job is open")
    assert len(list((occurrence(campaign) / "images").glob("*.jpg"))) == 2 and server.requests == []
    drawn = campaign.run("run_campaign", KEY).metadata
    assert drawn["campaign_plan"]["backend"] == "preview" and drawn["campaign_images"]["made"] == 2


def test_the_schedule_of_a_batch_brief_orders(
    pipeline: Pipeline, server: GeminiBatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pipeline.root / "briefs" / "spring.yaml").write_text(BRIEF + "mode: batch\n")

    def job() -> str:
        schedule = next(item for item in defs().schedules if item.name == "campaign_spring")
        with dg.instance_for_test() as instance:
            due = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)
            with dg.build_schedule_context(instance=instance, scheduled_execution_time=due) as context:
                assert schedule(context).partition_key == KEY
        return schedule.job_name

    assert job() == "submit_campaign"
    monkeypatch.setenv("MMRAG_IMAGE_BACKEND", "preview")
    assert job() == "run_campaign", "what is free is drawn at once"


@pytest.mark.slow
def test_what_was_never_ordered_can_be_made_online_when_asked_for(
    campaign: Pipeline, server: GeminiBatchServer
) -> None:
    assert campaign.run("run_campaign", KEY).metadata["campaign_images"]["in_batch"] == 2
    online = {"ops": {"campaign_images": {"config": {"online": True}}}}
    assert campaign.run("run_campaign", KEY, config=online).metadata["campaign_images"]["made"] == 2
    assert len(server.requests) == 2 and server.jobs == {}

    (campaign.root / "briefs" / "spring.yaml").write_text(BRIEF)
    with pytest.raises(UserError, match="write `mode: batch`"):
        run(campaign, "submit_campaign")
