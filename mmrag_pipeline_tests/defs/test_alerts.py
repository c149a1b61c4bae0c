"""Alerts: one message an incident, to a real webhook, and never its address in a log."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._utils.error import serializable_error_info_from_exc_info
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from mmrag_pipeline.alerts import QUIET_FOR, Alert, Incidents, post
from mmrag_pipeline.defs.ingest.each_drop import FAILED
from mmrag_pipeline.defs.operate import sensors
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.media import library as media_library
from mmrag_pipeline_tests.defs.test_drop_sensor import Ticker, deliver
from mmrag_pipeline_tests.integration.webhook import Channel

NOW = datetime(2026, 11, 27, 3, tzinfo=UTC)


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Channel]:
    channel = Channel()
    monkeypatch.setenv("MMRAG_ALERT_WEBHOOK", channel.address)
    yield channel
    channel.close()


parts = dg.StaticPartitionsDefinition(["a", "b", "c"])
works: set[str] = set()
reasons: dict[str, str] = {}


@dg.op
def fragile(context) -> None:
    if context.partition_key not in works:
        alike = f"drop {context.partition_key} can't be read: mount <the share>"
        raise dg.Failure(reasons.get(context.partition_key, alike), allow_retries=False)


@dg.job(partitions_def=parts)
def nightly():
    fragile()


class Watch:
    """Runs a job on a real instance and ticks the sensor, as the daemon does."""

    def __init__(self, instance: dg.DagsterInstance):
        self.instance, self.logged = instance, ""
        self.cursor: str | None = None
        self.tick()

    def run(self, partition: str, **tags: str) -> str:
        return nightly.execute_in_process(
            instance=self.instance, partition_key=partition, raise_on_error=False, tags=tags
        ).run_id

    def tick(self) -> str:
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            logged: list[str] = []
            context.log.error = lambda text, *values: logged.append(text % values)
            said = sensors.watch(context).skip_message
            self.logged, self.cursor = "\n".join(logged), context.cursor
        return said


@pytest.fixture
def watch() -> Iterator[Watch]:
    works.clear()
    reasons.clear()
    with dg.instance_for_test() as instance:
        yield Watch(instance)


def test_a_failed_run_is_said_once_with_its_sentence_and_where_to_look(
    watch: Watch, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMRAG_DAGSTER_URL", "http://dagster.example/")
    run_id = watch.run("a")
    watch.tick()
    (said,) = channel.said
    assert said.startswith("*nightly failed for a*\ndrop a can't be read: mount &lt;the share&gt;")
    assert "docs/runbook.md" in said and said.endswith(f"http://dagster.example/runs/{run_id}")
    watch.tick()
    assert len(channel.said) == 1
    assert "very-secret" not in watch.cursor + watch.logged


def test_many_partitions_that_fail_alike_are_one_incident_until_all_work(watch: Watch, channel: Channel) -> None:
    for partition in "abc":
        watch.run(partition)
    assert watch.tick() == "3 runs ended lately, 1 alerts, 1 open incidents"
    works.update("ab")
    watch.run("a")
    watch.run("b")
    watch.run("c")
    watch.tick()
    assert len(channel.said) == 1
    works.add("c")
    watch.run("c")
    assert watch.tick().endswith("0 open incidents")
    works.clear()
    watch.run("a")
    watch.tick()
    assert len(channel.said) == 2


def test_every_failed_step_is_said_those_of_the_index_first_and_what_is_live(watch: Watch, channel: Channel) -> None:
    def fails(name: str) -> None:
        if name not in works:
            raise dg.Failure(f"{name} has no room", allow_retries=False)

    @dg.asset
    def near_duplicates() -> None:
        fails("near_duplicates")

    @dg.asset(deps=[near_duplicates.key])
    def after() -> None: ...

    @dg.asset
    def staged_media_index() -> None:
        fails("staged_media_index")

    @dg.asset(deps=[staged_media_index])
    def media_index() -> None: ...

    assets = [near_duplicates, after, staged_media_index, media_index]
    dg.materialize(assets, instance=watch.instance, raise_on_error=False)
    watch.tick()
    live = "What is live stays as it is."
    assert f"\nstaged_media_index has no room\nnear_duplicates has no room\n{live}" in channel.said[0]
    works.add("staged_media_index")
    dg.materialize(assets, instance=watch.instance, raise_on_error=False)
    watch.tick()
    assert "\nnear_duplicates has no room\nThe new index is live all the same." in channel.said[1]
    assert len(channel.said) == 2


def test_a_run_that_is_tried_again_is_not_said(watch: Watch, channel: Channel) -> None:
    watch.run("a", **{sensors.WILL_RETRY: "true"})
    watch.tick()
    assert channel.said == []


def test_without_a_webhook_the_log_has_it(watch: Watch) -> None:
    watch.run("a")
    watch.tick()
    assert watch.logged.startswith("nightly failed for a\ndrop a can't be read: mount <the share>")


def test_what_failed_before_the_sensor_was_switched_on_is_not_said(channel: Channel) -> None:
    with dg.instance_for_test() as instance:
        nightly.execute_in_process(instance=instance, partition_key="a", raise_on_error=False)
        late = Watch(instance)
    assert channel.said == [] and late.logged == ""


def test_an_old_index_is_said_once_and_again_when_it_is_old_again(
    watch: Watch, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.tick()
    assert channel.said == []  # nothing was ever published: there is nothing to be old

    @dg.asset(name="media_index")
    def published() -> None: ...

    dg.materialize([published], instance=watch.instance)
    watch.tick()
    assert channel.said == []
    monkeypatch.setenv("MMRAG_ALERT_STALE_H", "0.0000001")
    watch.tick()
    watch.tick()
    assert len(channel.said) == 1 and "*the live index is old*\nmedia_index was last materialised" in channel.said[0]
    dg.materialize([published], instance=watch.instance)
    watch.tick()
    assert len(channel.said) == 2


def test_a_webhook_that_fails_is_told_of_again_and_its_address_is_nowhere(watch: Watch, channel: Channel) -> None:
    watch.run("a")
    channel.status = 500
    before = watch.cursor
    with pytest.raises(Unavailable, match="HTTP 500") as error:
        watch.tick()
    assert "very-secret" not in f"{error.value!r}{error.value.__cause__!r}" and watch.cursor == before
    channel.status = 200
    watch.tick()
    assert len(channel.said) == 2


def test_what_was_sent_before_the_webhook_failed_is_not_sent_again(watch: Watch, channel: Channel) -> None:
    for partition, sentence in (("a", "one"), ("b", "two"), ("c", "three")):
        reasons[partition] = sentence
        watch.run(partition)
    channel.fails_at = 2
    assert watch.tick().startswith(
        "3 runs ended lately, 1 alerts, 1 open incidents; the webhook of MMRAG_ALERT_WEBHOOK"
    )
    channel.fails_at = 0
    assert ", 2 alerts, 3 open incidents" in watch.tick()
    assert [said.splitlines()[1] for said in channel.said] == ["one", "two", "two", "three"]


def test_the_address_is_in_no_log(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        post(Alert("a", "b", "c"), channel.address)
    assert len(channel.said) == 1 and "very-secret" not in caplog.text


def test_a_redirect_is_not_followed(channel: Channel) -> None:
    channel.status = 302
    with pytest.raises(Unavailable, match="HTTP 302"):
        post(Alert("a", "b", "c"), channel.address)
    assert len(channel.said) == 1


def test_no_webhook_at_the_address() -> None:
    with pytest.raises(Unavailable, match=r"took no alert \(URLError\)") as error:
        post(Alert("a", "b", "c"), "http://127.0.0.1:9/very-secret")
    assert "very-secret" not in str(error.value)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.booleans()), max_size=30))
def test_an_incident_is_open_exactly_while_a_partition_has_failed_last(history: list[tuple[str, str, bool]]) -> None:
    incidents, last = Incidents(), {}
    for job, partition, failed in history:
        last[job, partition] = failed
        if failed:
            said = incidents.failed(job, partition, f"{partition} is gone", now=NOW)
            assert said == (sum(bool(v) for (j, _), v in last.items() if j == job) == 1) or not said
        else:
            incidents.succeeded(job, partition)
    assert {incident["job"] for incident in incidents.known.values()} == {job for (job, _), bad in last.items() if bad}


def test_an_incident_that_goes_on_is_said_again_the_next_day() -> None:
    incidents = Incidents()
    assert incidents.failed("nightly", "", "down", now=NOW)
    assert not incidents.failed("nightly", "", "down", now=NOW + QUIET_FOR - timedelta(seconds=1))
    assert incidents.failed("nightly", "", "down", now=NOW + QUIET_FOR)
    assert incidents.failed("nightly", "", "another reason", now=NOW)


SENSOR = SensorInstigatorData(min_interval=30)
SCHEDULE = ScheduleInstigatorData(cron_schedule="30 2 * * *")


def ticked(
    instance: dg.DagsterInstance,
    name: str,
    trouble: Exception | None,
    data: SensorInstigatorData | ScheduleInstigatorData = SENSOR,
) -> None:
    """What the daemon writes down when a sensor or schedule has ticked."""
    location = RegisteredCodeLocationOrigin("mmrag_pipeline")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    kind = InstigatorType.SENSOR if isinstance(data, SensorInstigatorData) else InstigatorType.SCHEDULE
    state = InstigatorState(origin, kind, InstigatorStatus.RUNNING, data)
    if instance.get_instigator_state(state.instigator_origin_id, state.selector_id) is None:
        instance.add_instigator_state(state)
    else:
        instance.update_instigator_state(state)
    error = None
    if trouble is not None:
        try:
            raise RuntimeError("Error occurred during the execution of evaluation_fn") from trouble
        except RuntimeError as raised:
            error = serializable_error_info_from_exc_info((type(raised), raised, raised.__traceback__))
    instance.create_tick(
        TickData(
            instigator_origin_id=state.instigator_origin_id,
            instigator_name=name,
            instigator_type=kind,
            status=TickStatus.FAILURE if trouble else TickStatus.SKIPPED,
            timestamp=time.time(),
            error=error,
            selector_id=state.selector_id,
        )
    )


def test_a_sensor_that_fails_twice_is_said_once_until_it_works_again(watch: Watch, channel: Channel) -> None:
    unmounted = UserError("the media library /media holds no drop: is the share mounted?")
    said = 0
    for trouble, more in (
        (unmounted, 0),  # once may be a moment
        (unmounted, 1),
        (unmounted, 0),
        (None, 0),
        (unmounted, 0),
        (None, 0),
        (unmounted, 0),
        (unmounted, 1),
    ):
        ticked(watch.instance, "drop_sensor", trouble)
        watch.tick()
        said += more
        assert len(channel.said) == said
    assert channel.said[0].startswith(
        "*drop_sensor fails its ticks*\nthe media library /media holds no drop: is the share mounted?\n"
    )
    ticked(watch.instance, "drop_sensor", RuntimeError("a bug"))
    watch.tick()
    assert "\nRuntimeError: a bug\n" in channel.said[2]


def test_a_schedule_that_fails_is_said_at_once_and_is_not_its_job(watch: Watch, channel: Channel) -> None:
    @dg.op
    def alone() -> None:
        if not works:
            raise dg.Failure("no room", allow_retries=False)

    @dg.job
    def nightly_reindex():
        alone()

    def run() -> str:
        nightly_reindex.execute_in_process(instance=watch.instance, raise_on_error=False)
        return watch.tick()

    ticked(watch.instance, "nightly_reindex", UserError("no such setting"), SCHEDULE)
    assert watch.tick().endswith(", 1 alerts, 1 open incidents")
    assert run().endswith(", 1 alerts, 2 open incidents")
    works.add("")
    assert run().endswith(", 0 alerts, 1 open incidents")
    works.clear()
    run()
    ticked(watch.instance, "nightly_reindex", None, SCHEDULE)
    assert watch.tick().endswith(", 0 alerts, 1 open incidents")
    assert len(channel.said) == 3


def test_a_code_server_that_is_away_for_a_moment_and_its_own_failures_are_not_said(
    watch: Watch, channel: Channel
) -> None:
    for _ in range(2):
        ticked(watch.instance, "drop_sensor", DagsterUserCodeUnreachableError("no answer"))
        ticked(watch.instance, sensors.NAME, Unavailable("the webhook took no alert"))
    watch.tick()
    assert channel.said == []


def test_a_webhook_that_fails_hides_no_failing_sensor(watch: Watch, channel: Channel) -> None:
    for _ in range(2):
        ticked(watch.instance, "drop_sensor", UserError("is the share mounted?"))
    channel.status = 500
    with pytest.raises(Unavailable, match="HTTP 500"):
        watch.tick()
    channel.status = 200
    watch.tick()
    watch.tick()
    assert len(channel.said) == 2


def test_many_vanished_drops_are_said_once_until_they_are_back_or_removed(
    watch: Watch, channel: Channel, tmp_path: Path
) -> None:
    library = Ticker(tmp_path / "media", watch.instance)
    keys = [f"lunar__d{number}" for number in range(9)]
    for key in keys:
        deliver(library.root, *key.split("__"))
    library.settings["vanished_grace_h"] = 0.0

    def look() -> str:
        library.tick()
        ticked(watch.instance, "drop_sensor", None, SensorInstigatorData(cursor=library.cursor))
        return watch.tick()

    def vanish(*numbers: int) -> None:
        for number in numbers:
            shutil.rmtree(library.root / "lunar" / f"d{number}")

    assert look().endswith(", 0 alerts, 0 open incidents")
    vanish(0, 1, 2, 3)
    assert look().endswith(", 1 alerts, 1 open incidents")
    assert channel.said[0].startswith(
        "*many drops have vanished*\n4 drops have vanished, 4 of them more than 0 hours ago"
    )
    assert "lunar__d0" in channel.said[0] and "run the job remove_drop" in channel.said[0]
    vanish(4)  # one more is not another incident, and a run that the same tick requests hides none
    deliver(library.root, "bags", "new")
    assert look().endswith(", 0 alerts, 1 open incidents")
    library.root.rename(tmp_path / "away")  # the tick fails: nobody knows more than before
    with pytest.raises(UserError):
        library.tick()
    assert watch.tick().endswith(", 0 alerts, 1 open incidents")
    (tmp_path / "away").rename(library.root)
    for key in keys[:2]:
        watch.instance.delete_dynamic_partition(media_drops.name, key)  # a person had them removed
    for key in keys[2:5]:
        deliver(library.root, *key.split("__"))
    assert look().endswith(", 0 alerts, 0 open incidents")
    vanish(5, 6, 7, 8)
    assert look().endswith(", 1 alerts, 1 open incidents") and len(channel.said) == 2


def test_vanished_drops_of_a_line_that_can_not_be_listed_for_a_while_are_one_incident(
    watch: Watch, channel: Channel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Ticker(tmp_path / "media", watch.instance)
    for number in range(9):
        deliver(library.root, "lunar", f"d{number}")
    deliver(library.root, "bags", "there")
    library.settings["vanished_grace_h"] = 0.0
    library.tick()
    for number in range(4):
        shutil.rmtree(library.root / "lunar" / f"d{number}")
    honest = media_library.list_folders

    def flaky(folder: UPath) -> list[str]:
        if folder.name == "lunar":
            raise OSError(116, "Stale file handle", str(folder))
        return honest(folder)

    for at in range(5):
        monkeypatch.setattr(media_library, "list_folders", flaky if at % 2 else honest)
        library.tick()
        ticked(watch.instance, "drop_sensor", None, SensorInstigatorData(cursor=library.cursor))
        assert watch.tick().endswith(", 1 open incidents")
    assert len(channel.said) == 1


@pytest.mark.parametrize("cursor", ['{"lunar__d0": [1', "reset", "[]", "zlib:reset"])
def test_a_cursor_that_somebody_typed_is_the_drop_sensors_trouble_alone(
    watch: Watch, channel: Channel, tmp_path: Path, cursor: str
) -> None:
    library = Ticker(tmp_path / "media", watch.instance)
    deliver(library.root, "lunar", "d0")
    library.cursor = cursor
    with pytest.raises(UserError, match="clear it in the UI") as caught:
        library.tick()
    for _ in range(2):
        ticked(watch.instance, "drop_sensor", caught.value, SensorInstigatorData(cursor=cursor))
    for _ in range(3):
        watch.tick()
    (said,) = channel.said
    assert said.startswith("*drop_sensor fails its ticks*") and "clear it in the UI" in said


def test_drops_that_fail_alike_in_one_run_are_one_incident(channel: Channel) -> None:
    """A run of a backfill holds several drops: it is over when each of them was ingested."""
    alike = "Milvus does not answer: start it"

    @dg.op
    def portion() -> None:
        if failed:
            raise dg.Failure("drops failed", metadata={FAILED: dg.MetadataValue.json(failed)}, allow_retries=False)

    @dg.job
    def ingest():
        portion()

    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(media_drops.name, ["l__a", "l__b", "l__c"])
        watch = Watch(instance)

        def run(first: str, last: str) -> str:
            tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
            ingest.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
            return watch.tick()

        failed = {"l__a": alike, "l__b": alike}
        run("l__a", "l__b")
        failed = {"l__c": alike}
        run("l__c", "l__c")
        assert len(channel.said) == 1 and "ingest failed for l__a" in channel.said[0] and alike in channel.said[0]
        failed = {}
        assert "1 open incidents" in run("l__a", "l__b")
        assert "0 open incidents" in run("l__b", "l__c")


def test_of_a_portion_that_fails_those_drops_that_are_done_work_again(channel: Channel) -> None:
    down = "Milvus does not answer: start it"

    @dg.op
    def portion(context) -> None:
        for key in indexed:
            context.log_event(dg.AssetMaterialization("drop_vectors", partition=key))
        if failed:
            raise dg.Failure("drops failed", metadata={FAILED: dg.MetadataValue.json(failed)}, allow_retries=False)
        raise RuntimeError("the worker died")

    @dg.job
    def ingest():
        portion()

    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(media_drops.name, ["l__a", "l__b", "l__c"])
        watch = Watch(instance)

        def run() -> list[list[str]]:
            tags = {"dagster/asset_partition_range_start": "l__a", "dagster/asset_partition_range_end": "l__c"}
            ingest.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
            watch.tick()
            return [incident["partitions"] for incident in json.loads(watch.cursor)["incidents"].values()]

        indexed, failed = ["l__c"], {"l__a": down, "l__b": down}
        assert run() == [["l__a", "l__b"]]
        indexed, failed = ["l__a", "l__b"], {"l__c": down}
        assert run() == [["l__c"]]
        assert len(channel.said) == 2
        indexed, failed = ["l__c"], {}
        assert run() == [["l__a", "l__b"]]
        assert len(channel.said) == 3
        assert "ingest failed for l__a*\nportion: RuntimeError: the worker died" in channel.said[2]
