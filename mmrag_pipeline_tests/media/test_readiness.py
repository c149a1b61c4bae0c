"""When a drop counts as delivered."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from upath import UPath

from mmrag_pipeline.media.listing import Entry, list_entries
from mmrag_pipeline.media.readiness import Readiness, readiness

NOW = datetime(2026, 9, 1, 2, tzinfo=UTC)


def aged(path: str, seconds: float, kind: str = "file") -> Entry:
    """An entry that changed `seconds` before `NOW`."""
    at = int((NOW.timestamp() - seconds) * 1e9)
    return Entry(path, 1, at, at, kind)


def judge(*entries: Entry, quiet_s: float = 60, marker_required: bool = False) -> Readiness:
    return readiness(entries, now=NOW, quiet_s=quiet_s, marker_required=marker_required)


def test_quiet_time() -> None:
    assert judge(aged("a.jpg", 61), aged("b.jpg", 500)).ready
    state = judge(aged("a.jpg", 59), aged("b.jpg", 500))
    assert not state.ready and "a.jpg changed 59 s ago" in state.why
    assert judge(aged("a.jpg", 1), quiet_s=0).ready
    assert judge().ready


def test_a_deletion_is_a_change() -> None:
    assert "shots changed 5 s ago" in judge(aged("shots", 5, "folder"), aged("shots/a.jpg", 500)).why
    assert "its folder changed" in judge(aged("", 5, "folder")).why


@pytest.mark.parametrize("marker_required", [True, False])
def test_a_marker_that_is_not_older_than_any_file_ends_the_waiting(marker_required: bool) -> None:
    files = [aged("", 0, "folder"), aged("a.jpg", 3), aged("b.jpg", 2)]
    assert judge(*files, aged("_READY", 2), marker_required=marker_required).ready
    assert judge(*files, aged("_READY", 1), marker_required=marker_required).ready
    assert not judge(*files, aged("_READY", 2.5), marker_required=marker_required).ready
    assert not judge(*files, aged("deep/_READY", 1), marker_required=marker_required).ready


def test_a_library_with_markers_says_what_it_waits_for() -> None:
    assert judge(aged("a.jpg", 5000), marker_required=True) == Readiness(False, "waits for a _READY file")
    state = judge(aged("a.jpg", 4000), aged("_READY", 5000), marker_required=True)
    assert not state.ready and "a new _READY file: a.jpg changed after it" in state.why
    assert judge(aged("a.jpg", 4000), aged("_READY", 5000)).ready  # without markers the quiet time decides


def test_a_clock_that_is_ahead_keeps_nothing_waiting_for_years() -> None:
    assert not judge(aged("a.jpg", -30)).ready  # somewhat ahead: still waited for
    assert judge(aged("a.jpg", -10_000_000), aged("b.jpg", 100)).ready
    assert not judge(aged("a.jpg", -10_000_000), aged("b.jpg", 10)).ready


def test_a_real_folder(tmp_path: Path) -> None:
    old = time.time() - 5000
    (tmp_path / "deep").mkdir()
    for name in ("deep/a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (old, old))  # as copied with their old times; when they came is in ctime
    entries = list_entries(UPath(tmp_path))
    now = datetime.now(UTC)
    assert not readiness(entries, now=now, quiet_s=60, marker_required=False).ready
    assert readiness(entries, now=now + timedelta(seconds=61), quiet_s=60, marker_required=False).ready
    (tmp_path / "_READY").touch()
    assert readiness(list_entries(UPath(tmp_path)), now=now, quiet_s=60, marker_required=True).ready
