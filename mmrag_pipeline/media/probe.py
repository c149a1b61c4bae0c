"""One file -> what it is: format, size, frames, content id, or the reason why it can't be used.

A file is opened once. Stills are read whole (up to `Limits.max_bytes`), everything else is streamed through
the hash. Nothing here knows about drops, rows or catalogues. This module is what a decoder process imports, so
pyarrow, universal-pathlib and Dagster have no place in it, and the decoders come in with the first file.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from typing import BinaryIO, Literal

from mmrag_pipeline.media.rules import Limits, MediaError, Reason
from mmrag_pipeline.media.sniff import SNIFF_BYTES, Kind, sniff

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
    """Times of the kept frames of a video or animation in ms; empty for a still."""
    look: bytes | None = None
    """Colour signature of a still, by which near-duplicates are found."""


@dataclass(frozen=True)
class Known:
    """A file whose bytes the caller knows already: it was hashed, not decoded."""

    content: str


def refused(reason: Reason, detail: str) -> Probe:
    """A file that is quarantined without reading its bytes."""
    return Probe(status="quarantined", reason=reason.value, detail=detail)


def ignored(reason: Reason) -> Probe:
    """A file that is not media and is expected where it lies."""
    return Probe(status="ignored", reason=reason.value)


def probe_file(file: str, limits: Limits, known: Collection[str]) -> Probe | Known:
    """Read, hash and decode one local file; a file whose sha256 is in `known` is not decoded."""
    return _read_through(file, lambda stream: _probe(stream, limits, known))


def refuse_file(file: str, reason: Reason, detail: str) -> Probe:
    """Read and hash one local file and quarantine it for `reason`, without any decoder."""
    return _read_through(file, lambda stream: _refuse(stream, reason, detail))


def _read_through(file: str, read) -> Probe | Known:
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return refused(Reason.UNREADABLE, "not a regular file")  # opening a pipe would wait for ever
        with open(file, "rb") as stream:
            return read(stream)
    except FileNotFoundError:
        return refused(Reason.UNREADABLE, "gone before it could be read, or a link to nothing")
    except OSError as error:
        return refused(Reason.UNREADABLE, error.strerror or type(error).__name__)


def _probe(stream: BinaryIO, limits: Limits, known: Collection[str]) -> Probe | Known:
    head = stream.read(SNIFF_BYTES)
    kind: Kind | None = None
    failure: MediaError | None = None
    try:
        kind = sniff(head)
    except MediaError as error:
        failure = error
    data = head
    if kind and kind.media_type == "image":
        data += stream.read(max(0, limits.max_bytes - len(head)))
    digest = hashlib.sha256(data)
    streamed = 0
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
        streamed += len(chunk)
    content = digest.hexdigest()
    if content in known:
        return Known(content)
    try:
        if failure:
            if failure.reason == Reason.UNSUPPORTED_FORMAT:
                from mmrag_pipeline.media.foreign import look_closer

                look_closer(head, len(head) + streamed, limits)
            raise failure
        if kind.media_type == "video":
            return _probe_video(stream, kind, content, limits)
        if streamed:
            size = len(data) + streamed
            raise MediaError(Reason.TOO_MANY_BYTES, f"{size} bytes, more than {limits.max_bytes}")
        return _probe_still(data, kind, content, limits)
    except MediaError as error:
        return _quarantined(error.reason, error.detail, content, kind)
    except Exception as error:  # a decoder may make of hostile bytes what nobody foresaw; no file stops a scan
        return _quarantined(Reason.DECODE_ERROR, f"unexpected {type(error).__name__}: {error}"[:200], content, kind)


def _probe_video(stream: BinaryIO, kind: Kind, content: str, limits: Limits) -> Probe:
    from mmrag_pipeline.media.video import probe_video

    stream.seek(0)
    clip = probe_video(stream, limits)
    return Probe(
        status="ok", content=content, media_type="video", format=kind.format,
        width=clip.width, height=clip.height, frames=clip.frames, keyframes=clip.keyframes,
    )  # fmt: skip


def _probe_still(data: bytes, kind: Kind, content: str, limits: Limits) -> Probe:
    from mmrag_pipeline.media.decode import probe_picture

    still = probe_picture(data, limits)
    keyframes: tuple[int, ...] = ()
    if still.frames > 1:
        from mmrag_pipeline.media.animation import ANIMATED, animation_keyframes

        if kind.format in ANIMATED:
            keyframes = animation_keyframes(data, limits)
    return Probe(
        status="ok", content=content, media_type="image", format=kind.format, width=still.width,
        height=still.height, frames=still.frames, keyframes=keyframes, look=still.look or None,
    )  # fmt: skip


def _refuse(stream: BinaryIO, reason: Reason, detail: str) -> Probe:
    head = stream.read(SNIFF_BYTES)
    digest = hashlib.sha256(head)
    while chunk := stream.read(_CHUNK):
        digest.update(chunk)
    try:
        kind: Kind | None = sniff(head)
    except MediaError:
        kind = None  # the caller's reason is the one that counts
    return _quarantined(reason, detail, digest.hexdigest(), kind)


def _quarantined(reason: Reason, detail: str, content: str, kind: Kind | None) -> Probe:
    return Probe(
        status="quarantined", reason=reason.value, detail=detail, content=content,
        media_type=kind.media_type if kind else "other", format=kind.format if kind else "",
    )  # fmt: skip
