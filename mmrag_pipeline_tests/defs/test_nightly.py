"""`nightly_reindex`: drift is mended, a quiet night writes nothing, a failed check never moves the alias."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from dagster._utils.schedules import schedule_execution_time_iterator  # what the daemon goes by

from mmrag_pipeline import wiring
from mmrag_pipeline.dagster_runs import DagsterRuns
from mmrag_pipeline.definitions import defs
from mmrag_pipeline.defs.index import assets
from mmrag_pipeline.defs.index.handover import take_over
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.index.status import live_ids
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
    pipeline.run("nightly_reindex")
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
