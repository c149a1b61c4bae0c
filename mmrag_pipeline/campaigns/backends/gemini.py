"""Google's Gemini Developer API through the google-genai SDK: one request, one answer, nothing left to the
environment.

What an answer means is gemini_answers.py's, what an error means gemini_errors.py's.
"""

from __future__ import annotations

import json
import math
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mmrag_pipeline.campaigns.backends.base import BACKENDS, GenerationRequest, GenerationResult, NoImage
from mmrag_pipeline.campaigns.backends.gemini_answers import read_answer
from mmrag_pipeline.campaigns.backends.gemini_errors import read_error
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

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str = "https://generativelanguage.googleapis.com",
        timeout_s: float = 180.0,
    ):
        """Raises UserError where the key or the address can't be one."""
        key = api_key.strip()
        if not key:
            raise UserError(
                "the gemini backend needs a key: set MMRAG_GEMINI_API_KEY (or MMRAG_IMAGE_BACKEND=preview)."
            )
        if not key.isascii() or not key.isprintable() or " " in key:
            raise UserError(
                "MMRAG_GEMINI_API_KEY holds characters that no key has: copy the key again, without quotes."
            )
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"MMRAG_GEMINI_BASE_URL {base_url!r} is no address: write https://host[:port].")
        self._key = key
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._trust_env = parts.hostname not in LOOPBACK  # a proxy must not stand between us and this machine
        self._client: genai.Client | None = None
        self._lock = threading.Lock()
        self._seen = threading.local()

    def __repr__(self) -> str:
        return f"GeminiBackend(base_url={self._base_url!r}, api_key='**********')"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a GeminiBackend holds a key and open connections and is never pickled: build it where it is used"
        )

    def generate(self, request: GenerationRequest) -> GenerationResult:
        """One generateContent request, sent once. See ImageBackend.generate."""
        import httpx2
        import pydantic
        from google.genai import errors

        client, contents, config = self._opened(), _contents(request), self._config(request)
        self._seen.finish_message = None
        try:
            response = client.models.generate_content(model=request.model, contents=contents, config=config)
        except (
            errors.APIError,
            httpx2.HTTPError,
            httpx2.InvalidURL,
            json.JSONDecodeError,
            UnicodeDecodeError,
            pydantic.ValidationError,
        ) as error:
            # `from None`: the SDK's error carries the request, and the request carries the key.
            read = read_error(error, model=request.model, base_url=self._base_url, secret=self._key)
            if isinstance(read, NoImage):
                return read
            raise read from None
        return read_answer(response, model=request.model, finish_message=self._seen.finish_message)

    def check(self, model: str) -> None:
        """Ask for the model's description, which costs nothing: does the address answer, are key and model right?

        Raises:
            UserError: what is wrong, in one sentence.
        """
        import httpx2
        from google.genai import errors

        try:
            self._opened().models.get(model=model)
        except (errors.APIError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            read = read_error(error, model=model, base_url=self._base_url, secret=self._key)
            if isinstance(read, UserError):
                raise read from None
            raise Unavailable(
                f"Gemini at {self._base_url} did not answer a question that costs nothing: check "
                f"MMRAG_GEMINI_BASE_URL and the network, then ask again."
            ) from None

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _opened(self) -> genai.Client:
        with self._lock:
            if self._client is None:
                from google import genai
                from google.genai import client, types

                self._client = genai.Client(
                    api_key=self._key,
                    vertexai=False,
                    debug_config=client.DebugConfig(client_mode="", replays_directory="", replay_id=""),
                    http_options=types.HttpOptions(
                        base_url=self._base_url,
                        api_version=API_VERSION,
                        timeout=math.ceil(self._timeout_s * 1000),
                        retry_options=types.HttpRetryOptions(attempts=1),
                        client_args={
                            "trust_env": self._trust_env,
                            "follow_redirects": False,  # the key would go along to another host
                            "event_hooks": {"response": [self._keep_message]},
                        },
                    ),
                )
            return self._client

    def _config(self, request: GenerationRequest) -> types.GenerateContentConfig:
        from google.genai import types

        sends_size = image_model(request.model).sends_size
        return types.GenerateContentConfig(
            response_modalities=["IMAGE"],
            image_config=types.ImageConfig(
                aspect_ratio=request.aspect_ratio, image_size=request.image_size if sends_size else None
            ),
            system_instruction=request.system_instruction,
            temperature=request.temperature,
            seed=request.seed,
            candidate_count=1,
            automatic_continuation=False,
        )

    def _keep_message(self, response: Any) -> None:
        """Response hook: the SDK drops `finishMessage`, the only text that says why a picture was refused."""
        if response.status_code != 200:
            return
        try:
            candidates = json.loads(response.read()).get("candidates") or []
            self._seen.finish_message = candidates[0].get("finishMessage") if candidates else None
        except (ValueError, AttributeError, KeyError, IndexError, TypeError):
            self._seen.finish_message = None  # not JSON of that form: the SDK will say so itself


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
