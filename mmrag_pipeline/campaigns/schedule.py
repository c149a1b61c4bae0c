"""When a brief is due, and what its occurrences are called. No Dagster here: defs/ turns this into a
schedule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from croniter import croniter

from mmrag_pipeline.errors import UserError

ON_DEMAND = "on-demand"
"""The campaign of single pictures, and of no brief: each has a folder of its own in that of its day."""
_KEY = re.compile(r"([a-z0-9][a-z0-9-]*)__(\d{4}-\d{2}-\d{2}(?:T\d{4}|/[0-9a-f]{16}-\d+)?)")
"""The last form is that of a picture on demand."""


@dataclass(frozen=True, order=True)
class Occurrence:
    """One due run of one brief; `key` is its Dagster partition (`golden-hour__2026-11-23`)."""

    campaign: str
    name: str

    @property
    def key(self) -> str:
        return f"{self.campaign}__{self.name}"

    @classmethod
    def parse(cls, key: str) -> Occurrence:
        """Raises UserError where the key isn't `<campaign>__<YYYY-MM-DD>[T<HHMM>]`."""
        match = _KEY.fullmatch(key)
        if match is None:
            raise UserError(
                f"occurrence {key!r} is not a valid name: write <campaign>__<YYYY-MM-DD>, with "
                "T<HHMM> added where "
                f"the brief is due more than once a day (for example golden-hour__2026-11-23)."
            )
        return cls(*match.groups())


def due_more_than_daily(cron: str, timezone: str) -> bool:
    """Whether any two of the next due times fall on one local day."""
    times = croniter(cron, datetime(2026, 1, 1, tzinfo=ZoneInfo(timezone)))
    days = [times.get_next(datetime).date() for _ in range(40)]
    return len(set(days)) < len(days)
