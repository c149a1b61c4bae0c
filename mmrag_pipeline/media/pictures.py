"""A manifest row -> its pixels: the one way in which embedding, sheets and campaigns get a picture."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO

from PIL import Image
from upath import UPath

from mmrag_pipeline.media.decode import open_picture
from mmrag_pipeline.media.rules import Limits, MediaError, Reason
from mmrag_pipeline.media.sniff import SNIFF_BYTES, sniff
from mmrag_pipeline.store import StoreError, is_local, no_answer, store_errors


def load_picture(folder: UPath, path: str, frame_ms: int | None, limits: Limits) -> Image.Image:
    """Decode a still, or one frame of a video or an animation, of the drop in `folder`: RGB, upright, full size.

    Raises:
        MediaError: the file has gone, changed for the worse since the scan, or lies outside the drop.
    """
    if frame_ms is None:
        return open_picture(read_file(folder, path), limits)
    with local_copy(folder, path) as stream:
        return frame_of(stream, frame_ms, limits)


def read_file(folder: UPath, path: str) -> bytes:
    """The bytes of one file of the drop in `folder`.

    Raises:
        MediaError: it can't be read, or lies outside the drop.
        Unavailable: the store does not answer.
    """
    file = _inside(folder, path)
    with _read_errors(path):
        return file.read_bytes()


@contextmanager
def local_copy(folder: UPath, path: str) -> Iterator[BinaryIO]:
    """A file of the drop in `folder`, open for reading; a remote one is copied first: videos are sought in.

    Raises:
        MediaError: it can't be read, or lies outside the drop.
        Unavailable: the store does not answer.
    """
    file = _inside(folder, path)
    with _read_errors(path):
        stream = file.open("rb") if is_local(file) else _fetched(file)
    with stream:
        yield stream


def frame_of(source: bytes | BinaryIO, frame_ms: int, limits: Limits) -> Image.Image:
    """The frame of a video or an animation at `frame_ms`: RGB, upright, full size.

    Raises:
        MediaError: it does not decode, or has no frame at that time.
    """
    return next(frames_of(io.BytesIO(source) if isinstance(source, bytes) else source, [frame_ms], limits))


def frames_of(stream: BinaryIO, times_ms: Sequence[int], limits: Limits) -> Iterator[Image.Image]:
    """The frames of a video or an animation at ascending `times_ms`, decoding it once: RGB, upright, full size.

    Raises:
        MediaError: it does not decode, or has no frame at one of the times.
    """
    from mmrag_pipeline.media.animation import animation_frames
    from mmrag_pipeline.media.video import video_frames

    kind = sniff(stream.read(SNIFF_BYTES))
    stream.seek(0)
    if kind.media_type == "image":
        yield from animation_frames(stream.read(), times_ms, limits)
    else:
        yield from video_frames(stream, times_ms, limits)


def _fetched(file: UPath) -> BinaryIO:
    copy = tempfile.TemporaryFile(prefix="mmrag-")
    try:
        with file.open("rb") as remote:
            shutil.copyfileobj(remote, copy, 1 << 20)
    except BaseException:
        copy.close()
        raise
    copy.seek(0)
    return copy


@contextmanager
def _read_errors(path: str) -> Iterator[None]:
    try:
        with store_errors():
            yield
    except StoreError as error:
        raise no_answer(path, error) from error
    except OSError as error:
        raise MediaError(Reason.UNREADABLE, f"{path}: {error.strerror or type(error).__name__}") from error


def _inside(folder: UPath, path: str) -> UPath:
    parts = PurePosixPath(path).parts
    file = folder.joinpath(*parts)
    escapes = not parts or parts[0] == "/" or ".." in parts
    if not escapes and is_local(folder):
        escapes = not os.path.realpath(file).startswith(os.path.realpath(folder) + os.sep)
    if escapes:
        raise MediaError(Reason.OUTSIDE_DROP, f"{path} leads out of the drop")
    return file
