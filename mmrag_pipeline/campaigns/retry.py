"""The one retry layer: waits what it is told, asks a bounded number of times, never resends unasked what may be
billed.

What is not billed is asked for again here. A new try that may be billed is maker.py's to reserve before it is sent;
`Tries` says whether there may be one, and what it asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from mmrag_pipeline.campaigns.backends.base import (
    GenerationRequest,
    GenerationResult,
    ImageBackend,
    Throttled,
)
from mmrag_pipeline.campaigns.keys import seed_of
from mmrag_pipeline.campaigns.turns import Turns

ASK_FOR_A_PICTURE = "\n\nAnswer with one finished picture, not with text."


@dataclass(frozen=True)
class RetryPolicy:
    """`attempts` counts the first call; no request is sent later than `deadline_s` seconds after a picture's first.

    `empty_retries` and `ambiguous_retries` are new tries, each paid for, after an answer without a picture and after
    a call whose outcome nobody knows.
    """

    attempts: int = 4
    deadline_s: float = 300.0
    wait_initial_s: float = 2.0
    wait_max_s: float = 60.0
    empty_retries: int = 2
    ambiguous_retries: int = 0


@dataclass
class Tries:
    """The tries for one picture: how many were sent, and whether another may be. Kept outside of a call, because a
    failure must be countable too.
    """

    policy: RetryPolicy
    sent: int = 0
    empty: int = 0
    ambiguous: int = 0
    until: float = field(init=False)

    def __post_init__(self) -> None:
        self.until = time.monotonic() + self.policy.deadline_s

    def may_ask_again(self, cause: str) -> bool:
        """Whether a try that ended for `cause` may be followed by one more paid one; counts it."""
        if time.monotonic() > self.until:
            return False
        if cause == "empty":
            self.empty += 1
            return self.empty <= self.policy.empty_retries
        if cause == "ambiguous":
            self.ambiguous += 1
            return self.ambiguous <= self.policy.ambiguous_retries
        return False

    def ask(self, request: GenerationRequest) -> GenerationRequest:
        """What this try sends: after an answer without a picture another seed, and plainer words."""
        if not self.empty:
            return request
        return replace(request, seed=seed_of(request.key, self.empty), prompt=request.prompt + ASK_FOR_A_PICTURE)


def generate_with_retries(
    backend: ImageBackend,
    request: GenerationRequest,
    *,
    tries: Tries,
    turns: Turns,
    progress: Callable[[str], None] | None = None,
) -> GenerationResult:
    """Call the backend until it answers or the policy is used up; only `Throttled` is asked again.

    Raises:
        Throttled: still throttled at the end, or told to wait for longer than the deadline allows.
        Stopped: the run stopped before this request was sent.
        Exhausted, Ambiguous, Rejected, UserError: from the backend, at once.
    """
    import tenacity

    policy = tries.policy
    backoff = tenacity.wait_exponential_jitter(
        initial=policy.wait_initial_s, max=policy.wait_max_s, jitter=policy.wait_initial_s / 2
    )

    def wait(state: Any) -> float:
        return max(backoff(state), state.outcome.exception().retry_after_s or 0.0)

    def too_late(state: Any) -> bool:
        return time.monotonic() + state.upcoming_sleep > tries.until

    def say(state: Any) -> None:
        if progress:
            progress(f"{str(state.outcome.exception()).rstrip('.')}; waiting {state.upcoming_sleep:.1f} s")

    def send() -> GenerationResult:
        turns.wait(until=tries.until)
        tries.sent += 1
        try:
            return backend.generate(request)
        except Throttled as error:
            turns.hold(error.retry_after_s or 0.0)  # the others would be told the same
            raise

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(Throttled),
        stop=tenacity.stop_any(tenacity.stop_after_attempt(policy.attempts), too_late),
        wait=wait,
        sleep=turns.sleep,
        before_sleep=say,
        reraise=True,
    )(send)
