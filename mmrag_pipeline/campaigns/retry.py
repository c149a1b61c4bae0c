"""The one retry layer: waits what it is told, asks a bounded number of times, never resends what may be
billed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mmrag_pipeline.campaigns.backends.base import (
    GenerationRequest,
    GenerationResult,
    ImageBackend,
    Throttled,
)


@dataclass(frozen=True)
class RetryPolicy:
    """`attempts` counts the first call; `deadline_s` bounds calls and waits together, in seconds."""

    attempts: int = 4
    deadline_s: float = 300.0
    wait_initial_s: float = 2.0
    wait_max_s: float = 60.0


@dataclass
class Calls:
    """How many requests were sent for one picture; kept outside, because a failure must be countable too."""

    sent: int = 0


def generate_with_retries(
    backend: ImageBackend,
    request: GenerationRequest,
    *,
    policy: RetryPolicy,
    calls: Calls,
    progress: Callable[[str], None] | None = None,
) -> GenerationResult:
    """Call the backend until it answers or the policy is used up; only `Throttled` is asked again.

    Raises:
        Throttled: still throttled at the end, or told to wait for longer than the deadline allows.
        Exhausted, Ambiguous, Rejected, UserError: from the backend, at once.
    """
    import stamina

    # Its default prints to stdout where structlog is installed; `progress` says it already.
    stamina.instrumentation.set_on_retry_hooks((stamina.instrumentation.LoggingOnRetryHook,))
    started = time.monotonic()

    def wait(error: Exception) -> bool | float:
        if not isinstance(error, Throttled):
            return False
        if error.retry_after_s is None:
            return True
        if time.monotonic() - started + error.retry_after_s > policy.deadline_s:
            return False
        if progress and calls.sent < policy.attempts:
            progress(f"{str(error).rstrip('.')}; waiting {error.retry_after_s:g} s as told")
        return error.retry_after_s

    for attempt in stamina.retry_context(
        on=wait,
        attempts=policy.attempts,
        timeout=policy.deadline_s,
        wait_initial=policy.wait_initial_s,
        wait_max=policy.wait_max_s,
        wait_jitter=policy.wait_initial_s / 2,
    ):
        with attempt:
            calls.sent += 1
            return backend.generate(request)
    raise AssertionError("stamina gives at least one attempt")
