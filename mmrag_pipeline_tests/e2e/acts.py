"""The story: drops arrive, change and vanish; 02:00 comes; a product line is backfilled; a campaign's time comes."""

from __future__ import annotations

import re
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mmrag_pipeline.find import find
from mmrag_pipeline_tests.e2e.stage import Stage

FIVE = ["bags__2026-08", "watches__2026-08", "lunar__2026-09", "shoes__2026-09", "home__2026-09"]
LINE, DROPS = "stripes", 40
ASSETS = ["drop_manifest", "clip_embeddings", "drop_vectors"]


def five_drops_appear(stage: Stage) -> None:
    """Switched on, the sensor finds them, and each is searchable after one run."""
    stage.deliver_packaged(FIVE)
    stage.dagster.switch_on_sensor("drop_sensor")
    stage.dagster.switch_on_sensor("alerts")
    stage.dagster.wait_for(lambda: len(_succeeded(stage, "ingest_drop")) == 5, "five drops are ingested")
    assert stage.is_in_sync() and sorted(stage.partitions()) == sorted(FIVE)
    hits = find(stage.settings, text="a golden watch").hits
    assert hits[0].product_line == "watches", hits[0]
    stage.tell(f"{stage.status().live.rows} pictures, 'a golden watch' finds {hits[0].drop}/{hits[0].path}")


def one_changes_one_vanishes(stage: Stage) -> None:
    """A picture is added to one drop and one drop's folder is gone: the index follows, the partition goes."""
    before = stage.status().live.rows
    gone = FIVE[-1]
    files = len([row for row in stage.status().drops if row.drop == gone])
    assert files
    source = next(stage.media.joinpath(*FIVE[0].split("__")).glob("*.jpg"))
    changed = stage.media.joinpath(*FIVE[0].split("__"), "another.jpg")
    changed.write_bytes(source.read_bytes() + b"\0")
    shutil.rmtree(stage.media.joinpath(*gone.split("__")))
    dagster = stage.dagster
    dagster.wait_for(lambda: gone not in stage.partitions(), "the vanished drop's partition is gone")
    dagster.wait_for(lambda: len(_succeeded(stage, "ingest_drop", FIVE[0])) == 2, "the changed drop is ingested again")
    dagster.wait_for(stage.is_in_sync, "the live collection follows")
    stage.tell(f"{before} rows before, {stage.status().live.rows} after")


def two_in_the_morning(stage: Stage) -> None:
    """The nightly schedule, evaluated at its next 02:00, requests one run; it publishes, and the next one is quiet."""
    now = datetime.now(UTC)
    at = datetime(now.year, now.month, now.day, 2, tzinfo=UTC) + timedelta(days=1)
    (request,) = stage.dagster.evaluate_schedule("nightly_reindex", at.timestamp())
    assert request["jobName"] in ("nightly_reindex", None)
    for _ in range(2):
        started = time.monotonic()
        run = stage.dagster.finished(stage.dagster.launch("nightly_reindex"))
        assert run.status == "SUCCESS", run
        stage.tell(f"{time.monotonic() - started:.0f} s")
    assert stage.is_in_sync()


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
        within_s=900,
    )
    assert dagster.backfill_status(backfill) == "COMPLETED_SUCCESS", dagster.backfill_status(backfill)
    run = dagster.finished(dagster.launch("nightly_reindex"))
    assert run.status == "SUCCESS" and stage.is_in_sync(before + 4 * DROPS)
    runs = [run for run in dagster.runs() if run.tags.get("dagster/backfill") == backfill]
    stage.tell(f"{len(runs)} runs, {stage.status().live.rows} rows live")


def a_campaign_s_time_comes(stage: Stage) -> None:
    """The brief's own schedule ticks by itself, once an occurrence, and a gallery is there."""
    stage.dagster.switch_on_schedule("campaign_evening")
    stage.dagster.wait_for(lambda: _succeeded(stage, "run_campaign"), "a campaign has run", within_s=400)
    stage.dagster.switch_off_schedule("campaign_evening")
    galleries = list(Path(stage.settings.store).glob("campaigns/evening/*/gallery.html"))
    assert galleries and re.search(r"data:image/jpeg", galleries[0].read_text())
    stage.tell(str(galleries[0].relative_to(stage.root)))


def _succeeded(stage: Stage, job: str, partition: str | None = None) -> list[str]:
    return [run.id for run in stage.dagster.runs(job) if run.status == "SUCCESS" and partition in (None, run.partition)]


STORY = {
    "five drops appear": five_drops_appear,
    "one changes, one vanishes": one_changes_one_vanishes,
    "02:00 comes": two_in_the_morning,
    "a product line of 40 drops is backfilled": a_product_line_is_backfilled,
    "a campaign's time comes": a_campaign_s_time_comes,
}
