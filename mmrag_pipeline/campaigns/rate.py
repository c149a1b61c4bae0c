"""How many requests a minute may be sent, by all threads and processes of a machine together."""

from __future__ import annotations

import os


def rate_beside(ledger: str, *, requests: int | None) -> SharedRate | None:
    """The rate that every process with this ledger keeps to; None where there is no limit."""
    return SharedRate(os.path.join(os.path.dirname(ledger), "rate.sqlite"), requests=requests) if requests else None


class SharedRate:
    """At most `requests` in any `window_s` seconds, counted in one SQLite file that everybody shares."""

    def __init__(self, path: str | os.PathLike[str], *, requests: int, window_s: float = 60.0):
        from pyrate_limiter import Rate, SQLiteBucket

        self.path = os.fspath(path)
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        rate = Rate(requests, round(window_s * 1000))
        self._bucket = SQLiteBucket.init_from_file([rate], db_path=self.path, use_file_lock=True)

    def __repr__(self) -> str:
        return f"SharedRate({self.path!r})"

    def take(self) -> bool:
        """Whether a request may be sent now; if so, it is counted. Never waits for a turn: waiting is turns.py's,
        which knows the deadline and the stop.
        """
        from pyrate_limiter import RateItem

        # Not its Limiter: that one sleeps where no stop can wake it, and asks this file lock in a way it refuses.
        with self._bucket.lock:
            now = self._bucket.now()
            self._bucket.leak(now)
            return bool(self._bucket.put(RateItem("request", now)))
