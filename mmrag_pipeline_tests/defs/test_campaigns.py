"""`run_campaign` through real Dagster runs: planned, pictured once, shown; mistakes in a brief are one sentence."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from PIL import Image
from upath import UPath

from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.definitions import defs
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.integration.gemini_judge_server import JUDGE, JudgeServer
from mmrag_pipeline_tests.integration.gemini_server import GeminiServer, transport
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline

BRIEF = """
title: Spring
objective: Show the red cape.
products:
  - {name: the red cape, query: something red, product_line: lunar}
scenes:
  - {name: beach, prompt: "A model wears {{ product.name }} on a beach."}
placements:
  - {name: feed, aspect_ratio: "4:5", image_size: 1K}
  - {name: story, aspect_ratio: "9:16", image_size: 1K}
schedule: {cron: "0 6 * * 1", timezone: Europe/Berlin}
budget_usd: 5
"""
KEY = "spring__2026-11-23"


@pytest.fixture
def campaign(pipeline: Pipeline) -> Pipeline:
    pipeline.deliver("lunar__2026-09", {f"{name}.png": colour for name, colour in COLOURS.items()})
    pipeline.ingest()
    (pipeline.root / "briefs" / "spring.yaml").write_text(BRIEF)
    return pipeline


def occurrence(pipeline: Pipeline) -> Path:
    return pipeline.root / "store" / "campaigns" / "spring" / "2026-11-23"


def test_an_occurrence_is_pictured_once_and_shown(campaign: Pipeline) -> None:
    first = campaign.run("run_campaign", KEY).metadata
    assert first["campaign_plan"]["pictures_planned"] == first["campaign_images"]["made"] == 2
    assert first["campaign_plan"]["would_cost_usd"] > 0 == first["campaign_images"]["spent_usd"]
    pictures = sorted((occurrence(campaign) / "images").glob("PREVIEW-*.png"))
    assert sorted(Image.open(path).size for path in pictures) == [(768, 1376), (928, 1152)]
    page = (occurrence(campaign) / "gallery.html").read_text()
    assert "PREVIEW" in page and "the red cape" in page

    written = {path: path.stat().st_mtime_ns for path in (occurrence(campaign) / "images").iterdir()}
    again = campaign.run("run_campaign", KEY).metadata
    assert (again["campaign_images"]["made"], again["campaign_images"]["skipped_existing"]) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in (occurrence(campaign) / "images").iterdir()} == written


def test_a_plan_is_kept_when_the_library_grows_and_made_anew_when_the_brief_changes(campaign: Pipeline) -> None:
    campaign.run("run_campaign", KEY)
    campaign.deliver("lunar__2026-10", {"scarlet.png": (230, 20, 20)})
    campaign.ingest()
    kept = campaign.run("run_campaign", KEY).metadata
    assert kept["campaign_plan"]["kept_from_earlier_run"]
    assert kept["campaign_images"]["made"] == 0

    (campaign.root / "briefs" / "spring.yaml").write_text(BRIEF.replace("on a beach", "in the snow"))
    changed = campaign.run("run_campaign", KEY).metadata
    assert not changed["campaign_plan"]["kept_from_earlier_run"]
    assert changed["campaign_images"]["made"] == 2


@pytest.mark.parametrize(
    ("typed", "instead", "says"),
    [
        ("objective:", "objectiv:", "objectiv"),
        ("product_line: lunar", "product_line: lunnar", "lunnar"),
        ("budget_usd: 5", "budget_usd: 0.001", "budget_usd"),
        ("0 6 * * 1", "six on mondays", "cron"),
    ],
)
def test_a_mistake_in_a_brief_fails_the_plan_with_its_sentence(
    campaign: Pipeline, typed: str, instead: str, says: str
) -> None:
    (campaign.root / "briefs" / "spring.yaml").write_text(BRIEF.replace(typed, instead))
    with pytest.raises(UserError, match=says):
        campaign.run("run_campaign", KEY)
    assert not occurrence(campaign).exists()


def test_a_plan_without_a_single_variant_fails_with_the_reasons(campaign: Pipeline) -> None:
    nowhere = "products:\n  - {sku: NO-1}\n  - {sku: NO-2}\nscenes:"
    (campaign.root / "briefs" / "spring.yaml").write_text(re.sub(r"products:\n.*\nscenes:", nowhere, BRIEF))
    with pytest.raises(UserError, match=r"no picture can be planned .*'NO-1'.*'NO-2'.*brief"):
        campaign.run("run_campaign", KEY)
    assert not occurrence(campaign).exists()


@pytest.mark.slow
def test_what_is_left_over_is_a_warning_with_what_to_do(campaign: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign.run("run_campaign", KEY)
    assert completeness().passed
    (campaign.root / "briefs" / "spring.yaml").write_text(BRIEF.replace("scenes:", "  - {sku: NO-1}\nscenes:"))
    with GeminiServer() as server:
        monkeypatch.setenv("MMRAG_IMAGE_BACKEND", "gemini")
        monkeypatch.setenv("MMRAG_GEMINI_API_KEY", server.key)
        monkeypatch.setenv("MMRAG_GEMINI_BASE_URL", server.url)
        server.faults = [transport("reset")]
        campaign.run("run_campaign", KEY)
        found = completeness()
        counts = {name: entry.value for name, entry in found.metadata.items()}
        assert not found.passed and not found.blocking and found.severity == dg.AssetCheckSeverity.WARN
        assert (counts["failed"], counts["products_left_out"], counts["skipped_budget"]) == (1, 1, 0)
        assert "ingest the drop" in counts["what_to_do"] and "retry_ambiguous" in str(counts["reasons"])

        campaign.run("run_campaign", KEY)
        assert len(server.requests) == 2
        ask_again = {"ops": {"campaign_images": {"config": {"retry_ambiguous": True}}}}
        again = campaign.run("run_campaign", KEY, config=ask_again).metadata["campaign_images"]
        assert (again["made"], again["requests"]) == (1, 1)


def completeness() -> dg.AssetCheckEvaluation:
    """The latest evaluation of the check of campaign_images."""
    with dg.DagsterInstance.get() as instance:
        check = dg.AssetCheckKey(dg.AssetKey("campaign_images"), "complete")
        (record,) = instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
    return record.evaluation


def test_gemini_without_a_key_says_which_variable_is_missing(
    campaign: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMRAG_IMAGE_BACKEND", "gemini")
    with pytest.raises(UserError, match="MMRAG_GEMINI_API_KEY"):
        campaign.run("run_campaign", KEY)
    assert not list((occurrence(campaign) / "images").glob("*"))


def test_gemini_and_the_judge_are_paid_once_and_the_key_is_written_nowhere(
    campaign: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, close = [], GeminiBackend.close
    monkeypatch.setattr(GeminiBackend, "close", lambda backend: (closed.append(backend), close(backend)))
    with JudgeServer() as server:
        monkeypatch.setenv("MMRAG_IMAGE_BACKEND", "gemini")
        monkeypatch.setenv("MMRAG_GEMINI_JUDGE", JUDGE)
        monkeypatch.setenv("MMRAG_GEMINI_API_KEY", server.key)
        monkeypatch.setenv("MMRAG_GEMINI_BASE_URL", server.url)
        runs = [campaign.run("run_campaign", KEY).metadata for _ in range(2)]
        first, again = (run["campaign_images"] for run in runs)
        assert (first["made"], first["requests"], again["made"], again["requests"]) == (2, 2, 0, 0)
        assert [(run["campaign_gallery"]["judged"], run["campaign_gallery"]["judged_before"]) for run in runs] == [
            (2, 0),
            (0, 2),
        ]
        assert runs[0]["campaign_gallery"]["judged_for_usd"] == pytest.approx(server.judged_usd, abs=1e-4)
        assert (len(server.requests), len(server.asked), server.problems) == (2, 2, [])
        assert len(closed) == 4, "pictures and judge, twice: no connection stays open in a daemon"
        assert first["spent_usd"] >= server.billed_usd > 0  # the server counts pictures, the ledger prompts too
    files = [path for path in campaign.root.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if server.key.encode() in path.read_bytes()] == []


def test_each_brief_has_a_schedule_that_adds_its_occurrence(campaign: Pipeline) -> None:
    (campaign.root / "briefs" / "broken.yaml").write_text("titel: Oops\n")
    schedule = next(item for item in defs().schedules if item.name == "campaign_spring")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * 1", "Europe/Berlin")
    with dg.instance_for_test() as instance:
        due = datetime(2026, 11, 23, 5, 0, tzinfo=UTC)  # six in Berlin
        with dg.build_schedule_context(instance=instance, scheduled_execution_time=due) as context:
            request = schedule(context)
        assert request.partition_key == KEY
        assert instance.get_dynamic_partitions("campaign_occurrences") == [KEY]


@pytest.mark.slow
def test_a_store_in_a_bucket_works_from_ingest_to_gallery(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec's memory filesystem stands for any object store; the two databases stay on the local disk."""
    monkeypatch.setenv("MMRAG_STORE", "memory:///bucket")
    monkeypatch.setenv("MMRAG_MILVUS_URI", str(pipeline.root / "milvus.db"))
    monkeypatch.setenv("MMRAG_LEDGER", str(pipeline.root / "ledger.sqlite"))
    pipeline.deliver("lunar__2026-09", {f"{name}.png": colour for name, colour in COLOURS.items()})
    pipeline.ingest()
    (pipeline.root / "briefs" / "spring.yaml").write_text(BRIEF)
    assert pipeline.run("nightly_reindex").metadata["staged_media_index"]["mode"] == "unchanged"
    assert pipeline.run("run_campaign", KEY).metadata["campaign_images"]["made"] == 2
    assert pipeline.run("run_campaign", KEY).metadata["campaign_images"]["skipped_existing"] == 2
    assert (UPath("memory:///bucket") / "campaigns" / "spring" / "2026-11-23" / "gallery.html").exists()
    assert pipeline.status().in_sync
    assert not (Path.cwd() / "memory:").exists()
