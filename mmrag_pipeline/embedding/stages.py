"""How long each stage of an embedding run took, summed over its threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STAGES = ("read", "decode", "model", "write")
"""Bytes from the library and their hash; pixels and preprocessing; the image tower; parquet."""


class StageTimes:
    """Seconds by stage. Threads add to it at once, so the sum may exceed the run's own time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[stage] += time.perf_counter() - started

    @property
    def seconds(self) -> dict[str, float]:
        """A rounded copy."""
        return {stage: round(seconds, 3) for stage, seconds in self._seconds.items()}
