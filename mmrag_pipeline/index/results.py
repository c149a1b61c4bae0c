"""What a check of a staged collection says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CheckResult:
    """`expected` and `found` are counts; `detail` is a sentence for people."""

    name: str
    passed: bool
    detail: str
    expected: int
    found: int
