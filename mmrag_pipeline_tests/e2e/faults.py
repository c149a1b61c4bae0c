"""What goes wrong in the night. After each, the end is that of an undisturbed night, and the operator was told once, or
not at all where nobody needs to do anything.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from PIL import Image

from mmrag_pipeline_tests.e2e.stage import Act, NotPlayed, Stage
from mmrag_pipeline_tests.integration.small_disk import NoMount

SLOW_S = 0.25
GONE_S = 60.0
TESTS = Path(__file__).parents[1]


def milvus_stops_in_the_middle_of_a_sync(stage: Stage) -> None:
    """Gone for a minute while rows are written, and back: the same run ends well."""
    stage.network.delay_s = SLOW_S  # else it would be over before it can be stopped
    run = stage.arrives("faults__milvus", 60)
    stage.dagster.wait_for(lambda: stage.dagster.step_started(run.id, "drop_vectors"), "rows are written", every_s=0.2)
    stage.milvus.stop()
    stage.network.delay_s = 0.0
    time.sleep(GONE_S)
    stage.milvus.start()
    assert stage.dagster.finished(run.id).status == "SUCCESS"


def milvus_is_slow_and_a_drop_is_asked_for_twice(stage: Stage) -> None:
    """Every answer takes its time: the runs end well, one after the other, and nothing is doubled."""
    stage.network.delay_s = SLOW_S
    try:
        run = stage.arrives("faults__slow", 8)
        again = stage.dagster.launch("ingest_drop", partition=run.partition)
        ends = [stage.dagster.finished(each) for each in (run.id, again)]
    finally:
        stage.network.delay_s = 0.0
    assert [each.status for each in ends] == ["SUCCESS", "SUCCESS"]
    first, second = ends
    assert first.ended_at <= second.started_at, ends


def the_code_server_is_killed_during_a_run(stage: Stage) -> None:
    """Its runs die with it; that is noticed, Dagster starts the run once more, and nothing is doubled or lost."""
    run = stage.arrives("faults__code-server", 60)
    dagster = stage.dagster
    dagster.wait_for(lambda: dagster.step_started(run.id, "clip_embeddings"), "pictures are embedded", every_s=0.2)
    dagster.kill("code")
    dagster.start("code")
    dagster.wait_for(lambda: stage.succeeded("ingest_drop", run.partition), "the run was started again and is done")
    tries = [each.status for each in dagster.runs("ingest_drop") if each.partition == run.partition]
    assert sorted(tries) == ["FAILURE", "SUCCESS"], tries


def the_daemon_is_killed_while_drops_arrive(stage: Stage) -> None:
    """Killed when the drops have their partitions and not yet all their runs: each is ingested, and once."""
    keys = [f"faults__daemon-{number}" for number in range(5)]
    dagster = stage.dagster
    dagster.kill("daemon")  # so that one tick finds all of them
    for key in keys:
        stage.deliver_plain(key)
    time.sleep(float(stage.settings.quiet_s) + 1)
    dagster.start("daemon")
    dagster.wait_for(lambda: set(keys) <= set(stage.partitions()), "all have their partitions", every_s=0.02)
    dagster.kill("daemon")
    asked = [run.partition for run in dagster.runs("ingest_drop") if run.partition in keys]
    stage.tell(f"{len(asked)} of {len(keys)} runs were asked for when it was killed")
    dagster.start("daemon")
    for key in keys:
        dagster.wait_for(lambda key=key: stage.succeeded("ingest_drop", key), f"{key} is ingested")
    runs = sorted(run.partition for run in dagster.runs("ingest_drop") if run.partition in keys)
    assert runs == keys, runs


def a_second_daemon_is_started(stage: Stage) -> None:
    """Two daemons on one database: one of them says so in its log."""
    dagster = stage.dagster
    dagster.start("daemon-2")
    run = stage.arrives("faults__two-daemons", 4)
    dagster.wait_for(
        lambda: any("daemon is still sending heartbeats" in dagster.log(name) for name in ("daemon", "daemon-2")),
        "one of the two says that there is another",
    )
    dagster.wait_for(lambda: stage.succeeded("ingest_drop", run.partition), "the drop is ingested")
    dagster.kill("daemon-2")


def a_drop_changes_while_it_is_embedded(stage: Stage) -> None:
    """The run says that what it scanned is no longer there; the next tick asks for the drop as it is now."""
    run = stage.arrives("faults__changing", 60)
    folder = stage.media / "faults" / "changing"
    stage.dagster.wait_for(
        lambda: stage.dagster.step_started(run.id, "clip_embeddings"), "pictures are embedded", every_s=0.2
    )
    for number in range(20):
        (folder / f"{number}.png").unlink()
    Image.new("RGB", (80, 80), (250, 220, 10)).save(folder / "20.png")
    assert stage.dagster.finished(run.id).status == "FAILURE"
    stage.dagster.wait_for(lambda: stage.succeeded("ingest_drop", run.partition), "the drop as it is now is ingested")


def the_share_is_not_mounted(stage: Stage) -> None:
    """The library's folder is empty at half past two: nothing is removed; when it is back all is well."""
    away = stage.media.with_name("media-away")
    before, partitions = stage.status().live, stage.partitions()
    stage.media.rename(away)
    stage.media.mkdir()
    dagster = stage.dagster
    dagster.wait_for(lambda: len(stage.channel.said) > stage.heard, "people are told")
    assert dagster.finished(dagster.launch("nightly_reindex")).status == "SUCCESS"
    assert (stage.status().live, stage.partitions()) == (before, partitions)
    stage.media.rmdir()
    away.rename(stage.media)
    back = time.time()
    dagster.wait_for(lambda: dagster.ticked_since("drop_sensor", back), "the sensor sees it again")


def the_disk_is_full(stage: Stage) -> None:
    """No room for the vectors of a drop: its run says so; with room, it goes on where it stopped."""
    if isinstance(stage.disk, NoMount):
        raise NotPlayed(str(stage.disk))
    dagster = stage.dagster
    run = stage.arrives("faults__disk", 40)
    dagster.wait_for(lambda: dagster.step_started(run.id, "clip_embeddings"), "pictures are embedded", every_s=0.2)
    stage.disk.fill()
    try:
        assert dagster.finished(run.id).status == "FAILURE"
        dagster.wait_for(lambda: len(stage.channel.said) > stage.heard, "people are told")
    finally:
        stage.disk.make_room()
    assert dagster.finished(dagster.retry(run.id)).status == "SUCCESS"


def postgres_is_restarted_during_a_run(stage: Stage) -> None:
    """On a stage of its own: the commands of docker-compose.yml, with PostgreSQL gone for a while."""
    _played_by(stage, "deploy/test_native.py::test_postgres_restarts_during_a_run")


def the_disk_is_full_under_milvus_lite(stage: Stage) -> None:
    """On a stage of its own too: Lite flushes, or a parquet file is written, and there is no room."""
    _played_by(stage, "index/test_full_disk.py")


def _played_by(stage: Stage, test: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(TESTS / test)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=TESTS.parent)
    said = run.stdout.strip().splitlines() or [run.stderr]
    if run.returncode == 0 and "passed" not in said[-1]:
        raise NotPlayed(" ".join(line for line in said if line.startswith("SKIPPED")))
    assert run.returncode == 0, run.stdout[-2000:]
    stage.tell(f"{test.partition('::')[0]}: {said[-1]}")


FAULTS = {
    "Milvus stops in the middle of a sync": Act(milvus_stops_in_the_middle_of_a_sync),
    "Milvus is slow, and a drop is asked for twice": Act(milvus_is_slow_and_a_drop_is_asked_for_twice),
    "the code server is killed during a run": Act(the_code_server_is_killed_during_a_run),
    "the daemon is killed while drops arrive": Act(the_daemon_is_killed_while_drops_arrive),
    "a second daemon is started": Act(a_second_daemon_is_started),
    "a drop changes while it is embedded": Act(
        a_drop_changes_while_it_is_embedded,
        messages=(r"ingest_drop failed for faults__changing\*\n.*changed since it was scanned",),
    ),
    "the share is not mounted": Act(
        the_share_is_not_mounted,
        messages=(r"drop_sensor fails its ticks\*\nthe media library .* is the share mounted\?",),
    ),
    "the disk is full": Act(
        the_disk_is_full,
        messages=(r"ingest_drop failed for faults__disk\*\nno space is left to write .*embeddings.*: make room",),
    ),
    "the disk is full under Milvus Lite": Act(the_disk_is_full_under_milvus_lite),
    "PostgreSQL is restarted during a run": Act(postgres_is_restarted_during_a_run),
}
