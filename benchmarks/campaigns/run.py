"""What it costs, in time, requests and money, until every picture of a campaign is there. No bar: it is told as it is.

The server takes 2 s a picture and fails 5% of the requests (server.py). Each side is a fresh process; one that leaves
pictures out is started again until none is missing, up to `_MOST_RUNS` times. "Killed half way" is the same with a
kill -9 once half of the pictures were asked for. Ours is the whole run: it finds the references, draws the plan, keeps
ledger and sidecars, crops, signs, scores, and writes the gallery. The loops are given prompts and references, skip what
is there, have the SDK's own retries, and write the bytes they get. Money is what the server would charge.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.campaigns.server import EVERY, WHAT, slow_server
from benchmarks.options import Options
from benchmarks.processes import ROOT
from benchmarks.report import Result, taking_turns, times_faster
from mmrag_pipeline.dagster_runs import DagsterRuns
from mmrag_pipeline.demo.delivery import deliver, packaged_drops
from mmrag_pipeline.plan_brief import plan_brief
from mmrag_pipeline.settings import PREFIX, load_settings
from mmrag_pipeline_tests.integration.gemini_faults import BillingServer
from mmrag_pipeline_tests.integration.gemini_server import KEY

PICTURES, QUICK_PICTURES = 100, 8
LATENCY_S, QUICK_LATENCY_S = 2.0, 0.1
OURS, LOOP, THREADS = "ours, the whole run (4 threads)", "SDK loop", "SDK loop, 4 threads"
UNDISTURBED, KILLED = "undisturbed", "killed half way"
CAMPAIGN, OCCURRENCE = "golden-hundred", "2026-11-27"
_ROUNDS, _MOST_RUNS = 3, 6
_SCENES = ("table", "window", "beach", "desk", "garden")
_A_SCENE = 20
"""Pictures of one product in one scene, the most that a brief may ask for."""
_BRIEF = """title: Golden hundred
objective: A hundred pictures of one watch.
products: [{{name: the golden watch, query: a golden watch, product_line: watches}}]
scenes: [{scenes}]
placements: [{{name: feed, aspect_ratio: "4:5"}}]
n: {n}
references: {{max_per_product: 3}}
budget_usd: 100
"""


@dataclass(frozen=True)
class Made:
    """What one side took until every picture was there; `runs` processes were needed."""

    seconds: float
    requests: int
    usd: float
    runs: int


@dataclass(frozen=True)
class Desk:
    """A store with an index and a brief, which each run of ours copies, and what the loops ask for."""

    root: Path
    pictures: int
    latency_s: float

    @property
    def wanted(self) -> Path:
        return self.root / "wanted.json"


def run(options: Options) -> Result:
    """Measure all sides; fails when one of them does not get every picture."""
    pictures = QUICK_PICTURES if options.quick else PICTURES
    latency_s = QUICK_LATENCY_S if options.quick else LATENCY_S
    server = f"a Gemini server with {latency_s:g} s latency and 5% faults"
    result = Result("campaigns", f"{pictures} campaign pictures from {server}, until all are there")
    with tempfile.TemporaryDirectory(dir=options.data, prefix="campaigns-") as root:
        desk = Desk(Path(root), pictures, latency_s)
        _prepare(desk)
        for case, killed in ((UNDISTURBED, False), (KILLED, True)):
            sides = {
                OURS: partial(_side, desk, _ours, killed),
                LOOP: partial(_side, desk, partial(_loop, 1), killed),
                THREADS: partial(_side, desk, partial(_loop, 4), killed),
            }
            _add(result, case, taking_turns(sides, options.rounds(_ROUNDS)))
    result.notes["faults"] = f"every {EVERY}th request: {WHAT}"
    result.notes["money"] = "what the server would have charged, pictures that got lost on the way included"
    return result


def _add(result: Result, case: str, made: dict[str, list[Made]]) -> None:
    seconds = result.add(case, "s", {side: [each.seconds for each in rounds] for side, rounds in made.items()})
    result.add(case, "requests", {side: [each.requests for each in rounds] for side, rounds in made.items()})
    result.add(case, "USD", {side: [each.usd for each in rounds] for side, rounds in made.items()})
    result.add(case, "processes started", {side: [each.runs for each in rounds] for side, rounds in made.items()})
    result.figures += [
        times_faster(seconds[OURS], seconds[LOOP], what="against the loop"),
        times_faster(seconds[OURS], seconds[THREADS], what="against the loop of 4 threads"),
    ]


def _prepare(desk: Desk) -> None:
    """Watches in an index, the brief, and the prompts and references of its plan as plain files."""
    with _environment(desk.root):
        (desk.root / "briefs").mkdir()
        (desk.root / "briefs" / f"{CAMPAIGN}.yaml").write_text(_brief(desk.pictures))
        settings = load_settings()
        for drop in packaged_drops():
            if drop.product_line == "watches":
                deliver(drop, desk.root / "media")
        with DagsterRuns(settings) as runs:
            for key in runs.sense_drops():
                runs.run("ingest_drop", key)
        planned = plan_brief(settings, CAMPAIGN, now=datetime.now(UTC), occurrence=OCCURRENCE)
        folder = desk.root / "references"
        folder.mkdir()
        wanted = []
        for variant in planned.plan.variants:
            parts = []
            for reference in variant.references:
                file = folder / reference.sha256
                file.write_bytes(planned.references.read(reference.sha256))
                parts.append((str(file), "image/jpeg"))
            wanted.append({"key": variant.key, "prompt": variant.prompt, "ratio": "4:5", "parts": parts})
        desk.wanted.write_text(json.dumps({"model": settings.gemini_model, "pictures": wanted}))


def _brief(pictures: int) -> str:
    scenes = _SCENES[: max(1, pictures // _A_SCENE)]
    lines = [f'{{name: {scene}, prompt: "{{{{ product.name }}}} at the {scene}, warm low sun."}}' for scene in scenes]
    return _BRIEF.format(scenes=", ".join(lines), n=pictures // len(scenes))


@contextmanager
def _environment(root: Path, url: str = "") -> Iterator[dict[str, str]]:
    """The settings of this workload and no others, in this process; yields them for others."""
    chosen = {
        "MEDIA": f"{root}/media", "STORE": f"{root}/store", "CAMPAIGNS": f"{root}/briefs", "IMAGE_BACKEND": "gemini",
        "GEMINI_API_KEY": KEY, "GEMINI_BASE_URL": url or "http://127.0.0.1:9", "BUDGET_USD_PER_DAY": "100",
    }  # fmt: skip
    kept = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    os.environ.pop("DAGSTER_HOME", None)
    os.environ.update({PREFIX + name: value for name, value in chosen.items()})
    try:
        yield dict(os.environ)
    finally:
        os.environ.clear()
        os.environ.update(kept)


def _side(desk: Desk, side: Callable[..., tuple[list[str], Callable[[], int]]], killed: bool) -> Made:
    """Run a side's command, again while pictures are missing."""
    with tempfile.TemporaryDirectory(dir=desk.root) as folder, slow_server(desk.latency_s) as server:
        root = Path(folder)
        command, count = side(desk, root)
        with _environment(root, server.url) as environment:
            started = time.perf_counter()
            for number in range(1, _MOST_RUNS + 1):
                _run(command, environment, server, kill_at=desk.pictures // 2 if killed and number == 1 else None)
                if count() == desk.pictures:
                    seconds = time.perf_counter() - started
                    return Made(seconds, len(server.requests), server.owed_usd, number)
        raise AssertionError(f"{count()} of {desk.pictures} pictures after {_MOST_RUNS} runs of {' '.join(command)}")


def _ours(desk: Desk, root: Path) -> tuple[list[str], Callable[[], int]]:
    for name in ("media", "store", "briefs"):
        shutil.copytree(desk.root / name, root / name)
    pictures = root / "store" / "campaigns" / CAMPAIGN / OCCURRENCE / "images"
    return ["--side", "ours", "--occurrence", f"{CAMPAIGN}__{OCCURRENCE}"], lambda: len(list(pictures.glob("*.json")))


def _loop(threads: int, desk: Desk, root: Path) -> tuple[list[str], Callable[[], int]]:
    command = ["--side", "loop", "--wanted", str(desk.wanted), "--output", str(root), "--threads", str(threads)]
    return command, lambda: len(list(root.glob("*.jpg")))


def _run(command: list[str], environment: dict[str, str], server: BillingServer, *, kill_at: int | None) -> None:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.campaigns.job", *command],
            cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        while process.poll() is None:
            if kill_at is not None and len(server.requests) >= kill_at:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return
            time.sleep(0.02)
        output.seek(0)
        if process.returncode:
            raise RuntimeError(
                f"{' '.join(command)} ended with {process.returncode}:\n{output.read().decode()[-3000:]}"
            )
