"""What became of the variants of a plan in one run. Making them is maker.py's work."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

Result = Literal["made", "skipped_existing", "skipped_budget", "blocked", "no_image", "failed", "in_batch"]
RESULTS: tuple[Result, ...] = get_args(Result)


Cause = Literal[
    "", "throttled", "exhausted", "ambiguous", "empty", "blocked", "disabled", "rejected", "budget", "not_tried",
    "in_batch",
]  # fmt: skip
"""Why a variant has no picture; "" where it has one."""


@dataclass(frozen=True)
class PictureOutcome:
    """What became of one variant in this run. `usd` counts what this run spent on it; `retires` is when the model
    does, if its answer said so; `refinished`: it was there, and was finished anew from its original, for nothing.
    """

    key: str
    name: str
    result: Result
    reason: str = ""
    file: str = ""
    requests: int = 0
    usd: float = 0.0
    cause: Cause = ""
    retires: str = ""
    refinished: bool = False


@dataclass(frozen=True)
class PicturesReport:
    """What became of every variant of a plan."""

    backend: str
    outcomes: tuple[PictureOutcome, ...]
    stopped: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Variants by result, every result named."""
        found = Counter(outcome.result for outcome in self.outcomes)
        return {result: found[result] for result in RESULTS}

    @property
    def requests(self) -> int:
        """Calls made in this run."""
        return sum(outcome.requests for outcome in self.outcomes)

    @property
    def spent_usd(self) -> float:
        """US dollars that this run spent, ambiguous calls in full."""
        return sum(outcome.usd for outcome in self.outcomes)

    @property
    def none_succeeded(self) -> bool:
        """True where calls were made and not one picture is there: the run has failed."""
        counts = self.counts
        return self.requests > 0 and counts["made"] + counts["skipped_existing"] + counts["in_batch"] == 0

    @property
    def may_go_better(self) -> bool:
        """True where nothing but overload or an unreachable backend was in the way: the same run may succeed later."""
        return all(outcome.cause in ("", "throttled", "not_tried") for outcome in self.outcomes)

    @property
    def ambiguous(self) -> int:
        """Variants whose last call may have been billed without an answer."""
        return sum(outcome.cause == "ambiguous" for outcome in self.outcomes)

    @property
    def refinished(self) -> int:
        """Pictures that were finished anew from their originals."""
        return sum(outcome.refinished for outcome in self.outcomes)

    @property
    def reasons(self) -> dict[str, int]:
        """The reasons of what was not made, most frequent first."""
        return dict(Counter(o.reason for o in self.outcomes if o.reason).most_common())
