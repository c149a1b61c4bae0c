"""One file -> what it is: format, size, frames, content id, or the reason why it can't be used.

A file is opened once. Stills are read whole (up to `Limits.max_bytes`), everything else is streamed through
the hash. Nothing here knows about drops, rows or catalogues.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Literal

from upath import UPath

from mmrag_pipeline.media.decode import probe_picture
from mmrag_pipeline.media.foreign import look_closer
from mmrag_pipeline.media.rules import Limits, MediaError, Reason
from mmrag_pipeline.media.sniff import SNIFF_BYTES, Kind, sniff
from mmrag_pipeline.media.video import probe_video
from mmrag_pipeline.store import is_local

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What is known of one file's bytes; equal bytes give equal probes under equal limits."""

    status: Literal["ok", "quarantined", "ignored"]
    reason: str = ""
    detail: str = ""
    content: str | None = None
    """sha256 of the bytes, hex; None when they were not read."""
    media_type: Literal["image", "video", "other"] = "other"
    format: str = ""
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    keyframes: tuple[int, ...] = ()
    """Times of a video's kept frames in ms; empty for a still."""


def refused(reason: Reason, detail: str) -> Probe:
    """A file that is quarantined without reading its bytes."""
    return Probe(status="quarantined", reason=reason.value, detail=detail)


def ignored(reason: Reason) -> Probe:
    """A file that is not media and is expected where it lies."""
    return Probe(status="ignored", reason=reason.value)


def probe_file(file: UPath, limits: Limits, known: Mapping[str, Probe]) -> Probe:
    """Read, hash and decode one file; a file whose bytes are in `known` (by sha256) is not decoded again."""
    try:
        if is_local(file) and not stat.S_ISREG(os.stat(file).st_mode):
            return refused(Reason.UNREADABLE, "not a regular file")  # opening a pipe would wait for ever
        with file.open("rb") as stream:
            return _probe(stream, limits, known)
    except FileNotFoundError:
        return refused(Reason.UNREADABLE, "gone before it could be read, or a link to nothing")
    except OSError as error:
        return refused(Reason.UNREADABLE, error.strerror or type(error).__name__)


def _probe(stream: BinaryIO, limits: Limits, known: Mapping[str, Probe]) -> Probe:
    head = _read(stream, SNIFF_BYTES)
    kind: Kind | None = None
    failure: MediaError | None = None
    try:
        kind = sniff(head)
    except MediaError as error:
        failure = error
    digest = hashlib.sha256(head)
    data = head
    if kind and kind.media_type == "image":
        data += _read(stream, max(0, limits.max_bytes - len(head)))
        digest.update(memoryview(data)[len(head) :])
    streamed = 0
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
        streamed += len(chunk)
    content = digest.hexdigest()
    if content in known:
        return known[content]
    try:
        if failure:
            if failure.reason == Reason.UNSUPPORTED_FORMAT:
                look_closer(head, len(head) + streamed, limits)
            raise failure
        if kind.media_type == "video":
            stream.seek(0)
            clip = probe_video(stream, limits)
            return Probe(
                status="ok", content=content, media_type="video", format=kind.format,
                width=clip.width, height=clip.height, frames=clip.frames, keyframes=clip.keyframes,
            )  # fmt: skip
        if streamed:
            size = len(data) + streamed
            raise MediaError(Reason.TOO_MANY_BYTES, f"{size} bytes, more than {limits.max_bytes}")
        still = probe_picture(data, limits)
        return Probe(
            status="ok", content=content, media_type="image", format=kind.format,
            width=still.width, height=still.height, frames=still.frames,
        )  # fmt: skip
    except MediaError as error:
        return Probe(
            status="quarantined", reason=error.reason.value, detail=error.detail, content=content,
            media_type=kind.media_type if kind else "other", format=kind.format if kind else "",
        )  # fmt: skip


def _read(stream: BinaryIO, size: int) -> bytes:
    """Up to `size` bytes; remote streams may give fewer at a time."""
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
