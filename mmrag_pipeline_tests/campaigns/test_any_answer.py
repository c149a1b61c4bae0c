"""Whatever is answered, with whatever status: a result or an error that says what may follow, never anything else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mmrag_pipeline.campaigns.backends.base import BackendError, NoImage, Ok, Throttled
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.campaigns.test_prices import request_of
from mmrag_pipeline_tests.integration.gemini_faults import picture, usage
from mmrag_pipeline_tests.integration.gemini_server import KEY, Fault, GeminiServer

WORDS = st.sampled_from(
    [*"STOP NO_IMAGE SAFETY RESOURCE_EXHAUSTED 7s ..s 1.2.3s -1s PerDay 0 IMAGE image/png".split(), KEY, ""]
)
NAMES = st.sampled_from(
    "error code status message details violations quotaId quotaValue retryDelay reason candidates content parts text "
    "inlineData data mimeType finishReason finishMessage promptFeedback blockReason usageMetadata promptTokenCount "
    "candidatesTokenCount totalTokenCount candidatesTokensDetails modality tokenCount "
    "modelStatus retirementTime".split()
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-5, 10**6), WORDS)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
SHAPED = st.one_of(
    ANYTHING,
    st.builds(lambda inner: {"error": {"code": 429, "status": "X", "message": "m", "details": inner}}, ANYTHING),
    st.builds(lambda inner: {"error": {"details": [{"violations": inner}]}}, ANYTHING),
    st.builds(lambda inner: {"error": {"details": [{"retryDelay": inner}]}}, ANYTHING),
    st.builds(lambda inner: {"candidates": [inner], "usageMetadata": usage(pictures=1120)}, ANYTHING),
    st.builds(lambda inner: {"candidates": [{"content": {"parts": [inner, picture()]}}]}, ANYTHING),
    st.builds(lambda inner: {"candidates": [{"content": {"parts": [picture()]}}], "usageMetadata": inner}, ANYTHING),
)
REQUEST = request_of("gemini-nano-banana-2.1", "1K", "a prompt", "a system", [])


@pytest.fixture(scope="module")
def server() -> Iterator[GeminiServer]:
    with GeminiServer() as running:
        yield running


@pytest.fixture(scope="module")
def gemini(server: GeminiServer) -> Iterator[GeminiBackend]:
    backend = GeminiBackend(api_key=KEY, base_url=server.url, timeout_s=30)
    yield backend
    backend.close()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(status=st.sampled_from([200, 200, 200, 400, 404, 429, 500, 503]), body=SHAPED, after=WORDS)
@example(status=429, body={"error": {"details": [{"violations": 5}]}}, after="")
@example(status=429, body={"error": {"details": [{"retryDelay": "1.2.3s"}]}}, after="1.2.3")
@example(status=400, body={"error": {"message": 5, "status": []}}, after="")
@example(status=200, body={"candidates": [{"finishReason": "NO_IMAGE", "finishMessage": 5}]}, after="")
def test_any_json_with_any_status_is_understood(
    status: int, body: object, after: str, gemini: GeminiBackend, server: GeminiServer
) -> None:
    server.faults = [Fault(status, body, {"Retry-After": after})]
    sent = len(server.requests)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the SDK's, about enums that it doesn't know
        try:
            result = gemini.generate(REQUEST)
        except (BackendError, UserError) as error:
            assert KEY not in str(error) and error.__context__ is None and "\n" not in str(error)
            assert not isinstance(error, Throttled) or (error.retry_after_s or 0) >= 0
        else:
            assert isinstance(result, Ok | NoImage)
            assert result.usage is None or result.usage.usd is None or result.usage.usd >= 0
            assert status in (200, 400)
    assert len(server.requests) == sent + 1


def test_a_wait_may_be_told_as_a_date(gemini: GeminiBackend, server: GeminiServer) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    past = format_datetime(datetime(2020, 1, 1, tzinfo=UTC))
    for told, least, most in ((date, 60, 91), ("Fri, 31 Feb", 0, 0), (past, 0, 0)):
        server.faults = [Fault(503, {"error": {}}, {"Retry-After": told})]
        with pytest.raises(Throttled) as caught:
            gemini.generate(REQUEST)
        assert least <= (caught.value.retry_after_s or 0) <= most
