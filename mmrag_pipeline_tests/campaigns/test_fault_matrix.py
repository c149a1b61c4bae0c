"""Every way that a request can end, each with its class, its treatment, its price, and its sign in Dagster.

The rows are those of the project's notes on google-genai (1.5, 1.6, 6.5). Each is played to the real SDK by the local
server, through a real materialisation of campaign_images: once to the first of two pictures, once to both.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import dagster as dg
import pytest

from mmrag_pipeline.campaigns.ledger import Caps, Reservation
from mmrag_pipeline.campaigns.making import make_pictures
from mmrag_pipeline.campaigns.retry import RetryPolicy
from mmrag_pipeline.defs.campaigns import assets, retries
from mmrag_pipeline_tests.campaigns.conftest import NOW, Desk
from mmrag_pipeline_tests.campaigns.dagster_runs import checks_of, failure_of, materialise, metadata_of, retries_of
from mmrag_pipeline_tests.integration import gemini_faults as faults
from mmrag_pipeline_tests.integration.gemini_server import (
    KEY,
    Fault,
    blocked_prompt,
    daily_quota,
    error,
    refused,
    text_only,
    throttled,
    transport,
)

ATTEMPTS, EMPTY_TRIES = 3, 3
SOON = (datetime.now(UTC) + timedelta(days=10)).date().isoformat()
Money = Literal["free", "to the cent", "held"]
"""`to the cent`: the ledger has what Google charges; `held`: nobody knows, so the whole reservation counts as spent."""


@dataclass(frozen=True)
class Row:
    """What one fault means. `cause` is its class; `sent` counts the requests for one picture; `ends` the whole run."""

    name: str
    fault: Fault
    cause: str
    money: Money
    sent: int = 1
    ends: bool = False
    says: str = ""
    timeout_s: float = 20.0

    @property
    def result(self) -> str:
        return {"": "made", "blocked": "blocked", "empty": "no_image"}.get(self.cause, "failed")


def blocked(name: str, fault: Fault, money: Money = "to the cent", says: str = "") -> Row:
    return Row(name, fault, "blocked", money, says=says or name)


def empty(name: str, fault: Fault, money: Money = "to the cent", says: str = "") -> Row:
    return Row(name, fault, "empty", money, sent=EMPTY_TRIES, says=says)


def overloaded(name: str, fault: Fault) -> Row:
    return Row(name, fault, "throttled", "free", sent=ATTEMPTS)


def ambiguous(name: str, fault: Fault, timeout_s: float = 20.0) -> Row:
    return Row(name, fault, "ambiguous", "held", says="counts as spent", timeout_s=timeout_s)


def ends(name: str, fault: Fault, cause: str, says: str, money: Money = "free") -> Row:
    return Row(name, fault, cause, money, ends=True, says=says)


HTML = "<html><body>Bad gateway</body></html>"
UNAVAILABLE = error(503, "UNAVAILABLE", "The model is overloaded.")
ROWS = [
    # 1.5: HTTP errors
    overloaded("429 a minute's quota", throttled("0.05s")),
    overloaded("429 without a told wait", throttled()),
    overloaded("408", error(408, "DEADLINE_EXCEEDED", "slow")),
    overloaded("500", error(500, "INTERNAL", "oops")),
    overloaded("502 in HTML", Fault(502, HTML)),
    overloaded("503", UNAVAILABLE),
    overloaded("503 in a list", faults.in_a_list(UNAVAILABLE)),
    overloaded("503 with Retry-After", Fault(503, {"error": {}}, {"Retry-After": "0.05"})),
    ambiguous("499", error(499, "CANCELLED", "gone")),
    ambiguous("501", error(501, "UNIMPLEMENTED", "no")),
    ambiguous("504", error(504, "DEADLINE_EXCEEDED", "too slow")),
    ambiguous("529", error(529, "OVERLOADED", "too much")),
    ambiguous("201 instead of 200", Fault(201, {})),
    ends("302", Fault(302, {}, {"Location": "/v1/elsewhere"}), "rejected", "set MMRAG_GEMINI_BASE_URL"),
    ends("308", Fault(308, {}, {"Location": "https://example.com/"}), "rejected", "set MMRAG_GEMINI_BASE_URL"),
    # 1.5: broken transport and bodies
    ambiguous("no answer in time", transport("late", delay_s=4.0), timeout_s=1.5),
    ambiguous("an answer that drips past its time", transport("drip", pause_s=0.4), timeout_s=1.5),
    Row("an answer that drips in time", transport("drip", pause_s=0.02), "", "to the cent"),
    ambiguous("reset", transport("reset")),
    ambiguous("closed without a byte", transport("closed")),
    ambiguous("less than Content-Length", transport("truncated")),
    ambiguous("half of the JSON", transport("half-json")),
    ambiguous("HTML with 200", Fault(200, HTML)),
    ambiguous("broken base64", faults.broken_base64()),
    ambiguous("a field of another type", faults.wrong_types()),
    ambiguous("a number for a candidate", Fault(body={"candidates": [5]})),
    ambiguous("a number for a reason", Fault(body={"candidates": [{"finishReason": 5}]})),
    empty("an empty body", Fault(body=""), "held", "no candidate"),
    empty("[]", Fault(body="[]"), "held", "no candidate"),
    empty("null", Fault(body=None), "held", "no candidate"),
    empty("{}", Fault(body={}), "held", "no candidate"),
    empty("an error with 200", Fault(body={"error": {"code": 500}}), "held", "no candidate"),
    # 1.6: 200 without a picture
    *(
        blocked(reason, blocked_prompt(reason))
        for reason in ("PROHIBITED_CONTENT", "IMAGE_SAFETY", "SAFETY", "BLOCKLIST", "OTHER", "MODEL_ARMOR", "JAILBREAK")
    ),
    *(
        blocked(reason, refused(reason, "Shows a logo."), says=f"{reason}: Shows a logo.")
        for reason in (
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "SAFETY", "PROHIBITED_CONTENT"),
            *("RECITATION", "BLOCKLIST", "SPII", "LANGUAGE"),
        )
    ),
    blocked("WATERMARK_UNKNOWN", refused("WATERMARK_UNKNOWN")),
    blocked("REASON_OF_TOMORROW", blocked_prompt("REASON_OF_TOMORROW")),
    *(
        empty(reason, refused(reason), says=reason)
        for reason in ("NO_IMAGE", "IMAGE_OTHER", "OTHER", "MALFORMED_RESPONSE", "MAX_TOKENS")
    ),
    empty("words only", text_only("I can't draw that."), "held", "I can't draw that."),
    empty("words only, counted", faults.parts({"text": "No."}, usageMetadata=faults.usage(words=4)), says="No."),
    empty("a candidate without content", Fault(body={"candidates": [{"finishReason": "STOP"}]}), "held", "STOP"),
    empty("empty content", Fault(body={"candidates": [{"content": {}, "finishReason": "STOP"}]}), "held", "STOP"),
    empty("candidates: []", Fault(body={"candidates": []}), "held", "no candidate"),
    empty("CONTINUATION", faults.continuation(), says="CONTINUATION"),
    empty("thoughts only", faults.thoughts_only(), says="no picture"),
    empty("data that is no picture", faults.not_a_picture(), says="not a picture"),
    ends("PUP_LIMITED_DISABLED", refused("PUP_LIMITED_DISABLED"), "disabled", "ask Google", "to the cent"),
    # Pictures that are not quite what was asked for
    Row("several pictures", faults.several_pictures(), "", "to the cent"),
    Row("a usage without details", faults.usage_without_details(), "", "to the cent"),
    Row("no usage", faults.without_usage(), "", "held"),
    Row("a model that retires soon", faults.retiring(SOON), "", "to the cent"),
    Row("another ratio", faults.square_picture(), "", "to the cent"),
    # 6.5: what stops the run, and what only stops one picture
    ends("a day's quota", daily_quota(), "exhausted", "midnight Pacific"),
    ends("no quota at all", faults.no_quota_at_all(), "exhausted", "quota"),
    ends("the spend limit", faults.spend_limit(), "exhausted", "AI Studio"),
    blocked("a policy error", error(400, "INVALID_ARGUMENT", "Blocked by our safety policy."), "free", "safety policy"),
    Row("400", error(400, "INVALID_ARGUMENT", "seed is out of range"), "rejected", "free", says="seed is out of range"),
    Row("400 in HTML", Fault(400, "<html>no</html>"), "rejected", "free", says="400"),
    Row("409", error(409, "ABORTED", "again"), "rejected", "free", says="409"),
    Row("413", error(413, "INVALID_ARGUMENT", "too large"), "rejected", "free", says="413"),
    ends("401", error(401, "UNAUTHENTICATED", "no"), "rejected", "check MMRAG_GEMINI_API_KEY"),
    ends("403", error(403, "PERMISSION_DENIED", "no"), "rejected", "check MMRAG_GEMINI_API_KEY"),
    ends("a key that is none", error(400, "INVALID_ARGUMENT", "API key not valid."), "rejected", "GEMINI_API_KEY"),
    ends("no billing", error(400, "FAILED_PRECONDITION", "Enable billing"), "rejected", "the project of MMRAG_"),
    ends("404", error(404, "NOT_FOUND", "gone"), "rejected", "set MMRAG_GEMINI_MODEL"),
]  # fmt: skip
SIGNS = ("429 a minute's quota", "IMAGE_SAFETY", "401")
ALWAYS = (
    *SIGNS,
    *("308", "reset", "a number for a reason", "an empty body", "NO_IMAGE", "PUP_LIMITED_DISABLED", "several pictures"),
    *("no usage", "a model that retires soon", "a day's quota", "400"),
)
"""One of a kind for every run of the suite; the whole table is for `-m slow`."""


def each(rows: list[Row], always: tuple[str, ...]) -> pytest.MarkDecorator:
    """The rows as parameters, all but `always` slow."""
    marked = [pytest.param(row, id=row.name, marks=[] if row.name in always else pytest.mark.slow) for row in rows]
    assert {row.name for row in rows} >= set(always)
    return pytest.mark.parametrize("row", marked)


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def server() -> Iterator[faults.BillingServer]:
    with faults.BillingServer() as running:
        yield running
        assert running.problems == []


@pytest.fixture(autouse=True)
def _no_key_anywhere(tmp_path: Path) -> Iterator[None]:
    yield
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not [path for path in files if KEY.encode() in path.read_bytes()]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = RetryPolicy(ATTEMPTS, 30, 0.01, 0.05, empty_retries=EMPTY_TRIES - 1)
    monkeypatch.setattr(assets, "make_pictures", functools.partial(make_pictures, retries=policy))
    monkeypatch.setattr(retries, "RETRY_WAIT_S", 0.01)


def spent(desk: Desk, variant: int = 0) -> float:
    """What the ledger says of one variant."""
    attempts = desk.ledger.attempts(desk.plan.variants[variant].key)
    return sum(attempt["settled_micro_usd"] for attempt in attempts) / 1e6


def assert_money(row: Row, desk: Desk, owed: float) -> None:
    attempts = desk.ledger.attempts(desk.plan.variants[0].key)
    reserved = sum(attempt["micro_usd"] for attempt in attempts) / 1e6
    match row.money:
        case "free":
            assert spent(desk) == owed == 0
        case "to the cent":
            assert spent(desk) == pytest.approx(owed, abs=2e-6 * len(attempts)) and 0 < owed <= spent(desk) + 1e-9
        case "held":
            assert spent(desk) == reserved >= owed and all(attempt["estimated"] for attempt in attempts)
    assert spent(desk) <= reserved and all(attempt["outcome"] for attempt in attempts)


@pytest.mark.filterwarnings("ignore:.* is not a valid:UserWarning")
@each(ROWS, ALWAYS)
def test_a_fault_at_one_picture(
    row: Row, lay_out: Callable[..., Desk], instance: dg.DagsterInstance, server: faults.BillingServer
) -> None:
    desk = lay_out()
    server.faults = [row.fault] * row.sent
    result = materialise(desk, instance, url=server.url, timeout_s=row.timeout_s)
    images = desk.images
    first = desk.plan.variants[0].key
    assert len(server.requests) == row.sent + (not row.ends)
    owed = server.owed_usd - (spent(desk, 1) if not row.ends else 0.0)
    assert_money(row, desk, max(0.0, round(owed, 9) if row.money == "free" else owed))
    if row.ends:
        assert not result.success and retries_of(result) == 0 and row.says in failure_of(result)
    else:
        counts = metadata_of(result)
        made = 2 if row.result == "made" else 1
        assert result.success and counts["made"] == made and counts.get(row.result) in (1, 2)
        assert counts["requests"] == row.sent + 1
        found = {name: check.passed for name, check in checks_of(result).items()}
        assert found["complete"] is (row.result == "made")
        assert found["blocked_rate"] is (row.result != "blocked")
        estimated = made * desk.plan.variants[0].estimated_usd
        assert found["cost"] is (spent(desk, 0) + spent(desk, 1) <= estimated)
        assert not (found["cost"] and row.cause == "ambiguous")
        assert found["model_retirement"] is (row.name != "a model that retires soon")
        assert {check.severity for check in checks_of(result).values()} == {dg.AssetCheckSeverity.WARN}
        assert all(
            check.passed or check.metadata["what_to_do"].value != "nothing" for check in checks_of(result).values()
        )
        sidecar = json.loads((images / f"{first}.json").read_text())
        assert row.says in sidecar["reason"] and (sidecar["picture"] is None) == (row.result != "made")
        assert sidecar["cost"]["price_table"].startswith("genai-prices ")

    # What the next run makes of it: only what was not answered for good is asked for again.
    sent, charged = len(server.requests), spent(desk)
    server.faults = []
    again = materialise(desk, instance, url=server.url)
    final = row.cause in ("", "blocked", "ambiguous")
    assert again.success and len(server.requests) - sent == (0 if final else 2 if row.ends else 1)
    assert (spent(desk) == charged) is final


@pytest.mark.filterwarnings("ignore:.* is not a valid:UserWarning")
@each([row for row in ROWS if row.timeout_s == Row.timeout_s], SIGNS)
def test_a_fault_at_every_picture(
    row: Row, lay_out: Callable[..., Desk], instance: dg.DagsterInstance, server: faults.BillingServer
) -> None:
    """None made is a failure; it is tried again by Dagster itself only where nothing but overload was in the way."""
    desk = lay_out()
    server.faults = [row.fault] * 100
    result = materialise(desk, instance, url=server.url, timeout_s=row.timeout_s)
    assert_money(row, desk, server.owed_usd / (1 if row.ends else 2))
    if row.result == "made":
        assert result.success and len(server.requests) == 2
        return
    tries = 1 + retries.RETRIES if row.cause == "throttled" else 1
    assert not result.success and retries_of(result) == tries - 1 and row.says in failure_of(result)
    assert len(server.requests) == tries * row.sent * (1 if row.ends else 2)


def test_nobody_there_is_tried_again_and_costs_nothing(
    lay_out: Callable[..., Desk], instance: dg.DagsterInstance
) -> None:
    desk = lay_out()
    result = materialise(desk, instance, url="http://127.0.0.1:9")
    assert not result.success and retries_of(result) == retries.RETRIES and desk.ledger.spent() == 0
    assert "can't be reached" in failure_of(result)


def test_what_no_cap_allows_is_skipped_not_failed(
    lay_out: Callable[..., Desk], instance: dg.DagsterInstance, server: faults.BillingServer
) -> None:
    desk = lay_out()
    one = desk.plan.variants[0].ceiling_usd * 1.1
    lowered = materialise(desk, instance, url=server.url, config={"budget_usd": one}, budget_usd_per_run=5.0)
    counts = metadata_of(lowered)
    assert (counts["made"], counts["skipped_budget"], len(server.requests)) == (1, 1, 1)
    assert not checks_of(lowered)["complete"].passed
    raised = metadata_of(
        materialise(desk, instance, url=server.url, config={"budget_usd": 99.0}, budget_usd_per_run=0.01)
    )
    assert raised["skipped_budget"] == 1, "a run's own budget lowers the cap and never raises it"
    assert "MMRAG_BUDGET_USD_PER_RUN" in str(raised["reasons"])
    after = metadata_of(materialise(desk, instance, url=server.url))
    assert (after["made"], after["skipped_existing"], len(server.requests)) == (1, 1, 2)


def test_a_quota_that_ends_in_the_middle_leaves_a_success_that_says_so(
    lay_out: Callable[..., Desk], instance: dg.DagsterInstance, server: faults.BillingServer
) -> None:
    desk = lay_out(("brand:", "n: 2\nbrand:"))
    server.faults = [Fault(body=None, transport="drip"), daily_quota()]
    result = materialise(desk, instance, url=server.url)
    counts = metadata_of(result)
    assert result.success and (counts["made"], counts["failed"], len(server.requests)) == (1, 3, 2)
    assert "midnight Pacific" in counts["stopped"] and not checks_of(result)["complete"].passed


def test_a_cap_that_is_nearly_used_up_is_said_before_it_bites(
    lay_out: Callable[..., Desk], instance: dg.DagsterInstance, server: faults.BillingServer
) -> None:
    desk = lay_out(("budget_usd: 5", "budget_usd: 0.78"))
    before = desk.ledger.reserve("k", campaign="golden-hour", occurrence="x", usd=0.6, caps=Caps(), now=NOW)
    assert isinstance(before, Reservation)
    result = materialise(desk, instance, url=server.url)
    check = checks_of(result)["cost"]
    assert metadata_of(result)["made"] == 2 and not check.passed
    assert "raise budget_usd" in check.metadata["what_to_do"].value
