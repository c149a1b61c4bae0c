"""Cron expressions and timezones as people write them: what is wrong with one, before Dagster meets it."""

from __future__ import annotations

import difflib
import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from croniter import croniter
from croniter.croniter import CroniterError

_RANDOM = re.compile(r"(?i)(?<![a-z])[hr](?![a-z])")  # croniter's hashed and random fields: never the same twice


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
