"""What goes wrong in the night. After each, the end is that of an undisturbed night, and the operator was told once."""

from __future__ import annotations

import random
import time

from PIL import Image

from mmrag_pipeline_tests.e2e.acts import FIVE, LINE
from mmrag_pipeline_tests.e2e.stage import Stage


def milvus_stops_in_the_middle_of_a_sync(stage: Stage) -> None:
    """Gone for a minute while rows are written, and back: the same run ends well."""
    key = "faults__milvus"
    stage.deliver_plain(key, 60)
    stage.dagster.add_partition("media_drops", key)
    run = stage.dagster.launch("ingest_drop", partition=key)
    stage.dagster.wait_for(lambda: stage.dagster.step_started(run, "drop_vectors"), "rows are being written")
    stage.milvus.stop()
    time.sleep(60)
    stage.milvus.start()
    assert stage.dagster.finished(run, within_s=400).status == "SUCCESS"
    stage.dagster.wait_for(stage.is_in_sync, "the live collection is the library")


def the_code_server_is_killed_during_a_run(stage: Stage) -> None:
    """Its runs die with it; Dagster notices, starts the run once more, and nothing is doubled or lost."""
    key = "faults__code-server"
    stage.deliver_plain(key, 60)
    stage.dagster.add_partition("media_drops", key)
    run = stage.dagster.launch("ingest_drop", partition=key)
    stage.dagster.wait_for(lambda: stage.dagster.step_started(run, "clip_embeddings"), "pictures are being embedded")
    stage.dagster.kill("code")
    stage.dagster.start("code")
    stage.dagster.wait_for(
        lambda: any(r.partition == key and r.status == "SUCCESS" for r in stage.dagster.runs("ingest_drop")),
        "the run was started again and has succeeded",
        within_s=600,
    )
    assert stage.is_in_sync()
    tries = [r for r in stage.dagster.runs("ingest_drop") if r.partition == key]
    stage.tell(f"{len(tries)} runs: {', '.join(sorted(r.status for r in tries))}")


def the_daemon_is_killed_while_drops_arrive(stage: Stage) -> None:
    """Killed at random moments of its ticks: every drop has its partition and is ingested, none twice at once."""
    chance, keys = random.Random(7), [f"faults__daemon-{number}" for number in range(6)]
    stage.dagster.switch_on_sensor("drop_sensor")
    for key in keys:
        stage.deliver_plain(key)
    for _ in range(4):
        time.sleep(chance.uniform(5, 25))
        stage.dagster.kill("daemon")
        stage.dagster.start("daemon")
    stage.dagster.wait_for(
        lambda: set(keys) <= {r.partition for r in stage.dagster.runs("ingest_drop") if r.status == "SUCCESS"},
        "every drop is ingested",
        within_s=600,
    )
    stage.dagster.wait_for(stage.is_in_sync, "the live collection is the library")


def a_second_daemon_is_started(stage: Stage) -> None:
    """Two daemons on one database: one of them says so, and nothing runs twice."""
    before = len(stage.dagster.runs())
    stage.dagster.start("daemon-2")
    stage.dagster.wait_for(
        lambda: (
            "daemon" in (log := stage.dagster.log("daemon-2") + stage.dagster.log("daemon")).lower()
            and "Another" in log
        ),
        "one of the two says that there is another",
        within_s=200,
    )
    stage.dagster.kill("daemon-2")
    assert len(stage.dagster.runs()) == before


def two_runs_of_one_drop_at_once(stage: Stage) -> None:
    """The queue lets one wait for the other."""
    runs = [stage.dagster.launch("ingest_drop", partition=FIVE[1]) for _ in range(2)]
    assert [stage.dagster.finished(run).status for run in runs] == ["SUCCESS", "SUCCESS"]
    assert stage.is_in_sync()


def a_drop_changes_while_it_is_embedded(stage: Stage) -> None:
    """What was there when it was scanned is embedded or said to be gone; the next tick brings the change in."""
    key = "faults__changing"
    folder = stage.deliver_plain(key, 80)
    stage.dagster.add_partition("media_drops", key)
    run = stage.dagster.launch("ingest_drop", partition=key)
    stage.dagster.wait_for(lambda: stage.dagster.step_started(run, "clip_embeddings"), "pictures are being embedded")
    Image.new("RGB", (80, 80), (250, 220, 10)).save(folder / "0.png")
    (folder / "1.png").unlink()
    stage.dagster.finished(run)
    again = stage.dagster.finished(stage.dagster.launch("ingest_drop", partition=key))
    assert again.status == "SUCCESS" and stage.is_in_sync()


def the_share_is_not_mounted(stage: Stage) -> None:
    """The library's folder is empty at 02:00: nothing is removed, the sensor says it; when it is back all is well."""
    away = stage.media.with_name("media-away")
    before = stage.status().live.rows
    stage.media.rename(away)
    stage.media.mkdir()
    stage.dagster.wait_for(
        lambda: "is the share mounted" in stage.dagster.last_tick_error("drop_sensor"), "the sensor says it"
    )
    assert stage.dagster.finished(stage.dagster.launch("nightly_reindex")).status == "SUCCESS"
    stage.media.rmdir()
    away.rename(stage.media)
    assert stage.status().live.rows == before and stage.is_in_sync()
    assert any(key.startswith(LINE) for key in stage.partitions())


FAULTS = {
    "Milvus stops in the middle of a sync": milvus_stops_in_the_middle_of_a_sync,
    "the code server is killed during a run": the_code_server_is_killed_during_a_run,
    "the daemon is killed while drops arrive": the_daemon_is_killed_while_drops_arrive,
    "a second daemon is started": a_second_daemon_is_started,
    "two runs of one drop at once": two_runs_of_one_drop_at_once,
    "a drop changes while it is embedded": a_drop_changes_while_it_is_embedded,
    "the share is not mounted": the_share_is_not_mounted,
}
