"""What the code location offers, by name; and that loading it imports no model."""

from __future__ import annotations

import subprocess
import sys

import dagster as dg
import pytest

from mmrag_pipeline.definitions import defs
from mmrag_pipeline_tests.pipeline import Pipeline

HEAVY = ("torch", "torchvision", "open_clip", "pymilvus", "google.genai", "av")


def test_assets_by_group(pipeline: Pipeline) -> None:
    graph = defs().resolve_asset_graph()
    groups: dict[str, set[str]] = {}
    for node in graph.asset_nodes:
        groups.setdefault(node.group_name, set()).add(node.key.to_user_string())
    assert groups == {
        "ingest": {"drop_manifest", "clip_embeddings", "drop_vectors"},
        "index": {"staged_media_index", "media_index"},
        "quality": {"library_health", "near_duplicates", "retrieval_quality"},
        "campaigns": {"campaign_plan", "campaign_batch", "campaign_images", "campaign_gallery"},
    }


def test_every_asset_says_what_it_is(pipeline: Pipeline) -> None:
    nodes = defs().resolve_asset_graph().asset_nodes
    assert [node.key for node in nodes if not node.description or not node.kinds] == []


def test_jobs_sensors_and_schedules(pipeline: Pipeline) -> None:
    loaded = defs()
    campaign_jobs = {"run_campaign", "submit_campaign", "collect_campaign"}
    assert {job.name for job in loaded.jobs} == {"ingest_drop", "remove_drop", "nightly_reindex"} | campaign_jobs
    assert {sensor.name for sensor in loaded.sensors} == {"drop_sensor", "campaign_batches", "alerts", "lost_runs"}
    assert {schedule.name for schedule in loaded.schedules} == {"nightly_reindex", "nightly_ingest"}
    dg.Definitions.validate_loadable(loaded)


def test_everything_waits_to_be_switched_on_unless_told(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def running(loaded: dg.Definitions) -> set[str]:
        automations = [*loaded.sensors, *loaded.schedules]
        return {item.name for item in automations if item.default_status.value == "RUNNING"}

    assert running(defs()) == set()
    monkeypatch.setenv("MMRAG_AUTOSTART", "true")
    assert running(defs()) == {
        "drop_sensor",
        "campaign_batches",
        "alerts",
        "lost_runs",
        "nightly_reindex",
        "nightly_ingest",
    }


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mmrag_pipeline.definitions import defs; defs();"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
