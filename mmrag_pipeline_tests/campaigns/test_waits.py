"""The times at which the server was asked: as long apart as it said, and few enough when it is overloaded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.retry import RetryPolicy
from mmrag_pipeline.campaigns.turns import OVERLOADED_AFTER
from mmrag_pipeline_tests.campaigns.conftest import Desk
from mmrag_pipeline_tests.integration.gemini_faults import no_quota_at_all, spend_limit
from mmrag_pipeline_tests.integration.gemini_server import (
    Fault,
    GeminiServer,
    Received,
    daily_quota,
    error,
    picture_body,
    throttled,
)

LayOut = Callable[..., Desk]
MANY = ("brand:", "n: 15\nbrand:")
THREADS = 4


@pytest.fixture(autouse=True)
def _small_pictures(server: GeminiServer) -> None:
    server.answer = lambda received: picture_body(received, 160, 200)


def gaps(requests: Sequence[Received]) -> list[list[float]]:
    """For each picture, the seconds between the requests for it."""
    times = defaultdict(list)
    for request in requests:
        times[request.config["seed"]].append(request.at)
    return [[later - earlier for earlier, later in pairwise(sorted(found))] for found in times.values()]


def test_a_storm_of_503_is_met_with_growing_waits_and_an_end(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk, storm = lay_out(MANY), error(503, "UNAVAILABLE", "The model is overloaded.")
    server.faults = [storm] * 500
    policy = RetryPolicy(attempts=4, deadline_s=60, wait_initial_s=0.1, wait_max_s=10)
    report = desk.make(gemini, threads=THREADS, retries=policy)
    assert report.none_succeeded and report.may_go_better and "in a row: run again later" in report.stopped
    asked = gaps(server.requests)
    assert len(asked) < THREADS + OVERLOADED_AFTER, "of thirty pictures"
    assert len(server.requests) == report.requests <= len(asked) * policy.attempts
    for waits in asked:
        assert all(wait >= 0.1 * 2**number for number, wait in enumerate(waits)), "twice as long each time"
    assert desk.ledger.spent() == 0
    server.faults = []
    assert desk.make(gemini, threads=THREADS).counts["made"] == 30


def test_a_storm_that_passes_costs_time_and_no_picture(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk, storm = lay_out(MANY), error(503, "UNAVAILABLE", "The model is overloaded.")
    server.faults = [storm] * 7
    report = desk.make(gemini, threads=THREADS, retries=RetryPolicy(8, 60, 0.05, 1))
    assert report.counts["made"] == 30 and len(server.requests) == 37 and not report.stopped


@pytest.mark.parametrize(
    "fault", [throttled("1.2s"), Fault(503, {"error": {}}, {"Retry-After": "1.2"})], ids=["RetryInfo", "Retry-After"]
)
def test_what_is_told_is_waited_by_everybody(
    fault: Fault, lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    """One thread at a time, so that nothing is under way when the wait is told."""
    server.faults = [fault]
    assert lay_out().make(gemini, retries=RetryPolicy(4, 60, 0.01, 0.05)).counts["made"] == 2
    times = [request.at for request in server.requests]
    assert times[1] - times[0] >= 1.2 and len(times) == 3


@pytest.mark.parametrize("fault", [daily_quota(), no_quota_at_all(), spend_limit()], ids=["day", "zero", "spend"])
def test_an_end_is_an_end(fault: Fault, lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer) -> None:
    desk = lay_out(MANY)
    server.faults = [fault] * 500
    report = desk.make(gemini, threads=THREADS)
    assert 1 <= len(server.requests) <= THREADS and all(not waits for waits in gaps(server.requests)), (
        "none asked twice"
    )
    assert report.stopped and not report.may_go_better and desk.ledger.spent() == 0
    again = len(server.requests)
    desk.make(gemini, threads=THREADS)
    assert len(server.requests) - again <= THREADS, "nor by the next run, which asks anew and stops as fast"
