"""A drop's folder and its last manifest -> the new manifest.

A file whose size and time are unchanged is not opened; its row is carried over. Everything else is read once.
No file can stop the scan: each becomes a row. What does stop it is a drop that lost most of its files,
because an unmounted share looks exactly so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
from upath import UPath

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.catalogue import NAMES, read_catalogue
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.manifest import MANIFEST_SCHEMA, Finding, from_table, to_table, was_made_under
from mmrag_pipeline.media.probe import Probe, ignored, probe_file, refused
from mmrag_pipeline.media.rules import Limits, Reason
from mmrag_pipeline.store import is_local

READY = "_READY"
_UNFINISHED = (".crdownload", ".part", ".partial", ".download", ".tmp")
_WORKERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class ScanReport:
    """A manifest and how it came about."""

    table: pa.Table
    counts: dict[str, int]
    """Rows by status; all four are there."""
    hashed: int
    """Files that were opened and read."""
    problems: list[str]
    """What is wrong with the catalogue, one sentence each."""
    changed: bool
    """The table differs from the previous one."""


def scan_drop(
    library: MediaLibrary,
    drop: Drop,
    *,
    previous: pa.Table | None,
    limits: Limits,
    now: datetime,
    allow_mass_deletion: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ScanReport:
    """Make the manifest of a drop; `progress(done, total)` counts files.

    With `allow_mass_deletion` a drop whose folder is gone has an empty manifest, if the library still holds others.

    Raises:
        UserError: the drop's folder is missing or unreadable, or more than half of the files that were ok are
            gone and `allow_mass_deletion` is not set.
    """
    folder = library.folder(drop)
    before = from_table(previous) if previous is not None and _has_our_columns(previous) else {}
    trusted = before if before and was_made_under(previous, limits) else {}
    known = {old.probe.content: old.probe for old in trusted.values() if old.probe.content}

    inside = _InsideDrop(folder)
    findings: list[Finding] = []
    to_read: list[tuple[UPath, Finding]] = []
    for path, file, size, mtime_ns in _listing(library, drop, may_be_gone=allow_mass_deletion):
        shown, probe = _by_name(path)
        if probe is None:
            probe, size, mtime_ns = inside.check(file, size, mtime_ns)
        old = before.get(shown)
        first_seen = old.first_seen if old else now
        if probe is None:
            probe = _carried(trusted.get(shown), size, mtime_ns)
        if probe is not None:
            findings.append(Finding(shown, size, mtime_ns, first_seen, probe))
        else:
            waiting = refused(Reason.UNREADABLE, "not read yet")
            to_read.append((file, Finding(shown, size, mtime_ns, first_seen, waiting)))

    total = len(findings) + len(to_read)
    if progress:
        progress(len(findings), total)
    pool = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="probe")
    try:
        probes = pool.map(lambda item: probe_file(item[0], limits, known), to_read)
        for (_, found), probe in zip(to_read, probes, strict=True):
            findings.append(replace(found, probe=probe))
            if progress:
                progress(len(findings), total)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the rest of the drop

    if not allow_mass_deletion:
        _guard_against_mass_deletion(drop, before, findings)
    catalogue = read_catalogue(folder, [finding.path for finding in findings])
    table = to_table(findings, drop=drop.key, entries=catalogue.entries, limits=limits)
    statuses = table["status"].to_pylist()
    return ScanReport(
        table=table,
        counts={status: statuses.count(status) for status in ("ok", "duplicate", "quarantined", "ignored")},
        hashed=len(to_read),
        problems=catalogue.problems,
        changed=previous is None or not table.equals(previous, check_metadata=True),
    )


def _has_our_columns(table: pa.Table) -> bool:
    return table.schema.equals(MANIFEST_SCHEMA)


def _carried(old: Finding | None, size: int, mtime_ns: int) -> Probe | None:
    """What is known of an unchanged file; None where it has to be read."""
    if old is None or (old.bytes, old.mtime_ns) != (size, mtime_ns):
        return None
    if not mtime_ns or old.probe.content is None:
        return None  # a store without times; or a file not read yet: permissions change without a trace
    return old.probe


def _by_name(path: str) -> tuple[str, Probe | None]:
    """The path as it is written in the manifest, and the verdict where the name alone decides."""
    name = path.rsplit("/", 1)[-1]
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = path.encode("utf-8", "backslashreplace").decode()
        return shown, refused(Reason.BAD_NAME, "the name is not UTF-8: rename the file")
    if name in NAMES:
        return path, ignored(Reason.CATALOGUE)
    if path == READY:
        return path, ignored(Reason.MARKER)
    if name.lower().endswith(_UNFINISHED):
        return path, refused(Reason.NOT_AN_IMAGE, "an unfinished download")
    if any(part.startswith(".") and not part.startswith("._") for part in path.split("/")):
        return path, ignored(Reason.HIDDEN)
    return path, None


def _listing(library: MediaLibrary, drop: Drop, *, may_be_gone: bool) -> Iterable[tuple[str, UPath, int, int]]:
    if may_be_gone and not library.folder(drop).is_dir():
        library.drops()  # says so when the whole library looks gone
        return ()
    return library.files(drop)


class _InsideDrop:
    """Follows symbolic links, but not out of the drop's folder."""

    def __init__(self, folder: UPath):
        self._local = is_local(folder)
        self._root = os.path.realpath(folder) + os.sep if self._local else ""

    def check(self, file: UPath, size: int, mtime_ns: int) -> tuple[Probe | None, int, int]:
        """A verdict if the link decides it, and size and time of what the link leads to."""
        if not self._local or not os.path.islink(file):
            return None, size, mtime_ns
        target = os.path.realpath(file)
        if not target.startswith(self._root):
            return refused(Reason.OUTSIDE_DROP, "a link that leads out of the drop"), size, mtime_ns
        if os.path.isdir(target):
            return ignored(Reason.FOLDER_LINK), size, mtime_ns
        try:
            status = os.stat(target)
        except OSError:
            return None, size, mtime_ns  # reading it will say what is wrong
        return None, status.st_size, status.st_mtime_ns


def _guard_against_mass_deletion(drop: Drop, before: dict[str, Finding], now: list[Finding]) -> None:
    # A file that is now quarantined is not lost, unless nobody can read it: that is how a broken share looks.
    paths = {finding.path for finding in now if finding.probe.content is not None}
    contents = {finding.probe.content for finding in now}  # a renamed folder has lost nothing
    had = [old for old in before.values() if old.probe.status == "ok"]
    lost = sorted(old.path for old in had if old.path not in paths and old.probe.content not in contents)
    if 2 * len(lost) > len(had):
        raise UserError(
            f"drop {drop.key} has lost {len(lost)} of its {len(had)} files since the last scan (for example "
            f"{lost[0]}): check that the share is mounted and readable; if they were removed on purpose, run "
            f"this drop again with allow_mass_deletion."
        )
