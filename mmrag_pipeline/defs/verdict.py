"""How every check speaks: what it measured, and in its metadata `what_to_do`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

WHAT_TO_DO = "what_to_do"


def verdict(
    to_do: str,
    metadata: Mapping[str, Any],
    *,
    name: str | None = None,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
    detail: str = "",
) -> dg.AssetCheckResult:
    """A check's result: passed where nothing is `to_do`, which is a sentence without its capital and full stop.

    Args:
        name: of the check, where an asset has several.
        detail: what was found, whether it passed or not; without it the description is what to do.
    """
    return dg.AssetCheckResult(
        check_name=name,
        passed=not to_do,
        severity=severity,
        description=detail or (f"{to_do[0].upper()}{to_do[1:]}." if to_do else ""),
        metadata={**metadata, WHAT_TO_DO: to_do or "nothing"},
    )
