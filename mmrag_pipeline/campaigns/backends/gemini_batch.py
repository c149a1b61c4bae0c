"""Gemini's batches through the google-genai SDK: requests in a file, answers in a file, half the price.

Never inline batches: their answers can't be fetched once they are large, and are billed all the same.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from mmrag_pipeline.campaigns.backends.base import (
    Ambiguous,
    BackendError,
    GenerationRequest,
    GenerationResult,
    NoImage,
    Throttled,
)
from mmrag_pipeline.campaigns.backends.batches import BatchJob, Denied, Failed
from mmrag_pipeline.campaigns.backends.gemini_answers import read_answer
from mmrag_pipeline.campaigns.backends.gemini_errors import sdk_errors
from mmrag_pipeline.errors import Unavailable, UserError

if TYPE_CHECKING:
    from google import genai
    from google.genai import types

    from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend

logger = logging.getLogger(__name__)
Asked = TypeVar("Asked")

ENDED = frozenset({"SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})
NOT_FOUND = "NOT_FOUND"
# An error in a line has the code of gRPC, which starts where HTTP's do not.
HTTP_OF_GRPC = {
    1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429,
    9: 400, 10: 409, 11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401,
}  # fmt: skip


class GeminiBatches:
    """A `BatchService` on the client of a GeminiBackend."""

    def __init__(self, backend: GeminiBackend):
        self._backend = backend

    def __repr__(self) -> str:
        return f"GeminiBatches({self._backend!r})"

    def line(self, request: GenerationRequest) -> bytes:
        """The same request that would be sent online; a file wants snake case throughout."""
        contents, config = self._backend.message(request)
        system = config.system_instruction
        settings = config.model_dump(
            mode="json", exclude_none=True, exclude={"system_instruction", "automatic_continuation", "http_options"}
        )
        parts = [part.model_dump(mode="json", exclude_none=True) for part in contents]
        body = {
            "contents": [{"role": "user", "parts": parts}],
            "system_instruction": {"parts": [{"text": system}]},
            "generation_config": settings,
        }
        return json.dumps({"key": request.key, "request": body}, separators=(",", ":")).encode() + b"\n"

    def find(self, name: str) -> str | None:
        def look(client: genai.Client) -> str | None:
            jobs = client.batches.list(config={"page_size": 100})
            return next((str(job.name) for job in jobs if job.display_name == name), None)

        return self._ask("look for a batch job", look)

    def submit(self, name: str, *, model: str, lines: Iterable[bytes]) -> str:
        with tempfile.TemporaryFile() as file:
            file.writelines(lines)
            file.seek(0)

            def send(client: genai.Client) -> str:
                uploaded = client.files.upload(file=file, config={"mime_type": "jsonl", "display_name": name})
                job = client.batches.create(model=model, src=uploaded.name, config={"display_name": name})
                return str(job.name)

            return self._ask("submit a batch job", send, model=model)

    def look(self, job: str) -> BatchJob:
        """A job that is not there any more is done, without results."""
        from google.genai import errors

        def look(client: genai.Client) -> types.BatchJob | None:
            try:
                return client.batches.get(name=job)
            except errors.APIError as error:
                if error.code != 404:
                    raise
                return None

        found = self._ask("ask after a batch job", look)
        if found is None:
            return BatchJob(job, NOT_FOUND, True, reason="Gemini does not know this job any more")
        state = str(getattr(found.state, "value", found.state) or "").removeprefix("JOB_STATE_")
        results = found.dest.file_name if found.dest else None
        return BatchJob(job, state, state in ENDED, results, self._backend.seen.job_error or "")

    def cancel(self, job: str) -> None:
        from google.genai import errors

        def cancel(client: genai.Client) -> None:
            try:
                client.batches.cancel(name=job)
            except errors.APIError as error:
                if error.code not in (400, 404, 409):
                    raise  # else it has ended meanwhile, which the next look will say
                logger.info("batch job %s can't be cancelled: %s", job, error.status)

        self._ask("cancel a batch job", cancel)

    def answers(self, results: str, *, model: str) -> Iterator[tuple[str, GenerationResult | Failed]]:
        from google.genai import errors

        with tempfile.TemporaryFile() as file:  # dozens of pictures: too much for memory

            def fetch(client: genai.Client) -> None:
                try:
                    client.files.download(file=results, destination=file)
                except errors.APIError as error:
                    if error.code != 404:
                        raise
                    logger.warning("the results %s of a batch job are not there any more", results)

            self._ask("fetch the results of a batch job", fetch)
            file.seek(0)
            for line in file:
                if line.strip() and (read := self._read(line, model)):
                    yield read

    def _read(self, line: bytes, model: str) -> tuple[str, GenerationResult | Failed] | None:
        import pydantic
        from google.genai import types

        try:
            entry = json.loads(line)
            key, response, error = str(entry["key"]), entry.get("response"), entry.get("error")
        except (ValueError, KeyError, TypeError, AttributeError) as mistake:
            logger.warning("a line of a batch's results can't be read: %s", type(mistake).__name__)
            return None
        if isinstance(error, dict):
            return key, self._failed(error, model)
        try:
            # The SDK's own reader, which passes over fields that it does not know; there is no public one.
            answer = types.GenerateContentResponse._from_response(response=response, kwargs={})
        except (pydantic.ValidationError, AttributeError, TypeError, ValueError) as mistake:
            return key, Failed(f"Gemini's answer can't be read ({type(mistake).__name__})", may_be_billed=True)
        message = answer.candidates[0].finish_message if answer.candidates else None
        return key, read_answer(answer, model=model, finish_message=message, prices=self._backend.prices, in_batch=True)

    def _failed(self, error: dict[str, Any], model: str) -> GenerationResult | Failed:
        """What the same error would mean online."""
        from google.genai import errors

        code = error.get("code")
        code = HTTP_OF_GRPC.get(code, code) if isinstance(code, int) else 500
        read = self._backend.explain(errors.APIError(code, {"error": error}), model=model)
        if isinstance(read, NoImage):
            return read
        return Failed(str(read), may_be_billed=isinstance(read, Ambiguous))

    def _ask(self, what: str, call: Callable[[genai.Client], Asked], *, model: str = "") -> Asked:
        """The errors of a call as ours; `what` completes "it was not possible to"."""
        client = self._backend.client()
        self._backend.start(within_s=math.inf)  # files are large, and each read has its own timeout
        try:
            return call(client)
        except Exception as error:  # whatever the SDK makes of a strange answer
            if not self._backend.seen.sent and not isinstance(error, sdk_errors()):
                raise
            read, denied = self._backend.explain(error, model=model), getattr(error, "code", None) == 403
            failure = Denied(str(read)) if denied else _failure(read, what, type(error).__name__)
        # Raised out here, without the SDK's error as its context: that carries the request, and so the key.
        raise failure


def _failure(read: BackendError | UserError | NoImage, what: str, error: str) -> UserError:
    if isinstance(read, Throttled | Ambiguous):
        said = error if isinstance(read, Ambiguous) else str(read).rstrip(".")
        return Unavailable(f"it was not possible to {what} ({said}): run again, nothing is ordered twice.")
    if isinstance(read, UserError):
        return read
    return UserError(f"it was not possible to {what}: {read.reason if isinstance(read, NoImage) else read}")
