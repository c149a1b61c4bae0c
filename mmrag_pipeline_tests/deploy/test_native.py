"""docker-compose.yml and deploy/dagster.yaml for real, as processes: PostgreSQL of Debian, the packaged Milvus server.

What it does not prove: the images, and Milvus 3 with etcd and MinIO. No container engine is needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from mmrag_pipeline.demo.delivery import deliver, packaged_drops
from mmrag_pipeline.find import find
from mmrag_pipeline.settings import Settings
from mmrag_pipeline.status import read_status
from mmrag_pipeline_tests.deploy.composed import PATIENCE_S, ComposedDagster, composed_dagster
from mmrag_pipeline_tests.integration.live_dagster import OVER, GraphqlError, Run
from mmrag_pipeline_tests.integration.milvus_server import running_server
from mmrag_pipeline_tests.integration.postgres import Postgres, postgres  # noqa: F401 - a fixture

pytestmark = [pytest.mark.slow, pytest.mark.milvus_server]
WATCHES, BAGS, SHOES = "watches__2026-08", "bags__2026-10", "shoes__2026-09"
DOWN_S = 20
"""Longer than dagster-postgres repeats a statement: what a run wants to write meanwhile is not written."""
LONG_DOWN_S = 60
"""Longer than a run that could not write takes to end, and what would have told of that: nobody has seen it."""

MANY, DAGSTERS_PATIENCE_S, DAEMON_TICK_S = 2000, 30, 5


@dataclass
class Deployment:
    dagster: ComposedDagster
    postgres: Postgres
    settings: Settings

    def launch(self, drop: str) -> str:
        """Deliver a packaged drop and ingest it, by GraphQL."""
        packaged = {each.key: each for each in packaged_drops()}
        deliver(packaged[drop], Path(self.settings.media_root))
        self.dagster.add_partition("media_drops", drop)
        return self.dagster.launch("ingest_drop", partition=drop)

    def every_pool_is_mended(self, run: str) -> None:
        """The web UI's pools of connections (runs, events, schedules) each fail once after PostgreSQL was away."""
        dagster = self.dagster
        for ask in (
            dagster.runs,
            lambda: dagster.step_started(run, "drop_vectors"),
            lambda: dagster.ticked_since("drop_sensor", 0.0),
        ):

            def answers(ask: Callable[[], object] = ask) -> bool:
                try:
                    ask()
                except (GraphqlError, OSError):
                    return False
                return True

            dagster.wait_for(answers, "the web UI answers again", within_s=PATIENCE_S)

    def runs(self, drop: str) -> list[Run]:
        return [run for run in self.dagster.runs("ingest_drop") if run.partition == drop]

    def ended_well_once(self, drop: str) -> list[Run]:
        """Wait until a run of the drop has succeeded and none goes on; returns all of them."""

        def over() -> list[Run]:
            runs = self.runs(drop)
            well = [run for run in runs if run.status == "SUCCESS"]
            return runs if well and all(run.status in OVER for run in runs) else []

        runs = self.dagster.wait_for(over, f"a run of {drop} has succeeded", within_s=PATIENCE_S)
        assert len([run for run in runs if run.status == "SUCCESS"]) == 1 and len(runs) <= 2, runs
        return runs

    def survives_an_outage(self, drop: str, *, seconds: float) -> None:
        """PostgreSQL goes as the last step of a run begins, and is back after so long: all ends well by itself."""
        dagster, run = self.dagster, self.launch(drop)
        dagster.wait_for(
            lambda: dagster.step_started(run, "drop_vectors"), "rows are written", within_s=PATIENCE_S, every_s=0.1
        )
        self.postgres.stop()
        time.sleep(seconds)
        self.postgres.start()
        self.every_pool_is_mended(run)
        assert run in {each.id for each in self.ended_well_once(drop)}
        self.assert_nothing_is_doubled(drop)
        for name in ("code", "webserver", "daemon"):
            dagster.wait_for(lambda name=name: dagster.is_ready(name), f"{name} is healthy again")

    def assert_nothing_is_doubled(self, *drops: str) -> None:
        """These drops are live, and every drop is as its manifest says, each row once."""
        status = read_status(self.settings)
        assert status.in_sync, status
        assert set(drops) <= {row.drop for row in status.drops}


@pytest.fixture(scope="module")
def deployment(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:  # noqa: F811
    pytest.importorskip("milvus", reason="the packaged server is in the dev extra: make install")
    root = tmp_path_factory.mktemp("deployment")
    with running_server(root / "milvus") as milvus:
        # No model hub here, and the drops are asked for by hand.
        env_file = {"MMRAG_CLIP_MODEL": "demo", "MMRAG_QUIET_S": "1", "MMRAG_AUTOSTART": "false"}
        with composed_dagster(root, postgres, milvus, env_file) as dagster:
            settings = Settings(
                store=str(root / "store"),
                media=str(root / "media"),
                milvus_uri=milvus.uri,
                milvus_token=milvus.token,
            )
            dagster.switch_on_sensor("lost_runs")
            yield Deployment(dagster, postgres, settings)


def test_a_drop_is_ingested_and_found(deployment: Deployment) -> None:
    slots = "SELECT concurrency_key, \"limit\" FROM concurrency_limits WHERE concurrency_key = 'image_backend'"
    assert deployment.postgres.query(slots) == ["image_backend|2"]
    run = deployment.launch(WATCHES)
    assert deployment.dagster.finished(run, within_s=PATIENCE_S).status == "SUCCESS"
    assert find(deployment.settings, text="a golden watch").hits[0].product_line == "watches"
    deployment.assert_nothing_is_doubled(WATCHES)
    artifacts = Path(deployment.settings.store) / "dagster"
    assert list(artifacts.glob(f"**/{run}/compute_logs/*.err")), "what runs print is not where the web UI looks for it"
    assert not deployment.postgres.query(
        f"SELECT 1 FROM runs WHERE run_body LIKE '%{deployment.postgres.password}%'"
        f" UNION SELECT 1 FROM event_logs WHERE event LIKE '%{deployment.postgres.password}%'"
    )


def test_postgres_restarts_during_a_run(deployment: Deployment) -> None:
    deployment.survives_an_outage(BAGS, seconds=DOWN_S)


def test_postgres_is_away_until_the_run_is_gone(deployment: Deployment) -> None:
    deployment.survives_an_outage(SHOES, seconds=LONG_DOWN_S)


def test_a_code_server_that_is_asked_to_stop_lets_its_runs_end(deployment: Deployment) -> None:
    """Also one that takes longer than Dagster's own patience of half a minute; queued ones wait for the next server."""
    dagster, folder = deployment.dagster, Path(deployment.settings.media_root) / "plain" / "many"
    folder.mkdir(parents=True)
    for number in range(MANY):
        Image.new("RGB", (64, 64), (number % 256, number // 256, 128)).save(folder / f"{number}.png")
    dagster.add_partition("media_drops", "plain__many")
    run = dagster.launch("ingest_drop", partition="plain__many")
    dagster.wait_for(lambda: dagster.step_started(run, "clip_embeddings"), "the run has begun", within_s=PATIENCE_S)
    queued = dagster.launch("ingest_drop", partition="plain__many")
    asked = time.monotonic()
    assert dagster.end("code") == 0
    assert time.monotonic() - asked > DAGSTERS_PATIENCE_S, "the run was too short to show anything"
    assert dagster.run(run).status == "SUCCESS"
    time.sleep(2 * DAEMON_TICK_S)
    assert dagster.run(queued).status not in OVER  # queued, or just being tried again
    dagster.start("code")
    assert dagster.finished(queued).status == "SUCCESS"
    deployment.assert_nothing_is_doubled("plain__many")
