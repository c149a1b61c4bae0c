"""The idempotency key: one hash over everything that shapes a picture, and nothing else.

Out of it: run, time, attempt, API key, prices, budget, output path. The same key is the same picture, paid
once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

KEY_VERSION = 1


def idempotency_key(shape: Mapping[str, Any]) -> str:
    """32 hex digits of the sha256 of the canonical JSON of `shape`."""
    text = json.dumps({"v": KEY_VERSION, **shape}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def seed_of(*coordinates: str | int) -> int:
    """A seed of its own for each variant, the same every time (31 bits; models honour it as best they
    can).
    """
    digest = hashlib.sha256("\0".join(map(str, coordinates)).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF
