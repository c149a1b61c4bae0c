"""When the next request of a run may be sent: what its threads have to agree on."""

from __future__ import annotations

import threading
import time

from mmrag_pipeline.campaigns.backends.base import Throttled
from mmrag_pipeline.campaigns.rate import SharedRate

LOOK_AGAIN_S = 0.1
OVERLOADED_AFTER = 3
"""Pictures in a row that were given up for overload before the whole run gives up: it would only add to it."""


class Stopped(Exception):
    """The run has stopped: this request was not sent."""


class Turns:
    """Shared by the threads of one run. A wait that one of them was told is kept by all, and so is a stop."""

    def __init__(self, rate: SharedRate | None = None):
        self._rate = rate
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._reason = ""
        self._not_before = 0.0
        self._given_up = 0

    @property
    def stopped(self) -> str:
        """Why nothing is sent any more; empty while the run goes on."""
        return self._reason

    def stop(self, reason: str) -> None:
        """Send nothing new. The first reason stays."""
        with self._lock:
            self._reason = self._reason or reason
        self._stopped.set()

    def gave_up(self, reason: str) -> None:
        """One picture got no answer for overload, however often it asked."""
        with self._lock:
            self._given_up += 1
            enough = self._given_up >= OVERLOADED_AFTER
        if enough:
            self.stop(f"{reason.rstrip('.')}, for {OVERLOADED_AFTER} pictures in a row: run again later.")

    def answered(self) -> None:
        """One picture got an answer: the backend is there."""
        with self._lock:
            self._given_up = 0

    def hold(self, seconds: float) -> None:
        """Send nothing before so many seconds from now."""
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than the run goes on."""
        self._stopped.wait(seconds)

    def wait(self, *, until: float) -> None:
        """Return when a request may be sent; it is counted then.

        Raises:
            Stopped: the run has stopped.
            Throttled: the turn would come after `until` (in the time of `time.monotonic`).
        """
        while True:
            if self._reason:
                raise Stopped(self._reason)
            now = time.monotonic()
            left = self._not_before - now
            if left <= 0:
                if self._rate is None or self._rate.take():
                    return
                left = LOOK_AGAIN_S
            if now + left > until:
                held = self._not_before > now
                why = f"Gemini asked for no request in the next {left:.0f} s" if held else "MMRAG_GEMINI_RPM is used up"
                raise Throttled(f"{why}, and this picture's time is over: run again later.", retry_after_s=left)
            self._stopped.wait(left)
