"""kill -9 at any moment, then run again: the same end as without, and nothing paid twice that was not lost."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.plan_table import write_plan
from mmrag_pipeline_tests.campaigns.conftest import Desk
from mmrag_pipeline_tests.integration.gemini_faults import BillingServer
from mmrag_pipeline_tests.integration.gemini_server import Received, picture_body

VARIANTS, KILLS, PATIENCE_S = 200, 10, 120
RUN = """
import sys
from upath import UPath
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.making import make_pictures
from mmrag_pipeline.campaigns.ledger import Caps, Ledger
from mmrag_pipeline.campaigns.plan_table import read_plan
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline_tests.integration.gemini_server import KEY

folder, ledger, url = sys.argv[1:]
folder = UPath(folder)
make_pictures(
    read_plan(folder / "plan.parquet"), backend=GeminiBackend(api_key=KEY, base_url=url), ledger=Ledger(ledger),
    folder=folder, references=ReferencePictures(folder / "references"), caps=Caps(day_usd=100), run_id="run", threads=8)
"""


def start(desk: Desk, url: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", RUN, str(desk.folder), desk.ledger.path, url])


def kill_after(process: subprocess.Popen, server: BillingServer, requests: int) -> None:
    """kill -9 once the server has had so many requests more."""
    enough, deadline = len(server.requests) + requests, time.monotonic() + PATIENCE_S
    while len(server.requests) < enough:
        assert process.poll() is None and time.monotonic() < deadline, "it was to be killed in the middle"
        time.sleep(0.001)


@pytest.mark.slow
def test_ten_kills_at_random_cost_no_more_than_what_was_in_flight(lay_out: Callable[..., Desk], tmp_path: Path) -> None:
    chance = random.Random(20261127)
    desk = lay_out(("brand:", "n: 20\nlocales: [en, de, fr, it, es]\nbrand:"))
    variants = {variant.seed: variant for variant in desk.plan.variants}
    assert len(variants) == VARIANTS
    write_plan(desk.folder / "plan.parquet", desk.plan)

    def answer(received: Received) -> object:
        time.sleep(chance.uniform(0, 0.05))
        return picture_body(received, 160, 200)

    with BillingServer(answer=answer) as server:
        for _ in range(KILLS):
            process = start(desk, server.url)
            kill_after(process, server, chance.randint(1, 17))
            time.sleep(chance.uniform(0, 0.08))
            process.kill()
            assert process.wait(timeout=PATIENCE_S) == -9
        assert start(desk, server.url).wait(timeout=PATIENCE_S) == 0
        assert server.problems == []
        asked, owed = Counter(variants[request.config["seed"]].key for request in server.requests), server.owed_usd

        # The end is that of an undisturbed run: a picture and a sidecar for each variant, and nothing else.
        found = {path.name for path in desk.images.iterdir()}
        sidecars = {key: json.loads((desk.images / f"{key}.json").read_text()) for key in asked}
        assert found == {name for key in sidecars for name in (f"{key}.json", f"{key}.jpg")}
        assert {path.name for path in (desk.images.parent / "originals").iterdir()} == {
            f"{key}.jpg" for key in sidecars
        }
        assert len(sidecars) == VARIANTS and {sidecar["status"] for sidecar in sidecars.values()} == {"generated"}
        assert not [path for path in (desk.root / "store").rglob(".tmp-*")]

        # Each was paid once, but for those that a kill caught in flight; those stay in the ledger as spent.
        attempts = Counter(attempt["key"] for attempt in desk.ledger.attempts())
        lost = Counter(attempt["key"] for attempt in desk.ledger.attempts() if attempt["outcome"] is None)
        settled = Counter(attempt["outcome"] for attempt in desk.ledger.attempts() if attempt["outcome"])
        assert settled == {"generated": VARIANTS} and 0 < lost.total() <= KILLS * 8
        assert all(asked[key] <= attempts[key] == 1 + lost[key] for key in asked)
        assert asked.total() > VARIANTS, "the kills did catch some in flight"
        assert owed <= desk.ledger.spent()

        assert not [f for f in desk.root.rglob("*") if f.is_file() and server.key.encode() in f.read_bytes()]

        # What is finished costs nothing more, and is not touched.
        sent, spent = len(server.requests), desk.ledger.spent()
        written = {path: path.stat().st_mtime_ns for path in desk.images.iterdir()}
        report = desk.make(GeminiBackend(api_key=server.key, base_url=server.url), threads=8)
        assert report.counts["skipped_existing"] == VARIANTS and len(server.requests) == sent
        assert desk.ledger.spent() == spent
        assert {path: path.stat().st_mtime_ns for path in desk.images.iterdir()} == written
