"""`nightly_reindex` with a golden set: worse vectors are not published, a quiet night stays quiet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmrag_pipeline import wiring
from mmrag_pipeline.dagster_runs import DagsterRuns
from mmrag_pipeline.demo.delivery import PACKAGED_LIBRARY
from mmrag_pipeline.demo.golden import GOLDEN
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.quality.golden import golden_queries
from mmrag_pipeline_tests.defs.test_nightly import tree
from mmrag_pipeline_tests.pipeline import Pipeline

DROPS = ("watches__2026-08", "bags__2026-08", "figurines__2026-10")
REBUILD = {"ops": {"staged_media_index": {"config": {"mode": "rebuild"}}}}
MEANT = {"ops": {"staged_media_index": {"config": {"mode": "rebuild", "allow_worse_search": True}}}}


@pytest.fixture
def catalogue(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Three drops of the demo library, ingested and measured, as if they were somebody's own."""
    monkeypatch.setenv("MMRAG_GOLDEN", str(GOLDEN))
    for drop in DROPS:
        folder = Path(*drop.split("__"))
        shutil.copytree(PACKAGED_LIBRARY / folder, pipeline.media / folder)
    pipeline.ingest()
    assert pipeline.run("nightly_reindex").metadata["staged_media_index"]["mode"] == "unchanged"
    return pipeline


def shuffle_vectors(pipeline: Pipeline) -> None:
    """Every picture gets another's vector of the model in force, in the parquet: what compares with it is content."""
    folder = pipeline.root / "store" / "embeddings" / wiring.encoder(pipeline.settings).fingerprint
    parts = list(folder.glob("*/part-*.parquet"))
    assert len(parts) == len(DROPS)
    for part in parts:
        table = pq.read_table(part)
        order = list(range(3, len(table))) + list(range(3))
        pq.write_table(table.set_column(1, table.schema.field(1), table["embedding"].take(order)), part)


def checks_of(pipeline: Pipeline) -> dict[str, tuple[bool, str, dict]]:
    """The checks of the last run, whether it passed or not."""
    import dagster as dg

    with DagsterRuns(pipeline.settings):
        instance = dg.DagsterInstance.get()
        run = next(iter(instance.get_runs(limit=1)))
        found = {}
        for record in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
            result = record.dagster_event.asset_check_evaluation_data
            metadata = {name: entry.value for name, entry in result.metadata.items()}
            found[result.check_name] = (result.passed, result.description or "", metadata)
        return found


@pytest.mark.slow
def test_vectors_that_are_wrong_for_words_fail_one_check_and_move_nothing(catalogue: Pipeline) -> None:
    before = catalogue.status().live
    outcome = catalogue.run("nightly_reindex", config=REBUILD).metadata["staged_media_index"]
    assert 0.8 < outcome["golden_ndcg10"] <= 1 and outcome["golden_r10"] > 0.8 and outcome["golden_r1"] > 0.5
    passed, _, numbers = checks_of(catalogue)["golden"]
    assert (
        passed
        and numbers["difference"] == pytest.approx(0)
        and numbers["queries"] + numbers["left_out"] == len(golden_queries(GOLDEN))
    )
    live = catalogue.status().live
    assert live.collection != before.collection

    shuffle_vectors(catalogue)
    with pytest.raises(RuntimeError, match="1 blocking asset check failed"):
        catalogue.run("nightly_reindex", config=REBUILD)
    checks = checks_of(catalogue)
    assert [name for name, (passed, *_) in checks.items() if not passed] == ["golden"]
    _, said, numbers = checks["golden"]
    assert "allow_worse_search" in said
    assert numbers["live"] == pytest.approx(outcome["golden_ndcg10"])
    assert numbers["staged"] < numbers["live"] - 0.1 and numbers["interval"][1] < 0
    assert len(numbers["lost_most"]) == 5
    assert catalogue.status().live == live
    with DagsterRuns(catalogue.settings) as runs, pytest.raises(UserError, match="failed a check"):
        runs.run("nightly_reindex", only=["media_index"])

    catalogue.run("nightly_reindex", config=MEANT)
    assert catalogue.status().live.collection != live.collection


def test_a_worse_model_is_compared_with_kept_figures(catalogue: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    live = catalogue.status().live
    monkeypatch.setenv("MMRAG_CLIP_PREPROCESSING", "exact")  # another fingerprint
    with DagsterRuns(catalogue.settings) as runs:
        for drop in DROPS:
            runs.run("ingest_drop", drop, only=["drop_manifest", "clip_embeddings"])
    shuffle_vectors(catalogue)
    with pytest.raises(RuntimeError, match="1 blocking asset check failed"):
        catalogue.run("nightly_reindex")
    checks = checks_of(catalogue)
    assert [name for name, (passed, *_) in checks.items() if not passed] == ["golden"]
    assert catalogue.status().live == live


@pytest.mark.slow
def test_a_quiet_night_with_a_golden_set_imports_no_torch_and_writes_nothing(catalogue: Pipeline) -> None:
    before = tree(catalogue.root / "store")
    assert any("quality/golden" in name for name in before)
    code = (
        "import sys; from pathlib import Path; from mmrag_pipeline_tests.pipeline import Pipeline;"
        f"outcome = Pipeline(Path({str(catalogue.root)!r})).run('nightly_reindex').metadata['staged_media_index'];"
        "print(outcome['mode'], outcome['golden_ndcg10'] > 0.8, outcome['checks_passed'], 'torch' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split()[-4:] == ["unchanged", "True", "9", "False"], done.stderr
    assert tree(catalogue.root / "store") == before


def test_a_golden_set_that_can_not_be_read_stops_before_anything_is_staged(
    catalogue: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(catalogue.root / "store")
    monkeypatch.setenv("MMRAG_GOLDEN", "/nowhere/golden.csv")
    with pytest.raises(UserError, match=r"/nowhere/golden.csv can't be read \(No such file"):
        catalogue.run("nightly_reindex", config=REBUILD)
    assert tree(catalogue.root / "store") == before
