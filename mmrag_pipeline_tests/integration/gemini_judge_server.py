"""The local Gemini server with a text model beside the image models: it gives verdicts, and bills for them."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mmrag_pipeline_tests.integration.gemini_server import Fault, GeminiServer, _get, error

JUDGE = "gemini-2.5-flash"
USD_PER_MTOK = {"input": 0.3, "output": 2.5}
"""Google's list, written down here once more: what is billed must not come from the code under test."""
_PATH = re.compile(rf"/v1/models/{re.escape(JUDGE)}:generateContent")
GOOD = {"product_match": 0.9, "prompt_match": 0.75, "defects": ["The strap is too wide."]}


@dataclass(frozen=True)
class Asked:
    """One question as it came in: its texts, and the sizes of its pictures, in order."""

    texts: tuple[str, ...]
    pictures: tuple[tuple[int, int], ...]
    system: str
    config: dict[str, Any]


class JudgeServer(GeminiServer):
    """`verdicts` are used up one a question (a Fault, or the text of an answer), then good ones follow."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.asked: list[Asked] = []
        self.verdicts: list[Fault | str] = []
        self.judged_usd = 0.0

    def respond(self, path: str, headers: dict[str, str], body: bytes) -> Fault:
        if not _PATH.fullmatch(path):
            return super().respond(path, headers, body)
        if headers.get("x-goog-api-key") != self.key:
            return error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")
        with self._lock:
            self.asked.append(_read(json.loads(body)))
            answer = self.verdicts.pop(0) if self.verdicts else json.dumps(GOOD)
            if isinstance(answer, Fault) and not answer.billed:
                return answer
            self.judged_usd += (1200 * USD_PER_MTOK["input"] + 90 * USD_PER_MTOK["output"]) / 1e6
        said = json.dumps(GOOD) if isinstance(answer, Fault) else answer
        whole = {
            "candidates": [{"content": {"role": "model", "parts": [{"text": said}]}, "finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": 1200,
                "candidatesTokenCount": 60,
                "thoughtsTokenCount": 30,
                "totalTokenCount": 1290,
            },
            "modelVersion": JUDGE,
        }
        return Fault(body=whole, transport=answer.transport if isinstance(answer, Fault) else "")


def _read(body: dict[str, Any]) -> Asked:
    texts, pictures = [], []
    for part in body["contents"][0]["parts"]:
        inline = _get(part, "inlineData")
        if inline is None:
            texts.append(part["text"])
            continue
        data = base64.b64decode(inline["data"].replace("-", "+").replace("_", "/"), validate=True)
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "JPEG" and _get(inline, "mimeType") == "image/jpeg"
            pictures.append(image.size)
    system = "".join(part["text"] for part in _get(body, "systemInstruction")["parts"])
    return Asked(tuple(texts), tuple(pictures), system, _get(body, "generationConfig"))
