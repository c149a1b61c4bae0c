"""Every check of the code location says, passed or not, what to do; who has to share a machine or a server does."""

from __future__ import annotations

import dagster as dg
import pytest

from mmrag_pipeline.dagster_runs import DagsterRuns
from mmrag_pipeline.definitions import defs
from mmrag_pipeline.defs.index.assets import CHECKS, TO_DO
from mmrag_pipeline.defs.verdict import WHAT_TO_DO
from mmrag_pipeline_tests.defs.test_campaigns import KEY, campaign  # noqa: F401 - a fixture
from mmrag_pipeline_tests.pipeline import Pipeline


@pytest.mark.slow
def test_every_check_says_what_to_do(campaign: Pipeline) -> None:  # noqa: F811
    (campaign.media / "lunar" / "2026-09" / "broken.png").write_text("not a picture")
    campaign.ingest()
    campaign.run("nightly_reindex")
    campaign.run("run_campaign", KEY)
    said: dict[str, str] = {}
    checks = defs().resolve_asset_graph().asset_check_keys
    with DagsterRuns(campaign.settings), dg.DagsterInstance.get() as instance:
        for check in checks:
            records = instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
            assert records and records[0].event, f"{check} was not evaluated: play its part here"
            evaluation = records[0].event.dagster_event.asset_check_evaluation_data
            to_do = str(evaluation.metadata[WHAT_TO_DO].value)
            assert to_do.strip() and (evaluation.passed or to_do != "nothing"), check
            said[check.name] = to_do
    assert len(checks) == 19
    assert said["quarantine_rate"] == "nothing" and said["recall"] == "nothing"


def test_each_check_of_the_index_has_its_advice() -> None:
    assert TO_DO.keys() | {"golden"} == CHECKS.keys()


def test_pools(pipeline: Pipeline) -> None:
    """One machine's model, one Milvus and one budget: their limits are in dagster.yaml."""
    loaded = defs()
    pools: dict[str, set[str]] = {}
    for job in loaded.resolve_all_job_defs():
        for node in job.all_node_defs:
            for pool in getattr(node, "pools", ()):
                pools.setdefault(pool, set()).add(node.name)
    assert pools == {
        "encoder": {"clip_embeddings"},
        "milvus": {
            "drop_vectors",
            "staged_media_index",
            "media_index",
            "retrieval_quality",
            "campaign_plan",
            "remove_vanished_drop",
        },
        "image_backend": {"campaign_images", "campaign_batch"},
    }
