"""One at a time works on the files of an occurrence: a lock file beside the ledger, on the local disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mmrag_pipeline.errors import Unavailable


@contextmanager
def hold_occurrence(ledger_path: str, *, campaign: str, occurrence: str, wait_s: float) -> Iterator[None]:
    """Hold the occurrence.

    Raises:
        Unavailable: another run still works on it after `wait_s` seconds.
    """
    import filelock

    locks = os.path.join(os.path.dirname(ledger_path), "locks")
    os.makedirs(locks, exist_ok=True)
    name = f"{campaign}.{occurrence}".replace("/", ".")  # one on demand lies in a folder of its day
    lock = filelock.FileLock(os.path.join(locks, f"{name}.lock"))
    try:
        held = lock.acquire(timeout=wait_s)
    except filelock.Timeout:
        raise Unavailable(
            f"another run has worked on {campaign} {occurrence} for over {wait_s:g} s: wait for it to end, then run "
            "again."
        ) from None
    with held:
        yield
