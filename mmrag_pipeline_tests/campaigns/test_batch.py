"""Batches: each picture ordered once, at half price; what a job does not give is made online, and only that."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmrag_pipeline.campaigns import batch_submit, maker, records
from mmrag_pipeline.campaigns.backends import batches_of
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.backends.gemini_batch import GeminiBatches
from mmrag_pipeline.campaigns.batch_collect import watch_batches
from mmrag_pipeline.campaigns.batch_ledger import BatchLedger
from mmrag_pipeline.campaigns.batch_submit import BatchReport, submit_batches
from mmrag_pipeline.campaigns.finishing import finisher
from mmrag_pipeline.campaigns.gallery import write_gallery
from mmrag_pipeline.campaigns.ledger import Caps, Ledger
from mmrag_pipeline.campaigns.outcomes import PicturesReport
from mmrag_pipeline.campaigns.plan_markdown import plan_markdown
from mmrag_pipeline.campaigns.plan_table import write_plan
from mmrag_pipeline.campaigns.provenance import Credentials, development_credentials
from mmrag_pipeline.campaigns.registry import image_model
from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline_tests.campaigns.conftest import MODEL, NOW, Desk
from mmrag_pipeline_tests.integration.gemini_batches import GARBLED, LEFT_OUT, GeminiBatchServer, line_error
from mmrag_pipeline_tests.integration.gemini_server import (
    KEY,
    Fault,
    blocked_prompt,
    error,
    picture_body,
    refused,
    transport,
)

LayOut = Callable[..., Desk]
IN_BATCH = ("brand:", "mode: batch\nbrand:")
LATER = NOW + timedelta(hours=31)


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[GeminiBatchServer, GeminiBackend]]:
    with GeminiBatchServer(answer=lambda received: picture_body(received, 160, 200)) as running:
        backend = GeminiBackend(api_key=KEY, base_url=running.url, timeout_s=20)
        yield running, backend
        backend.close()


@pytest.fixture
def server(shared: tuple[GeminiBatchServer, GeminiBackend]) -> Iterator[GeminiBatchServer]:
    running, _ = shared
    running.reset()
    yield running
    assert running.problems == []


@pytest.fixture
def gemini(shared: tuple[GeminiBatchServer, GeminiBackend], server: GeminiBatchServer) -> GeminiBackend:
    return shared[1]


@pytest.fixture
def service(gemini: GeminiBackend) -> GeminiBatches:
    return GeminiBatches(gemini)


def order(desk: Desk, backend: GeminiBackend, *, caps: Caps = Caps(), **more: object) -> BatchReport:  # noqa: B008
    return submit_batches(
        desk.plan,
        backend=backend,
        service=batches_of(backend),
        ledger=desk.ledger,
        folder=desk.folder,
        references=desk.references,
        caps=caps,
        run_id="order-1",
        **{"clock": lambda: NOW, **more},
    )


def collect(desk: Desk, backend: GeminiBackend, *, at: datetime = NOW, **more: object) -> PicturesReport:
    return desk.make(backend, batches=batches_of(backend), clock=lambda: at, **more)


def counts(report: PicturesReport) -> dict[str, int]:
    return {result: n for result, n in report.counts.items() if n}


def sidecars(desk: Desk) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(desk.images.glob("*.json"))}


def paid_once(desk: Desk, server: GeminiBatchServer) -> None:
    """Each key was ordered once, has one picture, and the ledger knows every cent of the bill."""
    assert max(Counter(server.keys).values()) == 1
    assert server.billed_usd <= desk.ledger.spent() + 1e-9
    assert BatchLedger(desk.ledger.path).open_shards() == []
    generated = [a["key"] for a in desk.ledger.attempts() if a["outcome"] == "generated"]
    assert sorted(generated) == sorted({variant.key for variant in desk.plan.variants})
    assert not [a for a in desk.ledger.attempts() if a["outcome"] is None]


# Ordered, made, taken.


def test_a_plan_is_ordered_waited_for_and_taken_at_half_price(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    server.states = ["PENDING", "RUNNING"]
    report = order(desk, gemini)
    assert (report.ordered, len(report.jobs)) == (2, 1)
    assert server.keys == [v.key for v in desk.plan.variants]
    assert desk.ledger.spent() == report.reserved_usd == pytest.approx(desk.plan.ceiling_usd, abs=1e-5)

    waiting = collect(desk, gemini)
    assert counts(waiting) == {"in_batch": 2} and waiting.requests == 0 and not waiting.none_succeeded
    assert server.requests == [] and sidecars(desk) == {}

    server.finish()
    taken = collect(desk, gemini)
    assert counts(taken) == {"made": 2} and taken.requests == 0 and server.requests == []
    assert not [path for path in desk.root.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert desk.ledger.spent() == pytest.approx(server.billed_usd, abs=1e-5)
    assert taken.spent_usd == pytest.approx(server.batch_usd)
    paid_once(desk, server)
    for sidecar in sidecars(desk).values():
        assert sidecar["batch_job"] == report.jobs[0] and not sidecar["cost"]["estimated"]
        assert (desk.images / sidecar["picture"]["file"]).exists()

    asked = len(server.asked)
    assert counts(collect(desk, gemini)) == {"skipped_existing": 2}
    assert order(desk, gemini).ordered == 0
    assert len(server.asked) == asked, "nothing is open, nobody is asked"


def test_a_line_asks_for_exactly_what_a_request_online_would(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    in_batch, online = lay_out(IN_BATCH), lay_out()
    assert [v.key for v in in_batch.plan.variants] == [v.key for v in online.plan.variants], "the same picture"
    order(in_batch, gemini)
    server.finish()
    server.lines = [LEFT_OUT, LEFT_OUT]
    lines = [json.loads(line) for job in server.jobs.values() for line in server.files[job.input].data.splitlines()]
    collect(in_batch, gemini)
    assert len(server.requests) == 2
    for line, sent in zip(lines, server.requests, strict=True):
        parts = line["request"]["contents"][0]["parts"]
        assert tuple(part["text"] for part in parts if "text" in part) == sent.texts
        settings_ = line["request"]["generation_config"]
        assert settings_["seed"] == sent.config["seed"]
        assert settings_["image_config"] == {"aspect_ratio": "4:5", "image_size": "1K"}
        assert settings_["max_output_tokens"] == sent.config["maxOutputTokens"]
        assert settings_["response_modalities"] == sent.config["responseModalities"] == ["IMAGE"]


def test_what_is_there_blocked_or_ordered_is_not_ordered_again(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    online = lay_out(("brand:", "n: 2\nbrand:"))
    server.faults = [blocked_prompt()]
    online.make(gemini)
    gone = next(iter(online.images.glob("*.jpg")))
    for folder in (online.images, online.originals):
        (folder / gone.name).unlink()
    desk = lay_out(("brand:", "n: 2\nmode: batch\nbrand:"))
    first, second = order(desk, gemini), order(desk, gemini)
    assert (first.ordered, first.results) == (1, {"skipped_existing": 2, "blocked": 1})
    assert (second.ordered, second.ordered_before, second.jobs) == (0, 1, first.jobs)
    assert len(server.jobs) == 1 and len(server.keys) == 1


def test_a_cap_orders_what_fits_at_half_price(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    cap = desk.plan.variants[0].ceiling_usd * 0.6
    report = order(desk, gemini, caps=Caps(campaign_usd=cap))
    assert (report.ordered, report.results) == (1, {"skipped_budget": 1}) and desk.ledger.spent() <= cap
    assert "raise budget_usd" in next(iter(report.reasons))
    assert order(desk, gemini, caps=Caps(campaign_usd=5)).ordered == 1
    assert len(server.jobs) == 2 and max(Counter(server.keys).values()) == 1


@pytest.mark.parametrize(("limits", "jobs"), [({"max_pictures": 3}, 3), ({"max_bytes": 1}, 8), ({}, 1)])
def test_jobs_are_bounded(
    limits: dict[str, int], jobs: int, lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(("brand:", "mode: batch\nn: 4\nbrand:"))
    report = order(desk, gemini, **limits)
    assert (report.ordered, len(report.jobs), len(server.jobs)) == (8, jobs, jobs)
    server.finish()
    assert counts(collect(desk, gemini)) == {"made": 8}
    paid_once(desk, server)


def test_a_job_is_found_by_its_name_among_many_pages(
    lay_out: LayOut, gemini: GeminiBackend, service: GeminiBatches, server: GeminiBatchServer
) -> None:
    desk = lay_out(("brand:", "mode: batch\nn: 4\nbrand:"))
    report = order(desk, gemini, max_pictures=1)
    names = {job.name: job.display_name for job in server.jobs.values()}
    assert {service.find(names[job]) for job in report.jobs} == set(report.jobs)
    assert service.find("mmrag-of-nobody") is None


def test_in_batch_mode_nothing_is_made_online_before_it_was_ordered(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    report = collect(lay_out(IN_BATCH), gemini)
    assert counts(report) == {"in_batch": 2} and server.requests == []
    assert "run campaign_batch" in next(iter(report.reasons))


def test_a_brief_that_goes_back_online_still_leaves_running_jobs_their_pictures(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    server.states = ["RUNNING"]
    order(desk, gemini)
    online = lay_out()
    assert online.plan.mode == "online"
    assert counts(online.make(gemini)) == {"in_batch": 2}, "even by a run that knows of no batches"
    server.finish()
    assert counts(collect(online, gemini)) == {"made": 2} and server.requests == []


def test_what_was_ordered_is_taken_though_the_plan_has_changed(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    before = lay_out(IN_BATCH)
    order(before, gemini)
    server.finish()
    after = lay_out(IN_BATCH, ("in a suit", "in a coat"))
    report = collect(after, gemini)
    assert counts(report) == {"made": 1, "in_batch": 1}
    assert set(sidecars(after)) == {v.key for v in before.plan.variants}, "what is paid is kept"
    paid_once(before, server)


# What a job does not give.


def test_a_job_that_expires_is_made_online(lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer) -> None:
    desk = lay_out(IN_BATCH)
    server.states = ["PENDING", "RUNNING", "EXPIRED"]
    order(desk, gemini)
    reports = [collect(desk, gemini) for _ in range(3)]
    assert [counts(r) for r in reports] == [{"in_batch": 2}, {"made": 2}, {"skipped_existing": 2}]
    assert len(server.requests) == 2 and server.drawn == []
    paid_once(desk, server)
    assert Counter(a["outcome"] for a in desk.ledger.attempts()) == {"ambiguous": 2, "generated": 2}


def test_a_result_that_lacks_keys_is_completed_online(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(("brand:", "mode: batch\nn: 2\nbrand:"))
    server.lines = [None, LEFT_OUT, None, LEFT_OUT]
    order(desk, gemini)
    server.finish()
    report = collect(desk, gemini)
    assert counts(report) == {"made": 4} and report.requests == len(server.requests) == 2
    online = {sidecar["key"] for sidecar in sidecars(desk).values() if sidecar["batch_job"] is None}
    assert online == {desk.plan.variants[1].key, desk.plan.variants[3].key}, "only those"
    paid_once(desk, server)


@pytest.mark.parametrize(
    ("line", "outcome", "free"),
    [
        (line_error(13, "internal"), "failed", True),
        (line_error(8, "Resource has been exhausted"), "failed", True),
        (line_error(4, "deadline exceeded"), "ambiguous", False),
        (line_error(503, "busy"), "failed", True),
        (GARBLED, "ambiguous", False),
        (Fault(body={"candidates": [{"content": {"parts": [
            {"inlineData": {"mimeType": "image/png", "data": "!!!"}}]}}]}), "ambiguous", False),
        (refused("NO_IMAGE"), "no_image", False),
        (Fault(body={}), "no_image", False),
    ],
)  # fmt: skip
def test_a_line_without_a_picture_is_made_online(
    line: Fault,
    outcome: str,
    free: bool,
    lay_out: LayOut,
    gemini: GeminiBackend,
    server: GeminiBatchServer,
) -> None:
    desk = lay_out(IN_BATCH)
    server.lines = [line]
    order(desk, gemini)
    server.finish()
    report = collect(desk, gemini)
    assert counts(report) == {"made": 2} and len(server.requests) == 1
    first = desk.plan.variants[0]
    tried, made = desk.ledger.attempts(first.key)
    assert (tried["outcome"], made["outcome"]) == (outcome, "generated")
    assert (tried["settled_micro_usd"] == 0) == free
    paid_once(desk, server)


@pytest.mark.parametrize(
    "line", [blocked_prompt(), refused("IMAGE_SAFETY", "Shows a logo."), line_error(3, "Blocked by our safety policy")]
)
def test_a_blocked_line_is_told_and_never_sent_again(
    line: Fault, lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    server.lines = [line]
    order(desk, gemini)
    server.finish()
    for result in ("made", "skipped_existing"):
        assert counts(collect(desk, gemini)) == {result: 1, "blocked": 1}
    assert server.requests == [] and order(desk, gemini).results == {"skipped_existing": 1, "blocked": 1}


def test_a_job_that_fails_says_why(lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer) -> None:
    desk, said = lay_out(IN_BATCH), []
    server.states = ["PENDING", "FAILED"]
    order(desk, gemini)
    assert counts(collect(desk, gemini, progress=said.append)) == {"made": 2}
    assert any("FAILED (The input file could not be processed.)" in line for line in said), "the SDK drops it"


@pytest.mark.parametrize("cancels", [True, False])
def test_a_job_that_never_ends_is_given_up_at_its_deadline(
    cancels: bool, lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    server.states, server.cancels = ["PENDING", "RUNNING"], cancels
    order(desk, gemini)
    assert counts(collect(desk, gemini, at=NOW + timedelta(hours=29))) == {"in_batch": 2}
    assert "cancel" not in server.asked
    assert counts(collect(desk, gemini, at=LATER)) == {"made": 2}
    assert server.asked.count("cancel") == 1 and len(server.requests) == 2
    paid_once(desk, server)


def test_a_job_that_ends_at_its_deadline_is_taken(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    server.states, server.cancels = ["PENDING", "RUNNING", "SUCCEEDED"], False
    order(desk, gemini)
    assert counts(collect(desk, gemini, at=LATER)) == {"made": 2} and server.requests == []
    paid_once(desk, server)


@pytest.mark.filterwarnings("ignore:JOB_STATE_NAPPING|BATCH_STATE_NAPPING")
def test_a_state_that_nobody_knows_is_waited_for_until_the_deadline(
    lay_out: LayOut, gemini: GeminiBackend, service: GeminiBatches, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    server.states = ["PENDING", "NAPPING"]
    (job,) = order(desk, gemini).jobs
    assert counts(collect(desk, gemini)) == {"in_batch": 2}
    assert "NAPPING" in service.look(job).state and not service.look(job).done
    assert counts(collect(desk, gemini, at=LATER)) == {"made": 2}


def test_a_job_that_is_gone_is_made_online(lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer) -> None:
    desk = lay_out(IN_BATCH)
    order(desk, gemini)
    job = next(iter(server.jobs))
    gemini.client().batches.delete(name=job)
    assert counts(collect(desk, gemini)) == {"made": 2} and len(server.requests) == 2


GONE = error(403, "PERMISSION_DENIED", "You do not have permission to access the File, or it may not exist.")
LATE = NOW + timedelta(hours=49)


@pytest.mark.parametrize("denied", [True, False])
def test_results_that_are_gone_are_lost_and_made_online(
    denied: bool, lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    order(desk, gemini)
    server.finish()
    if denied:
        server.scripted["download"] = [GONE, GONE]
        with pytest.raises(UserError, match="check MMRAG_GEMINI_API_KEY"):
            collect(desk, gemini)
        assert server.requests == [], "a key can be mended, and then the pictures are there"
    else:
        gemini.client().batches.get(name=next(iter(server.jobs)))
        server.files.clear()
    lost = desk.ledger.spent()
    assert counts(collect(desk, gemini, at=LATE if denied else NOW)) == {"made": 2} and len(server.requests) == 2
    assert BatchLedger(desk.ledger.path).open_shards() == []
    assert Counter(a["outcome"] for a in desk.ledger.attempts()) == {"ambiguous": 2, "generated": 2}
    assert desk.ledger.spent() > lost > 0


def test_a_job_that_nobody_may_look_at_ends_when_its_files_are_gone(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    order(desk, gemini)
    server.scripted["get"] = [GONE, GONE]
    with pytest.raises(UserError, match="check MMRAG_GEMINI_API_KEY"):
        collect(desk, gemini, at=LATER)
    assert counts(collect(desk, gemini, at=LATE)) == {"made": 2} and len(server.requests) == 2
    paid_once(desk, server)


def test_a_certificate_that_can_not_sign_is_known_before_anything_is_ordered(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    made = development_credentials(desk.root / "own")
    wrong = Credentials(made.certificate, made.key, "es384", made.signer)
    with pytest.raises(UserError, match="MMRAG_C2PA_CERTIFICATE"):
        order(desk, gemini, credentials=wrong)
    assert server.asked == [] and server.jobs == {} and desk.ledger.spent() == 0


@pytest.mark.parametrize("results_gone", [False, True])
@pytest.mark.parametrize("cause", [UserError("the reference is gone"), RuntimeError("C2PA's own")])
def test_pictures_that_can_not_be_finished_are_kept_and_finished_for_nothing_by_the_next_run(
    cause: Exception,
    results_gone: bool,
    lay_out: LayOut,
    gemini: GeminiBackend,
    server: GeminiBatchServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = lay_out(("brand:", "mode: batch\nn: 2\nbrand:"))
    order(desk, gemini, max_pictures=2)
    server.finish()

    def failing(*_: object, **__: object) -> bytes:
        raise cause

    with monkeypatch.context() as broken, pytest.raises(type(cause)):
        broken.setattr(finisher, "sign", failing)
        collect(desk, gemini)
    assert {path.stem for path in desk.originals.iterdir()} == {variant.key for variant in desk.plan.variants}
    assert len(BatchLedger(desk.ledger.path).open_shards()) == 2
    for job in server.jobs.values() if results_gone else ():
        del server.files[job.output]
    result = "skipped_existing" if results_gone else "made"
    assert counts(collect(desk, gemini)) == {result: 4} and server.requests == []
    paid_once(desk, server)


def test_what_a_job_lost_is_said_beside_the_picture_and_in_the_gallery(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    def page() -> str:
        ledger = desk.ledger.path
        return write_gallery(desk.plan, folder=desk.folder, references=desk.references, ledger=ledger).path.read_text(
            "utf-8"
        )

    desk = lay_out(IN_BATCH)
    server.lines = [LEFT_OUT]
    order(desk, gemini)
    assert "in a batch" in page() and "not made yet" not in page()
    server.finish()
    server.faults = [error(503, "UNAVAILABLE", "busy")] * 3
    assert counts(collect(desk, gemini)) == {"made": 1, "failed": 1}
    lost = sidecars(desk)[desk.plan.variants[0].key]
    assert lost["status"] == "failed" and desk.ledger.attempts(lost["key"])[0]["outcome"] == "ambiguous"
    for _ in range(2):
        told = sum(one["cost"]["usd"] + one["cost"]["earlier_usd"] for one in sidecars(desk).values())
        assert told == pytest.approx(desk.ledger.spent(), abs=1e-5) and f"${told:.3f}" in page()
        assert "in a batch" not in page()
        collect(desk, gemini)
    assert sidecars(desk)[lost["key"]]["status"] == "generated" and len(server.requests) == 4
    assert sidecars(desk)[lost["key"]]["cost"]["earlier_usd"] == pytest.approx(
        desk.plan.variants[0].ceiling_usd / 2, abs=1e-5
    )


LINES = st.sampled_from([None, None, LEFT_OUT, GARBLED, refused("NO_IMAGE"), line_error(13, "x"), line_error(4, "x")])


DAYS = count(1)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(LINES, min_size=4, max_size=4),
    end=st.sampled_from(["SUCCEEDED", "SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"]),
    size=st.integers(1, 4),
)
def test_whatever_a_job_gives_every_picture_is_there_once(
    lines: list, end: str, size: int, lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    server.reset()
    day = next(DAYS)
    desk = lay_out(("brand:", "mode: batch\nn: 2\nbrand:"), occurrence=f"day-{day}")
    desk.ledger = Ledger(desk.root / "ledgers" / f"{day}.sqlite")
    server.lines = list(lines)
    order(desk, gemini, max_pictures=size)
    server.finish(end)
    assert counts(collect(desk, gemini)) == {"made": 4}
    assert len(server.requests) == (sum(line is not None for line in lines) if end == "SUCCEEDED" else 4)
    paid_once(desk, server)


# Errors of the service.


def test_an_order_that_nobody_heard_the_answer_of_is_found_not_made_again(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    server.scripted["create"] = [transport("reset")]
    with pytest.raises(Unavailable, match="nothing is ordered twice"):
        order(desk, gemini)
    assert len(server.jobs) == 1 and counts(desk.make(gemini)) == {"in_batch": 2}
    report = order(desk, gemini)
    assert len(server.jobs) == 1 and report.jobs == tuple(server.jobs)
    server.finish()
    assert counts(collect(desk, gemini)) == {"made": 2}
    paid_once(desk, server)


def test_a_run_that_collects_finds_such_an_order_too(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    server.scripted["create"] = [transport("truncated")]
    with pytest.raises(Unavailable):
        order(desk, gemini)
    server.finish()
    assert counts(collect(desk, gemini)) == {"made": 2}
    paid_once(desk, server)


@pytest.mark.parametrize(
    ("verb", "fault"),
    [
        ("list", error(503, "UNAVAILABLE", "busy")),
        ("upload", transport("reset")),
        ("create", error(429, "RESOURCE_EXHAUSTED", "too many batches")),
        ("create", error(503, "UNAVAILABLE", "busy")),
    ],
)
def test_what_could_not_be_submitted_stays_reserved_and_is_submitted_by_the_next_run(
    verb: str, fault: Fault, lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    server.scripted[verb] = [fault]
    with pytest.raises(Unavailable):
        order(desk, gemini)
    assert desk.ledger.spent() > 0 and server.jobs == {}
    assert counts(collect(desk, gemini)) == {"in_batch": 2} and server.requests == []
    report = order(desk, gemini)
    assert (report.ordered, report.ordered_before, len(server.jobs)) == (0, 2, 1)
    server.finish()
    assert counts(collect(desk, gemini)) == {"made": 2}
    paid_once(desk, server)


def test_a_refused_order_is_free_and_says_why(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    server.scripted["create"] = [error(400, "INVALID_ARGUMENT", "displayName is too long")]
    with pytest.raises(UserError, match=r"submit a batch job: .*displayName is too long") as caught:
        order(desk, gemini)
    assert not isinstance(caught.value, Unavailable)
    assert desk.ledger.spent() == 0 and {a["outcome"] for a in desk.ledger.attempts()} == {"not_sent"}
    assert counts(collect(desk, gemini)) == {"in_batch": 2}, "it was never tried, so it does not go online"
    assert order(desk, gemini).ordered == 2


def test_a_wrong_key_is_one_sentence(lay_out: LayOut, server: GeminiBatchServer) -> None:
    desk = lay_out(IN_BATCH)
    with pytest.raises(UserError, match="check MMRAG_GEMINI_API_KEY") as caught:
        order(desk, GeminiBackend(api_key="AIza-wrong", base_url=server.url))
    assert "AIza-wrong" not in str(caught.value) and desk.ledger.spent() == 0


def test_a_refused_key_frees_no_order_that_may_run(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    server.scripted["create"] = [transport("reset")]
    with pytest.raises(Unavailable):
        order(desk, gemini)
    with pytest.raises(UserError, match="check MMRAG_GEMINI_API_KEY"):
        order(desk, GeminiBackend(api_key="AIza-wrong", base_url=server.url))
    order(desk, gemini)
    server.finish()
    assert counts(collect(desk, gemini)) == {"made": 2} and len(server.jobs) == 1
    paid_once(desk, server)


def test_an_order_that_never_got_through_is_free_after_the_deadline(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    server.scripted["create"] = [error(503, "UNAVAILABLE", "busy")]
    with pytest.raises(Unavailable):
        order(desk, gemini)
    online = lay_out()
    assert counts(collect(online, gemini)) == {"in_batch": 2} and desk.ledger.spent() > 0
    assert counts(collect(online, gemini, at=LATER)) == {"made": 2}
    assert server.jobs == {} and len(server.requests) == 2
    assert desk.ledger.spent() == pytest.approx(sum(a["settled_micro_usd"] for a in desk.ledger.attempts()) / 1e6)


@pytest.mark.parametrize("verb", ["get", "download"])
def test_a_service_that_can_not_be_asked_changes_nothing(
    verb: str, lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    order(desk, gemini)
    server.finish()
    server.scripted[verb] = [error(503, "UNAVAILABLE", "busy"), transport("reset")]
    for _ in range(2):
        with pytest.raises(Unavailable):
            collect(desk, gemini)
    assert server.requests == [] and counts(collect(desk, gemini)) == {"made": 2}
    paid_once(desk, server)


def test_a_backend_without_batches_is_told_at_plan_time(lay_out: LayOut) -> None:
    with pytest.raises(UserError, match="backend vertex makes no batches; write `mode: online`"):
        lay_out(IN_BATCH, backend="vertex")
    assert lay_out(IN_BATCH, backend="preview").plan.mode == "online", "what is free is drawn at once"


def test_the_mode_is_not_part_of_the_plan(write_brief: Callable[..., object], lay_out: LayOut) -> None:
    online, in_batch = write_brief(name="a"), write_brief(IN_BATCH, name="a")
    assert online.shape_sha256 == in_batch.shape_sha256
    plan = lay_out().plan
    assert plan.with_budget_of(write_brief(IN_BATCH)).mode == "batch"


def test_what_a_plan_costs_in_batches_is_told_before_it_is_ordered(lay_out: LayOut) -> None:
    online, in_batch = lay_out(), lay_out(IN_BATCH)
    for told in ("estimated_usd", "would_cost_usd", "ceiling_usd"):
        assert getattr(in_batch.plan, told) == pytest.approx(getattr(online.plan, told) / 2) and online.plan.variants
    for desk, said in ((in_batch, "in batches, at 50% of the price online"), (online, "")):
        table = plan_markdown(desk.plan, desk.references)
        assert f"costs about {desk.plan.estimated_usd:.2f} USD {said}".strip() in table and ("batches" in table) == (
            desk is in_batch
        )
        assert f"| {desk.plan.would_cost_usd:.3f} USD |" in table


def test_a_budget_that_fits_the_price_in_a_batch_is_enough(write_brief: Callable[..., object]) -> None:
    price = image_model(MODEL).ceiling("1K", references=1, text_tokens=0)
    little = ("budget_usd: 5", f"budget_usd: {price * 0.7:.4f}")
    assert write_brief(IN_BATCH, little).mode == "batch"
    with pytest.raises(UserError, match="below the price of one picture"):
        write_brief(little)
    with pytest.raises(UserError, match=f"one picture in a batch .* needs {price / 2:.4f} USD"):
        write_brief(IN_BATCH, ("budget_usd: 5", f"budget_usd: {price * 0.4:.4f}"))


def test_half_the_price_is_known_where_the_price_list_has_none(service: GeminiBatches) -> None:
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 1290, "totalTokenCount": 1390,
             "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}],
             "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}]}  # fmt: skip
    line = json.dumps({"key": "k", "response": {"usageMetadata": usage, "candidates": []}}).encode()
    for model, online in (
        (MODEL, 100 * 1.5e-6 + 1290 * 30e-6),
        ("gemini-2.5-flash-image", 100 * 0.3e-6 + 1290 * 30e-6),
    ):
        _, answer = service._read(line, model)
        assert answer.usage.usd == pytest.approx(online / 2) and image_model(model).batch_factor == 0.5


def test_watching_tells_what_is_to_do(
    lay_out: LayOut, gemini: GeminiBackend, service: GeminiBatches, server: GeminiBatchServer
) -> None:
    desk = lay_out(("brand:", "mode: batch\nn: 2\nbrand:"))
    server.states = ["RUNNING"]
    order(desk, gemini, max_pictures=2)
    book = BatchLedger(desk.ledger.path)

    def watched(at: datetime = NOW) -> tuple[int, ...]:
        found = watch_batches(book, service, now=at)
        return len(found.ready), len(found.unsent), len(found.running)

    assert watched() == (0, 0, 2)
    next(iter(server.jobs.values())).states[1:] = ["SUCCEEDED"]
    assert watched() == (1, 0, 1) and watched(LATER) == (2, 0, 0)


def test_a_job_that_can_not_be_looked_at_hides_no_other(
    lay_out: LayOut, gemini: GeminiBackend, service: GeminiBatches, server: GeminiBatchServer
) -> None:
    desk = lay_out(("brand:", "mode: batch\nn: 2\nbrand:"))
    report = order(desk, gemini, max_pictures=2)
    server.finish()
    server.scripted["get"] = [GONE]
    watch = watch_batches(BatchLedger(desk.ledger.path), service, now=NOW)
    assert [shard.job for shard in watch.ready] == list(report.jobs[1:])
    assert [shard.job for shard in watch.unknown] == list(report.jobs[:1])
    assert report.jobs[0] in watch.problems[0] and "PERMISSION_DENIED" in watch.problems[0]


# Killed.


class Killed(BaseException):
    pass


def dying(*_: object, **__: object) -> None:
    raise Killed


KILLS = {
    "before ordering": (batch_submit, "write_plan"),
    "before looking": (GeminiBatches, "find"),
    "before submitting": (GeminiBatches, "submit"),
    "before writing the job down": (BatchLedger, "submitted"),
    "before a picture": (maker, "write_bytes"),
    "before a sidecar": (records, "write_sidecar"),
    "before settling": (Ledger, "settle"),
    "before the end": (BatchLedger, "end"),
}


@pytest.mark.parametrize("moment", KILLS)
def test_killed_at_any_moment_and_run_again(
    moment: str, lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = lay_out(IN_BATCH)
    with monkeypatch.context() as killing, pytest.raises(Killed):
        killing.setattr(*KILLS[moment], dying)
        order(desk, gemini)
        server.finish()
        collect(desk, gemini)
    order(desk, gemini)
    server.finish()
    report = collect(desk, gemini)
    assert report.counts["made"] + report.counts["skipped_existing"] == 2 and server.requests == []
    assert len(server.jobs) == 1
    paid_once(desk, server)
    assert desk.ledger.spent() == pytest.approx(server.billed_usd, abs=1e-5)
    assert len(list(desk.images.iterdir())) == 4


RUN = """
import os, signal, sys
from datetime import datetime
from upath import UPath
from mmrag_pipeline.campaigns import batch_submit, maker, records
from mmrag_pipeline.campaigns.backends import batches_of
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.backends.gemini_batch import GeminiBatches
from mmrag_pipeline.campaigns.batch_ledger import BatchLedger
from mmrag_pipeline.campaigns.batch_submit import submit_batches
from mmrag_pipeline.campaigns.making import make_pictures
from mmrag_pipeline.campaigns.ledger import Caps, Ledger
from mmrag_pipeline.campaigns.plan_table import read_plan
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline_tests.campaigns.test_batch import KILLS
from mmrag_pipeline_tests.integration.gemini_server import KEY

folder, ledger, url, moment, step = sys.argv[1:]
folder = UPath(folder)
setattr(*KILLS[moment], lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
backend = GeminiBackend(api_key=KEY, base_url=url)
common = dict(backend=backend, ledger=Ledger(ledger), folder=folder, caps=Caps(), run_id="killed",
              references=ReferencePictures(folder / "references"))
plan = read_plan(folder / "plan.parquet")
if step == "order":
    submit_batches(plan, service=batches_of(backend), **common)
else:
    make_pictures(plan, batches=batches_of(backend), **common)
"""


@pytest.mark.parametrize(
    ("step", "moment"),
    [
        ("order", "before writing the job down"),
        pytest.param("order", "before ordering", marks=pytest.mark.slow),
        pytest.param("order", "before submitting", marks=pytest.mark.slow),
        pytest.param("collect", "before settling", marks=pytest.mark.slow),
        pytest.param("collect", "before a sidecar", marks=pytest.mark.slow),
        pytest.param("collect", "before the end", marks=pytest.mark.slow),
    ],
)
def test_killed_with_9_and_run_again(
    step: str, moment: str, lay_out: LayOut, gemini: GeminiBackend, server: GeminiBatchServer
) -> None:
    desk = lay_out(IN_BATCH)
    if step == "collect":
        order(desk, gemini)
        server.finish()
    write_plan(desk.folder / "plan.parquet", desk.plan)
    command = [sys.executable, "-c", RUN, str(desk.folder), desk.ledger.path, server.url, moment, step]
    assert subprocess.run(command, timeout=120).returncode == -9
    order(desk, gemini)
    server.finish()
    report = collect(desk, gemini)
    assert report.counts["made"] + report.counts["skipped_existing"] == 2 and server.requests == []
    assert len(server.jobs) == 1
    paid_once(desk, server)
    assert len(list(desk.images.iterdir())) == 4
