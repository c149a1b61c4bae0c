"""An exception of the SDK or of its HTTP client -> what it means for the money and for the next request."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from mmrag_pipeline.campaigns.backends.base import (
    Ambiguous,
    BackendError,
    Exhausted,
    NoImage,
    Rejected,
    Throttled,
    Unreachable,
    Usage,
)
from mmrag_pipeline.errors import UserError

_POLICY = re.compile(r"(?i)\b(safety|polic(?:y|ies)|prohibited|blocked)\b")
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?")
_SPEND = re.compile(r"(?i)\bspend(?:ing)?[ -](?:limit|cap|based)")  # "billing" stands in every 429


@dataclass(frozen=True)
class Names:
    """What an error sends people to."""

    key: str = "MMRAG_GEMINI_API_KEY"
    address: str = "MMRAG_GEMINI_BASE_URL"


DEVELOPER_API = Names()


def sdk_errors() -> tuple[type[Exception], ...]:
    """What a call of the SDK may raise before anything was sent; after that it may be anything."""
    import httpx2
    from google.auth import exceptions
    from google.genai import errors

    return (
        errors.APIError,
        exceptions.GoogleAuthError,
        httpx2.HTTPError,
        httpx2.InvalidURL,
    )


def read_error(
    error: Exception, *, model: str, base_url: str, secret: str, names: Names = DEVELOPER_API
) -> BackendError | UserError | NoImage:
    """The typed error to raise, or NoImage where the error is a refusal of the content. `secret` is cut out
    of texts.
    """
    import httpx2
    from google.auth import exceptions
    from google.genai import errors

    said = _text(error, secret)
    match error:
        case errors.APIError():
            return _status(error, said, model, names)
        case exceptions.TransportError():
            return Unreachable(f"Google's sign-in can't be reached ({said}).")
        case exceptions.GoogleAuthError():
            return UserError(f"Google refused the credentials ({said}): check {names.key}.")
        case httpx2.InvalidURL() | httpx2.UnsupportedProtocol() | httpx2.LocalProtocolError():
            return UserError(f"the request to {base_url} could not be built ({said}): check {names.address}.")
        case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.PoolTimeout() | httpx2.ProxyError():
            return Unreachable(f"Gemini at {base_url} can't be reached ({said}).")
        case httpx2.ReadTimeout() | httpx2.WriteTimeout():
            return Ambiguous(
                "Gemini did not answer in time (MMRAG_GEMINI_TIMEOUT_S), the picture may have been billed."
            )
        case httpx2.HTTPError():
            return Ambiguous(
                f"the connection to Gemini broke off ({type(error).__name__}), the picture may have been billed."
            )
        case _:  # JSON cut off, broken base64, a field of another type: the request did go through
            return Ambiguous(
                f"Gemini's answer can't be read ({type(error).__name__}), the picture may have been billed."
            )


def _status(error: Any, said: str, model: str, names: Names) -> BackendError | UserError | NoImage:
    code, status = error.code, error.status or "no status"
    details = _details(error.details)
    reasons = {str(entry.get("reason")) for entry in details}
    if code in (401, 403) or "API_KEY_INVALID" in reasons or "API key not valid" in said:
        return UserError(f"Gemini refused the key ({code} {status}: {said}): check {names.key}.")
    match code:
        case _ if 300 <= code < 400:
            return UserError(
                f"Gemini's address answers with a redirect ({code}): set {names.address} to where it leads."
            )
        case 404:
            return UserError(f"Gemini has no model {model!r} ({said}): set MMRAG_GEMINI_MODEL or the brief's `model`.")
        case 429:
            return _quota(error, said, details)
        case 408 | 500 | 502 | 503:
            return Throttled(f"Gemini is overloaded ({code} {status}).", retry_after_s=_retry_after(error, details))
        case 499 | 504:
            return Ambiguous(f"Gemini gave up on the request ({code} {status}), the picture may have been billed.")
        case 400 if status == "FAILED_PRECONDITION":
            return UserError(f"Gemini can't be used with this key ({said}): check the project of {names.key}.")
        case 400 if _POLICY.search(said):
            return NoImage("blocked", f"the request was refused: {said}", usage=Usage({}, 0.0))
        case _ if code >= 500:
            return Ambiguous(f"Gemini failed ({code} {status}), the picture may have been billed.")
        case _ if code >= 400:
            return Rejected(f"Gemini refused the request ({code} {status}: {said}).")
        case _:
            return Ambiguous(f"Gemini answered {code}, the picture may have been billed.")


def _quota(error: Any, said: str, details: list[dict[str, Any]]) -> BackendError:
    lists = [found for entry in details if isinstance(found := entry.get("violations"), list)]
    violations = [violation for found in lists for violation in found if isinstance(violation, dict)]
    for violation in violations:
        quota = str(violation.get("quotaId") or violation.get("quotaMetric") or "")
        if "PerDay" in quota or str(violation.get("quotaValue")) == "0":
            return Exhausted(f"Gemini's quota {quota} is used up; it is renewed at midnight Pacific time.")
    if _SPEND.search(said):
        return Exhausted(f"Gemini's spend limit is reached ({said}); raise it in AI Studio.")
    return Throttled("Gemini asks for fewer requests (429).", retry_after_s=_retry_after(error, details))


def _details(body: Any) -> list[dict[str, Any]]:
    inner = body.get("error", body) if isinstance(body, dict) else {}
    found = inner.get("details") if isinstance(inner, dict) else None
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _retry_after(error: Any, details: list[dict[str, Any]]) -> float | None:
    """Seconds to wait: RetryInfo in the body, or the Retry-After header; the longer of the two."""
    header = str((getattr(error.response, "headers", None) or {}).get("retry-after") or "")
    delays = [str(entry.get("retryDelay") or "") for entry in details]
    told = [float(delay[:-1]) for delay in delays if delay.endswith("s") and _SECONDS.fullmatch(delay[:-1])]
    told += [float(header)] if _SECONDS.fullmatch(header) else _seconds_until(header)
    return max(told, default=None)


def _seconds_until(date: str) -> list[float]:
    """The other form of Retry-After; empty where it is no date."""
    try:
        return [max(0.0, parsedate_to_datetime(date).timestamp() - time.time())]
    except (TypeError, ValueError, OverflowError):
        return []


def _text(error: Exception, secret: str) -> str:
    """One line, bounded, without the key."""
    message = getattr(error, "message", None) or str(error) or type(error).__name__
    return " ".join(hide(str(message), secret).split())[:300].rstrip(".")


def hide(text: str, secret: str) -> str:
    return text.replace(secret, "**********") if secret else text
