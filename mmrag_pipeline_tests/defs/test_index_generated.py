"""Approved pictures in the index: found by who asks for them, kept by every reindex, gone when no longer approved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from mmrag_pipeline import wiring
from mmrag_pipeline.campaigns import indexing
from mmrag_pipeline.campaigns.finder import MilvusReferenceFinder
from mmrag_pipeline.cli import app
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline_tests.defs.test_campaigns import BRIEF, KEY, campaign, occurrence  # noqa: F401 - a fixture
from mmrag_pipeline_tests.integration.gemini_server import GeminiServer
from mmrag_pipeline_tests.pipeline import Pipeline


def mmrag(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
    assert result.exit_code == code, result.output
    return result.output


def found(origin: str) -> set[str]:
    hits: list[dict[str, Any]] = json.loads(mmrag("search", "something red", "--origin", origin, "-k", "50", "--json"))
    return {hit["path"] for hit in hits}


@pytest.mark.slow
def test_approved_pictures_are_found_by_who_asks_and_survive_every_night(
    campaign: Pipeline,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with GeminiServer() as server:
        monkeypatch.setenv("MMRAG_IMAGE_BACKEND", "gemini")
        monkeypatch.setenv("MMRAG_GEMINI_API_KEY", server.key)
        monkeypatch.setenv("MMRAG_GEMINI_BASE_URL", server.url)
        campaign.run("run_campaign", KEY)
    campaign.run("nightly_reindex")
    names = {file.name for file in (occurrence(campaign) / "images").glob("*.jpg")}
    one, other = sorted(names)
    library = found("library")
    assert len(library) == 4
    mmrag("campaign", "index")
    assert found("any") == library, "nothing is approved yet"

    mmrag("campaign", "approve", one.removesuffix(".jpg"), other.removesuffix(".jpg"))
    with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):  # after the manifest, before the rows
        killing.setattr(indexing, "sync_drop", _interrupted)
        indexer(campaign).index(None, now=indexing.datetime.now().astimezone())
    assert "2 approved pictures in the index (2 written, 0 removed)" in mmrag("campaign", "index")
    assert "(0 written, 0 removed)" in mmrag("campaign", "index")
    assert found("library") == library and found("generated") == names and campaign.status().in_sync
    with connect(wiring.milvus(campaign.settings)) as milvus:
        finder = MilvusReferenceFinder(milvus, wiring.encoder(campaign.settings))
        references = finder.by_text("something red", product_line="lunar", min_score=None, limit=50)
    assert {hit.path for hit in references} == library, "what was generated is no reference"

    for mode in ("auto", "rebuild", "reconcile"):
        config = {"ops": {"staged_media_index": {"config": {"mode": mode}}}}
        campaign.run("nightly_reindex", config=config)
        assert found("library") == library and found("generated") == names and campaign.status().in_sync

    # A damaged manifest is made anew, unless the library has a drop of that name.
    (manifest,) = (campaign.root / "store" / "manifests").glob("*generated-*")
    sound = manifest.read_bytes()
    manifest.write_bytes(sound[: len(sound) // 2])
    assert "(0 written, 0 removed)" in mmrag("campaign", "index") and manifest.read_bytes() == sound
    manifest.write_bytes(sound[: len(sound) // 2])
    taken = campaign.media.joinpath(*manifest.stem.split("__"))
    taken.mkdir()
    assert f"the library has a drop {manifest.stem}" in mmrag("campaign", "index", code=1)
    taken.rmdir()
    assert "(0 written, 0 removed)" in mmrag("campaign", "index") and campaign.status().in_sync

    sheet = tmp_path / "sheet.png"
    said = mmrag("search", "something red", "--origin", "generated", "--sheet", str(sheet))
    assert Image.open(sheet).size[0] > 300 and "gone" not in said

    # Finished anew under another line: not what was approved, so it leaves until somebody has looked at it.
    (campaign.root / "briefs" / "spring.yaml").write_text(BRIEF + "overlay: {headline: Red is back}\n")
    with GeminiServer() as server:
        monkeypatch.setenv("MMRAG_GEMINI_BASE_URL", server.url)
        assert campaign.run("run_campaign", KEY).metadata["campaign_images"]["refinished"] == 2
        assert server.requests == []
    mmrag("campaign", "approve", one.removesuffix(".jpg"))
    assert "1 approved pictures in the index (1 written, 1 removed)" in mmrag("campaign", "index", "--occurrence", KEY)
    assert found("generated") == {one} and found("library") == library
    assert "(0 written, 1 removed)" in mmrag("campaign", "index", "--remove")
    assert found("any") == library and campaign.status().in_sync
    assert [path.name for path in (campaign.root / "store" / "manifests").iterdir()] == ["lunar__2026-09.parquet"]
    campaign.run("nightly_reindex")
    assert found("any") == library


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def indexer(pipeline: Pipeline) -> indexing.PictureIndexer:
    settings = pipeline.settings
    return indexing.PictureIndexer(
        store=indexing.Store(settings.store),
        encoder=wiring.encoder(settings),
        connect=lambda: connect(wiring.milvus(settings)),
        limits=wiring.limits(settings),
        ledger=settings.ledger_file,
        in_library=wiring.library(settings).has,
    )
