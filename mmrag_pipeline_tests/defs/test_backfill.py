"""Many drops in a run: bounded runs, an outcome for each drop, none that keeps another back, nothing done twice."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Verdict
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value
from typer.testing import CliRunner

from mmrag_pipeline.backfill import backfill
from mmrag_pipeline.cli import app
from mmrag_pipeline.dagster_runs import DagsterRuns
from mmrag_pipeline.defs.ingest import each_drop
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.defs.quality import assets as quality_assets
from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.find import find
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.store import Store
from mmrag_pipeline_tests.defs.test_nightly import requested_for_tonight
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline

ASSETS = ["drop_manifest", "clip_embeddings", "drop_vectors"]
KEYS = [f"stripes__d{number:02d}" for number in range(5)]
BROKEN = KEYS[1]


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(each_drop, "DROPS_A_RUN", 3)


def deliver(pipeline: Pipeline) -> None:
    """Five drops of one picture each."""
    for number, key in enumerate(KEYS):
        pipeline.deliver(key, {"a.png": (40 * number, 90, 200)})


def statuses(asset: str) -> tuple[set[str], set[str]]:
    """Partitions that are done and that failed, as the UI shows them."""
    instance = dg.DagsterInstance.get()
    cached = get_and_update_asset_status_cache_value(
        instance, dg.AssetKey(asset), media_drops, dynamic_partitions_loader=instance
    )
    assert cached is not None
    done = cached.deserialize_materialized_partition_subsets(media_drops)
    failed = cached.deserialize_failed_partition_subsets(media_drops)
    return set(done.get_partition_keys()), set(failed.get_partition_keys())


def runs() -> list[dg.DagsterRun]:
    return [run for run in dg.DagsterInstance.get().get_runs() if run.job_name == "ingest_drop"]


@pytest.mark.slow
def test_five_drops_are_two_runs_and_each_drop_has_its_own_outcome(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(pipeline)
    broken = pipeline.deliver(BROKEN, {"b.png": COLOURS["red"]}) / "a.png"
    honest = ManifestStore.replace

    def fails_for_one(self, drop, previous, table):
        if drop == BROKEN:
            raise ValueError("a bug that only this drop meets")
        honest(self, drop, previous, table)

    with monkeypatch.context() as patched:
        patched.setattr(ManifestStore, "replace", fails_for_one)
        first = backfill(pipeline.settings, "stripes")
    assert first.failed == {BROKEN: "ValueError: a bug that only this drop meets"}
    assert (first.runs, len(first.done), first.rows) == (2, 4, 4)
    with DagsterRuns(pipeline.settings):
        for asset in ASSETS:
            assert statuses(asset) == (set(KEYS) - {BROKEN}, {BROKEN}), asset
        assert sorted(run.status.value for run in runs()) == ["FAILURE", "SUCCESS"]
        instance = dg.DagsterInstance.get()
        event = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey("drop_manifest"), asset_partitions=[KEYS[0]]), limit=1
        ).records[0]
        assert event.asset_materialization.metadata["ok"].value == 1
        checks = [
            dg.AssetCheckKey(dg.AssetKey("drop_manifest"), "quarantine_rate"),
            dg.AssetCheckKey(dg.AssetKey("clip_embeddings"), "embeddings_complete"),
        ]
        for check in checks:
            found = {
                info.partition_key: (info.latest_execution_status, info.is_current)
                for info in instance.event_log_storage.get_asset_check_partition_info([check])
            }
            assert [found[key] for key in KEYS if key != BROKEN] == [(Verdict.SUCCEEDED, True)] * 4, check
        before = len(runs())

    broken.unlink()
    second = backfill(pipeline.settings, "stripes")
    assert (second.runs, second.done, second.failed, second.rows) == (1, [BROKEN], {}, 5)
    assert len(second.current) == 4 and pipeline.status().in_sync
    with DagsterRuns(pipeline.settings):
        assert len(runs()) == before + 1
        assert statuses("drop_vectors") == (set(KEYS), set())


def ingest_job() -> dg.JobDefinition:
    """What another process, which takes up a run again, loads."""
    from mmrag_pipeline.definitions import defs

    return defs().resolve_job_def("ingest_drop")


def taken_up_again(run: dg.DagsterRun) -> dg.DagsterRun:
    """`Re-execute from failure` in the UI, and what run_retries does for a worker that died."""
    instance = dg.DagsterInstance.get()
    options = dg.ReexecutionOptions.from_failure(run.run_id, instance)
    job, quiet = dg.reconstructable(ingest_job), {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.execute_job(job, instance, run_config=quiet, tags=run.tags, reexecution_options=options) as result:
        return result.dagster_run


@pytest.mark.slow
def test_a_drop_that_was_refused_never_goes_live_and_keeps_back_no_other(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmrag_pipeline.defs.ingest import checks

    deliver(pipeline)
    honest, replace, asked = checks._not_unit, ManifestStore.replace, []

    def wrong_once(vectors) -> int:
        asked.append(vectors)
        return 1 if len(asked) == 1 else honest(vectors)

    def never_one(self, drop, previous, table):
        if drop == BROKEN:
            raise UserError("this drop has lost its files")
        replace(self, drop, previous, table)

    monkeypatch.setattr(checks, "_not_unit", wrong_once)
    monkeypatch.setattr(ManifestStore, "replace", never_one)
    with DagsterRuns(pipeline.settings) as dagster:
        dagster.add_drops(KEYS)
        failed = dagster.ingest(KEYS[:3])
        assert failed.keys() == {KEYS[0], BROKEN} and failed[KEYS[0]].startswith("embeddings_complete: Delete")
        assert statuses("clip_embeddings") == ({KEYS[0], KEYS[2]}, {BROKEN})
        assert statuses("drop_vectors") == ({KEYS[2]}, {KEYS[0], BROKEN})
        (again,) = runs()
        for _ in range(2):
            again = taken_up_again(again)
            assert again.status == dg.DagsterRunStatus.FAILURE and again.step_keys_to_execute == ["drop_vectors"]
        assert statuses("drop_vectors") == ({KEYS[2]}, {KEYS[0], BROKEN})
    assert pipeline.status().live.rows == 1

    complete, judged = checks._complete, []

    def not_the_first(manifest, vectors):
        judged.append(manifest)
        return complete(manifest, vectors) if len(judged) > 1 else checks.np.linalg.norm(None)

    monkeypatch.setattr(checks, "_complete", not_the_first)
    (part,) = (pipeline.root / "store").glob(f"embeddings/*/{KEYS[2]}/part*")
    part.write_bytes(part.read_bytes()[:50])  # of a drop that is well again when its run has ended
    with DagsterRuns(pipeline.settings) as dagster:
        failed = dagster.ingest(KEYS[:3])
    assert failed.pop(BROKEN) == "this drop has lost its files" and failed.keys() == {KEYS[0]}
    said = failed[KEYS[0]]
    assert said.startswith("embeddings_complete: can't be judged (") and "under embeddings/" in said


def test_what_does_not_answer_is_asked_again_and_only_that(pipeline: Pipeline) -> None:
    asked: list[str] = []

    @dg.asset(
        partitions_def=media_drops,
        backfill_policy=each_drop.in_portions(),
        retry_policy=dg.RetryPolicy(max_retries=1),
    )
    def drop_manifest(context):
        def work(key: str) -> dict[str, int]:
            asked.append(key)
            if key == KEYS[2] or (key == KEYS[1] and asked.count(key) == 1):
                raise Unavailable(f"{key} does not answer")
            return {"rows": 1}

        yield from each_drop.for_each_drop(context, work)

    tags = {"dagster/asset_partition_range_start": KEYS[0], "dagster/asset_partition_range_end": KEYS[2]}
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(media_drops.name, KEYS[:3])
        job = dg.Definitions(
            assets=[drop_manifest], executor=dg.in_process_executor
        ).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
        assert instance.get_materialized_partitions(drop_manifest.key) == set(KEYS[:2])
    assert asked == [*KEYS[:3], KEYS[1], KEYS[2]]
    (failure,) = (event.step_failure_data for event in result.all_events if event.is_step_failure)
    assert each_drop.failures_in(failure.user_failure_data.metadata) == {KEYS[2]: f"{KEYS[2]} does not answer"}


def test_portions_are_bounded_and_follow_dagster_s_order(pipeline: Pipeline) -> None:
    with DagsterRuns(pipeline.settings) as dagster:
        dagster.add_drops(reversed(KEYS))
        dagster.add_drops(["bags__a", *KEYS, "stripes__d99"])
        portions = dagster.portions({*KEYS, "stripes__d99"})
    assert portions == [KEYS[:1:-1], KEYS[1::-1], ["stripes__d99"]]  # bags__a lies between


def test_the_steps_of_a_drop_s_run_are_known_in_their_order(pipeline: Pipeline) -> None:
    """A step that is missing in STEPS would never fail for its drops."""
    from mmrag_pipeline.definitions import defs

    job = defs().resolve_job_def("ingest_drop")
    steps = {
        "drop_manifest_quarantine_rate": "quarantine_rate",
        "clip_embeddings_embeddings_complete": each_drop.STEPS[3],
    }
    assert {steps.get(node.name, node.name) for node in job.graph.nodes} == set(each_drop.STEPS)


@pytest.mark.slow
def test_the_command_says_what_it_did_and_what_it_does_not_find(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.deliver(KEYS[0], {"a.png": COLOURS["red"]})

    def never(*_) -> None:
        raise UserError("this disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(ManifestStore, "replace", never)
        with pytest.raises(
            UserError, match=f"1 drops failed: {KEYS[0]}: this disk is full. Nothing was published: no "
        ):
            backfill(pipeline.settings, "stripes")
    unknown = CliRunner().invoke(app, ["backfill", "stripe"])
    assert unknown.exit_code == 2 and "product lines stripes" in unknown.output
    done = CliRunner().invoke(app, ["backfill", "stripes"])
    assert done.exit_code == 0, done.output
    assert "1 drops ingested in 1 runs, 0 had nothing to do" in done.output


@pytest.mark.slow
def test_a_step_that_fails_after_publishing_is_said_beside_what_is_live(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.deliver(KEYS[0], {"a.png": COLOURS["red"]})
    pipeline.deliver(BROKEN, {"a.png": COLOURS["blue"]})
    honest = ManifestStore.replace

    def never_one(self, drop, previous, table):
        if drop == BROKEN:
            raise UserError("this drop has lost its files")
        honest(self, drop, previous, table)

    def no_room(*_, **__):
        raise UserError("no space is left")

    monkeypatch.setattr(ManifestStore, "replace", never_one)
    monkeypatch.setattr(quality_assets, "find_near_duplicates", no_room)
    said = CliRunner().invoke(app, ["backfill", "stripes"])
    assert said.exit_code == 2 and "Traceback" not in said.output
    assert "1 drops ingested in 1 runs, 0 had nothing to do; live: media_live_" in said.output
    assert f"1 drops failed: {BROKEN}: this drop has lost its files. The others are published" in said.output
    assert "the index is published, and near_duplicates failed after that: no space is left" in said.output
    assert pipeline.status().live.rows == 1

    monkeypatch.setattr(ManifestStore, "replace", honest)
    filled = backfill(pipeline.settings, "stripes")
    assert (filled.done, filled.failed, filled.rows) == ([BROKEN], {}, 2)
    assert filled.failed_later == {"near_duplicates": "no space is left"}


def test_an_older_listing_never_replaces_a_newer_manifest(pipeline: Pipeline) -> None:
    """A run of one drop and one of a range that holds it are not kept apart by the run queue."""
    manifests = ManifestStore(Store(pipeline.settings.store))
    pipeline.deliver(KEYS[0], {"a.png": COLOURS["red"]})
    pipeline.index()
    older = manifests.find(KEYS[0])
    assert older is not None
    pipeline.deliver(KEYS[0], {"b.png": COLOURS["blue"]})
    pipeline.index()
    newer = manifests.find(KEYS[0])
    for previous in (older, None):
        with pytest.raises(Unavailable, match="scanned by another run"):
            manifests.replace(KEYS[0], previous, older)
    assert newer is not None and newer.equals(manifests.find(KEYS[0]), check_metadata=True)


@pytest.mark.slow
def test_another_model_is_embedded_beside_the_live_one_and_swapped_in_at_the_end(
    pipeline: Pipeline, small_clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in KEYS[:3]:
        pipeline.deliver(key, {f"{key}.png": (40 * KEYS.index(key), 90, 200), "red.png": COLOURS["red"]})
    pipeline.ingest()
    old, before = pipeline.settings, pipeline.status().live
    found = [hit.path for hit in find(old, text="something red").hits]
    assert found
    monkeypatch.setenv("MMRAG_CLIP_MODEL", small_clip)
    new = pipeline.settings
    requests = requested_for_tonight(pipeline)
    assert sorted(request.partition_key for request in requests) == KEYS[:3]
    beside = [dg.AssetKey("drop_manifest"), dg.AssetKey("clip_embeddings")]
    assert all(request.asset_selection == beside for request in requests)
    for key in KEYS[:2]:
        with DagsterRuns(new) as dagster:
            dagster.run("ingest_drop", key, only=["drop_manifest", "clip_embeddings"])
        assert [hit.path for hit in find(old, text="something red").hits] == found
        with pytest.raises(UserError, match="model"):
            find(new, text="something red")
        assert pipeline.status().live == before
    with pytest.raises(UserError, match=f"no vector of model .*{KEYS[2]}|materialise clip_embeddings"):
        pipeline.run("nightly_reindex")  # a night in between publishes no part of it
    assert pipeline.status().live == before

    filled = backfill(new, "stripes")
    assert (filled.done, filled.failed, filled.current) == ([KEYS[2]], {}, KEYS[:2])
    after = pipeline.status()
    assert filled.live == after.live.collection != before.collection and after.in_sync
    assert (after.live.rows, after.live.fingerprint) == (before.rows, after.fingerprint) != (6, before.fingerprint)
    assert len(find(new, text="something red").hits) == len(found)
    with pytest.raises(UserError, match="model"):
        find(old, text="something red")
