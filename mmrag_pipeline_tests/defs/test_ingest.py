"""`ingest_drop` through real Dagster runs: the live collection follows the folder, and nothing else."""

from __future__ import annotations

import pytest

from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline

DROP = "lunar__2026-09"
FOUR = {f"{name}.png": colour for name, colour in COLOURS.items()}


def test_a_drop_becomes_searchable_and_a_second_run_does_nothing(pipeline: Pipeline) -> None:
    folder = pipeline.deliver(DROP, FOUR, "path,sku,title,tags\nred.png,L-1,Red cape,cape;red\n")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    first = pipeline.ingest()[DROP].metadata
    assert first["drop_manifest"]["ok"] == 4
    assert first["drop_manifest"]["quarantined"] == 1
    assert first["clip_embeddings"]["computed"] == first["drop_vectors"]["upserted"] == 4
    assert first["drop_manifest"]["pictures"].startswith("![")
    assert len(first["drop_manifest"]["pictures"]) <= 64 * 1024
    status = pipeline.status()
    assert status.in_sync
    assert status.live.rows == status.embedded_rows == 4

    again = pipeline.run("ingest_drop", DROP).metadata
    assert not again["drop_manifest"]["changed"]
    assert again["drop_manifest"]["files_hashed"] == again["clip_embeddings"]["computed"] == 0
    assert again["drop_vectors"]["upserted"] == again["drop_vectors"]["deleted"] == 0


def test_changes_renames_deletions_and_titles_reach_the_collection(pipeline: Pipeline) -> None:
    folder = pipeline.deliver(DROP, FOUR)
    pipeline.ingest()
    (folder / "grey.png").unlink()
    (folder / "blue.png").rename(folder / "navy.png")
    pipeline.deliver(DROP, {"red.png": (90, 0, 0)}, "path,title\ngreen.png,Emerald bag\n")
    outcome = pipeline.ingest()[DROP].metadata
    assert outcome["clip_embeddings"]["computed"] == 1  # the changed one; a renamed file keeps its vector
    assert outcome["drop_vectors"]["upserted"] == 3  # changed, renamed, newly titled
    assert outcome["drop_vectors"]["deleted"] == 2  # gone, and the old name
    assert pipeline.status().in_sync


def test_a_drop_that_lost_most_of_its_pictures_stops_unless_it_is_meant(pipeline: Pipeline) -> None:
    folder = pipeline.deliver(DROP, FOUR)
    pipeline.ingest()
    for name in ("red.png", "green.png", "blue.png"):
        (folder / name).unlink()
    with pytest.raises(UserError, match="allow_mass_deletion"):
        pipeline.ingest()
    assert pipeline.status().live.rows == 4
    meant = {"ops": {"drop_manifest": {"config": {"allow_mass_deletion": True}}}}
    pipeline.run("ingest_drop", DROP, config=meant)
    assert pipeline.status().live.rows == 1


def test_the_same_picture_in_two_drops_is_embedded_once_and_found_in_both(pipeline: Pipeline) -> None:
    pipeline.deliver(DROP, {"red.png": COLOURS["red"]})
    pipeline.deliver("bags__2026-09", {"copy.png": COLOURS["red"]})
    outcomes = pipeline.ingest()
    assert sum(outcome.metadata["clip_embeddings"]["computed"] for outcome in outcomes.values()) == 1
    assert pipeline.status().live.rows == 2


def test_a_drop_with_nothing_usable_is_no_failure(pipeline: Pipeline) -> None:
    pipeline.deliver("bags__2026-09", {"red.png": COLOURS["red"]})
    folder = pipeline.deliver(DROP, {})
    (folder / "notes.png").write_text("not a picture")
    outcomes = pipeline.ingest()
    assert outcomes[DROP].metadata["drop_manifest"]["quarantined"] == 1
    assert pipeline.status().in_sync


def test_a_drop_whose_folder_is_gone_fails_unless_it_is_meant_to_go(pipeline: Pipeline) -> None:
    pipeline.deliver(DROP, {"red.png": COLOURS["red"]})
    pipeline.deliver("bags__2026-09", {"red.png": COLOURS["red"]})
    pipeline.ingest()
    pipeline.remove(DROP)
    with pytest.raises(UserError, match=f"{DROP} has no folder"):
        pipeline.run("ingest_drop", DROP)
    assert pipeline.status().live.rows == 2

    meant = {"ops": {"drop_manifest": {"config": {"allow_mass_deletion": True}}}}
    pipeline.run("ingest_drop", DROP, config=meant)
    assert pipeline.status().live.rows == 1
    assert pipeline.status().in_sync

    pipeline.remove("bags__2026-09")  # now nothing is left: that is an unmounted share, whatever was meant
    with pytest.raises(UserError, match="holds no drop"):
        pipeline.run("ingest_drop", DROP, config=meant)


def test_another_model_is_refused_until_it_is_published(
    pipeline: Pipeline, small_clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.deliver(DROP, FOUR)
    pipeline.ingest()
    before = pipeline.status().live
    monkeypatch.setenv("MMRAG_CLIP_MODEL", small_clip)
    with pytest.raises(UserError, match="nightly_reindex"):
        pipeline.run("ingest_drop", DROP)
    assert pipeline.status().live == before
    published = pipeline.run("nightly_reindex").metadata["media_index"]
    assert published["swapped"] and published["previous"] == before.collection
    assert pipeline.status().in_sync
