"""The story: drops arrive, change and vanish; 02:00 comes; a product line is backfilled; a campaign's time comes."""

from __future__ import annotations

import re
import shutil
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from mmrag_pipeline.find import find
from mmrag_pipeline_tests.e2e.stage import TIMEZONE, Act, Stage

FIVE = ["bags__2026-08", "watches__2026-08", "lunar__2026-09", "shoes__2026-09", "home__2026-09"]
LINE, DROPS = "stripes", 40
ASSETS = ["drop_manifest", "clip_embeddings", "drop_vectors"]
NIGHTS = {  # from noon on: half past two is not there, is there twice
    "2027-03-27": ["2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"],
    "2027-10-30": ["2027-10-31T02:30:00+01:00", "2027-11-01T02:30:00+01:00"],
}


def five_drops_appear(stage: Stage) -> None:
    """Switched on, the sensor finds them, and each is searchable after one run."""
    stage.deliver_packaged(FIVE)
    stage.dagster.switch_on_sensor("drop_sensor")
    stage.dagster.wait_for(lambda: len(stage.succeeded("ingest_drop")) == 5, "five drops are ingested")
    assert stage.is_in_sync() and sorted(stage.partitions()) == sorted(FIVE)
    hits = find(stage.settings, text="a golden watch").hits
    assert hits[0].product_line == "watches", hits[0]
    stage.tell(f"{stage.status().live.rows} pictures, 'a golden watch' finds {hits[0].drop}/{hits[0].path}")


def one_changes_one_vanishes(stage: Stage) -> None:
    """A picture is added to one drop and one drop's folder is gone: the index follows, the partition goes."""
    before = stage.status().live.rows
    gone = FIVE[-1]
    assert gone in [row.drop for row in stage.status().drops]
    source = next(stage.media.joinpath(*FIVE[0].split("__")).glob("*.jpg"))
    changed = stage.media.joinpath(*FIVE[0].split("__"), "another.jpg")
    changed.write_bytes(source.read_bytes() + b"\0")
    shutil.rmtree(stage.media.joinpath(*gone.split("__")))
    dagster = stage.dagster
    dagster.wait_for(lambda: gone not in stage.partitions(), "the vanished drop's partition is gone")
    dagster.wait_for(lambda: len(stage.succeeded("ingest_drop", FIVE[0])) == 2, "the changed drop is ingested again")
    dagster.wait_for(stage.is_in_sync, "the live collection follows")
    stage.tell(f"{before} rows before, {stage.status().live.rows} after")


def half_past_two_comes(stage: Stage) -> None:
    """Each night has one tick, those in which clocks change too; its run publishes, and the next one is quiet."""
    dagster, zone = stage.dagster, ZoneInfo(TIMEZONE)
    for noon, ticks in NIGHTS.items():
        after = datetime.fromisoformat(f"{noon}T12:00").replace(tzinfo=zone).timestamp()
        found = dagster.future_ticks("nightly_reindex", after=after, count=2)
        assert [datetime.fromtimestamp(tick, zone).isoformat() for tick in found] == ticks, found
        for tick in found:
            (request,) = dagster.evaluate_schedule("nightly_reindex", tick)
            assert request["jobName"] in ("nightly_reindex", None)
    for _ in range(2):
        started = time.monotonic()
        run = dagster.finished(dagster.launch("nightly_reindex"))
        assert run.status == "SUCCESS", run
        stage.tell(f"{time.monotonic() - started:.0f} s")


def a_product_line_is_backfilled(stage: Stage) -> None:
    """Forty drops at once, launched as the backfill dialog does; then published once."""
    keys = [f"{LINE}__d{number:02d}" for number in range(DROPS)]
    before = stage.status().live.rows
    dagster = stage.dagster
    dagster.switch_off_sensor("drop_sensor")
    for key in keys:
        stage.deliver_plain(key)
        dagster.add_partition("media_drops", key)
    backfill = dagster.backfill(ASSETS, keys)
    dagster.wait_for(
        lambda: dagster.backfill_status(backfill) in ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "COMPLETED"),
        "the backfill ends",
    )
    assert dagster.backfill_status(backfill) == "COMPLETED_SUCCESS", dagster.backfill_status(backfill)
    run = dagster.finished(dagster.launch("nightly_reindex"))
    assert run.status == "SUCCESS" and stage.is_in_sync(before + 4 * DROPS)
    runs = [run for run in dagster.runs() if run.tags.get("dagster/backfill") == backfill]
    stage.tell(f"{len(runs)} runs, {stage.status().live.rows} rows live")


def a_campaign_s_time_comes(stage: Stage) -> None:
    """The brief's own schedule ticks by itself, once an occurrence, and a gallery is there."""
    dagster = stage.dagster
    dagster.switch_on_schedule("campaign_evening")
    dagster.wait_for(lambda: dagster.runs("run_campaign"), "the brief's schedule asks for a run", every_s=0.5)
    dagster.switch_off_schedule("campaign_evening")  # after more than one minute there is more than one run
    for run in dagster.runs("run_campaign"):
        assert dagster.finished(run.id).status == "SUCCESS", run
    occurrences = [run.partition for run in dagster.runs("run_campaign")]
    assert len(occurrences) == len(set(occurrences)), occurrences
    galleries = list(Path(stage.settings.store).glob("campaigns/evening/*/gallery.html"))
    assert len(galleries) == len(occurrences) and re.search(r"data:image/jpeg", galleries[0].read_text())
    stage.tell(str(galleries[0].relative_to(stage.root)))


STORY = {
    "five drops appear": Act(five_drops_appear),
    "one changes, one vanishes": Act(one_changes_one_vanishes),
    "half past two comes": Act(half_past_two_comes),
    "a campaign's time comes": Act(a_campaign_s_time_comes),
}
LAST = {"a product line of 40 drops is backfilled": Act(a_product_line_is_backfilled)}
"""After the faults: its drops would be found by the sensor too, which it switches off."""
