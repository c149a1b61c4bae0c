"""A manifest row -> its pixels: the one way in which embedding, sheets and campaigns get a picture."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

from PIL import Image
from upath import UPath

from mmrag_pipeline.media.decode import open_picture
from mmrag_pipeline.media.rules import Limits, MediaError, Reason
from mmrag_pipeline.media.video import frame_at
from mmrag_pipeline.store import is_local


def load_picture(folder: UPath, path: str, frame_ms: int | None, limits: Limits) -> Image.Image:
    """Decode a still, or one frame of a video, of the drop in `folder`: RGB, upright, full size.

    Raises:
        MediaError: the file has gone, changed for the worse since the scan, or lies outside the drop.
    """
    if frame_ms is None:
        return open_picture(read_file(folder, path), limits)
    try:
        with _inside(folder, path).open("rb") as stream:
            return frame_at(stream, frame_ms, limits)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_file(folder: UPath, path: str) -> bytes:
    """The bytes of one file of the drop in `folder`.

    Raises:
        MediaError: it can't be read, or lies outside the drop.
    """
    try:
        return _inside(folder, path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> MediaError:
    return MediaError(Reason.UNREADABLE, f"{path}: {error.strerror or type(error).__name__}")


def _inside(folder: UPath, path: str) -> UPath:
    parts = PurePosixPath(path).parts
    file = folder.joinpath(*parts)
    escapes = not parts or parts[0] == "/" or ".." in parts
    if not escapes and is_local(folder):
        escapes = not os.path.realpath(file).startswith(os.path.realpath(folder) + os.sep)
    if escapes:
        raise MediaError(Reason.OUTSIDE_DROP, f"{path} leads out of the drop")
    return file
