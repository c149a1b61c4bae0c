"""Every picture is made once and paid for once, whatever goes wrong on the way."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mmrag_pipeline.campaigns import records
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.backends.preview import PreviewBackend
from mmrag_pipeline.campaigns.gallery import write_gallery
from mmrag_pipeline.campaigns.ledger import Caps, Ledger
from mmrag_pipeline.campaigns.plan_table import write_plan
from mmrag_pipeline.campaigns.retry import RetryPolicy
from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline_tests.campaigns.conftest import Desk
from mmrag_pipeline_tests.integration.gemini_server import (
    KEY,
    Fault,
    GeminiServer,
    blocked_prompt,
    daily_quota,
    error,
    refused,
    text_only,
    throttled,
    transport,
)

LayOut = Callable[..., Desk]


def counts(report: object) -> dict[str, int]:
    return {result: n for result, n in report.counts.items() if n}


def sidecars(desk: Desk) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(desk.images.glob("*.json"))]


def files(desk: Desk) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in desk.images.iterdir()}


def test_a_plan_becomes_pictures_with_sidecars_that_vouch_for_them(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    report = desk.make(gemini)
    assert counts(report) == {"made": 2} and report.requests == 2 and not report.none_succeeded
    assert len(files(desk)) == 4
    for sidecar in sidecars(desk):
        data = (desk.images / sidecar["picture"]["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == sidecar["picture"]["sha256"]
        assert sidecar["picture"]["file"].endswith(".jpg") and Image.open(desk.images / sidecar["picture"]["file"])
        assert sidecar["status"] == "generated" and sidecar["cost"]["usd"] > 0.0336 and not sidecar["preview"]
        sent = [r["sha256"] for r in sidecar["variant"]["references"]]
        assert tuple(sent) in [request.references for request in server.requests]
    spent = desk.ledger.spent(campaign="golden-hour")
    assert spent == pytest.approx(report.spent_usd, abs=1e-5) and spent <= desk.plan.estimated_usd


def test_a_second_run_sends_nothing_and_touches_nothing(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    desk.make(gemini)
    before, spent = files(desk), desk.ledger.spent()
    report = desk.make(gemini)
    assert counts(report) == {"skipped_existing": 2} and report.requests == 0 and not report.none_succeeded
    assert len(server.requests) == 2 and files(desk) == before and desk.ledger.spent() == spent


def test_only_what_is_missing_is_made_and_only_without_its_original_asked_for(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    desk.make(gemini)
    gone = sorted(desk.images.glob("*.jpg"))[0]
    gone.unlink()
    again = desk.make(gemini)
    assert counts(again) == {"skipped_existing": 2} and (again.refinished, again.requests, again.spent_usd) == (1, 0, 0)
    assert len(server.requests) == 2 and gone.exists()
    gone.unlink()
    (desk.originals / gone.name).unlink()
    assert counts(desk.make(gemini)) == {"made": 1, "skipped_existing": 1}
    assert len(server.requests) == 3 and gone.exists() and (desk.originals / gone.name).exists()


def test_blocked_is_told_kept_and_never_sent_again(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    server.faults = [blocked_prompt()]
    first, second = desk.make(gemini), desk.make(gemini)
    assert counts(first) == {"made": 1, "blocked": 1} and not first.none_succeeded
    assert counts(second) == {"skipped_existing": 1, "blocked": 1}
    assert len(server.requests) == 2
    assert "PROHIBITED_CONTENT" in next(iter(second.reasons))


def test_text_only_is_tried_again_by_the_next_run_only(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    server.faults = [text_only("I'd rather not."), refused("NO_IMAGE")]
    first = desk.make(gemini, retries=RetryPolicy(3, 20, 0.01, 0.05, empty_retries=0))
    assert counts(first) == {"no_image": 2} and first.none_succeeded and len(server.requests) == 2
    assert desk.ledger.spent() > 0, "an answer without a usage may have been billed"
    assert counts(desk.make(gemini)) == {"made": 2}


def test_throttled_waits_as_told_then_goes_on(lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer) -> None:
    desk = lay_out()
    server.faults = [throttled("0.4s")]
    report = desk.make(gemini)
    assert counts(report) == {"made": 2} and report.requests == 3
    times = [request.at for request in server.requests]
    assert times[1] - times[0] >= 0.4
    assert desk.ledger.spent() == pytest.approx(report.spent_usd, abs=1e-5), "a throttled request costs nothing"


def test_throttling_without_end_is_bounded_and_free(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    server.faults = [error(503, "UNAVAILABLE", "busy") for _ in range(6)]
    report = desk.make(gemini)
    assert counts(report) == {"failed": 2} and report.none_succeeded and len(server.requests) == 6
    assert desk.ledger.spent() == 0


def test_a_wait_longer_than_the_deadline_is_not_waited(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    server.faults = [throttled("3600s")]
    report = desk.make(gemini)
    assert counts(report) == {"failed": 2} and report.may_go_better and desk.ledger.spent() == 0
    assert len(server.requests) == 1, "what one picture was told holds for the others"


def test_a_used_up_quota_stops_the_run_at_once(lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer) -> None:
    desk = lay_out()
    server.faults = [daily_quota()]
    report = desk.make(gemini)
    assert counts(report) == {"failed": 2} and len(server.requests) == 1 and "midnight Pacific" in report.stopped
    assert desk.ledger.spent() == 0
    assert counts(desk.make(gemini)) == {"made": 2}


def test_nobody_there_stops_the_run(lay_out: LayOut) -> None:
    desk = lay_out()
    report = desk.make(GeminiBackend(api_key=KEY, base_url="http://127.0.0.1:9"))
    assert report.none_succeeded and "can't be reached" in report.stopped and desk.ledger.spent() == 0


@pytest.mark.parametrize(
    "fault", [Fault(body={}, delay_s=0.8, billed=True), transport("reset"), transport("half-json")]
)
def test_an_ambiguous_call_is_spent_and_not_resent(fault: Fault, lay_out: LayOut, server: GeminiServer) -> None:
    desk = lay_out()
    server.faults = [fault]
    report = desk.make(GeminiBackend(api_key=KEY, base_url=server.url, timeout_s=0.3 if fault.delay_s else 5))
    assert counts(report) == {"made": 1, "failed": 1} and len(server.requests) == 2
    (attempt,) = [a for a in desk.ledger.attempts() if a["outcome"] == "ambiguous"]
    assert attempt["settled_micro_usd"] == attempt["micro_usd"] > 0
    assert server.billed_usd <= desk.ledger.spent()
    before, spent = files(desk), desk.ledger.spent()
    later = desk.make(GeminiBackend(api_key=KEY, base_url=server.url))
    assert counts(later) == {"skipped_existing": 1, "failed": 1} and later.requests == 0 and later.spent_usd == 0
    assert len(server.requests) == 2 and files(desk) == before and desk.ledger.spent() == spent
    (reason,) = later.reasons
    assert reason in report.reasons and "may have been billed" in reason and "set retry_ambiguous" in reason


def test_an_ambiguous_call_is_sent_again_when_somebody_asks_for_it(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    server.faults = [transport("reset")]
    desk.make(gemini)
    broke = desk.make(gemini, retry_ambiguous=True, caps=Caps(day_usd=0))
    assert counts(broke) == {"skipped_existing": 1, "skipped_budget": 1}
    server.faults = [error(400, "INVALID_ARGUMENT", "no")]
    assert counts(desk.make(gemini, retry_ambiguous=True)) == {"skipped_existing": 1, "failed": 1}
    assert counts(desk.make(gemini)) == {"skipped_existing": 1, "failed": 1}, "asked once, not for ever"
    assert len(server.requests) == 3
    spent = desk.ledger.spent()
    again = desk.make(gemini, retry_ambiguous=True)
    assert counts(again) == {"made": 1, "skipped_existing": 1} and len(server.requests) == 4
    assert desk.ledger.spent() == pytest.approx(spent + again.spent_usd, abs=1e-5), "the first attempt stays spent"
    assert counts(desk.make(gemini)) == {"skipped_existing": 2}


def test_killed_after_an_ambiguous_call_it_is_still_not_resent(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = lay_out()
    server.faults = [transport("reset")]
    with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
        killing.setattr(Ledger, "settle", interrupted)
        desk.make(gemini)
    assert counts(desk.make(gemini)) == {"made": 1, "failed": 1} and len(server.requests) == 2
    assert [a["outcome"] for a in desk.ledger.attempts()] == ["ambiguous", "generated"]


def test_a_picture_of_a_killed_retry_is_kept(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = lay_out()
    server.faults = [transport("reset")]
    desk.make(gemini)
    with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
        killing.setattr(records, "write_sidecar", interrupted)
        desk.make(gemini, retry_ambiguous=True)
    assert counts(desk.make(gemini)) == {"skipped_existing": 2} and len(server.requests) == 3
    assert {s["status"] for s in sidecars(desk)} == {"generated"}


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_wrong_key_ends_the_run_with_the_setting_named(lay_out: LayOut, server: GeminiServer) -> None:
    desk = lay_out()
    with pytest.raises(UserError, match="check MMRAG_GEMINI_API_KEY"):
        desk.make(GeminiBackend(api_key="AIza-wrong", base_url=server.url))
    assert desk.ledger.spent() == 0 and [a["outcome"] for a in desk.ledger.attempts()] == ["refused"]


def test_a_cap_leaves_the_rest_for_a_higher_one(lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer) -> None:
    desk = lay_out()
    one = desk.plan.variants[0].ceiling_usd
    first = desk.make(gemini, caps=Caps(campaign_usd=one))
    assert counts(first) == {"made": 1, "skipped_budget": 1} and len(server.requests) == 1
    assert "raise budget_usd" in next(iter(first.reasons))
    second = desk.make(gemini, caps=Caps(campaign_usd=2 * one))
    assert counts(second) == {"made": 1, "skipped_existing": 1} and len(server.requests) == 2


def test_nothing_affordable_is_not_a_failure(lay_out: LayOut, gemini: GeminiBackend) -> None:
    report = lay_out().make(gemini, caps=Caps(day_usd=0))
    assert counts(report) == {"skipped_budget": 2} and report.requests == 0 and not report.none_succeeded


RUN = """
import os, signal, sys
from upath import UPath
from mmrag_pipeline.campaigns import maker, records
from mmrag_pipeline.campaigns.making import make_pictures
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.ledger import Caps, Ledger
from mmrag_pipeline.campaigns.plan_table import read_plan
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline_tests.integration.gemini_server import KEY

folder, ledger, url, cap, die = sys.argv[1:]
folder, ledger, cap = UPath(folder), Ledger(ledger), float(cap)

def dying(owner, name):
    def stop(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(owner, name, stop)

if die == "before picture":
    dying(maker, "write_bytes")
if die == "before sidecar":
    dying(records, "write_sidecar")
if die == "before settling":
    dying(Ledger, "settle")
report = make_pictures(
    read_plan(folder / "plan.parquet"), backend=GeminiBackend(api_key=KEY, base_url=url), ledger=ledger,
    folder=folder, references=ReferencePictures(folder / "references"), caps=Caps(day_usd=cap),
    run_id="other", threads=1)
print(report.counts["made"])
"""


def run(desk: Desk, server: GeminiServer, *, cap: float = 5, die: str = "never") -> subprocess.Popen:
    write_plan(desk.folder / "plan.parquet", desk.plan)
    arguments = [str(desk.folder), desk.ledger.path, server.url, str(cap), die]
    return subprocess.Popen([sys.executable, "-c", RUN, *arguments], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("die", "requests", "lost"),
    [
        pytest.param("before picture", 3, 1, marks=pytest.mark.slow),
        ("before sidecar", 2, 0),
        pytest.param("before settling", 2, 0, marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_moment_and_run_again(
    die: str, requests: int, lost: int, lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    """Only a picture that never reached the disk is asked for again, and what was lost is in the ledger as
    spent.
    """
    desk = lay_out()
    killed = run(desk, server, die=die)
    assert killed.wait(timeout=60) == -9 and len(server.requests) == 1
    report = desk.make(gemini)
    assert report.counts["made"] + report.counts["skipped_existing"] == 2
    assert len(server.requests) == requests
    assert len(files(desk)) == 4 and {s["status"] for s in sidecars(desk)} == {"generated"}
    still_open = [a for a in desk.ledger.attempts() if a["outcome"] is None]
    assert len(still_open) == lost and server.billed_usd <= desk.ledger.spent()
    before, sent = files(desk), len(server.requests)
    assert counts(desk.make(gemini)) == {"skipped_existing": 2}
    assert files(desk) == before and len(server.requests) == sent
    assert len([a for a in desk.ledger.attempts() if a["outcome"] is None]) == lost


def test_half_written_files_of_a_killed_run_are_swept(lay_out: LayOut, gemini: GeminiBackend) -> None:
    desk = lay_out()
    desk.images.mkdir(parents=True)
    (desk.images / ".tmp-99-x.jpg").write_bytes(b"half")
    desk.make(gemini)
    assert len(files(desk)) == 4


@pytest.mark.slow
def test_two_processes_on_one_cap_never_pass_it_and_pay_nothing_twice(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    """Two occurrences of 4 pictures each, one day's cap for what 5 cost and one reservation, at the same time."""
    desks = [lay_out(("brand:", "n: 2\nbrand:"), occurrence=day) for day in ("2026-11-23", "2026-11-30")]
    cap = 5 * 0.0364 + desks[0].plan.variants[0].ceiling_usd
    both = [run(desk, server, cap=cap) for desk in desks]
    made = sum(int(process.communicate(timeout=60)[0]) for process in both)
    assert 4 <= made < 8 and made == len(server.requests), "the cap bites"
    assert desks[0].ledger.spent() <= cap
    for desk in desks:
        desk.make(gemini)
    assert len(server.requests) == 8 and len({r.texts[-1] + str(r.config["seed"]) for r in server.requests}) == 8


@pytest.mark.slow
def test_two_runs_of_one_occurrence_do_not_pay_twice(lay_out: LayOut, server: GeminiServer) -> None:
    desk = lay_out()
    both = [run(desk, server) for _ in range(2)]
    assert sorted(int(process.communicate(timeout=60)[0]) for process in both) == [0, 2]
    assert len(server.requests) == 2


def test_a_run_that_has_to_wait_too_long_says_so(lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer) -> None:
    desk = lay_out()
    server.faults = [Fault(body={}, delay_s=1.0)]
    other = threading.Thread(target=desk.make, args=(gemini,))
    other.start()
    while not server.requests:
        assert other.is_alive()
        other.join(0.01)
    with pytest.raises(Unavailable, match="another run has worked on golden-hour golden-hour__2026-11-23"):
        desk.make(gemini, lock_wait_s=0.1)
    other.join()


def test_a_plan_for_another_backend_is_refused(lay_out: LayOut, gemini: GeminiBackend) -> None:
    with pytest.raises(UserError, match="run campaign_plan"):
        lay_out(backend="preview").make(gemini)


def test_previews_cost_nothing_say_what_they_are_and_never_stand_for_a_picture(
    lay_out: LayOut, preview: PreviewBackend, gemini: GeminiBackend, server: GeminiServer
) -> None:
    drawn = lay_out(backend="preview")
    report = drawn.make(preview, caps=Caps(day_usd=0))
    assert counts(report) == {"made": 2} and report.spent_usd == 0 and drawn.ledger.attempts() == []
    assert all(name.startswith("PREVIEW-") for name in files(drawn))
    assert all(sidecar["preview"] for sidecar in sidecars(drawn))
    before = files(drawn)
    assert counts(drawn.make(preview)) == {"skipped_existing": 2} and files(drawn) == before
    assert counts(lay_out().make(gemini)) == {"made": 2} and len(server.requests) == 2


def test_previews_of_an_older_plan_go_paid_pictures_stay(
    lay_out: LayOut, preview: PreviewBackend, gemini: GeminiBackend
) -> None:
    lay_out().make(gemini)
    lay_out(backend="preview").make(preview)
    changed = lay_out(("in a suit", "in a coat"), backend="preview")
    assert counts(changed.make(preview)) == {"made": 1, "skipped_existing": 1}
    names = sorted(files(changed))
    assert len([n for n in names if n.startswith("PREVIEW-")]) == 4 and len(names) == 8


def test_a_picture_of_another_ratio_is_cut_and_noted(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    from mmrag_pipeline_tests.integration.gemini_server import picture_body

    server.answer = lambda received: picture_body(received, 1024, 1024)
    desk = lay_out()
    desk.make(gemini)
    cut = "asked for 4:5, the picture came as 1024 x 1024, cut to 540 x 675: look at its edges"
    assert [sidecar["warnings"] for sidecar in sidecars(desk)] == [[cut], [cut]]
    assert {Image.open(file).size for file in desk.images.glob("*.jpg")} == {(540, 675)}


def test_the_key_is_nowhere(
    lay_out: LayOut, server: GeminiServer, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    desk = lay_out(("brand:", "n: 3\nbrand:"))
    server.faults = [
        error(400, "INVALID_ARGUMENT", f"bad {KEY}"),
        throttled("0.1s"),
        transport("reset"),
        blocked_prompt(),
    ]
    said: list[str] = []
    report = desk.make(
        GeminiBackend(api_key=KEY, base_url=server.url),
        progress=said.append,
        retries=RetryPolicy(2, 5, 0.01, 0.01),
    )
    write_gallery(desk.plan, folder=desk.folder, references=desk.references)
    assert len(counts(report)) >= 3
    everything = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(everything) > 12
    assert not [path for path in everything if KEY.encode() in path.read_bytes()]
    assert KEY not in caplog.text and KEY not in repr(report) and KEY not in "".join(said)
