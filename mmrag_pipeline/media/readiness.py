"""Is a drop complete, or is somebody still delivering it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mmrag_pipeline.media.listing import Entry

READY_MARKER = "_READY"
"""A file of this name at the top of a drop, written last, says that the drop is complete."""


@dataclass(frozen=True)
class Readiness:
    """Whether to ingest now, and in words why (not)."""

    ready: bool
    why: str


def readiness(entries: Sequence[Entry], *, now: datetime, quiet_s: float, marker_required: bool) -> Readiness:
    """Judge a drop by its listing, folders included: a deletion shows only in its folder's time.

    A marker that no file is younger than makes it ready at once. Otherwise it is ready when nothing has changed for
    `quiet_s` seconds, unless the library uses markers (`marker_required`): then it waits for one. What is dated
    further ahead than `quiet_s` says nothing, so a wrong clock can't keep a drop waiting for years.
    """
    marker = next((entry for entry in entries if entry.path == READY_MARKER and entry.kind != "folder"), None)
    files = [entry for entry in entries if entry.kind != "folder" and entry is not marker]
    youngest = max(files, key=_changed, default=None)
    if marker is not None and (youngest is None or youngest.changed_ns <= marker.changed_ns):
        return Readiness(True, f"its {READY_MARKER} file is there")
    if marker_required:
        if marker is None:
            return Readiness(False, f"waits for a {READY_MARKER} file")
        return Readiness(False, f"waits for a new {READY_MARKER} file: {youngest.path} changed after it")
    if quiet_s <= 0:
        return Readiness(True, "it need not be quiet")
    now_ns, quiet_ns = int(now.timestamp() * 1e9), int(quiet_s * 1e9)
    believable = [entry for entry in entries if entry.changed_ns <= now_ns + quiet_ns]
    last = max(believable, key=_changed, default=None)
    if last is None or now_ns - last.changed_ns >= quiet_ns:
        return Readiness(True, f"nothing has changed for {quiet_s:g} s")
    age = max(0, now_ns - last.changed_ns) // 1_000_000_000
    name = last.path or "its folder"
    return Readiness(False, f"waits until nothing changes for {quiet_s:g} s: {name} changed {age} s ago")


def _changed(entry: Entry) -> int:
    return entry.changed_ns
