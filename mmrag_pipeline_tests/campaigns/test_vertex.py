"""Vertex: the same requests and answers under Google Cloud's paths and identities, through the real SDK."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Callable, Iterator

import pytest
from google.auth import exceptions
from google.auth.credentials import Credentials as GoogleCredentials
from google.oauth2.credentials import Credentials

from mmrag_pipeline import wiring
from mmrag_pipeline.campaigns.backends import batches_of, open_backend
from mmrag_pipeline.campaigns.backends.base import Ambiguous, GenerationRequest, NoImage, Ok, Throttled, Unreachable
from mmrag_pipeline.campaigns.backends.vertex import VertexBackend
from mmrag_pipeline.campaigns.requests import request_for
from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.resources import ImageBackendResource
from mmrag_pipeline.settings import load_settings
from mmrag_pipeline_tests.campaigns.conftest import Desk
from mmrag_pipeline_tests.integration.gemini_server import (
    KEY,
    Fault,
    error,
    picture_body,
    refused,
    throttled,
    transport,
)
from mmrag_pipeline_tests.integration.vertex_server import TOKEN, VertexServer

PROJECT, LOCATION = "brand-project", "europe-west4"


@pytest.fixture
def server() -> Iterator[VertexServer]:
    with VertexServer(
        project=PROJECT, location=LOCATION, answer=lambda received: picture_body(received, 160, 200)
    ) as running:
        yield running
        assert running.problems == []


@pytest.fixture
def vertex(server: VertexServer) -> Iterator[VertexBackend]:
    backend = in_project(server)
    yield backend
    backend.close()


@pytest.fixture
def request_(lay_out: Callable[..., Desk]) -> GenerationRequest:
    desk = lay_out(backend="vertex")
    return request_for(desk.plan, desk.plan.variants[0], desk.references)


def in_project(server: VertexServer, *, token: str = TOKEN, **more: object) -> VertexBackend:
    options = {"project": PROJECT, "location": LOCATION, "credentials": Credentials(token=token), **more}
    return VertexBackend(base_url=server.url, timeout_s=20, **options)


def test_a_project_is_asked_with_its_token(
    vertex: VertexBackend, server: VertexServer, request_: GenerationRequest
) -> None:
    result = vertex.generate(request_)
    assert isinstance(result, Ok) and result.usage and result.usage.usd
    assert server.paths == [
        f"/v1beta1/projects/{PROJECT}/locations/{LOCATION}/publishers/google/models/{request_.model}:generateContent"
    ]
    (sent,) = server.requests
    assert sent.references == tuple(r.sha256 for r in request_.references)
    assert sent.config["imageConfig"] == {"aspectRatio": "4:5", "imageSize": "1K"} and sent.config["seed"]


def test_express_mode_is_asked_with_its_key(server: VertexServer, request_: GenerationRequest) -> None:
    assert isinstance(VertexBackend(api_key=KEY, base_url=server.url).generate(request_), Ok)
    assert server.paths == [f"/v1beta1/publishers/google/models/{request_.model}:generateContent"]


@pytest.mark.parametrize("express", [False, True])
def test_the_environment_changes_nothing(
    express: bool, monkeypatch: pytest.MonkeyPatch, server: VertexServer, request_: GenerationRequest
) -> None:
    for name, value in {
        "GOOGLE_GENAI_USE_VERTEXAI": "false",
        "GOOGLE_GENAI_USE_ENTERPRISE": "false",
        "GOOGLE_CLOUD_PROJECT": "elsewhere",
        "GOOGLE_CLOUD_LOCATION": "mars",
        "GOOGLE_API_KEY": "AIza-another",
        "GOOGLE_VERTEX_BASE_URL": "http://127.0.0.1:9",
        "GOOGLE_GENAI_API_VERSION": "v7",
        "GOOGLE_GENAI_CLIENT_MODE": "replay",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    backend = VertexBackend(api_key=KEY, base_url=server.url) if express else in_project(server)
    assert isinstance(backend.generate(request_), Ok) and len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "expected", "said"),
    [
        (throttled("7s"), Throttled, "fewer requests"),
        (error(504, "DEADLINE_EXCEEDED", "slow"), Ambiguous, "may have been billed"),
        (transport("reset"), Ambiguous, "broke off"),
        (error(403, "PERMISSION_DENIED", "Vertex AI API is not enabled"), UserError, "check MMRAG_VERTEX_PROJECT"),
        (error(404, "NOT_FOUND", "gone"), UserError, "set MMRAG_GEMINI_MODEL"),
        (Fault(302, {}, {"Location": "/elsewhere"}), UserError, "set MMRAG_VERTEX_LOCATION"),
    ],
)
def test_errors_mean_what_they_mean_with_gemini_and_name_vertex_settings(
    fault: Fault,
    expected: type[Exception],
    said: str,
    vertex: VertexBackend,
    server: VertexServer,
    request_: GenerationRequest,
) -> None:
    server.faults = [fault]
    with pytest.raises(expected, match=said):
        vertex.generate(request_)
    assert len(server.requests) == 1


def test_a_refusal_keeps_its_words(vertex: VertexBackend, server: VertexServer, request_: GenerationRequest) -> None:
    server.faults = [refused("IMAGE_SAFETY", "Shows a logo.")]
    result = vertex.generate(request_)
    assert isinstance(result, NoImage) and result.kind == "blocked" and "Shows a logo." in result.reason


@pytest.mark.parametrize(
    "options", [{"token": "ya29.expired"}, {"project": "other-project"}, {"location": "us-central1"}]
)
def test_a_wrong_identity_names_what_to_check(
    options: dict[str, str], server: VertexServer, request_: GenerationRequest
) -> None:
    with pytest.raises(UserError, match="check MMRAG_VERTEX_PROJECT and the Google credentials"):
        in_project(server, **options).generate(request_)
    assert server.requests == []


class Failing(GoogleCredentials):
    """Credentials that can't be renewed."""

    def __init__(self, error_: Exception):
        super().__init__()
        self._error = error_

    def refresh(self, request: object) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("raised", "expected", "said"),
    [
        (exceptions.RefreshError("invalid_grant"), UserError, "Google refused the credentials"),
        (exceptions.TransportError("no route"), Unreachable, "sign-in can't be reached"),
    ],
)
def test_credentials_that_can_not_be_renewed(
    raised: Exception, expected: type[Exception], said: str, server: VertexServer, request_: GenerationRequest
) -> None:
    with pytest.raises(expected, match=said):
        in_project(server, credentials=Failing(raised)).generate(request_)
    assert server.requests == []


def test_no_credentials_at_all_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, server: VertexServer, request_: GenerationRequest
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", f"{tmp_path}/nowhere.json")
    with pytest.raises(UserError, match="gcloud auth application-default login"):
        in_project(server, credentials=None).generate(request_)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "set MMRAG_VERTEX_PROJECT"),
        ({"project": "Brand Project"}, "MMRAG_VERTEX_PROJECT='Brand Project' can't be right"),
        ({"project": PROJECT, "location": "europe/west"}, "MMRAG_VERTEX_LOCATION"),
        ({"api_key": "AIza with a space"}, "copy the key again"),
    ],
)
def test_a_setting_that_can_not_be_right_is_said_before_any_call(options: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        VertexBackend(**options)
    frames = list(traceback.walk_tb(caught.tb))[1:]
    shown = [repr(value) for frame, _ in frames for value in frame.f_locals.values()]
    assert shown and "with a space" not in "".join(shown)


@pytest.mark.parametrize(
    ("location", "address"),
    [
        ("global", "https://aiplatform.googleapis.com"),
        ("europe-west4", "https://europe-west4-aiplatform.googleapis.com"),
        ("eu", "https://aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_the_address_is_that_of_the_location(location: str, address: str) -> None:
    assert address in repr(VertexBackend(project=PROJECT, location=location))


def test_a_campaign_is_made_once_on_vertex_and_has_no_batches(
    lay_out: Callable[..., Desk], vertex: VertexBackend, server: VertexServer
) -> None:
    desk = lay_out(backend="vertex")
    assert {v.key for v in desk.plan.variants}.isdisjoint(v.key for v in lay_out().plan.variants)
    assert desk.make(vertex).counts["made"] == 2 and desk.make(vertex).requests == 0
    assert len(server.requests) == 2 and desk.ledger.spent() >= server.billed_usd > 0
    assert {a["backend"] for a in desk.ledger.attempts()} == {"vertex"}
    assert batches_of(vertex) is None


def test_a_check_costs_nothing_and_says_what_is_wrong(vertex: VertexBackend, server: VertexServer) -> None:
    vertex.check("gemini-nano-banana-2.1")
    assert (server.requests, server.billed_usd) == ([], 0.0)
    with pytest.raises(UserError, match="MMRAG_GEMINI_MODEL"):
        vertex.check("gemini-nano-banana-9")
    with pytest.raises(Unavailable, match="MMRAG_VERTEX_LOCATION"):
        VertexBackend(
            project=PROJECT, credentials=Credentials(token=TOKEN), base_url="http://127.0.0.1:1", timeout_s=5
        ).check("gemini-nano-banana-2.1")


def test_the_backend_is_opened_by_its_settings() -> None:
    options = {"api_key": KEY, "base_url": "https://unused.example", "timeout_s": 5}
    assert PROJECT in repr(open_backend("vertex", project=PROJECT, location=LOCATION, **options))
    express = open_backend("vertex", **options)
    assert KEY not in repr(express) and "https://aiplatform.googleapis.com" in repr(express)


def test_doctor_and_dagster_open_the_same_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMRAG_IMAGE_BACKEND", "vertex")
    monkeypatch.setenv("MMRAG_VERTEX_PROJECT", PROJECT)
    monkeypatch.setenv("MMRAG_VERTEX_LOCATION", LOCATION)
    found = load_settings()
    resource = ImageBackendResource(
        backend=found.image_backend,
        model=found.gemini_model,
        base_url=found.gemini_base_url,
        ledger=found.ledger_file,
        vertex_project=found.vertex_project,
        vertex_location=found.vertex_location,
    )
    assert repr(wiring.image_backend(found, "vertex")) == repr(resource.open("vertex"))
    assert f"https://{LOCATION}-aiplatform.googleapis.com" in repr(resource.open("vertex"))


def test_the_token_is_in_no_repr_pickle_log_or_error(
    server: VertexServer, request_: GenerationRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    backend = in_project(server)
    said = [repr(backend)]
    with pytest.raises(TypeError) as refusal:
        pickle.dumps(backend)
    said.append(str(refusal.value))
    server.faults = [error(403, "PERMISSION_DENIED", f"token {TOKEN} is not allowed"), transport("reset")]
    for _ in range(2):
        with pytest.raises(Exception) as caught:
            backend.generate(request_)
        said += [str(caught.value), repr(caught.value)]
        assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert TOKEN not in "".join(said) and TOKEN not in caplog.text
