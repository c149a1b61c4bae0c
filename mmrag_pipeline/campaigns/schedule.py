"""When a brief is due, and what its occurrences are called. No Dagster here: defs/ turns this into a
schedule.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from croniter import croniter
from croniter.croniter import CroniterError

from mmrag_pipeline.errors import UserError

_KEY = re.compile(r"([a-z0-9][a-z0-9-]*)__(\d{4}-\d{2}-\d{2}(?:T\d{4})?)")
_RANDOM = re.compile(r"(?i)(?<![a-z])[hr](?![a-z])")  # croniter's hashed and random fields: never the same twice


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


def check_cron(cron: str) -> None:
    """Raises ValueError (half a sentence with the fix) where Dagster would refuse the expression or never
    fire it.
    """
    fix = "write five fields, minute hour day month weekday, such as '0 6 * * 1'"
    try:
        if _RANDOM.search(cron):
            raise ValueError(f"{cron!r} asks for a random time; {fix}")
        expanded = croniter.expand(cron)[0]
        if len(expanded) != 5:
            raise ValueError(f"{cron!r} has {len(expanded)} fields; {fix}")
        croniter(cron, datetime(2026, 1, 1, tzinfo=UTC)).get_next()
    except (CroniterError, AttributeError, KeyError) as error:
        raise ValueError(f"{cron!r} is not a cron expression ({error}); {fix}") from None


def check_timezone(name: str) -> None:
    """Raises ValueError naming the nearest known timezone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(name, available_timezones(), n=1)
        hint = f"did you mean {near[0]}?" if near else "write an IANA name such as Europe/Berlin or UTC"
        raise ValueError(f"{name!r} is not a timezone; {hint}") from None


def due_more_than_daily(cron: str, timezone: str) -> bool:
    """Whether any two of the next due times fall on one local day."""
    times = croniter(cron, datetime(2026, 1, 1, tzinfo=ZoneInfo(timezone)))
    days = [times.get_next(datetime).date() for _ in range(40)]
    return len(set(days)) < len(days)
