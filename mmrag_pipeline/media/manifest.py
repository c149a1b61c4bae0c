"""The manifest: one row for every file of a drop, one for every kept frame of a video.

This module owns the columns and turns what a scan found into rows and back. Rows are sorted by (path,
frame_ms), and equal findings give an equal table. `sku`, `title`, `reason`, `detail` are '' and `tags` is []
where there is none; null is only in the columns declared nullable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from typing import Any

import pyarrow as pa

from mmrag_pipeline.media.catalogue import Entry
from mmrag_pipeline.media.probe import Probe
from mmrag_pipeline.media.rules import Limits, Reason

MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("media_id", pa.string(), nullable=False),
        pa.field("content_id", pa.string()),
        pa.field("media_type", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("frames", pa.int32()),
        pa.field("frame_ms", pa.int64()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("first_seen", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("look", pa.binary()),
        pa.field("sku", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("tags", pa.list_(pa.field("element", pa.string())), nullable=False),
        pa.field("extra", pa.string(), nullable=False),
    ]
)

_MADE_UNDER = b"mmrag.made_under"
_DECODERS = b"mmrag.decoders"
_GENERATED_IN = b"mmrag.generated_in"
_VERSION = 2  # of the probe: raise it when the same bytes would now get another row
_DECODER_PACKAGES = ("pillow", "pillow-heif", "av")

DECODERS_VERDICTS = frozenset(
    {Reason.DECODE_ERROR.value, Reason.CRASHED.value, Reason.TOO_SLOW.value, Reason.UNSUPPORTED_FORMAT.value}
)
"""Reasons that another version of a decoder may not find: the only rows that an upgrade has read again."""


@dataclass(frozen=True)
class Finding:
    """One file of a drop as a scan found it."""

    path: str
    bytes: int
    mtime_ns: int
    first_seen: datetime
    probe: Probe


def media_id(drop: str, path: str, frame_ms: int | None) -> str:
    """Primary key of an indexed item: 32 hex digits, the same on every run, machine and model."""
    key = f"{drop}\0{path}\0{'' if frame_ms is None else frame_ms}"
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def made_under(limits: Limits) -> bytes:
    """What the probes in a manifest depend on besides the files; kept in the table's schema metadata."""
    return json.dumps({"version": _VERSION, **limits.as_dict()}, sort_keys=True).encode()


def was_made_under(table: pa.Table, limits: Limits) -> bool:
    return (table.schema.metadata or {}).get(_MADE_UNDER) == made_under(limits)


def decoders() -> bytes:
    """Versions of the decoders that are installed; kept in the table's schema metadata."""
    return json.dumps({name: version(name) for name in _DECODER_PACKAGES}).encode()


def was_decoded_by(table: pa.Table, versions: bytes) -> bool:
    return (table.schema.metadata or {}).get(_DECODERS) == versions


def as_generated(table: pa.Table, folder: str) -> pa.Table:
    """The same manifest, saying that a campaign made its pictures and that they lie in `folder` of the store."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _GENERATED_IN: folder.encode()})


def generated_in(table: pa.Table) -> str | None:
    """The folder of the store that generated pictures lie in; None for those of the library."""
    folder = (table.schema.metadata or {}).get(_GENERATED_IN)
    return folder.decode() if folder else None


def to_table(findings: Iterable[Finding], *, drop: str, entries: Mapping[str, Entry], limits: Limits) -> pa.Table:
    """Rows of a drop; of files with equal bytes the smallest path stays ok, the others are its duplicates.

    Of pictures that look alike but for size and encoding the largest has no reason; the others say what they look
    like, and stay ok.
    """
    findings = sorted(findings, key=lambda finding: finding.path)
    kept: dict[str, str] = {}
    for finding in findings:
        if finding.probe.status == "ok":
            kept.setdefault(finding.probe.content, finding.path)
    alike = _alike([finding for finding in findings if kept.get(finding.probe.content) == finding.path])
    columns: dict[str, list[Any]] = {name: [] for name in MANIFEST_SCHEMA.names}
    for finding in findings:
        probe, status, keyframes = finding.probe, str(finding.probe.status), finding.probe.keyframes
        reason, detail = probe.reason, probe.detail
        if status == "ok" and kept[probe.content] != finding.path:
            status, keyframes = "duplicate", ()
            reason, detail = Reason.DUPLICATE.value, f"same bytes as {kept[probe.content]}"
        elif finding.path in alike:
            reason, detail = Reason.NEAR_DUPLICATE.value, f"looks like {alike[finding.path]}"
        entry = entries.get(finding.path, Entry())
        for frame_ms in keyframes or (None,):
            columns["path"].append(finding.path)
            columns["media_id"].append(media_id(drop, finding.path, frame_ms))
            columns["content_id"].append(probe.content if frame_ms is None else f"{probe.content}#{frame_ms}")
            columns["media_type"].append(probe.media_type)
            columns["bytes"].append(finding.bytes)
            columns["mtime_ns"].append(finding.mtime_ns)
            columns["format"].append(probe.format)
            columns["width"].append(probe.width)
            columns["height"].append(probe.height)
            columns["frames"].append(probe.frames)
            columns["frame_ms"].append(frame_ms)
            columns["status"].append(status)
            columns["reason"].append(reason)
            columns["detail"].append(detail)
            columns["first_seen"].append(finding.first_seen)
            columns["look"].append(probe.look)
            columns["sku"].append(entry.sku)
            columns["title"].append(entry.title)
            columns["tags"].append(entry.tags)
            columns["extra"].append(entry.extra)
    schema = MANIFEST_SCHEMA.with_metadata({_MADE_UNDER: made_under(limits), _DECODERS: decoders()})
    return pa.table(columns, schema=schema)


def _alike(findings: list[Finding]) -> dict[str, str]:
    """Path -> path of the better picture that it looks like, among the stills of `findings`."""
    stills = [finding for finding in findings if finding.probe.look and not finding.probe.keyframes]
    if len(stills) < 2:
        return {}
    from mmrag_pipeline.media.likeness import near_duplicates  # numpy work: a night without changes needs none

    probes = [finding.probe for finding in stills]
    keepers = near_duplicates([probe.look for probe in probes], [probe.width * probe.height for probe in probes])
    return {stills[index].path: stills[keeper].path for index, keeper in keepers.items()}


def from_other_version(table: pa.Table) -> dict[str, Finding]:
    """What a manifest of another version of this program tells for sure: which files there were, and since when."""
    columns = ("path", "content_id", "bytes", "mtime_ns", "status", "first_seen")
    if not set(columns) <= set(table.column_names):
        return {}
    findings: dict[str, Finding] = {}
    for row in table.select(columns).to_pylist():
        status = "ok" if row["status"] == "duplicate" else row["status"]
        content = row["content_id"].partition("#")[0] if row["content_id"] else None
        probe = Probe(status=status, content=content)
        findings.setdefault(row["path"], Finding(row["path"], row["bytes"], row["mtime_ns"], row["first_seen"], probe))
    return findings


def from_table(table: pa.Table) -> dict[str, Finding]:
    """The findings that a manifest was made of, by path: the inverse of `to_table`, catalogue aside."""
    names = [name for name in MANIFEST_SCHEMA.names if name not in ("media_id", "sku", "title", "tags", "extra")]
    rows = zip(*(table[name].to_pylist() for name in names), strict=True)
    findings: dict[str, Finding] = {}
    probes: dict[str, Probe] = {}
    duplicates: list[tuple[Finding, str]] = []
    for path, content, media_type, size, mtime_ns, format_, width, height, frames, frame_ms, *verdict in rows:
        status, reason, detail, first_seen, look = verdict
        if status == "duplicate" or reason == Reason.NEAR_DUPLICATE:  # what a file is to others is found anew
            reason = detail = ""
        if path in findings:  # a further frame of the same video
            first = findings[path].probe
            probe = replace(first, keyframes=(*first.keyframes, frame_ms))
            findings[path] = replace(findings[path], probe=probe)
        else:
            probe = Probe(
                status="ok" if status == "duplicate" else status,
                reason=reason,
                detail=detail,
                content=content.partition("#")[0] if content else None,
                media_type=media_type,
                format=format_,
                width=width,
                height=height,
                frames=frames,
                keyframes=() if frame_ms is None else (frame_ms,),
                look=look,
            )
            findings[path] = Finding(path, size, mtime_ns, first_seen, probe)
        if status == "duplicate":
            duplicates.append((findings[path], probe.content))
        elif probe.content:
            probes[probe.content] = probe
    for finding, content in duplicates:  # a duplicate's row has no frames: its original knows them
        findings[finding.path] = replace(finding, probe=probes[content])
    return findings
