"""Long work is seen to move: a line in the run's log now and then."""

import time
from collections.abc import Callable

import dagster as dg


def log_progress(context: dg.AssetExecutionContext, noun: str, every_s: float = 10.0) -> Callable[[int, int], None]:
    """A callback (done, total) that logs `done of total noun` at most every `every_s` seconds."""
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= every_s:
            last = time.monotonic()
            context.log.info("%d of %d %s", done, total, noun)

    return progress
