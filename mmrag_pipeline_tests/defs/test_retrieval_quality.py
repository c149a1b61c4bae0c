"""What `nightly_reindex` says of search: numbers that plot, checks that warn, and nothing done twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from mmrag_pipeline import wiring
from mmrag_pipeline.dagster_runs import DagsterRuns
from mmrag_pipeline.definitions import defs
from mmrag_pipeline.defs.failures import WAIT_FOR_STORE
from mmrag_pipeline.defs.quality import assets
from mmrag_pipeline.demo.delivery import PACKAGED_LIBRARY
from mmrag_pipeline.demo.golden import GOLDEN
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.media.scan import scan_drop
from mmrag_pipeline.quality import tonight
from mmrag_pipeline.store import Store
from mmrag_pipeline_tests.defs.test_golden_check import checks_of
from mmrag_pipeline_tests.defs.test_nightly import tree
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline

PLOTTED = {
    "ndcg10", "mrr10", "r1", "r5", "r10", "ndcg10_low", "ndcg10_high", "near_duplicates_in_top10",
    "ann_recall10", "ann_recall100", "drift_cosine_mean", "drift_cosine_least",
}  # fmt: skip
TITLES = "path,title\n" + "".join(f"{name}.png,A {name} card\n" for name in COLOURS)


def deliver(pipeline: Pipeline) -> None:
    pipeline.deliver("lunar__2026-09", {f"{name}.png": colour for name, colour in COLOURS.items()}, TITLES)


@pytest.mark.slow
def test_golden_queries_of_real_pictures(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMRAG_GOLDEN", str(GOLDEN))
    for drop in ("watches/2026-08", "bags/2026-08"):
        shutil.copytree(PACKAGED_LIBRARY / drop, pipeline.media / drop)
    (pipeline.media / "bags" / "2026-08" / "small.jpg").write_bytes(b"")  # quarantined, and no answer
    pipeline.ingest()
    asked: list[str] = []
    honest = tonight.ask
    monkeypatch.setattr(tonight, "ask", lambda *args, **more: asked.append("again") or honest(*args, **more))
    found = pipeline.run("nightly_reindex").metadata
    measured, staged = found["retrieval_quality"], found["staged_media_index"]
    assert {name for name in PLOTTED if isinstance(measured.get(name), float)} == PLOTTED
    assert measured["ndcg10"] == staged["golden_ndcg10"] and asked == []  # the check of tonight is not made twice
    assert 0.8 < measured["ndcg10_low"] < measured["ndcg10"] < measured["ndcg10_high"] <= 1
    assert measured["ann_recall10"] == measured["ann_recall10_filtered"] == 1 and measured["drift_cosine_least"] > 0.999
    assert measured["queries_are"].endswith("golden.csv")
    strata = [record.data["stratum"] for record in measured["strata"].records]
    assert strata[0] == "all" and {"colour", "thing"} <= set(strata)
    assert measured["worst_queries_shown"].startswith("![worst queries](data:image/jpeg;base64,")
    assert {name: checks_of(pipeline)[name][0] for name in ("ann_recall", "embedding_drift")} == {
        "ann_recall": True,
        "embedding_drift": True,
    }


def test_without_golden_queries_titles_are_asked_and_it_is_said(pipeline: Pipeline) -> None:
    deliver(pipeline)
    pipeline.ingest()
    measured = pipeline.run("nightly_reindex").metadata["retrieval_quality"]
    assert measured["queries"] == len(COLOURS) and "weak labels" in measured["queries_are"]

    before = tree(pipeline.root / "store")
    again = pipeline.run("nightly_reindex").metadata["retrieval_quality"]
    passed, said, found = checks_of(pipeline)["health"]
    assert not passed and found["pictures"] == len(COLOURS) and "all are indexed" in said
    assert "small: ask for a larger file" in found["what_to_do"]
    assert (again["measured_now"], again["ndcg10"]) == (False, measured["ndcg10"])
    assert tree(pipeline.root / "store") == before


@pytest.mark.slow
def test_a_drop_that_is_removed_meanwhile_is_no_failure(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(pipeline)
    library, drop, kept = (
        wiring.library(pipeline.settings),
        Drop.parse("lunar__2026-09"),
        Store(pipeline.settings.store),
    )
    scanned = scan_drop(library, drop, previous=None, limits=wiring.limits(pipeline.settings), now=datetime.now(UTC))
    ManifestStore(kept).write(drop.key, scanned.table)
    honest = ManifestStore.drops
    monkeypatch.setattr(ManifestStore, "drops", lambda self: [*honest(self), "lunar__removed"])
    looking = [assets.near_duplicates, assets.library_health]
    done = dg.materialize(looking, resources=defs().resources)
    assert done.success and done.asset_materializations_for_node("library_health")[0].metadata["pictures"].value == 4
    assert {each.op.retry_policy for each in looking} == {WAIT_FOR_STORE}  # a bucket that does not answer


def answered(pipeline: Pipeline) -> int:
    """Golden queries with a right answer in the live collection, as the `golden` check kept them."""
    kept = pipeline.root / "store" / "quality" / "golden" / f"{pipeline.status().live.collection}.json"
    return len(json.loads(kept.read_text())["queries"])


@pytest.mark.slow
def test_what_was_measured_without_a_drop_is_measured_again_when_that_is_there(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = pipeline.root / "golden.csv"
    golden.write_text(
        "query,stratum,grade,field,value\n"
        + "".join(f"a {name} card,cards,2,path,lunar/2026-09/{name}.png\n" for name in COLOURS)
        + "an orange card,cards,2,path,bags/2026-09/orange.png\n"
    )
    monkeypatch.setenv("MMRAG_GOLDEN", str(golden))
    deliver(pipeline)
    pipeline.deliver("bags__2026-09", {"red.png": COLOURS["red"]})
    pipeline.ingest()
    pipeline.deliver("bags__2026-09", {"orange.png": (240, 140, 20)})
    with DagsterRuns(pipeline.settings) as runs:  # its vectors fail
        runs.run("ingest_drop", "bags__2026-09", only=["drop_manifest"])
    found = pipeline.run("nightly_reindex").metadata
    assert found["staged_media_index"]["left_out"] == 1 and found["retrieval_quality"]["measured_now"]
    assert (answered(pipeline), found["retrieval_quality"]["queries"]) == (len(COLOURS), len(COLOURS))
    assert not pipeline.run("nightly_reindex").metadata["retrieval_quality"]["measured_now"]

    pipeline.run("ingest_drop", "bags__2026-09")  # no manifest is another one
    found = pipeline.run("nightly_reindex").metadata
    assert found["staged_media_index"]["mode"] == "unchanged" and found["retrieval_quality"]["measured_now"]
    assert (answered(pipeline), found["retrieval_quality"]["queries"]) == (len(COLOURS) + 1, len(COLOURS) + 1)
    before = tree(pipeline.root / "store")
    assert not pipeline.run("nightly_reindex").metadata["retrieval_quality"]["measured_now"]
    assert tree(pipeline.root / "store") == before


@pytest.mark.slow
def test_a_library_without_titles_is_measured_as_far_as_that_goes(pipeline: Pipeline) -> None:
    pipeline.deliver("lunar__2026-09", {"red.png": (200, 30, 30)})
    pipeline.ingest()
    measured = pipeline.run("nightly_reindex").metadata["retrieval_quality"]
    assert "ndcg10" not in measured and measured["drift_cosine_least"] > 0.999
    passed, said, _ = checks_of(pipeline)["ann_recall"]
    assert passed and "MMRAG_GOLDEN" in said

    pipeline.remove("lunar__2026-09")
    kept = pipeline.root / "store" / "quality" / "retrieval.json"
    kept.unlink()
    unread = pipeline.run("nightly_reindex").metadata["retrieval_quality"]
    assert "drift_cosine_least" not in unread and not kept.exists()  # no point in a plot, looked at again next time
    passed, said, numbers = checks_of(pipeline)["embedding_drift"]
    assert not passed and "1 drops could not be read" in said and "drop_manifest" in numbers["what_to_do"]


def test_vectors_that_moved_are_a_warning_that_says_what_to_do(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(pipeline)
    pipeline.ingest()
    encoder = wiring.encoder(pipeline.settings)
    honest = type(encoder).encode_prepared
    monkeypatch.setattr(type(encoder), "encode_prepared", lambda self, prepared: -honest(self, prepared))
    pipeline.run("nightly_reindex")
    passed, said, numbers = checks_of(pipeline)["embedding_drift"]
    assert not passed and numbers["cosine_least"] < -0.99
    to_do = numbers["what_to_do"]
    assert encoder.fingerprint in to_do and "mode rebuild" in to_do and "changed what the model makes" in said


def test_copies_are_counted_among_the_answers_and_left_out_of_a_search(pipeline: Pipeline) -> None:
    from PIL import Image

    from mmrag_pipeline.find import find

    deliver(pipeline)
    folder = pipeline.media / "lunar" / "2026-09"
    for name in ("red", "blue"):
        Image.open(folder / f"{name}.png").resize((192, 128)).save(folder / f"{name}-large.jpg", quality=90)
    pipeline.ingest()
    found = pipeline.run("nightly_reindex").metadata
    assert found["near_duplicates"]["groups"] == found["near_duplicates"]["spare"] == 2
    assert found["retrieval_quality"]["near_duplicates_in_top10"] == pytest.approx(2 / 6)
    one_of_each = find(pipeline.settings, text="a red card", k=10).hits
    assert len(one_of_each) == len(COLOURS)
    assert len(find(pipeline.settings, text="a red card", k=10, near_duplicates=True).hits) == len(COLOURS) + 2
    assert Path(one_of_each[0].path).stem.startswith("red")


def test_what_is_live_of_an_earlier_schema_is_not_measured_and_it_is_said(pipeline: Pipeline) -> None:
    deliver(pipeline)
    pipeline.ingest()
    store, now = Store(pipeline.root / "store"), datetime.now(UTC)
    with connect(wiring.milvus(pipeline.settings)) as milvus:
        milvus.mark(replace(milvus.live(), schema_version=1))
    library = tonight.Library({}, lambda drop: pipeline.media, wiring.limits(pipeline.settings), "")
    with pytest.raises(UserError, match=r"schema version 1, .* run the nightly_reindex job"):
        tonight.measure_tonight(
            lambda: connect(wiring.milvus(pipeline.settings)),
            wiring.encoder(pipeline.settings), store, library, None, now=now,
        )  # fmt: skip
