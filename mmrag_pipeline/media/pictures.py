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
    file = _inside(folder, path)
    try:
        if frame_ms is not None:
            with file.open("rb") as stream:
                return frame_at(stream, frame_ms, limits)
        data = file.read_bytes()
    except OSError as error:
        raise MediaError(Reason.UNREADABLE, f"{path}: {error.strerror or type(error).__name__}") from error
    return open_picture(data, limits)


def _inside(folder: UPath, path: str) -> UPath:
    parts = PurePosixPath(path).parts
    file = folder.joinpath(*parts)
    escapes = not parts or parts[0] == "/" or ".." in parts
    if not escapes and is_local(folder):
        escapes = not os.path.realpath(file).startswith(os.path.realpath(folder) + os.sep)
    if escapes:
        raise MediaError(Reason.OUTSIDE_DROP, f"{path} leads out of the drop")
    return file
