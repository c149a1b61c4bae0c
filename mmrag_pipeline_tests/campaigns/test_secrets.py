"""The key is nowhere: not in a file, a database, a log, a repr, a pickle, nor beside a traceback."""

from __future__ import annotations

import base64
import logging
import pickle
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr

from mmrag_pipeline.campaigns.backends import open_backend
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.requests import request_for
from mmrag_pipeline.definitions import defs
from mmrag_pipeline.defs.campaigns import retries
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.resources import ImageBackendResource
from mmrag_pipeline.settings import load_settings
from mmrag_pipeline_tests.integration.gemini_faults import broken_base64, wrong_types
from mmrag_pipeline_tests.integration.gemini_server import (
    Fault,
    GeminiServer,
    blocked_prompt,
    daily_quota,
    error,
    refused,
    throttled,
    transport,
)
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline

SECRET = "AIza-Secret+of/this=test_7d0e"
SPELLINGS = (SECRET, base64.b64encode(SECRET.encode()).decode(), urllib.parse.quote(SECRET, safe=""), SECRET[::-1])
BRIEF = """
title: Spring
objective: Show the red cape.
products:
  - {name: the red cape, query: something red, product_line: lunar}
scenes:
  - {name: beach, prompt: "A model wears {{ product.name }} on a beach."}
placements:
  - {name: feed, aspect_ratio: "4:5", image_size: 1K}
n: 8
budget_usd: 50
"""


@pytest.fixture
def server() -> Iterator[GeminiServer]:
    with GeminiServer(key=SECRET) as running:
        yield running


def said(text: str | bytes) -> bool:
    data = text.encode() if isinstance(text, str) else text
    return any(spelling.encode() in data for spelling in SPELLINGS)


@pytest.mark.slow
def test_after_runs_with_every_kind_of_fault_no_file_holds_the_key(
    pipeline: Pipeline, server: GeminiServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Real runs in a Dagster home on disk: its databases, events and logs, the whole store, and what was printed."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(retries, "RETRY_WAIT_S", 0.01)
    pipeline.deliver("lunar__2026-09", {f"{name}.png": colour for name, colour in COLOURS.items()})
    pipeline.ingest()
    (pipeline.root / "briefs" / "spring.yaml").write_text(BRIEF)
    monkeypatch.setenv("MMRAG_IMAGE_BACKEND", "gemini")
    monkeypatch.setenv("MMRAG_GEMINI_API_KEY", SECRET)
    monkeypatch.setenv("MMRAG_GEMINI_BASE_URL", server.url)
    server.faults = [
        throttled("0.01s"),
        error(400, "INVALID_ARGUMENT", f"bad {SECRET}"),
        transport("reset"),
        blocked_prompt(),
        broken_base64(),
        wrong_types(),
        Fault(200, f"<html>x-goog-api-key: {SECRET}</html>"),
    ]
    made = pipeline.run("run_campaign", "spring__2026-11-23").metadata["campaign_images"]
    assert made["blocked"] == 1 and made["failed"] >= 4 and made["made"] >= 1
    for number, fault in enumerate((error(403, "PERMISSION_DENIED", f"no {SECRET}"), daily_quota())):
        server.faults = [fault] * 20
        with pytest.raises(UserError):
            pipeline.run("run_campaign", f"spring__2026-12-0{number + 1}")
    monkeypatch.setenv("MMRAG_GEMINI_API_KEY", f"{SECRET} copied with a blank")
    with pytest.raises(UserError, match="copy the key again"):
        pipeline.run("run_campaign", "spring__2026-12-05")

    files = [path for path in pipeline.root.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files} | {path.name for path in files}
    assert {".db", ".sqlite", ".json", ".parquet", ".html", ".jpg"} <= kinds and len(files) > 60
    assert [path for path in files if path.suffix in (".err", ".out")], "compute logs are among them"
    assert [str(path) for path in files if said(path.read_bytes())] == []
    printed = capfd.readouterr()
    assert not said(caplog.text) and not said(printed.out) and not said(printed.err)


def test_no_repr_and_no_pickle_holds_the_key(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMRAG_GEMINI_API_KEY", SECRET)
    monkeypatch.setenv("MMRAG_MILVUS_TOKEN", SECRET)
    settings = load_settings()
    resource = ImageBackendResource(backend="gemini", model="m", api_key=SECRET, base_url="https://x.y", ledger="l")
    backend = resource.open("gemini")
    for holder in (settings, resource, backend):
        assert not said(f"{holder!r} {holder}")
        with pytest.raises(TypeError, match="never pickled"):
            pickle.dumps(holder)
    loaded = defs().resources["image_backend"]
    assert not said(repr(loaded)) and not said(str(loaded.model_dump()))
    assert not said(str(dg.Definitions(resources={"image_backend": loaded})))


def local_values(error: BaseException | None) -> Iterator[str]:
    """A traceback as a tool prints it that shows local variables, with all that led to it."""
    while error is not None:
        yield from traceback.TracebackException.from_exception(error, capture_locals=True).format()
        for frame, _ in traceback.walk_tb(error.__traceback__):
            yield from (repr(value) for name, value in frame.f_locals.items() if name != "SECRET")
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    "fault",
    [
        error(403, "PERMISSION_DENIED", f"key {SECRET} is not allowed"),
        error(400, "INVALID_ARGUMENT", f"bad {SECRET}"),
        error(404, "NOT_FOUND", "gone"),
        throttled(),
        daily_quota(),
        transport("reset"),
        broken_base64(),
        wrong_types(),
        Fault(200, f"<html>x-goog-api-key: {SECRET}</html>"),
        Fault(302, {}, {"Location": f"/?key={SECRET}"}),
    ],
)
def test_no_traceback_shows_the_key_in_a_local_variable(
    fault: Fault, lay_out: Callable[..., object], server: GeminiServer
) -> None:
    desk = lay_out()
    request = request_for(desk.plan, desk.plan.variants[0], desk.references)
    backend = open_backend("gemini", api_key=SecretStr(SECRET), base_url=server.url, timeout_s=5)
    server.faults = [fault]
    with pytest.raises(Exception) as caught:
        backend.generate(request)
    shown = [text for text in local_values(caught.value) if said(text)]
    assert [text for text in shown if "fault = " not in text and not text.startswith("Fault(")] == []


@pytest.mark.parametrize("wrap", [str, SecretStr])
@pytest.mark.parametrize("key", [f"{SECRET} x", f"{SECRET}\u00e9", f"'{SECRET}'\n\n'"])
def test_a_key_that_is_none_is_not_shown_either(key: str, wrap: type) -> None:
    with pytest.raises(UserError, match="copy the key again") as caught:
        GeminiBackend(api_key=wrap(key), base_url="https://x.y")
    (frame,) = [
        frame
        for frame, _ in traceback.walk_tb(caught.value.__traceback__)
        if "GeminiBackend" in frame.f_code.co_qualname
    ]
    assert not any(said(repr(value)) for value in frame.f_locals.values()) and not said(str(caught.value))


def test_blanks_around_a_key_are_taken_off(lay_out: Callable[..., object], server: GeminiServer) -> None:
    desk = lay_out()
    assert desk.make(GeminiBackend(api_key=f" {SECRET}\n", base_url=server.url)).counts["made"] == 2


def test_refused_words_are_shown_without_the_key(lay_out: Callable[..., object], server: GeminiServer) -> None:
    """A proxy may repeat a header in what it says."""
    desk = lay_out()
    backend = open_backend("gemini", api_key=SecretStr(SECRET), base_url=server.url, timeout_s=5)
    server.faults = [refused("IMAGE_SAFETY", f"header x-goog-api-key: {SECRET}")]
    desk.make(backend)
    assert not any(said(path.read_bytes()) for path in Path(str(desk.folder)).rglob("*") if path.is_file())
