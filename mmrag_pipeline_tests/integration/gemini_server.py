"""A Gemini server on this machine, faithful to the wire: the real SDK talks to it and can't tell.

It checks path, key and body (both key cases, either base64 alphabet), holds requests to the model registry,
answers real pictures of the model's pixel sizes, keeps every request with its time, and adds up the money
that Google would have billed. Faults are scripted: a list of them is used up one a request, then pictures
follow.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

from mmrag_pipeline.campaigns.registry import image_model
from mmrag_pipeline.errors import UserError

KEY = "AIza-local-test-key-3f9c51"
_PATH = re.compile(r"/v1/models/([\w.-]+):generateContent")
_MODEL_PATH = re.compile(r"/v1/models/([\w.-]+)")


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    model: str
    texts: tuple[str, ...]
    references: tuple[str, ...]
    config: dict[str, Any]
    headers: dict[str, str]
    at: float


@dataclass(frozen=True)
class Fault:
    """What to answer instead of a picture. `billed` says whether Google would charge for it."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    transport: str = ""
    billed: bool = False
    pause_s: float = 0.0
    """Between the pieces of a body that drips."""


def error(status: int, name: str, message: str, *details: dict[str, Any], **more: Any) -> Fault:
    """An error body as Google writes it."""
    return Fault(
        status,
        {"error": {"code": status, "status": name, "message": message, "details": list(details)}},
        **more,
    )


def throttled(retry_delay: str | None = None) -> Fault:
    quota = {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel", "quotaValue": "10"}],
    }
    wait = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": retry_delay}
    said = "You exceeded your current quota, please check your plan and billing details."
    return error(429, "RESOURCE_EXHAUSTED", said, quota, *([wait] if retry_delay else []))


def daily_quota() -> Fault:
    quota = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel", "quotaValue": "100"}]}
    return error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", quota)


def blocked_prompt(reason: str = "PROHIBITED_CONTENT") -> Fault:
    usage = {"promptTokenCount": 300, "totalTokenCount": 300}
    return Fault(body={"promptFeedback": {"blockReason": reason}, "usageMetadata": usage})


def refused(finish: str, message: str = "") -> Fault:
    candidate = {"finishReason": finish, "index": 0} | ({"finishMessage": message} if message else {})
    usage = {"promptTokenCount": 300, "totalTokenCount": 300}
    return Fault(body={"candidates": [candidate], "usageMetadata": usage})


def text_only(text: str) -> Fault:
    content = {"role": "model", "parts": [{"text": text}]}
    return Fault(body={"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]}, billed=True)


def transport(kind: str, **more: float) -> Fault:
    """`reset`, `closed` (without a byte), `truncated` (less than Content-Length), `half-json`, `late` or `drip`: each
    after the picture was made.
    """
    return Fault(transport=kind, billed=True, **more)


class GeminiServer:
    """Use as a context manager; `url` is the base URL."""

    def __init__(
        self, *, key: str = KEY, faults: Sequence[Fault] = (), answer: Callable[[Received], Any] | None = None
    ):
        self.key = key
        self.faults = list(faults)
        self.answer = answer
        self.requests: list[Received] = []
        self.billed_usd = 0.0
        self.problems: list[str] = []
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> GeminiServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=5)

    # What the handler asks.

    def handle(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Fault:
        """Answer one HTTP request. Servers that know more paths look at theirs first."""
        path = target.split("?")[0]
        if method == "GET":
            return self.describe(path, headers.get("x-goog-api-key", ""))
        if method == "POST":
            return self.respond(path, headers, body)
        return self._problem(405, f"no {method} of {path}")

    def respond(self, path: str, headers: dict[str, str], body: bytes) -> Fault:
        match = _PATH.fullmatch(path)
        if match is None:
            return self._problem(404, f"no such path {path}")
        if headers.get("x-goog-api-key") != self.key:
            invalid = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
            return error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", invalid)
        try:
            received = _read(match[1], headers, json.loads(body))
            model = image_model(received.model)
        except UserError:
            return error(404, "NOT_FOUND", f"models/{match[1]} is not found for API version v1")
        except (KeyError, TypeError, ValueError) as mistake:
            return self._problem(400, f"the body can't be read: {mistake!r}")
        image = _get(received.config, "imageConfig") or {}
        ratio, size = _get(image, "aspectRatio"), _get(image, "imageSize") or "1K"
        try:
            model.require(ratio=ratio, size=size, references=len(received.references), where="request")
        except UserError as mistake:
            return self._problem(400, str(mistake))
        with self._lock:
            self.requests.append(received)
            fault = self.faults.pop(0) if self.faults else None
            if fault is None or fault.billed:
                self.billed_usd += model.usd_per_image[size]
        if fault is not None and not fault.transport:
            return fault
        made = self.answer(received) if self.answer else picture_body(received, *model.pixels(ratio, size))
        return replace(fault, body=made) if fault else Fault(body=made)

    def describe(self, path: str, key: str) -> Fault:
        """`models.get`: free, and neither a request for a picture nor a problem when it asks amiss."""
        match = _MODEL_PATH.fullmatch(path)
        if key != self.key:
            return error(400, "INVALID_ARGUMENT", "API key not valid.", {"reason": "API_KEY_INVALID"})
        try:
            model = image_model(match.group(1) if match else "")
        except UserError:
            return error(404, "NOT_FOUND", f"{path} is not found.")
        return Fault(body={"name": f"models/{model.id}", "displayName": model.id})

    def _problem(self, status: int, said: str) -> Fault:
        self.problems.append(said)
        return error(status, "INVALID_ARGUMENT", said)


def picture_body(received: Received, width: int, height: int) -> dict[str, Any]:
    """An answer with a thought, a draft that is a thought, a word, and the picture (a JPEG, as the real ones
    are).
    """
    digest = hashlib.sha256(repr((received.texts, received.config)).encode()).digest()
    draft = base64.b64encode(_encode("PNG", (64, 64), (0, 0, 0))).decode()
    final = base64.urlsafe_b64encode(_encode("JPEG", (width, height), tuple(digest[:3]))).decode()
    parts = [
        {"text": "I'll lay the product out.", "thought": True},
        {"inlineData": {"mimeType": "image/png", "data": draft}, "thought": True},
        {"text": "Here you go"},
        {"inlineData": {"mimeType": "image/png", "data": final}, "thoughtSignature": "c2ln"},
    ]
    return {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 1400,
            "candidatesTokenCount": 1120,
            "thoughtsTokenCount": 90,
            "totalTokenCount": 2610,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 280},
                {"modality": "IMAGE", "tokenCount": 1120},
            ],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
        },
        "modelVersion": received.model,
        "responseId": f"local-{digest.hex()[:8]}",
    }


def _encode(format_: str, size: tuple[int, int], colour: tuple[int, ...]) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", size, colour).save(sink, format_)
    return sink.getvalue()


def _get(where: dict[str, Any], camel: str) -> Any:
    snake = re.sub(r"(?<!^)([A-Z])", lambda m: "_" + m[1].lower(), camel)
    return where.get(camel, where.get(snake))


def _read(model: str, headers: dict[str, str], body: dict[str, Any]) -> Received:
    texts, references = [], []
    for part in body["contents"][0]["parts"]:
        inline = _get(part, "inlineData")
        if inline is None:
            texts.append(part["text"])
            continue
        if not _get(inline, "mimeType"):
            raise ValueError("inlineData without a mime type")
        standard = inline["data"].replace("-", "+").replace("_", "/")
        data = base64.b64decode(standard, validate=True)
        references.append(hashlib.sha256(data).hexdigest())
    config = _get(body, "generationConfig") or {}
    if "IMAGE" not in (_get(config, "responseModalities") or []):
        raise ValueError("responseModalities without IMAGE")
    kept = {name: value for name, value in headers.items() if name not in ("x-goog-api-key", "authorization")}
    return Received(model, tuple(texts), tuple(references), config, kept, time.monotonic())


def _handler(server: GeminiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length:  # the caller was killed while it sent: nothing arrived that could be answered
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._send(server.handle(self.command, self.path, headers, body))

        do_GET = do_POST = do_DELETE = _handle

        def _send(self, fault: Fault) -> None:
            time.sleep(fault.delay_s)
            data = fault.body.encode() if isinstance(fault.body, str) else json.dumps(fault.body).encode()
            self.close_connection = bool(fault.transport)
            if fault.transport == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                return
            if fault.transport == "closed":
                return
            shown = data[: len(data) // 2] if fault.transport in ("truncated", "half-json") else data
            length = len(data) if fault.transport == "truncated" else len(shown)
            try:
                self.send_response(fault.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(length))
                for name, value in fault.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                step = len(shown) // 8 + 1 if fault.transport == "drip" else len(shown) + 1
                for start in range(0, len(shown), step):
                    self.wfile.write(shown[start : start + step])
                    time.sleep(fault.pause_s)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the caller ran out of patience, which is what some tests want

        def log_message(self, *_: object) -> None:
            """Quiet: tests read `requests`."""

    return Handler
