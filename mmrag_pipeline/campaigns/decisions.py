"""What people decided about pictures: one small JSON file a decision under `<occurrence>/reviews/`, only ever added.

Two people who decide at once write two files, so nothing is lost; the last decision by its time counts.
`exported` is no decision: it notes that an approved picture was handed over.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from upath import UPath

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import TEMPORARY_PREFIX, write_json

APPROVED, REJECTED, EXPORTED, PENDING = "approved", "rejected", "exported", "pending"

Verdict = Literal["approved", "rejected", "exported"]
State = Literal["pending", "approved", "rejected", "exported"]


@dataclass(frozen=True)
class Decision:
    """One entry of the record. `picture_sha256` is that of what was looked at (`sidecar.look_of`), not of the file: one
    that is signed again is the same picture, one with another price line is not.
    """

    key: str
    verdict: Verdict
    by: str
    at: str
    reason: str
    picture_sha256: str


@dataclass(frozen=True)
class Review:
    """Where a picture stands. `last` is the decision that counts; `history` has all of them, oldest first."""

    state: State
    last: Decision | None = None
    history: tuple[Decision, ...] = ()

    @property
    def outdated(self) -> bool:
        """The picture was approved, and its file has changed since."""
        return self.state == PENDING and self.last is not None


def record_decision(folder: UPath, decision: Decision) -> None:
    """Add one decision to the record of an occurrence's folder."""
    stamp = datetime.fromisoformat(decision.at).strftime("%Y%m%dT%H%M%S%f")
    write_json(folder / "reviews" / f"{decision.key}.{stamp}-{secrets.token_hex(4)}.json", asdict(decision))


def read_decisions(folder: UPath) -> dict[str, tuple[Decision, ...]]:
    """All decisions of an occurrence by key, oldest first.

    Raises:
        UserError: a file of the record can't be read; passing over it could approve what was rejected.
    """
    reviews = folder / "reviews"
    if not reviews.exists():
        return {}
    named = sorted(((file.name, _read(file)) for file in reviews.iterdir() if _counts(file)), key=_order)
    found: dict[str, list[Decision]] = {}
    for _, decision in named:
        found.setdefault(decision.key, []).append(decision)
    return {key: tuple(decisions) for key, decisions in found.items()}


def review_of(decisions: Sequence[Decision], picture_sha256: str) -> Review:
    """The state of a picture that looks like this: an approval is for the very picture that was looked at. A rejection
    stays whatever was done to the picture since: it asked for another one.
    """
    history = tuple(decisions)
    last = next((d for d in reversed(history) if d.verdict != EXPORTED), None)
    if last is None:
        return Review(PENDING, None, history)
    if last.verdict == REJECTED:
        return Review(REJECTED, last, history)
    if last.picture_sha256 != picture_sha256:
        return Review(PENDING, last, history)
    later = history[history.index(last) + 1 :]
    handed_over = any(d.verdict == EXPORTED and d.picture_sha256 == picture_sha256 for d in later)
    return Review(EXPORTED if handed_over else APPROVED, last, history)


def _counts(file: UPath) -> bool:
    return file.name.endswith(".json") and not file.name.startswith(TEMPORARY_PREFIX)


def _order(named: tuple[str, Decision]) -> tuple[datetime, str]:
    name, decision = named
    return datetime.fromisoformat(decision.at), name


def _read(file: UPath) -> Decision:
    try:
        content: dict[str, Any] = json.loads(file.read_text("utf-8"))
        decision = Decision(**content)
        if datetime.fromisoformat(decision.at).tzinfo is None or decision.verdict not in (APPROVED, REJECTED, EXPORTED):
            raise ValueError("no decision of ours")
    except (ValueError, TypeError) as error:
        raise UserError(
            f"the review {file} can't be read ({error}): restore it, or remove it and decide about that picture again."
        ) from None
    return decision
