"""A drop's folder and its last manifest -> the new manifest.

A file whose size and time are unchanged is not opened; its row is carried over. Everything else is read once.
No file can stop the scan: each becomes a row. What does stop it is a drop that lost most of its files,
because an unmounted share looks exactly so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.media.catalogue import catalogue_problems, read_catalogue
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.listing import Entry
from mmrag_pipeline.media.manifest import (
    DECODERS_VERDICTS,
    MANIFEST_SCHEMA,
    Finding,
    decoders,
    from_other_version,
    from_table,
    to_table,
    was_decoded_by,
    was_made_under,
)
from mmrag_pipeline.media.probe import Probe, probe_file
from mmrag_pipeline.media.reading import KnownProbes, read_files
from mmrag_pipeline.media.rules import Limits, Reason
from mmrag_pipeline.media.unchanged import is_unchanged
from mmrag_pipeline.media.verdicts import Seen, look_at
from mmrag_pipeline.media.worker import ProbeFunction

_MANY_REFUSED = 8
"""Fewer files that can't be read are a row each, whatever the rest of the drop does."""
STATUSES = ("ok", "duplicate", "quarantined", "ignored")


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
    probe: ProbeFunction = probe_file,
) -> ScanReport:
    """Make the manifest of a drop; `progress(done, total)` counts files.

    With `allow_mass_deletion` a drop whose folder is gone has an empty manifest, if the library still holds others.

    Raises:
        UserError: the drop's folder is missing or unreadable, or more than half of the files that were ok are
            gone and `allow_mass_deletion` is not set.
        Unavailable: the store does not answer, or most of many files can't be read.
    """
    folder = library.folder(drop)
    files = list(look_at(_listing(library, drop, may_be_gone=allow_mass_deletion), folder))
    trusted = previous is not None and _is_trusted(previous, limits)
    if trusted and is_unchanged(files, previous):
        if progress:
            progress(len(files), len(files))
        problems = catalogue_problems(folder, [seen.path for seen in files])
        return _report(previous, hashed=0, problems=problems, changed=False)

    before = {}
    if previous is not None:
        before = from_table(previous) if _is_comparable(previous) else from_other_version(previous)
    carried = _carried_over(files, before, judged_anew=_judged_anew(previous)) if trusted else {}
    to_read = [seen for seen in files if seen.probe is None and seen.path not in carried]
    findings = [
        _finding(seen, seen.probe or carried[seen.path], before, now)
        for seen in files
        if seen.probe is not None or seen.path in carried
    ]
    total = len(files)
    if progress:
        progress(len(findings), total)
    known = _known(before, judged_anew=_judged_anew(previous)) if trusted else {}
    with closing(read_files(to_read, folder, limits=limits, known=known, probe=probe)) as probes:
        for seen, found in zip(to_read, probes, strict=True):
            findings.append(_finding(seen, found, before, now))
            if progress:
                progress(len(findings), total)

    _guard_against_a_failing_store(drop, findings[total - len(to_read) :])
    if not allow_mass_deletion:
        _guard_against_mass_deletion(drop, before, findings)
    catalogue = read_catalogue(folder, [finding.path for finding in findings])
    table = to_table(findings, drop=drop.key, entries=catalogue.entries, limits=limits)
    changed = previous is None or not table.equals(previous, check_metadata=True)
    return _report(table, hashed=len(to_read), problems=catalogue.problems, changed=changed)


def is_current(
    library: MediaLibrary, drop: Drop, manifest: pa.Table, *, limits: Limits, entries: Iterable[Entry]
) -> bool:
    """Whether a scan of the drop, whose listing is `entries`, would give `manifest` again; a file that could not be
    read last time may be readable by now, so its drop is not current.
    """
    if not _is_trusted(manifest, limits):
        return False
    files = look_at((entry for entry in entries if entry.kind != "folder"), library.folder(drop))
    return is_unchanged(list(files), manifest)


def _is_comparable(manifest: pa.Table) -> bool:
    return manifest.schema.equals(MANIFEST_SCHEMA)


def _is_trusted(manifest: pa.Table, limits: Limits) -> bool:
    return _is_comparable(manifest) and was_made_under(manifest, limits)


def _report(table: pa.Table, *, hashed: int, problems: list[str], changed: bool) -> ScanReport:
    found = Counter(table["status"].to_pylist())
    counts = {status: found[status] for status in STATUSES}
    return ScanReport(table=table, counts=counts, hashed=hashed, problems=problems, changed=changed)


def _finding(seen: Seen, probe: Probe, before: dict[str, Finding], now: datetime) -> Finding:
    old = before.get(seen.path)
    return Finding(seen.path, seen.bytes, seen.mtime_ns, old.first_seen if old else now, probe)


def _judged_anew(previous: pa.Table) -> frozenset[str]:
    """Reasons that count no longer, because the decoders are others than those that gave them."""
    return frozenset() if was_decoded_by(previous, decoders()) else DECODERS_VERDICTS


def _carried_over(
    files: Iterable[Seen], before: dict[str, Finding], *, judged_anew: frozenset[str]
) -> dict[str, Probe]:
    """What is known of the files that are unchanged, by path; the others have to be read."""
    carried = {}
    for seen in files:
        old = before.get(seen.path)
        if (
            old is not None
            and (old.bytes, old.mtime_ns) == (seen.bytes, seen.mtime_ns)
            and seen.mtime_ns  # else a store without times
            and old.probe.content is not None  # else not read yet: permissions change without a trace
            and old.probe.reason not in judged_anew
        ):
            carried[seen.path] = old.probe
    return carried


def _known(before: dict[str, Finding], *, judged_anew: frozenset[str]) -> KnownProbes:
    known: dict[int, dict[str, Probe]] = {}
    for old in before.values():
        if old.probe.content is not None and old.probe.reason not in judged_anew:
            known.setdefault(old.bytes, {})[old.probe.content] = old.probe
    return known


def _listing(library: MediaLibrary, drop: Drop, *, may_be_gone: bool) -> list[Entry]:
    if may_be_gone and not library.has(drop):
        library.drops()  # says so when the whole library looks gone
        return []
    return library.files(drop)


def _guard_against_a_failing_store(drop: Drop, read: list[Finding]) -> None:
    # Expired credentials refuse every file as if each were private.
    refused = [finding for finding in read if finding.probe.reason == Reason.UNREADABLE]
    if len(refused) >= _MANY_REFUSED and 2 * len(refused) > len(read):
        raise Unavailable(
            f"{len(refused)} of the {len(read)} files that had to be read in drop {drop.key} can't be (for example "
            f"{refused[0].path}: {refused[0].probe.detail}): has the pipeline's user read access, and are its "
            f"credentials still valid? Nothing was changed; run it again when they can be read."
        )


def _guard_against_mass_deletion(drop: Drop, before: dict[str, Finding], now: list[Finding]) -> None:
    # A file that is now quarantined is not lost, unless nobody can read it: that is how a broken share looks.
    there = [finding for finding in now if finding.probe.content or finding.probe.reason == Reason.UNFINISHED]
    paths = {finding.path for finding in there}
    contents = {finding.probe.content for finding in now}  # a renamed folder has lost nothing
    had = [old for old in before.values() if old.probe.status == "ok"]
    lost = sorted(old.path for old in had if old.path not in paths and old.probe.content not in contents)
    if 2 * len(lost) > len(had):
        raise UserError(
            f"drop {drop.key} has lost {len(lost)} of its {len(had)} files since the last scan (for example "
            f"{lost[0]}): check that the share is mounted and readable; if they were removed on purpose, run "
            f"this drop again with allow_mass_deletion."
        )
