"""A drop that is gone leaves nothing behind; one that is there, or that nobody can look for, stays."""

from __future__ import annotations

import dagster as dg
import pytest

from mmrag_pipeline.dagster_runs import DagsterRuns
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline

KEPT, GONE = "lunar__2026-09", "lunar__2026-10"
TWO = {"red.png": COLOURS["red"], "green.png": COLOURS["green"]}
OTHERS = {"blue.png": COLOURS["blue"], "grey.png": COLOURS["grey"]}


def partitions(pipeline: Pipeline) -> set[str]:
    with DagsterRuns(pipeline.settings):
        return set(dg.DagsterInstance.get().get_dynamic_partitions(media_drops.name))


def left_of(pipeline: Pipeline, drop: str) -> list[str]:
    store = pipeline.root / "store"
    return sorted(str(path.relative_to(store)) for path in store.rglob(f"*{drop}*") if "milvus.db" not in path.parts)


def test_a_drop_that_is_gone_leaves_nothing_behind(pipeline: Pipeline) -> None:
    pipeline.deliver(KEPT, TWO)
    pipeline.deliver(GONE, OTHERS)
    pipeline.ingest()
    pipeline.run("nightly_reindex")
    pipeline.remove(GONE)
    pipeline.run("remove_drop", GONE)
    assert pipeline.status().live.rows == 2 and pipeline.status().in_sync
    assert left_of(pipeline, GONE) == [] and left_of(pipeline, KEPT)
    assert partitions(pipeline) == {KEPT}
    assert pipeline.run("nightly_reindex").metadata["media_index"]["rows"] == 2


def test_a_drop_with_a_folder_stays(pipeline: Pipeline) -> None:
    pipeline.deliver(KEPT, TWO)
    pipeline.ingest()
    with pytest.raises(UserError, match="has a folder in the library: it stays"):
        pipeline.run("remove_drop", KEPT)
    assert pipeline.status().live.rows == 2 and partitions(pipeline) == {KEPT}


def test_an_empty_library_removes_nothing(pipeline: Pipeline) -> None:
    pipeline.deliver(KEPT, TWO)
    pipeline.ingest()
    pipeline.remove(KEPT)
    with pytest.raises(UserError, match="holds no drop: is the share mounted"):
        pipeline.run("remove_drop", KEPT)
    assert pipeline.status().live.rows == 2


def stopped(*_: object) -> None:
    raise UserError("stopped here")  # not retried, so nobody waits for it


@pytest.mark.slow
@pytest.mark.parametrize(
    "step",
    ["mmrag_pipeline.removal.sync_drop", "mmrag_pipeline.removal.EmbeddingStore.remove"],
)
def test_a_removal_that_was_stopped_goes_on(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    pipeline.deliver(KEPT, TWO)
    pipeline.deliver(GONE, OTHERS)
    pipeline.ingest()
    pipeline.remove(GONE)
    with monkeypatch.context() as patched:
        patched.setattr(step, lambda *_, **__: stopped())
        with pytest.raises(UserError, match="stopped here"):
            pipeline.run("remove_drop", GONE)
    assert GONE in partitions(pipeline)
    pipeline.run("nightly_reindex")
    assert pipeline.status().in_sync
    pipeline.run("remove_drop", GONE)
    assert pipeline.status().live.rows == 2 and left_of(pipeline, GONE) == []
