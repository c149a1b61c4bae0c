"""The money that one run has set aside and not settled yet.

What is reserved is more than what most answers cost, so a cap that refuses the next picture now may let it through as
soon as one in flight is settled: the thread waits for that, instead of leaving the picture to the next run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from mmrag_pipeline.campaigns.ledger import Refused, Reservation


class Purse:
    """Shared by the threads of one run."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held = 0

    def reserve(self, ask: Callable[[], Reservation | Refused]) -> Reservation | Refused:
        """Ask the ledger; refused, ask again whenever money comes back, until none is out any more."""
        with self._changed:
            while isinstance(answer := ask(), Refused) and self._held:
                self._changed.wait()
            self._held += isinstance(answer, Reservation)
            return answer

    def release(self) -> None:
        """One reservation of this run was settled, or never will be."""
        with self._changed:
            self._held -= 1
            self._changed.notify_all()
