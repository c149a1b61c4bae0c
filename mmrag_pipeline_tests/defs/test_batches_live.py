"""A batch ordered before everything of Dagster is killed, and collected after it was started again."""

from __future__ import annotations

import os

import pytest

from mmrag_pipeline.settings import PREFIX
from mmrag_pipeline_tests.defs.test_campaign_batches import campaign, server  # noqa: F401 - fixtures
from mmrag_pipeline_tests.defs.test_campaigns import KEY, occurrence
from mmrag_pipeline_tests.integration.gemini_batches import GeminiBatchServer
from mmrag_pipeline_tests.integration.live_dagster import live_dagster
from mmrag_pipeline_tests.pipeline import Pipeline


@pytest.mark.slow
def test_a_restart_between_order_and_collection_loses_nothing(
    campaign: Pipeline,  # noqa: F811
    server: GeminiBatchServer,  # noqa: F811
) -> None:
    environment = {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}
    with live_dagster(campaign.root / "dagster", environment) as live:
        live.add_partition("campaign_occurrences", KEY)
        ordered = live.finished(live.launch("submit_campaign", partition=KEY), within_s=600)
        assert ordered.status == "SUCCESS" and len(server.jobs) == 1
        live.switch_on_sensor("campaign_batches")
        live.wait_for(lambda: "get" in server.asked, "the sensor asks after the job", within_s=600)
        assert live.runs("collect_campaign") == []

        for name in ("daemon", "webserver", "code"):
            live.kill(name)
        server.finish()
        for name in ("code", "webserver", "daemon"):
            live.start(name)

        (collected,) = live.wait_for(lambda: live.runs("collect_campaign"), "a run is asked for", within_s=900)
        assert live.finished(collected.id, within_s=600).status == "SUCCESS" and collected.partition == KEY
    assert len(list((occurrence(campaign) / "images").glob("*.jpg"))) == 2
    assert len(server.jobs) == 1 and server.requests == []
