"""The real SDK against the local server: what is sent, what each answer and each fault means."""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Callable

import pytest
from PIL import Image

from mmrag_pipeline.campaigns.backends.base import (
    Ambiguous,
    Exhausted,
    GenerationRequest,
    NoImage,
    Ok,
    Rejected,
    Throttled,
    Unreachable,
)
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.requests import request_for
from mmrag_pipeline.errors import UserError
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


@pytest.fixture
def request_(lay_out: Callable[..., Desk]) -> GenerationRequest:
    desk = lay_out()
    return request_for(desk.plan, desk.plan.variants[0], desk.references)


def test_what_is_sent_is_what_was_planned(
    gemini: GeminiBackend, server: GeminiServer, request_: GenerationRequest
) -> None:
    result = gemini.generate(request_)
    assert isinstance(result, Ok)
    (sent,) = server.requests
    assert sent.references == tuple(r.sha256 for r in request_.references) and len(sent.references) == 2
    assert sent.texts == (*(r.label for r in request_.references), request_.prompt)
    assert sent.config["imageConfig"] == {"aspectRatio": "4:5", "imageSize": "1K"}
    assert sent.config["seed"] == request_.seed and sent.config["responseModalities"] == ["IMAGE"]
    assert sent.config["maxOutputTokens"] == 1120 + 3072, "the picture's, and room to think"
    assert sent.headers["x-server-timeout"] == "5"


def test_the_last_picture_that_is_no_thought_is_taken_for_what_it_is(
    gemini: GeminiBackend, request_: GenerationRequest
) -> None:
    result = gemini.generate(request_)
    assert isinstance(result, Ok)
    assert (result.format, result.width, result.height) == ("jpeg", 928, 1152)  # though it says image/png
    assert Image.open(io.BytesIO(result.picture)).size == (928, 1152)
    assert result.answer.response_id and result.answer.model_version == request_.model
    assert result.usage and result.usage.usd == pytest.approx(0.0336 + 1400 * 1.5e-6 + 90 * 7.5e-6)


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (blocked_prompt(), "blocked", "PROHIBITED_CONTENT"),
        (refused("IMAGE_SAFETY", "Shows a logo."), "blocked", "IMAGE_SAFETY: Shows a logo."),
        (refused("PUP_LIMITED_DISABLED"), "disabled", "PUP_LIMITED_DISABLED"),
        (refused("NO_IMAGE"), "empty", "NO_IMAGE"),
        (refused("MAX_TOKENS"), "empty", "MAX_TOKENS"),
        (text_only("I can't draw that."), "empty", "I can't draw that."),
        (Fault(body={}), "empty", "no candidate"),
        (Fault(body=None), "empty", "no candidate"),
        (Fault(body={"candidates": []}), "empty", "no candidate"),
        (Fault(body={"candidates": [{"content": {}, "finishReason": "STOP"}]}), "empty", "STOP"),
        (Fault(body={"candidates": [{"finishReason": "STOP", "content": {"parts": [
            {"inlineData": {"mimeType": "image/png", "data": "bm90IGEgcGljdHVyZQ=="}}]}}]}),
         "empty", "not a picture"),
        (error(400, "INVALID_ARGUMENT", "Request blocked by our safety policy."), "blocked", "safety policy"),
    ],
)  # fmt: skip
def test_an_answer_without_a_picture_says_why(
    fault: Fault,
    kind: str,
    said: str,
    gemini: GeminiBackend,
    server: GeminiServer,
    request_: GenerationRequest,
) -> None:
    server.faults = [fault]
    result = gemini.generate(request_)
    assert isinstance(result, NoImage)
    assert result.kind == kind and said in result.reason
    assert len(server.requests) == 1


@pytest.mark.filterwarnings("ignore:WATERMARK_UNKNOWN is not a valid FinishReason")
def test_a_reason_that_nobody_knows_yet_is_never_sent_again(
    gemini: GeminiBackend, server: GeminiServer, request_: GenerationRequest
) -> None:
    server.faults = [refused("WATERMARK_UNKNOWN")]
    result = gemini.generate(request_)
    assert isinstance(result, NoImage) and result.kind == "blocked" and "WATERMARK_UNKNOWN" in result.reason


def test_a_continuation_is_not_fetched_behind_our_back(
    gemini: GeminiBackend, server: GeminiServer, request_: GenerationRequest
) -> None:
    body = {"candidates": [{"finishReason": "CONTINUATION", "content": {"parts": [{"text": "more"}]},
                            "continuationToken": "next"}]}  # fmt: skip
    server.faults = [Fault(body=body)]
    assert isinstance(gemini.generate(request_), NoImage)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "expected", "said"),
    [
        (throttled("7s"), Throttled, "fewer requests"),
        (Fault(503, {"error": {"status": "UNAVAILABLE"}}, {"Retry-After": "3"}), Throttled, "503"),
        (Fault(502, "<html>Bad gateway</html>"), Throttled, "502"),
        (error(500, "INTERNAL", "oops"), Throttled, "500"),
        (daily_quota(), Exhausted, "midnight Pacific"),
        (error(429, "RESOURCE_EXHAUSTED", "You reached the spending limit."), Exhausted, "spend limit"),
        (error(504, "DEADLINE_EXCEEDED", "too slow"), Ambiguous, "may have been billed"),
        (transport("reset"), Ambiguous, "broke off"),
        (transport("truncated"), Ambiguous, "broke off"),
        (transport("half-json"), Ambiguous, "can't be read"),
        (Fault(body={"candidates": [{"content": {"parts": [
            {"inlineData": {"mimeType": "image/png", "data": "!!!"}}]}}]}), Ambiguous, "can't be read"),
        (error(400, "INVALID_ARGUMENT", "seed is out of range"), Rejected, "seed is out of range"),
        (error(413, "INVALID_ARGUMENT", "too large"), Rejected, "413"),
        (error(401, "UNAUTHENTICATED", "no"), UserError, "check MMRAG_GEMINI_API_KEY"),
        (error(403, "PERMISSION_DENIED", "no"), UserError, "check MMRAG_GEMINI_API_KEY"),
        (error(404, "NOT_FOUND", "gone"), UserError, "set MMRAG_GEMINI_MODEL"),
        (Fault(302, {}, {"Location": "/v1/models/elsewhere:generateContent"}), UserError, "set MMRAG_GEMINI_BASE_URL"),
        (error(400, "FAILED_PRECONDITION", "Enable billing"), UserError, "the project of MMRAG_"),
    ],
)  # fmt: skip
def test_a_call_without_an_answer_says_what_may_follow(
    fault: Fault, expected: type[Exception], said: str, gemini: GeminiBackend, server: GeminiServer,
    request_: GenerationRequest,
) -> None:  # fmt: skip
    server.faults = [fault]
    with pytest.raises(expected) as caught:
        gemini.generate(request_)
    assert type(caught.value) is expected and said in str(caught.value)
    assert len(server.requests) == 1, "one call is one request: the SDK retries nothing"


def test_the_told_wait_is_read_from_body_and_header(
    gemini: GeminiBackend, server: GeminiServer, request_: GenerationRequest
) -> None:
    waits = []
    for fault in (throttled("7.5s"), throttled(), Fault(503, {"error": {}}, {"Retry-After": "3"})):
        server.faults = [fault]
        with pytest.raises(Throttled) as caught:
            gemini.generate(request_)
        waits.append(caught.value.retry_after_s)
    assert waits == [7.5, None, 3.0]


def test_a_slow_answer_is_ambiguous(server: GeminiServer, request_: GenerationRequest) -> None:
    server.faults = [Fault(body={}, delay_s=1.0)]
    with pytest.raises(Ambiguous, match="did not answer in time"):
        GeminiBackend(api_key=KEY, base_url=server.url, timeout_s=0.2).generate(request_)
    assert len(server.requests) == 1


def test_nobody_listening_is_told_from_a_broken_call(request_: GenerationRequest) -> None:
    with pytest.raises(Unreachable, match="can't be reached"):
        GeminiBackend(api_key=KEY, base_url="http://127.0.0.1:9").generate(request_)


def test_the_environment_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, server: GeminiServer, request_: GenerationRequest
) -> None:
    for name, value in {
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_GENAI_USE_ENTERPRISE": "true",
        "GOOGLE_CLOUD_PROJECT": "elsewhere",
        "GOOGLE_CLOUD_LOCATION": "global",
        "GOOGLE_API_KEY": "AIza-another",
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:9",
        "GOOGLE_GENAI_API_VERSION": "v1beta",
        "GOOGLE_GENAI_CLIENT_MODE": "replay",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    assert isinstance(GeminiBackend(api_key=KEY, base_url=server.url).generate(request_), Ok)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"api_key": "  "}, "set MMRAG_GEMINI_API_KEY"),
        ({"api_key": "AIza-with a space"}, "copy the key again"),
        ({"api_key": "AIza-\u00e9"}, "copy the key again"),
        ({"api_key": KEY, "base_url": "generativelanguage.googleapis.com"}, "is no address"),
    ],
)
def test_a_setting_that_can_not_be_right_is_said_before_any_call(options: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        GeminiBackend(**options)
    assert "AIza" not in str(caught.value)


def test_the_key_is_in_no_repr_pickle_log_or_error(
    server: GeminiServer, request_: GenerationRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    backend = GeminiBackend(api_key=KEY, base_url=server.url, timeout_s=0.3)
    said = [repr(backend), str(vars(backend).keys())]
    with pytest.raises(TypeError) as refusal:
        pickle.dumps(backend)
    said.append(str(refusal.value))
    server.faults = [
        error(403, "PERMISSION_DENIED", f"key {KEY} is not allowed"),
        error(400, "INVALID_ARGUMENT", f"bad {KEY}"),
        throttled("1s"),
        transport("reset"),
        Fault(body={}, delay_s=0.6),
    ]
    for _ in range(5):
        with pytest.raises(Exception) as caught:
            backend.generate(request_)
        said += [str(caught.value), repr(caught.value), str(caught.getrepr(style="long"))]
        assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert KEY not in "".join(said).replace(f"KEY = '{KEY}'", "") and KEY not in caplog.text


def test_a_refused_key_names_the_setting(server: GeminiServer, request_: GenerationRequest) -> None:
    with pytest.raises(UserError, match=r"API key not valid.*check MMRAG_GEMINI_API_KEY"):
        GeminiBackend(api_key="AIza-wrong", base_url=server.url).generate(request_)
    assert server.requests == []


def test_a_check_costs_nothing_and_says_what_is_wrong(gemini: GeminiBackend, server: GeminiServer) -> None:
    gemini.check("gemini-nano-banana-2.1")
    assert (server.requests, server.problems, server.billed_usd) == ([], [], 0.0)
    with pytest.raises(UserError, match="MMRAG_GEMINI_MODEL"):
        gemini.check("gemini-nano-banana-9")
    with pytest.raises(UserError, match="MMRAG_GEMINI_API_KEY"):
        GeminiBackend(api_key="AIza-another", base_url=server.url).check("gemini-nano-banana-2.1")
    with pytest.raises(UserError, match="MMRAG_GEMINI_BASE_URL"):
        GeminiBackend(api_key=server.key, base_url="http://127.0.0.1:1", timeout_s=5).check("gemini-nano-banana-2.1")
