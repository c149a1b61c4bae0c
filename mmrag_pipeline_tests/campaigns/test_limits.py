"""Several pictures at a time: one stop, one told wait, one rate and one cap for all threads and processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mmrag_pipeline.campaigns.backends.base import Throttled
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.backends.preview import PreviewBackend
from mmrag_pipeline.campaigns.ledger import Caps
from mmrag_pipeline.campaigns.plan_table import write_plan
from mmrag_pipeline.campaigns.rate import SharedRate
from mmrag_pipeline.campaigns.retry import ASK_FOR_A_PICTURE, RetryPolicy
from mmrag_pipeline.campaigns.turns import Stopped, Turns
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.campaigns.conftest import Desk
from mmrag_pipeline_tests.integration.gemini_server import (
    KEY,
    GeminiServer,
    Received,
    daily_quota,
    error,
    picture_body,
    refused,
    throttled,
    transport,
)
from mmrag_pipeline_tests.integration.small_disk import SmallDisk

LayOut = Callable[..., Desk]
MANY = ("brand:", "n: 10\nbrand:")


def small(server: GeminiServer) -> None:
    server.answer = lambda received: picture_body(received, 160, 200)


def test_outcomes_of_many_threads_come_in_the_order_of_the_plan(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    small(server)
    desk, said = lay_out(MANY), []
    report = desk.make(gemini, threads=8, progress=said.append)
    assert [o.key for o in report.outcomes] == [v.key for v in desk.plan.variants]
    assert report.counts["made"] == len(server.requests) == len(desk.ledger.attempts()) == 20
    assert len(said) == 20 and said[-1].startswith("[20/20] made ")
    assert desk.make(gemini, threads=8).requests == 0 and len(server.requests) == 20


@pytest.mark.parametrize("fault", [daily_quota(), error(429, "RESOURCE_EXHAUSTED", "You reached the spending limit.")])
def test_a_quota_stops_every_thread(
    fault: object, lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out(MANY)
    server.faults = [fault] * 20
    report = desk.make(gemini, threads=4)
    assert 1 <= len(server.requests) <= 4, "only what the other threads had sent already"
    assert report.stopped and report.none_succeeded and not report.may_go_better and desk.ledger.spent() == 0
    assert report.requests == len(server.requests)
    server.faults = []
    assert desk.make(gemini, threads=4).counts["made"] == 20


def test_a_wrong_key_stops_every_thread(lay_out: LayOut, server: GeminiServer) -> None:
    desk = lay_out(MANY)
    server.faults = [error(403, "PERMISSION_DENIED", "no")] * 20
    with pytest.raises(UserError, match="check MMRAG_GEMINI_API_KEY"):
        desk.make(GeminiBackend(api_key=KEY, base_url=server.url), threads=4)
    assert 1 <= len(server.requests) <= 4 and desk.ledger.spent() == 0


def test_nothing_is_paid_that_a_full_disk_could_not_keep(
    disk: SmallDisk, lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out(MANY)
    with pytest.raises(UserError, match=r"only 6\d MB are free for .*nothing more was asked for"):
        desk.make(gemini, threads=4)
    assert not server.requests and not desk.ledger.attempts()


def test_a_told_wait_is_kept_by_every_thread(lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer) -> None:
    small(server)
    picture = server.answer

    def late(received: Received) -> Any:
        if len(server.requests) <= 4:  # the first answer, which is the wait, shall come before these
            time.sleep(1.0)
        return picture(received)

    server.answer = late
    server.faults = [throttled("2s")]
    report = lay_out(MANY).make(gemini, threads=4, retries=RetryPolicy(8, 60, 0.01, 0.05))
    assert report.counts["made"] == 20 and report.requests == len(server.requests) == 21
    times = [request.at for request in server.requests]
    assert times[4] - times[0] >= 2.0, "one was told, nobody else sent anything new before its time was over"


def test_an_empty_answer_is_asked_again_with_another_seed_and_each_try_is_paid(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    server.faults = [refused("NO_IMAGE")] * 2
    report = desk.make(gemini)
    assert report.counts["made"] == 2 and report.requests == len(server.requests) == 4
    first, second, third = server.requests[:3]
    assert len({r.config["seed"] for r in (first, second, third)}) == 3
    assert second.texts[-1] == third.texts[-1] == first.texts[-1] + ASK_FOR_A_PICTURE
    found = Counter(a["outcome"] for a in desk.ledger.attempts())
    assert found == {"no_image": 2, "generated": 2}
    assert desk.ledger.spent() == pytest.approx(report.spent_usd, abs=1e-5)


def test_empty_answers_without_end_are_bounded(lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer) -> None:
    desk = lay_out()
    server.faults = [refused("NO_IMAGE")] * 6
    report = desk.make(gemini)
    assert report.counts["no_image"] == 2 and len(server.requests) == 6 and not report.may_go_better


def test_a_new_try_that_no_cap_allows_is_not_sent(lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer) -> None:
    desk = lay_out()
    server.faults = [refused("NO_IMAGE")]
    report = desk.make(gemini, caps=Caps(day_usd=desk.plan.variants[0].ceiling_usd))
    assert len(server.requests) == 1 and report.counts["no_image"] == 1 and report.counts["skipped_budget"] == 1


def test_an_ambiguous_call_is_asked_again_as_often_as_allowed(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    server.faults = [transport("reset")]
    report = desk.make(gemini, retries=RetryPolicy(3, 20, 0.01, 0.05, ambiguous_retries=1))
    assert report.counts["made"] == 2 and len(server.requests) == 3 and report.ambiguous == 0
    assert server.billed_usd <= desk.ledger.spent()
    assert Counter(a["outcome"] for a in desk.ledger.attempts()) == {"ambiguous": 1, "generated": 2}


def test_turns_obey_stop_and_deadline(tmp_path: Path) -> None:
    turns = Turns(SharedRate(tmp_path / "rate.sqlite", requests=1))
    turns.wait(until=time.monotonic() + 60)
    with pytest.raises(Throttled, match="MMRAG_GEMINI_RPM"):
        turns.wait(until=time.monotonic())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(turns.wait, until=time.monotonic() + 600)
        turns.stop("quota")
        with pytest.raises(Stopped, match="quota"):
            waiting.result(timeout=60)


def test_free_pictures_neither_wait_for_a_rate_nor_use_it_up(
    lay_out: LayOut, preview: PreviewBackend, tmp_path: Path
) -> None:
    rate = SharedRate(tmp_path / "rate.sqlite", requests=1)
    assert lay_out(backend="preview").make(preview, rate=rate).counts["made"] == 2
    assert rate.take(), "nothing was counted"


TAKE = """
import sys, time
from mmrag_pipeline.campaigns.rate import SharedRate
rate, got = SharedRate(sys.argv[1], requests=5, window_s=2), []
while len(got) < 8:
    if rate.take():
        got.append(time.time())
    else:
        time.sleep(0.02)
print(*got)
"""


@pytest.mark.slow
def test_one_rate_is_kept_by_two_processes(tmp_path: Path) -> None:
    path = str(tmp_path / "rate.sqlite")
    both = [subprocess.Popen([sys.executable, "-c", TAKE, path], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    times = sorted(float(at) for process in both for at in process.communicate(timeout=120)[0].split())
    assert len(times) == 16
    assert times[-1] - times[0] > 5, "sixteen turns at five in two seconds take three windows more than the first"


RUN = """
import sys
from upath import UPath
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.making import make_pictures
from mmrag_pipeline.campaigns.ledger import Caps, Ledger
from mmrag_pipeline.campaigns.plan_table import read_plan
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline_tests.integration.gemini_server import KEY

folder, ledger, url, cap = sys.argv[1:]
folder = UPath(folder)
report = make_pictures(
    read_plan(folder / "plan.parquet"), backend=GeminiBackend(api_key=KEY, base_url=url), ledger=Ledger(ledger),
    folder=folder, references=ReferencePictures(folder / "references"), caps=Caps(campaign_usd=float(cap)),
    run_id=folder.name, threads=4)
print(report.counts["made"], report.counts["skipped_budget"])
"""


def run(desk: Desk, server: GeminiServer, *, cap: float) -> subprocess.Popen:
    write_plan(desk.folder / "plan.parquet", desk.plan)
    arguments = [str(desk.folder), desk.ledger.path, server.url, str(cap)]
    return subprocess.Popen([sys.executable, "-c", RUN, *arguments], stdout=subprocess.PIPE, text=True)


def outcomes(processes: list[subprocess.Popen]) -> tuple[int, int]:
    """How many were made and how many skipped by runs that have ended."""
    found = [tuple(map(int, process.communicate(timeout=120)[0].split())) for process in processes]
    return sum(made for made, _ in found), sum(skipped for _, skipped in found)


def test_eight_threads_in_two_processes_never_pass_a_cap(lay_out: LayOut, server: GeminiServer) -> None:
    """Fifty-two variants of one campaign in two occurrences; a cap that lets the twentieth through, not the next. A
    process that has nothing in flight itself skips while the other holds money, so it can be some fewer.
    """
    small(server)
    days = ("2026-11-23", "2026-11-30")
    desks = [lay_out(("brand:", "n: 13\nbrand:"), occurrence=day) for day in days]
    ledger, bill = desks[0].ledger, 0.0336 + 1400 * 1.5e-6 + 90 * 7.5e-6
    cap = 19.5 * bill + max(variant.ceiling_usd for variant in desks[0].plan.variants)
    both = [run(desk, server, cap=cap) for desk in desks]
    while any(process.poll() is None for process in both):
        assert ledger.spent() <= cap + 1e-9, "at no moment, reservations included"
        time.sleep(0.01)
    made, skipped = outcomes(both)
    assert made + skipped == 52 and made == len(server.requests) and 16 <= made <= 20
    assert ledger.spent() == pytest.approx(made * bill, abs=1e-4) and ledger.spent() <= cap
    reasons = {sidecar["reason"] for desk in desks for sidecar in skipped_sidecars(desk)}
    assert reasons and all("raise budget_usd in the brief and run again" in reason for reason in reasons)
    later, still_skipped = outcomes([run(desk, server, cap=50) for desk in desks])
    assert (made + later, still_skipped) == (52, 0) and len(server.requests) == 52
    assert len({(r.texts[-1], r.config["seed"]) for r in server.requests}) == 52, "nothing twice"
    assert [desk.make(GeminiBackend(api_key=KEY, base_url=server.url)).requests for desk in desks] == [0, 0]


def skipped_sidecars(desk: Desk) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in desk.images.glob("*.json")]
    return [sidecar for sidecar in found if sidecar["status"] == "skipped_budget"]


def test_money_that_comes_back_lets_the_next_picture_through(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    """Towards its end a cap fits one reservation at a time, and eight threads want one: they wait, they don't skip."""
    small(server)
    desk = lay_out(MANY)
    bill = 0.0336 + 1400 * 1.5e-6 + 90 * 7.5e-6
    cap = 19.5 * bill + max(variant.ceiling_usd for variant in desk.plan.variants)
    report = desk.make(gemini, threads=8, caps=Caps(day_usd=cap))
    assert report.counts["made"] == 20


def test_a_run_has_a_cap_of_its_own(lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer) -> None:
    small(server)
    desk = lay_out(MANY)
    caps = Caps(run_usd=2 * desk.plan.variants[0].ceiling_usd)
    first = desk.make(gemini, caps=caps, run_id="run-1")
    spent = desk.ledger.spent(run_id="run-1")
    assert 2 <= first.counts["made"] < 20 and spent == desk.ledger.spent() <= caps.run_usd
    assert "run run-1: " in next(iter(first.reasons)) and "MMRAG_BUDGET_USD_PER_RUN" in next(iter(first.reasons))
    assert desk.make(gemini, caps=caps, run_id="run-1").requests == 0, "the same run, started anew, has no more"
    second = desk.make(gemini, caps=caps, run_id="run-2")
    assert second.counts["made"] == first.counts["made"]
