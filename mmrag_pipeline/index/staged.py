"""What staging hands to the checks and to publishing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class StagedIndex:
    """A collection that holds what should be live; `is_live` when it is: unchanged, or mended in place.

    `rows` are the ok rows of all manifests; `fingerprint` and `dim` are of the model it was staged for.
    """

    collection: str
    live_before: str | None
    mode: Literal["rebuild", "reconcile", "unchanged"]
    rows: int
    upserted: int
    deleted: int
    is_live: bool
    fingerprint: str
    dim: int
