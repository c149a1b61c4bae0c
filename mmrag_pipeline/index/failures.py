"""What Milvus's errors mean, as sentences. What is not recognised here is a bug and keeps its traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mmrag_pipeline.errors import Unavailable, UserError

_CONNECT_FAILED = 2
_NOT_LOADED = 101
_REFUSED = {"UNAUTHENTICATED", "PERMISSION_DENIED"}
_FULL = ("no space left on device", "disk quota exceeded")
_GONE = ("collection not found", "can't find collection", "does not exist")
_TRANSIENT = (
    "not loaded",
    "not fully loaded",
    "no available shard",
    "channel not available",
    "channel distribution is not serviceable",
    "service not ready",
    "service unavailable",
    "node offline",
    "node not match",
    "rate limit",
    "is in recovering",
    "not healthy",
)  # a server that has just restarted answers so for up to half a minute, with /healthz saying OK


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it came from; pymilvus's chains have cycles."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def status_names(error: BaseException) -> set[str]:
    """gRPC status names anywhere in the chain, such as {'UNAUTHENTICATED'}."""
    import grpc

    return {cause.code().name for cause in causes(error) if isinstance(cause, grpc.RpcError)}


def is_lost(error: BaseException) -> bool:
    """The connection is gone or was never there."""
    names = status_names(error)
    failed_to_connect = any(getattr(cause, "code", None) == _CONNECT_FAILED for cause in causes(error))
    return bool(names & {"UNAVAILABLE", "CANCELLED"}) or (failed_to_connect and not names & _REFUSED)


def is_refused_token(error: BaseException) -> bool:
    return "UNAUTHENTICATED" in status_names(error)


def is_transient(error: BaseException) -> bool:
    """The same call may work a moment later."""
    return is_lost(error) or getattr(error, "code", None) == _NOT_LOADED or _says(error, _TRANSIENT)


def is_not_loaded(error: BaseException) -> bool:
    return getattr(error, "code", None) == _NOT_LOADED or _says(error, ("not loaded",))


def is_gone(error: BaseException) -> bool:
    """The collection was dropped."""
    return _says(error, _GONE)


def is_too_large(error: BaseException) -> bool:
    """The answer has more bytes than a server gives: ask for fewer rows."""
    return "RESOURCE_EXHAUSTED" in status_names(error) or _says(error, ("exceed the limit size",))


def as_user_error(error: BaseException, *, address: str, action: str, timeout_s: float) -> UserError | None:
    """The sentence for an error that a person can mend, or None. Never holds the token."""
    names = status_names(error)
    if is_refused_token(error):
        return UserError(
            f"Milvus at {address} refuses the token: set MMRAG_MILVUS_TOKEN to user:password or an API key "
            f"that it knows."
        )
    if "PERMISSION_DENIED" in names or _says(error, ("permission deny", "permission denied")):
        return UserError(
            f"the Milvus user of MMRAG_MILVUS_TOKEN has no right to {action} at {address}: grant it "
            f"{_privilege(error)}on the whole database, because each reindex makes a new collection."
        )
    if _says(error, _FULL):
        return UserError(
            f"Milvus at {address} has no space left on its disk to {action}: make room there, then run it again; "
            f"nothing is doubled."
        )
    if "DEADLINE_EXCEEDED" in names:
        return Unavailable(
            f"Milvus at {address} did not {action} within {timeout_s:g} s: try again when it is less busy, "
            f"or raise MMRAG_MILVUS_TIMEOUT_S."
        )
    if is_transient(error):
        return Unavailable(f"Milvus at {address} does not answer (to {action}): start it, or correct MMRAG_MILVUS_URI.")
    return None


def _privilege(error: BaseException) -> str:
    """`the privilege Upsert `, as the server named it, or nothing."""
    named = re.search(r"\bPrivilege([A-Z]\w*): permission den", str(error))
    return f"the privilege {named[1]} " if named else ""


def _says(error: BaseException, phrases: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(phrase in text for phrase in phrases)
