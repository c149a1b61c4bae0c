"""`nightly_reindex`: drift is mended, a quiet night writes nothing, a failed check never moves the alias."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator  # what the daemon goes by

from mmrag_pipeline import wiring
from mmrag_pipeline.dagster_runs import DagsterRuns
from mmrag_pipeline.definitions import defs
from mmrag_pipeline.defs.index import assets
from mmrag_pipeline.defs.index.handover import take_over
from mmrag_pipeline.defs.ingest import schedules
from mmrag_pipeline.defs.ingest.schedules import find_drifted
from mmrag_pipeline.defs.quality import assets as quality_assets
from mmrag_pipeline.embed import embed_drops
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.index.status import live_ids
from mmrag_pipeline.media.manifest_store import DamagedManifest, ManifestStore
from mmrag_pipeline.store import Store
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline

DROP = "lunar__2026-09"
FOUR = {f"{name}.png": colour for name, colour in COLOURS.items()}


def tree(root: Path) -> dict[str, int]:
    """Every file that the pipeline owns and when it was written; Dagster's own and Milvus' log files apart."""
    owned = (path for path in root.rglob("*") if path.is_file())
    return {str(path): path.stat().st_mtime_ns for path in owned if not {"LOCK", "milvus.db"} & set(path.parts)}


def delete_a_row(pipeline: Pipeline) -> None:
    with connect(wiring.milvus(pipeline.settings)) as milvus:
        live = milvus.live()
        assert live is not None
        milvus.delete(live.name, [min(live_ids(milvus))])
        milvus.finish_writing(live.name)


def test_a_quiet_night_changes_no_file_and_no_row(pipeline: Pipeline) -> None:
    pipeline.deliver(DROP, FOUR)
    pipeline.ingest()
    first_night = pipeline.run("nightly_reindex").metadata
    assert list(first_night)[:2] == ["staged_media_index", "media_index"]  # published before anything is looked at
    before, live = tree(pipeline.root / "store"), pipeline.status().live
    outcome = pipeline.run("nightly_reindex").metadata
    assert outcome["staged_media_index"]["mode"] == "unchanged"
    assert not outcome["media_index"]["swapped"]
    assert tree(pipeline.root / "store") == before
    assert pipeline.status().live == live


def test_a_quiet_night_imports_no_torch(pipeline: Pipeline) -> None:
    pipeline.deliver(DROP, FOUR)
    pipeline.ingest()
    pipeline.run("nightly_reindex")  # measures what is live
    code = (
        "import sys; from pathlib import Path; from mmrag_pipeline_tests.pipeline import Pipeline;"
        f"pipeline = Pipeline(Path({str(pipeline.root)!r}));"
        f"pipeline.run('ingest_drop', {DROP!r}); pipeline.run('nightly_reindex');"
        "print('torch' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split()[-1] == "False", done.stderr


def test_nothing_is_looked_at_before_publishing(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing may wait for Milvus and be tried again: comparing a large library must not come in between."""
    pipeline.deliver(DROP, FOUR)
    pipeline.ingest()

    def refused(*_, **__):
        raise UserError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(assets, "publish", refused)
        with pytest.raises(UserError, match="not now"):
            pipeline.run("nightly_reindex")
    with DagsterRuns(pipeline.settings), dg.DagsterInstance.get() as instance:
        for name in ("near_duplicates", "library_health"):
            assert instance.get_latest_materialization_event(dg.AssetKey(name)) is None

    delete_a_row(pipeline)
    monkeypatch.setattr(quality_assets, "find_near_duplicates", refused)
    with pytest.raises(UserError, match="not now"):
        pipeline.run("nightly_reindex")
    assert pipeline.status().in_sync  # published all the same


def test_drift_is_rebuilt_beside_and_swapped_in(pipeline: Pipeline) -> None:
    pipeline.deliver(DROP, FOUR)
    pipeline.ingest()
    delete_a_row(pipeline)
    assert not pipeline.status().in_sync
    before = pipeline.status().live.collection
    outcome = pipeline.run("nightly_reindex").metadata
    assert outcome["media_index"]["swapped"]
    assert pipeline.status().in_sync
    assert pipeline.status().live.collection != before


def test_a_failed_check_leaves_the_alias_where_it_was(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.deliver(DROP, FOUR)
    pipeline.ingest()
    delete_a_row(pipeline)
    before = pipeline.status().live
    honest = assets.stage

    def loses_a_row(milvus, **arguments):
        staged = honest(milvus, **arguments)
        row = next(row for page in milvus.rows(staged.collection, ()) for row in page)
        milvus.delete(staged.collection, [row["id"]])
        milvus.finish_writing(staged.collection)
        return staged

    monkeypatch.setattr(assets, "stage", loses_a_row)
    with pytest.raises(RuntimeError, match="blocking asset checks failed"):
        pipeline.run("nightly_reindex")
    assert pipeline.status().live == before

    with pytest.raises(UserError, match="failed a check"):
        take_over(Store(pipeline.settings.store))
    monkeypatch.setattr(assets, "stage", honest)
    pipeline.run("nightly_reindex")
    assert pipeline.status().in_sync


def test_publishing_takes_along_what_was_ingested_after_staging(pipeline: Pipeline) -> None:
    pipeline.deliver(DROP, FOUR)
    pipeline.ingest()
    with DagsterRuns(pipeline.settings) as runs:
        rebuild = {"ops": {"staged_media_index": {"config": {"mode": "rebuild"}}}}
        staged = runs.run("nightly_reindex", config=rebuild, only=["staged_media_index"]).metadata
    pipeline.deliver("bags__2026-09", {"a.png": (1, 2, 3)})
    (pipeline.media / "lunar" / "2026-09" / "red.png").unlink()
    pipeline.ingest()
    with DagsterRuns(pipeline.settings) as runs:
        published = runs.run("nightly_reindex", only=["media_index"]).metadata["media_index"]
    assert published["collection"] == staged["staged_media_index"]["collection"] and published["swapped"]
    assert (published["late_upserted"], published["late_deleted"], published["rows"]) == (1, 1, 4)
    assert pipeline.status().in_sync


BAGS = "bags__2026-09"
REBUILD = {"ops": {"staged_media_index": {"config": {"mode": "rebuild"}}}}


def requested_for_tonight(pipeline: Pipeline, quiet_s: float = 0.0, night: int = 28) -> list[dg.RunRequest]:
    """What the schedule requests at two o'clock that night."""
    loaded = defs()
    with DagsterRuns(pipeline.settings), dg.DagsterInstance.get() as instance:
        at = datetime(2026, 11, night, 2, tzinfo=UTC)
        library = loaded.resources["media_library"].model_copy(update={"quiet_s": quiet_s})
        with dg.build_schedule_context(instance=instance, scheduled_execution_time=at) as context:
            asked = find_drifted(
                context,
                media_library=library,
                store=loaded.resources["store"],
                clip_encoder=loaded.resources["clip_encoder"],
                milvus=loaded.resources["milvus"],
            )
        known = instance.get_dynamic_partitions("media_drops")
    if isinstance(asked, dg.SkipReason):
        return []
    keys = [request.partition_key for request in asked]
    assert set(keys) <= set(known) and len({request.run_key for request in asked}) == len(keys)
    return asked


def asked_for_tonight(pipeline: Pipeline, quiet_s: float = 0.0, night: int = 28) -> list[str]:
    """The drops of these runs, each from its files to the live collection."""
    requests = requested_for_tonight(pipeline, quiet_s, night)
    assert not any(request.asset_selection for request in requests)
    return [request.partition_key for request in requests]


@pytest.mark.slow
def test_the_night_asks_for_what_the_sensor_missed_and_for_what_failed(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.deliver(DROP, FOUR)
    pipeline.deliver(BAGS, {"red.png": COLOURS["red"]})
    for number, key in enumerate(("shoes__2026-09", "toys__2026-09", "caps__2026-09")):
        pipeline.deliver(key, {f"{number}.png": (40, 60, 50 * number)})
    pipeline.ingest()
    assert asked_for_tonight(pipeline) == []
    pipeline.deliver(DROP, {"late.png": (9, 9, 9)})  # the sensor was off
    with DagsterRuns(pipeline.settings) as runs:  # what is left by a run that was killed, or ended its retries
        pipeline.deliver(BAGS, {"grey.png": COLOURS["grey"]})
        runs.run("ingest_drop", BAGS, only=["drop_manifest"])
    shutil.rmtree(next((pipeline.root / "store").glob("embeddings/*/shoes__2026-09")))
    pipeline.deliver("home__2026-09", {"new.png": (1, 2, 3)})
    manifest = pipeline.root / "store" / "manifests" / "toys__2026-09.parquet"
    manifest.write_bytes(manifest.read_bytes()[:-100])
    with pytest.raises(DamagedManifest, match=f"{manifest} is damaged .* delete that file"):
        ManifestStore(Store(pipeline.settings.store)).find("toys__2026-09")
    next((pipeline.root / "store").glob("embeddings/*/caps__2026-09/_SUCCESS.json")).write_text('{"drop": "ca')
    asked = asked_for_tonight(pipeline)
    assert sorted(asked) == [BAGS, "caps__2026-09", "home__2026-09", DROP, "shoes__2026-09", "toys__2026-09"]
    assert asked_for_tonight(pipeline, quiet_s=3600) == []  # all of it was delivered just now
    for key in asked:
        pipeline.run("ingest_drop", key)
    assert asked_for_tonight(pipeline) == [] and pipeline.status().in_sync


def test_a_library_that_is_not_there_fails_the_tick(pipeline: Pipeline) -> None:
    with pytest.raises(UserError, match=r"the media library .* does not exist"):
        asked_for_tonight(pipeline)


def test_what_is_too_much_for_a_night_comes_in_another(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"lunar__d{number}" for number in range(5)]
    for key in keys:
        pipeline.deliver(key, {"a.png": COLOURS["red"]})
    monkeypatch.setattr(schedules, "MOST_A_NIGHT", 2)
    asked = [asked_for_tonight(pipeline, night=night) for night in range(23, 29)]  # none of these is ever mended
    assert all(len(each) == 2 for each in asked) and {key for each in asked for key in each} == set(keys)


@pytest.mark.slow
def test_one_drop_whose_ingest_failed_keeps_no_other_from_being_published(pipeline: Pipeline) -> None:
    pipeline.deliver(DROP, FOUR, "path,title\nred.png,A red card\n")
    pipeline.deliver(BAGS, {"red.png": COLOURS["red"]})
    pipeline.ingest()
    pipeline.deliver(BAGS, {"grey.png": (9, 9, 9), "red.png": (99, 9, 9)})  # one of them exported again: it stays live
    with DagsterRuns(pipeline.settings) as runs:
        runs.run("ingest_drop", BAGS, only=["drop_manifest"])
    next((pipeline.root / "store").glob(f"embeddings/*/{DROP}/part-*")).unlink()  # what is live is taken from there
    rebuild = {"ops": {"staged_media_index": {"config": {"mode": "rebuild"}}}}
    outcome = pipeline.run("nightly_reindex", config=rebuild).metadata
    assert outcome["staged_media_index"]["left_out"] == 2 and outcome["media_index"]["swapped"]
    assert pipeline.status().live.rows == 5
    with DagsterRuns(pipeline.settings), dg.DagsterInstance.get() as instance:
        check = dg.AssetCheckKey(dg.AssetKey("staged_media_index"), "complete")
        (said,) = instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
        verdict = said.event.dagster_event.asset_check_evaluation_data
    assert (
        not verdict.passed and f"2 pictures of 1 drops have no vector and are left out: {BAGS}" in verdict.description
    )

    with DagsterRuns(pipeline.settings) as runs:
        runs.run("nightly_reindex", config=rebuild, only=["staged_media_index"])
        runs.run("ingest_drop", BAGS)  # ready between staging and publishing
        assert runs.run("nightly_reindex", only=["media_index"]).metadata["media_index"]["late_upserted"] == 2
        runs.run("ingest_drop", DROP)
    assert pipeline.status().in_sync and pipeline.status().live.rows == 6


def what_is_complete() -> tuple[bool, str]:
    """Whether the check `complete` passed last night, and what it said."""
    with dg.DagsterInstance.get() as instance:
        check = dg.AssetCheckKey(dg.AssetKey("staged_media_index"), "complete")
        (said,) = instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
        found = said.event.dagster_event.asset_check_evaluation_data
    return found.passed, str(found.description)


def change_on_disk(path: Path, *, cut: bool) -> None:
    """Half of the file is gone; or one bit of it is another and its size is the same."""
    data = path.read_bytes()
    if cut:
        path.write_bytes(data[: len(data) // 2])
    else:
        vectors = pq.ParquetFile(path).metadata.row_group(0).column(1)
        at = vectors.data_page_offset + vectors.total_compressed_size - 1
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


@pytest.mark.slow
@pytest.mark.parametrize("cut", [True, False], ids=["cut", "one bit"])
def test_damaged_vectors_of_one_drop_are_its_own_trouble_and_the_next_night_mends_them(
    pipeline: Pipeline, cut: bool
) -> None:
    pipeline.deliver(DROP, FOUR)
    pipeline.deliver(BAGS, {"red.png": COLOURS["red"], "new.png": (1, 2, 3)})
    pipeline.ingest()
    (part,) = (pipeline.root / "store").glob(f"embeddings/*/{DROP}/part-*")
    change_on_disk(part, cut=cut)
    pipeline.deliver(BAGS, {"grey.png": COLOURS["grey"]})  # bytes that the damaged drop has too
    assert pipeline.ingest()[BAGS].metadata["clip_embeddings"]["rows"] == 3

    outcome = pipeline.run("nightly_reindex", config=REBUILD).metadata
    assert outcome["media_index"]["swapped"] and outcome["staged_media_index"]["left_out"] == 0
    assert pipeline.status().in_sync and pipeline.status().live.rows == 7
    with DagsterRuns(pipeline.settings):
        passed, said = what_is_complete()
    assert not passed and f"The vectors in {part} are damaged" in said and f"clip_embeddings for drop {DROP}" in said

    assert asked_for_tonight(pipeline) == [DROP]
    mended = pipeline.run("ingest_drop", DROP).metadata
    assert 0 < mended["clip_embeddings"]["computed"] <= 4
    assert asked_for_tonight(pipeline) == []
    pipeline.run("nightly_reindex", config=REBUILD)
    with DagsterRuns(pipeline.settings):
        assert what_is_complete()[0]


@pytest.mark.slow
def test_a_damaged_manifest_keeps_no_other_drop_from_being_published(pipeline: Pipeline) -> None:
    catalogue = "path,sku,title,tags,season\nred.png,L-1,Red cape,cape;red,f\u00fcnf\n"
    pipeline.deliver(DROP, FOUR, catalogue)
    pipeline.deliver(BAGS, {"red.png": COLOURS["red"]}, "path,title\nred.png,A red card\n")
    pipeline.ingest()
    manifest = pipeline.root / "store" / "manifests" / f"{DROP}.parquet"
    change_on_disk(manifest, cut=True)
    assert pipeline.run("nightly_reindex").metadata["staged_media_index"]["mode"] == "unchanged"
    pipeline.deliver(BAGS, {"new.png": (1, 2, 3)})
    pipeline.ingest()
    outcome = pipeline.run("nightly_reindex", config=REBUILD).metadata
    assert outcome["media_index"]["swapped"] and outcome["media_index"]["rows"] == 6
    assert outcome["retrieval_quality"]["ann_recall10"] == 1 and outcome["library_health"]["pictures"] == 2
    with DagsterRuns(pipeline.settings):
        passed, said = what_is_complete()
    assert not passed and f"The manifest {manifest} is damaged" in said
    status = pipeline.status()
    assert [drop.drop for drop in status.drops] == [BAGS] and not status.in_sync
    assert status.damaged[0].startswith(f"the manifest {manifest} is damaged")

    assert asked_for_tonight(pipeline) == [DROP]
    pipeline.run("ingest_drop", DROP)
    assert pipeline.run("nightly_reindex").metadata["media_index"]["rows"] == 6
    assert pipeline.status().in_sync
    with DagsterRuns(pipeline.settings):
        assert what_is_complete()[0]


@pytest.mark.slow
def test_the_first_night_publishes_without_a_drop_whose_manifest_is_damaged(pipeline: Pipeline) -> None:
    pipeline.deliver(DROP, FOUR)
    pipeline.deliver(BAGS, {"new.png": (1, 2, 3)})
    embed_drops(pipeline.settings)  # nothing is live
    change_on_disk(pipeline.root / "store" / "manifests" / f"{DROP}.parquet", cut=True)
    assert pipeline.run("nightly_reindex").metadata["media_index"]["rows"] == 1
    with DagsterRuns(pipeline.settings):
        assert not what_is_complete()[0]
    pipeline.ingest()
    assert pipeline.run("nightly_reindex").metadata["media_index"]["rows"] == 5


def test_nothing_ingested_is_one_sentence(pipeline: Pipeline) -> None:
    with pytest.raises(UserError, match="ingest a drop first"):
        pipeline.run("nightly_reindex")


@pytest.mark.parametrize(
    ("day", "runs"),
    [
        ("2026-03-28", ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),  # there is no half past two
        ("2026-10-24", ["2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"]),  # there are two of them
    ],
)
def test_when_clocks_change_the_night_has_one_run(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, day: str, runs: list[str]
) -> None:
    monkeypatch.setenv("MMRAG_NIGHTLY_CRON", "30 2 * * *")
    monkeypatch.setenv("MMRAG_TIMEZONE", "Europe/Berlin")
    (schedule,) = (each for each in defs().schedules if each.name == "nightly_reindex")
    noon = datetime.fromisoformat(f"{day}T12:00+00:00").timestamp()
    ticks = schedule_execution_time_iterator(noon, schedule.cron_schedule, schedule.execution_timezone, True)
    assert [next(ticks).isoformat() for _ in range(2)] == runs
