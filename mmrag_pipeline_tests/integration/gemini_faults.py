"""Everything else that can go wrong on the wire, and what Google would charge for an answer.

Each function here is one row of the project's notes on google-genai; gemini_server.py answers with what they return.
"""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from mmrag_pipeline_tests.integration.gemini_server import Fault, GeminiServer, error

PUBLISHED = {"gemini-nano-banana-2.1": {"input": 1.5, "output": 7.5, "image": 30.0}}
"""Google's price list, US dollars a million tokens, written down a second time so that a slip in ours shows."""
PROMPT = {"promptTokenCount": 1400, "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}]}


class BillingServer(GeminiServer):
    """Also adds up, to the token, what the answers it gave would be charged: those that got lost on the way too."""

    owed_usd = 0.0

    def respond(self, path: str, headers: dict[str, str], body: bytes) -> Fault:
        answer = super().respond(path, headers, body)
        with self._lock:
            self.owed_usd += owed(path.split("/")[-1].split(":")[0], answer.body)
        return answer


def owed(model: str, body: Any) -> float:
    """The charge for an answer: its usage at the published rates."""
    usage = body.get("usageMetadata") if isinstance(body, dict) else None
    if not usage:
        return 0.0
    rates, answered = PUBLISHED[model], usage.get("candidatesTokenCount", 0)
    details = usage.get("candidatesTokensDetails", ())
    pictures = sum(entry["tokenCount"] for entry in details if entry["modality"] == "IMAGE") if details else answered
    words = answered - pictures + usage.get("thoughtsTokenCount", 0)
    return (usage["promptTokenCount"] * rates["input"] + words * rates["output"] + pictures * rates["image"]) / 1e6


def usage(*, pictures: int = 0, words: int = 0, thoughts: int = 0, prompt: int = 1400) -> dict[str, Any]:
    """A usage of so many tokens of each kind."""
    return {
        "promptTokenCount": prompt,
        "candidatesTokenCount": pictures + words,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": prompt + pictures + words + thoughts,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": pictures}],
    }


def parts(*found: dict[str, Any], finish: str = "STOP", **more: Any) -> Fault:
    """An answer of these parts; `more` joins the body."""
    candidate = {"content": {"role": "model", "parts": list(found)}, "finishReason": finish, "index": 0}
    return Fault(body={"candidates": [candidate], **more}, billed=True)


def picture(*, width: int = 928, height: int = 1152, colour: str = "gold", thought: bool = False) -> dict[str, Any]:
    sink = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(sink, "PNG")
    part = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(sink.getvalue()).decode()}}
    return part | ({"thought": True} if thought else {})


def several_pictures() -> Fault:
    """Three pictures, each charged; a fourth is a thought."""
    found = [picture(colour=colour) for colour in ("red", "green", "blue")]
    return parts(*found, picture(thought=True), usageMetadata=usage(pictures=3 * 1120, thoughts=200))


def thoughts_only() -> Fault:
    return parts(
        {"text": "I lay it out.", "thought": True}, picture(thought=True), usageMetadata=usage(words=0, thoughts=900)
    )


def square_picture() -> Fault:
    return parts(picture(width=1024, height=1024), usageMetadata=usage(pictures=1120))


def without_usage() -> Fault:
    return parts(picture())


def usage_without_details() -> Fault:
    """All that is known is how many tokens were answered: pictures are dearer than words."""
    counts = {name: count for name, count in usage(pictures=1120).items() if name != "candidatesTokensDetails"}
    return parts(picture(), usageMetadata=counts)


def retiring(day: str) -> Fault:
    status = {"modelStage": "LEGACY", "retirementTime": f"{day}T00:00:00Z", "message": "It will be shut down."}
    return parts(picture(), usageMetadata=usage(pictures=1120), modelStatus=status)


def continuation() -> Fault:
    content = {"role": "model", "parts": [{"text": "more"}]}
    candidate = {"finishReason": "CONTINUATION", "content": content, "continuationToken": "next"}
    return Fault(body={"candidates": [candidate], "usageMetadata": usage(words=40)}, billed=True)


def broken_base64() -> Fault:
    part = {"inlineData": {"mimeType": "image/png", "data": "!!!"}}
    return parts(part, usageMetadata=usage(pictures=1120))


def wrong_types() -> Fault:
    return Fault(body={"candidates": [{"content": {"parts": 5}}], "usageMetadata": usage(pictures=1120)}, billed=True)


def not_a_picture() -> Fault:
    data = base64.b64encode(b"not a picture").decode()
    return parts({"inlineData": {"mimeType": "image/png", "data": data}}, usageMetadata=usage(pictures=1120))


def spend_limit() -> Fault:
    said = (
        "Your project has exceeded its monthly spending cap. Please go to AI Studio to manage your project spend cap."
    )
    return error(429, "RESOURCE_EXHAUSTED", said)


def no_quota_at_all() -> Fault:
    quota = {"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "quotaValue": "0"}]}
    return error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", quota)


def in_a_list(fault: Fault) -> Fault:
    """The same error as the one element of a list, as some front ends write it."""
    return Fault(fault.status, [fault.body])
