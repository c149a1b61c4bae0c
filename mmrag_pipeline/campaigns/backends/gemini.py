"""Google's Gemini Developer API through the google-genai SDK: one request, one answer, nothing left to the
environment.

What an answer means is gemini_answers.py's, what an error means gemini_errors.py's.
"""

from __future__ import annotations

import json
import math
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from mmrag_pipeline.campaigns.backends.base import BACKENDS, BackendError, GenerationRequest, GenerationResult, NoImage
from mmrag_pipeline.campaigns.backends.gemini_answers import read_answer
from mmrag_pipeline.campaigns.backends.gemini_errors import DEVELOPER_API, hide, read_error, sdk_errors
from mmrag_pipeline.campaigns.prices import Prices
from mmrag_pipeline.campaigns.registry import image_model
from mmrag_pipeline.errors import Unavailable, UserError

if TYPE_CHECKING:
    from google import genai
    from google.genai import types

API_VERSION = "v1"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class GeminiBackend:
    """Shared by threads; neither picklable nor to be kept over a fork. The key shows in no repr and no
    message.
    """

    info = BACKENDS["gemini"]
    api_version = API_VERSION
    names = DEVELOPER_API

    def __init__(
        self,
        *,
        api_key: SecretStr | str,
        base_url: str = "https://generativelanguage.googleapis.com",
        timeout_s: float = 180.0,
        prices: Prices = Prices(),  # noqa: B008 - frozen
    ):
        """`timeout_s` bounds the whole request. Raises UserError where the key or the address can't be one."""
        self._base_url = base_url
        self._key = secret_of(api_key)
        del api_key  # a traceback that shows local variables must not show it
        if problem := problem_of(self._key):
            raise UserError(problem)
        self._prepare(base_url, timeout_s, prices)

    def _prepare(self, base_url: str, timeout_s: float, prices: Prices) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"{self.names.address} {base_url!r} is no address: write https://host[:port].")
        self._base_url = base_url
        self._timeout_s = timeout_s
        self.prices = prices
        self._trust_env = parts.hostname not in LOOPBACK  # a proxy must not stand between us and this machine
        self._client: genai.Client | None = None
        self._lock = threading.Lock()
        self.seen = threading.local()

    def __repr__(self) -> str:
        return f"GeminiBackend(base_url={self._base_url!r}, api_key='**********')"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a GeminiBackend holds a key and open connections and is never pickled: build it where it is used"
        )

    def generate(self, request: GenerationRequest) -> GenerationResult:
        """One generateContent request, sent once. See ImageBackend.generate."""
        client, (contents, config) = self.client(), self.message(request)
        self.start()
        try:
            response = client.models.generate_content(model=request.model, contents=contents, config=config)
        except Exception as error:  # whatever the SDK makes of a strange answer: it was sent, so it may be billed
            if not self.seen.sent and not isinstance(error, sdk_errors()):
                raise
            failure = self.explain(error, model=request.model)
        else:
            message = self.seen.finish_message
            return read_answer(response, model=request.model, finish_message=message, prices=self.prices)
        # Raised out here, without the SDK's error as its context: that carries the request, and so the key.
        if isinstance(failure, NoImage):
            return failure
        raise failure

    def message(self, request: GenerationRequest) -> tuple[list[types.Part], types.GenerateContentConfig]:
        """What is sent for a request, online and in a batch."""
        return _contents(request), self._config(request)

    def explain(self, error: Exception, *, model: str) -> BackendError | UserError | NoImage:
        """What an error of the SDK means, without a secret."""
        return read_error(error, model=model, base_url=self._base_url, secret=self._hidden(), names=self.names)

    def check(self, model: str) -> None:
        """Ask for the model's description, which costs nothing: does the address answer, are key and model right?

        Raises:
            UserError: what is wrong, in one sentence.
        """
        client = self.client()
        self.start()
        try:
            client.models.get(model=model)
            return
        except sdk_errors() as error:
            failure = self.explain(error, model=model)
        if isinstance(failure, UserError):
            raise failure
        raise Unavailable(
            f"Gemini at {self._base_url} did not answer a question that costs nothing: check "
            f"{self.names.address} and the network, then ask again."
        )

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def start(self, *, within_s: float | None = None) -> None:
        """What the hooks of this thread's next request go by; the whole of it may take `within_s` seconds, by default
        the timeout.
        """
        self.seen.finish_message = self.seen.job_error = None
        self.seen.sent = False
        self.seen.until = time.monotonic() + (self._timeout_s if within_s is None else within_s)

    def _hidden(self) -> str:
        """What no text may show."""
        return self._key.get_secret_value()

    def _identity(self) -> dict[str, Any]:
        """Who asks, as the SDK wants to be told; the environment decides nothing."""
        return {"vertexai": False, "api_key": self._key.get_secret_value()}

    def client(self) -> genai.Client:
        """The SDK's client, opened once."""
        with self._lock:
            if self._client is None:
                from google import genai
                from google.genai import client, types

                self._client = genai.Client(
                    **self._identity(),
                    debug_config=client.DebugConfig(client_mode="", replays_directory="", replay_id=""),
                    http_options=types.HttpOptions(
                        base_url=self._base_url,
                        api_version=self.api_version,
                        timeout=math.ceil(self._timeout_s * 1000),
                        retry_options=types.HttpRetryOptions(attempts=1),
                        client_args={
                            "trust_env": self._trust_env,
                            "follow_redirects": False,  # the key would go along to another host
                            "event_hooks": {
                                "request": [self._note_sent],
                                "response": [self._bound, self._keep_message],
                            },
                        },
                    ),
                )
            return self._client

    def _config(self, request: GenerationRequest) -> types.GenerateContentConfig:
        from google.genai import types

        model = image_model(request.model)
        return types.GenerateContentConfig(
            response_modalities=["IMAGE"],
            image_config=types.ImageConfig(
                aspect_ratio=request.aspect_ratio, image_size=request.image_size if model.sends_size else None
            ),
            system_instruction=request.system_instruction,
            temperature=request.temperature,
            seed=request.seed,
            candidate_count=1,
            max_output_tokens=model.output_limit(request.image_size),
            automatic_continuation=False,
        )

    def _note_sent(self, _: Any) -> None:
        self.seen.sent = True

    def _bound(self, response: Any) -> None:
        from mmrag_pipeline.campaigns.backends.deadline import BoundedStream

        response.stream = BoundedStream(response.stream, until=self.seen.until, request=response.request)

    def _keep_message(self, response: Any) -> None:
        """Response hook: the SDK drops `finishMessage`, the only text that says why a picture was refused, and the
        error of a batch job.
        """
        path = response.request.url.path
        if response.status_code != 200 or path.endswith(":download"):  # a download is read piece by piece
            return
        try:
            body = json.loads(response.read())
            candidates = body.get("candidates") or []
            message = candidates[0].get("finishMessage") if candidates else None
            self.seen.finish_message = message and hide(str(message), self._hidden())
            said = (body.get("error") or {}).get("message")
            self.seen.job_error = said and hide(str(said), self._hidden())
        except (ValueError, AttributeError, KeyError, IndexError, TypeError):
            self.seen.finish_message = None  # not JSON of that form: the SDK will say so itself


def secret_of(key: SecretStr | str) -> SecretStr:
    return SecretStr((key if isinstance(key, str) else key.get_secret_value()).strip())


def problem_of(secret: SecretStr) -> str:
    """Why this can't be a key; empty where it can."""
    key = secret.get_secret_value()
    if not key:
        return "the gemini backend needs a key: set MMRAG_GEMINI_API_KEY (or MMRAG_IMAGE_BACKEND=preview)."
    if not key.isascii() or not key.isprintable() or " " in key:
        return "MMRAG_GEMINI_API_KEY holds characters that no key has: copy the key again, without quotes."
    return ""


def _contents(request: GenerationRequest) -> list[types.Part]:
    """Each reference after its label, the prompt last; raw bytes, because the SDK would re-encode a PIL
    image.
    """
    from google.genai import types

    parts = []
    for reference in request.references:
        parts.append(types.Part.from_text(text=reference.label))
        parts.append(types.Part.from_bytes(data=reference.data, mime_type=reference.mime))
    return [*parts, types.Part.from_text(text=request.prompt)]
