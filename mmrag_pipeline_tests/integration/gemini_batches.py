"""The local Gemini server with files and batch jobs, as faithful to the wire as the rest of it.

A job goes through scripted states, one a look. When it has succeeded, each line of its file was held to the same rules
as a request online, answered with a picture or what is scripted for it, and billed at half the price.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from mmrag_pipeline.campaigns.registry import image_model
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.integration.gemini_server import (
    Fault,
    GeminiServer,
    Received,
    _get,
    _read,
    error,
    picture_body,
)

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
LEFT_OUT = Fault(status=0)
"""Scripted for a line: the results hold nothing of it."""
GARBLED = Fault(status=-1)
"""Scripted for a line: it is cut off in the middle, after the picture was billed."""
USD_PER_MTOK = {"gemini-nano-banana-2.1": {"input": 1.5, "text": 7.5, "image": 30.0}}
BATCH = 0.5


@dataclass
class StoredFile:
    name: str
    display_name: str
    mime: str
    data: bytes
    generated: bool = False

    @property
    def body(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "displayName": self.display_name,
            "mimeType": self.mime,
            "sizeBytes": str(len(self.data)),
            "createTime": _now(),
            "state": "ACTIVE",
            "source": "GENERATED" if self.generated else "UPLOADED",
        }


@dataclass
class Job:
    """`states` are still to come; the first is where it stands, the last stays."""

    name: str
    display_name: str
    model: str
    input: str
    states: list[str]
    output: str = ""
    said: str = ""
    created: str = field(default_factory=lambda: _now())

    @property
    def state(self) -> str:
        return self.states[0]

    @property
    def body(self) -> dict[str, Any]:
        metadata = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "name": self.name,
            "displayName": self.display_name,
            "model": f"models/{self.model}",
            "state": f"BATCH_STATE_{self.state}",
            "createTime": self.created,
            "updateTime": _now(),
        }
        if self.output:
            metadata["output"] = {"responsesFile": self.output}
        found = {"name": self.name, "metadata": metadata, "done": self.state in ENDED}
        return found | ({"error": {"code": 13, "message": self.said}} if self.state == "FAILED" else {})


@dataclass
class Upload:
    display_name: str
    mime: str
    size: int
    data: bytes = b""


class GeminiBatchServer(GeminiServer):
    """`drawn` are the requests of batches, `requests` those made online; `billed_usd` counts both."""

    def __init__(self, *, states: Sequence[str] = ("PENDING", "RUNNING", "SUCCEEDED"), **options: Any):
        super().__init__(**options)
        self._new_states = tuple(states)
        self._batch_lock = threading.RLock()
        self.reset()

    @property
    def keys(self) -> list[str]:
        """The keys of all requests of all jobs, as often as they were ordered."""
        lines = [line for job in self.jobs.values() for line in self.files[job.input].data.splitlines()]
        return [json.loads(line)["key"] for line in lines]

    def reset(self) -> None:
        """As if nobody had asked for anything yet."""
        with self._batch_lock:
            self.states = list(self._new_states)
            self.lines: list[Fault | None] = []
            self.scripted: dict[str, list[Fault]] = defaultdict(list)
            self.cancels = True
            self.asked: list[str] = []
            self.files: dict[str, StoredFile] = {}
            self.jobs: dict[str, Job] = {}
            self.drawn: list[Received] = []
            self.batch_usd = self.billed_usd = 0.0
            self._uploads: dict[str, Upload] = {}
            for kept in (self.faults, self.requests, self.problems):
                kept.clear()

    def finish(self, state: str = "SUCCEEDED") -> None:
        """All jobs that have not ended are in this state at the next look."""
        with self._batch_lock:
            for job in self.jobs.values():
                if job.state not in ENDED:
                    job.states[1:] = [state]

    def handle(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Fault:
        path, _, query = target.partition("?")
        for verb, wanted, pattern, answer in self._routes():
            match = re.fullmatch(pattern, path)
            if match is None or wanted != method:
                continue
            if verb != "upload" and headers.get("x-goog-api-key") != self.key:
                invalid = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
                return error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", invalid)
            with self._batch_lock:
                self.asked.append(verb)
                fault = self.scripted[verb].pop(0) if self.scripted[verb] else None
                if fault is not None and not fault.transport:
                    return fault
                said = answer(*match.groups(), query=parse_qs(query), headers=headers, body=body)
                return replace(said, transport=fault.transport) if fault else said
        return super().handle(method, target, headers, body)

    def _routes(self) -> list[tuple[str, str, str, Callable[..., Fault]]]:
        return [
            ("upload", "POST", r"/upload/v1/files", self._upload),
            ("file", "GET", r"/v1/(files/[\w-]+)", self._file),
            ("download", "GET", r"/v1/(files/[\w-]+):download", self._download),
            ("delete file", "DELETE", r"/v1/(files/[\w-]+)", self._delete_file),
            ("create", "POST", r"/v1/models/([\w.-]+):batchGenerateContent", self._create),
            ("list", "GET", r"/v1/batches", self._list),
            ("get", "GET", r"/v1/(batches/[\w-]+)", self._look),
            ("cancel", "POST", r"/v1/(batches/[\w-]+):cancel", self._cancel),
            ("delete", "DELETE", r"/v1/(batches/[\w-]+)", self._delete),
        ]

    # Files.

    def _upload(self, *, query: dict[str, list[str]], headers: dict[str, str], body: bytes) -> Fault:
        """Resumable: `start` tells size and type and gets an address, `upload` brings pieces, `finalize` ends it."""
        command = headers.get("x-goog-upload-command", "")
        if command == "start":
            if headers.get("x-goog-api-key") != self.key or headers.get("x-goog-upload-protocol") != "resumable":
                return self._problem(400, "an upload starts with the key and the resumable protocol")
            told = json.loads(body)["file"]
            size, mime = headers["x-goog-upload-header-content-length"], headers["x-goog-upload-header-content-type"]
            token = secrets.token_hex(6)
            self._uploads[token] = Upload(_get(told, "displayName") or "", mime, int(size))
            address = f"{self.url}/upload/v1/files?upload_id={token}&upload_protocol=resumable"
            return Fault(body={}, headers={"X-Goog-Upload-URL": address, "X-Goog-Upload-Status": "active"})
        upload = self._uploads.get(query.get("upload_id", [""])[0])
        if upload is None or "upload" not in command or int(headers["x-goog-upload-offset"]) != len(upload.data):
            return self._problem(400, f"no upload goes on here with {command!r}")
        upload.data += body
        if "finalize" not in command:
            return Fault(body={}, headers={"X-Goog-Upload-Status": "active"})
        if len(upload.data) != upload.size:
            return self._problem(400, f"{len(upload.data)} bytes came, {upload.size} were told")
        stored = self._store(upload.display_name, upload.mime, upload.data)
        return Fault(body={"file": stored.body}, headers={"X-Goog-Upload-Status": "final"})

    def _store(self, display_name: str, mime: str, data: bytes, *, generated: bool = False) -> StoredFile:
        name = f"files/{'batch-' if generated else ''}{secrets.token_hex(6)}"
        self.files[name] = StoredFile(name, display_name, mime, data, generated)
        return self.files[name]

    def _file(self, name: str, **_: Any) -> Fault:
        return Fault(body=self.files[name].body) if name in self.files else _gone(name)

    def _download(self, name: str, *, query: dict[str, list[str]], **_: Any) -> Fault:
        if name not in self.files:
            return _gone(name)
        if query.get("alt") != ["media"] or not self.files[name].generated:
            return self._problem(400, f"{name} can't be downloaded: only generated files, with alt=media")
        return Fault(body=self.files[name].data.decode())

    def _delete_file(self, name: str, **_: Any) -> Fault:
        return Fault(body={}) if self.files.pop(name, None) else _gone(name)

    # Jobs.

    def _create(self, model: str, *, body: bytes, **_: Any) -> Fault:
        batch = json.loads(body)["batch"]
        config = _get(batch, "inputConfig") or {}
        name, display_name = _get(config, "fileName"), _get(batch, "displayName")
        if "requests" in config or not name:
            return self._problem(400, "an inline batch: its results can't be fetched when they are large")
        if name not in self.files or not display_name:
            return self._problem(400, f"{name} is not there, or the job has no displayName")
        try:
            image_model(model)
        except UserError:
            return error(404, "NOT_FOUND", f"models/{model} is not found for API version v1")
        job = Job(f"batches/{secrets.token_hex(6)}", display_name, model, name, list(self.states))
        self.jobs[job.name] = job
        self._arrived(job)
        return Fault(body=job.body)

    def _list(self, *, query: dict[str, list[str]], **_: Any) -> Fault:
        """Newest first, at most three a page whatever is asked for: a server may give less."""
        size = min(int(query.get("pageSize", ["3"])[0]), 3)
        start = int(query.get("pageToken", ["0"])[0])
        jobs = list(reversed(self.jobs.values()))
        more = {"nextPageToken": str(start + size)} if start + size < len(jobs) else {}
        return Fault(body={"operations": [job.body for job in jobs[start : start + size]], **more})

    def _look(self, name: str, **_: Any) -> Fault:
        job = self.jobs.get(name)
        if job is None:
            return _gone(name)
        if len(job.states) > 1:
            job.states.pop(0)
            self._arrived(job)
        return Fault(body=job.body)

    def _cancel(self, name: str, **_: Any) -> Fault:
        job = self.jobs.get(name)
        if job is None:
            return _gone(name)
        if job.state in ENDED:
            return error(400, "FAILED_PRECONDITION", "the batch has ended")
        if self.cancels:
            job.states = ["CANCELLED"]
        return Fault(body={})

    def _delete(self, name: str, **_: Any) -> Fault:
        return Fault(body={}) if self.jobs.pop(name, None) else _gone(name)

    def _arrived(self, job: Job) -> None:
        if job.state == "FAILED":
            job.said = "The input file could not be processed."
        if job.state == "SUCCEEDED" and not job.output:
            lines = [self._answer(job, line) for line in self.files[job.input].data.splitlines()]
            data = "\n".join(line for line in reversed(lines) if line)  # no order is promised
            job.output = self._store(job.display_name, "jsonl", data.encode(), generated=True).name

    def _answer(self, job: Job, line: bytes) -> str:
        entry = json.loads(line)
        script = self.lines.pop(0) if self.lines else None
        if script is LEFT_OUT:
            return ""
        try:
            if entry.keys() != {"key", "request"} or "config" in entry["request"]:
                raise ValueError("a line has key and request, and a request generation_config")
            received = _read(job.model, {}, entry["request"])
            model = image_model(job.model)
            image = _get(received.config, "imageConfig") or {}
            ratio, size = _get(image, "aspectRatio"), _get(image, "imageSize") or "1K"
            model.require(ratio=ratio, size=size, references=len(received.references), where="request")
        except (KeyError, TypeError, ValueError, UserError) as mistake:
            self.problems.append(f"a line of {job.input}: {mistake!r}")
            return json.dumps({"key": entry.get("key"), "error": {"code": 3, "message": str(mistake)}})
        self.drawn.append(received)
        if script is not None and script is not GARBLED:
            if script.status != 200:
                return json.dumps({"key": entry["key"], **script.body})
            self._bill(job.model, script.body)
            return json.dumps({"key": entry["key"], "response": script.body})
        made = self.answer(received) if self.answer else picture_body(received, *model.pixels(ratio, size))
        self._bill(job.model, made)
        text = json.dumps({"key": entry["key"], "response": made})
        return text[: len(text) // 2] if script is GARBLED else text

    def _bill(self, model: str, body: dict[str, Any]) -> None:
        usage, price = body.get("usageMetadata") or {}, USD_PER_MTOK[model]
        pictures = sum(d["tokenCount"] for d in usage.get("candidatesTokensDetails", []) if d["modality"] == "IMAGE")
        words = usage.get("candidatesTokenCount", 0) - pictures + usage.get("thoughtsTokenCount", 0)
        tokens = usage.get("promptTokenCount", 0) * price["input"] + words * price["text"] + pictures * price["image"]
        self.batch_usd += tokens * BATCH / 1e6
        self.billed_usd += tokens * BATCH / 1e6


def line_error(code: int, message: str) -> Fault:
    """An error in place of a line's answer, with the code of gRPC, as Google writes it."""
    return Fault(status=code, body={"error": {"code": code, "message": message}})


def _gone(name: str) -> Fault:
    return error(404, "NOT_FOUND", f"{name} is not found.")


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
