"""Bytes of a still -> upright RGB pixels, or a `MediaError` that says why not.

The format is sniffed, then exactly that format's Pillow plug-in is allowed to open the file: no Ghostscript,
no surprise decoder. The size is checked before any pixel is decoded. Of a file with several pages or frames
(GIF, WebP, APNG, AVIF, TIFF, MPO) the first is the picture.
"""

from __future__ import annotations

import functools
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image

from mmrag_pipeline.media.colour import SIDEWAYS, orientation, to_rgb, upright
from mmrag_pipeline.media.rules import Limits, MediaError, Reason
from mmrag_pipeline.media.sniff import SNIFF_BYTES, STILLS, check_complete, sniff

__all__ = ["Limits", "MediaError", "Reason", "Still", "open_picture", "probe_picture"]

# Pillow warns about what becomes a manifest row here (bombs) or does no harm (a broken MPO index, odd EXIF).
warnings.filterwarnings("ignore", module=r"PIL\.")

_LARGE_PIXELS = 16_000_000
_one_large_picture = threading.Lock()


@dataclass(frozen=True)
class Still:
    """What a probe found: upright size in pixels, and pages or frames in the file."""

    width: int
    height: int
    frames: int


def open_picture(data: bytes, limits: Limits) -> Image.Image:
    """Decode a still at full size: mode RGB, sRGB, upright, transparency on `limits.background`.

    Raises:
        MediaError: not a still of an allowed format, damaged, or outside the limits.
    """
    with _opened(data, limits) as picture:
        picture.load()
        result = to_rgb(upright(picture, orientation(picture)), limits.background)
    limits.check_shape(*result.size)
    return result


def probe_picture(data: bytes, limits: Limits) -> Still:
    """Prove that a still decodes to the end and take its measure; JPEGs at 1/8 size, which reads all of it.

    Raises:
        MediaError: as `open_picture`.
    """
    with _opened(data, limits) as picture:
        width, height = picture.size
        frames = getattr(picture, "n_frames", 1)
        picture.seek(0)  # counting the frames of a GIF moves to the last
        reduced = picture.draft(None, (max(1, width // 8), max(1, height // 8))) is not None
        large = not reduced and width * height > _LARGE_PIXELS
        if large:  # many threads probe; only one may hold a large picture
            with _one_large_picture:
                return _measured(picture, frames, limits)
        return _measured(picture, frames, limits, header_size=(width, height) if reduced else None)


def _measured(
    picture: Image.Image, frames: int, limits: Limits, *, header_size: tuple[int, int] | None = None
) -> Still:
    picture.load()
    turn = orientation(picture)
    width, height = to_rgb(upright(picture, turn), limits.background).size
    if header_size:
        width, height = reversed(header_size) if turn in SIDEWAYS else header_size
    limits.check_shape(width, height)
    return Still(width, height, frames)


@contextmanager
def _opened(data: bytes, limits: Limits) -> Iterator[Image.Image]:
    """Open lazily, check the size, and turn whatever a decoder raises in the block into a `MediaError`."""
    kind = sniff(data[:SNIFF_BYTES])
    if kind.media_type != "image":
        raise MediaError(Reason.NOT_AN_IMAGE, f"a video ({kind.format}), not a still")
    if kind.format == "heic":
        _register_heif()
    # Pillow refuses above twice its own limit: ours is the one in force, so it may only be raised.
    if Image.MAX_IMAGE_PIXELS is not None and limits.max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = limits.max_pixels
    try:
        with Image.open(io.BytesIO(data), formats=STILLS[kind.format]) as picture:
            limits.check_pixels(*picture.size)
            check_complete(kind, data)
            yield picture
    except MediaError:
        raise
    except Image.DecompressionBombError as error:
        raise MediaError(Reason.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:  # decoders meet hostile bytes: whatever they raise means "can't be decoded"
        raise MediaError(Reason.DECODE_ERROR, f"{kind.format}: {_words(error)}") from error


@functools.cache
def _register_heif() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, Image.UnidentifiedImageError):  # its text is the address of a BytesIO
        text = "the header is damaged"
    return (text or type(error).__name__)[:200]
