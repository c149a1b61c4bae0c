"""Bytes of a still -> upright sRGB pixels, or a `MediaError` that says why not.

The format is sniffed, then exactly that format's Pillow plug-in is allowed to open the file: no Ghostscript,
no surprise decoder. The size is checked before any pixel is decoded. Of a file with several pages or frames
(GIF, WebP, APNG, AVIF, TIFF, MPO) the first is the picture. There are two tiers: `exact` is every pixel as Pillow
decodes it; `fast` lets a JPEG come smaller, by DCT scaling, when all that is wanted is a smaller picture.
"""

from __future__ import annotations

import functools
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mmrag_pipeline.media.colour import SIDEWAYS, orientation, profile_to_srgb, to_rgb, upright
from mmrag_pipeline.media.jpeg import decode_plain, reduction, turned
from mmrag_pipeline.media.likeness import look_of, squeezed
from mmrag_pipeline.media.rules import Limits, MediaError, Reason
from mmrag_pipeline.media.sniff import SNIFF_BYTES, STILLS, check_complete, sniff

__all__ = [
    "Limits", "MediaError", "Pixels", "Reason", "Still",
    "decode_pixels", "open_picture", "probe_picture",
]  # fmt: skip

# Pillow warns about what becomes a manifest row here (bombs) or does no harm (a broken MPO index, odd EXIF).
warnings.filterwarnings("ignore", module=r"PIL\.")

_LARGE_PIXELS = 16_000_000
_LOOK_SIDE = 80
"""Short side in pixels that a JPEG is decoded to at least, if it has as many, to take its look."""
_one_large_picture = threading.Lock()


@dataclass(frozen=True)
class Still:
    """What a probe found: upright size in pixels, pages or frames in the file, and the look of the picture."""

    width: int
    height: int
    frames: int
    look: bytes = b""


@dataclass(frozen=True)
class Pixels:
    """An upright sRGB picture, as it is or reduced.

    The picture covers `width / by` x `height / by` pixels of `rgb` from the left upper corner: where `by` does
    not divide the size, the last column or row is partly outside. Who resizes takes the output's shape from
    `width` and `height`, and as scale (output side) / (side / by); the side of `rgb` instead would shift the
    picture by up to a quarter of an output pixel, which costs 10 dB.
    """

    rgb: np.ndarray
    """uint8 [ceil(height / by), ceil(width / by), 3], C-contiguous."""
    width: int
    """Of the upright picture at full size, in pixels."""
    height: int
    by: int = 1
    """1, 2, 4 or 8 pixels of the file to the side of one pixel of `rgb`."""

    @classmethod
    def of(cls, picture: Image.Image) -> Pixels:
        """A picture of mode RGB, whole."""
        return cls(np.asarray(picture), picture.width, picture.height)


def open_picture(data: bytes, limits: Limits) -> Image.Image:
    """Decode a still at full size: mode RGB, sRGB, upright, transparency on `limits.background`.

    Raises:
        MediaError: not a still of an allowed format, damaged, or outside the limits.
    """
    with opened(data, limits) as picture:
        result = _full(picture, limits)
    limits.check_shape(*result.size)
    return result


def decode_pixels(data: bytes, limits: Limits, *, short_side: int | None = None) -> Pixels:
    """Decode a still, upright, in sRGB, on `limits.background`.

    Without `short_side` it has full size (the `exact` tier). With it (`fast`), a JPEG may come at 1/2, 1/4 or 1/8 of
    its size, the short side still at least `short_side`.

    Raises:
        MediaError: as `open_picture`.
    """
    with opened(data, limits) as picture:
        if _is_jpeg(picture):
            with _large_ones_in_turn(picture.size, reduction(picture.size, short_side, even=False)):
                return _decode_jpeg(picture, data, limits, short_side=short_side)
        with _large_ones_in_turn(picture.size):
            rgb = np.array(_full(picture, limits))
    height, width = rgb.shape[:2]
    limits.check_shape(width, height)
    return Pixels(rgb, width, height)


def probe_picture(data: bytes, limits: Limits) -> Still:
    """Prove that a still decodes to the end and take its measure and look; JPEGs at 1/8 size, which reads all of it.

    Raises:
        MediaError: as `open_picture`.
    """
    with opened(data, limits) as picture:
        size = picture.size
        frames = getattr(picture, "n_frames", 1)
        picture.seek(0)  # counting the frames of a GIF moves to the last
        if _is_jpeg(picture):
            return _probe_jpeg(picture, size, frames, limits)
        with _large_ones_in_turn(size):
            return _measured(_full(picture, limits), frames, limits)


def _large_ones_in_turn(size: tuple[int, int], by: int = 1) -> AbstractContextManager[object]:
    """Many threads decode; only one at a time may hold a large picture."""
    return _one_large_picture if size[0] * size[1] > _LARGE_PIXELS * by * by else nullcontext()


def _full(picture: Image.Image, limits: Limits) -> Image.Image:
    picture.load()
    return to_rgb(upright(picture, orientation(picture)), limits.background)


def _measured(picture: Image.Image, frames: int, limits: Limits) -> Still:
    limits.check_shape(*picture.size)
    return Still(*picture.size, frames, look_of(picture))


def _probe_jpeg(picture: Image.Image, size: tuple[int, int], frames: int, limits: Limits) -> Still:
    by = reduction(size, min(_LOOK_SIDE, min(size)), even=False)
    picture.draft(None, _reduced(size, by))
    picture.load()
    turn = orientation(picture)
    limits.check_shape(*size)
    # Squeezed before it is turned: a reduced picture may reach beyond its right and lower edge.
    small = squeezed(to_rgb(picture, limits.background), (size[0] / by, size[1] / by))
    width, height = reversed(size) if turn in SIDEWAYS else size
    return Still(width, height, frames, look_of(upright(small, turn), (width, height)))


def _decode_jpeg(picture: Image.Image, data: bytes, limits: Limits, *, short_side: int | None) -> Pixels:
    size, grey = picture.size, picture.mode == "L"
    turn = orientation(picture)
    # Turning would move the part that is outside the picture to the left or the top.
    by = reduction(size, short_side, even=turn != 1)
    profile = picture.info.get("icc_profile")
    rgb = None
    if picture.mode in ("RGB", "L"):
        rgb = decode_plain(data, size, by=by, grey=grey and profile is not None)
    if rgb is None:
        if by > 1:
            picture.draft(None, _reduced(size, by))
        picture.load()
        rgb = np.array(to_rgb(picture, limits.background))
    elif profile:
        before = Image.fromarray(rgb[..., 0] if grey else rgb)
        after = profile_to_srgb(before, profile)
        rgb = rgb if after is before and not grey else np.array(after.convert("RGB"))
    limits.check_shape(*size)
    width, height = reversed(size) if turn in SIDEWAYS else size
    return Pixels(turned(rgb, turn), width, height, by)


def _reduced(size: tuple[int, int], by: int) -> tuple[int, int]:
    """What `Image.draft` wants to hear to reduce by exactly `by`."""
    return max(1, size[0] // by), max(1, size[1] // by)


def _is_jpeg(picture: Image.Image) -> bool:
    return picture.format in ("JPEG", "MPO")


@contextmanager
def opened(data: bytes, limits: Limits) -> Iterator[Image.Image]:
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
