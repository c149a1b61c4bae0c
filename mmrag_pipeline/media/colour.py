"""Any Pillow mode -> 8-bit sRGB, the way a person would see the picture."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageCms

# Tag 0x0112 -> what makes the picture upright.
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
"""Orientations that exchange width and height."""

_SCREEN_GAMMA = 2.2
_SPACES = {"GRAY": ("L",), "RGB": ("RGB", "RGBA"), "CMYK": ("CMYK",)}  # of a profile -> modes that it describes


def orientation(picture: Image.Image) -> int:
    """EXIF (or XMP) orientation 1..8 of a loaded picture; 1 where the tag is absent or damaged."""
    try:
        value = picture.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block raises nearly anything, and the pixels are still good
        return 1
    return value if value in _UPRIGHT else 1


def upright(picture: Image.Image, turn: int) -> Image.Image:
    """Undo orientation `turn` (1..8)."""
    return picture.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else picture


def to_rgb(picture: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Mode `RGB` in sRGB: ICC and PNG gamma applied, deep greys scaled, not clipped, transparency on `background`."""
    info = {} if picture.mode == "LAB" else picture.info  # what it says of Lab is done with by the conversion
    picture, mask = _plain(picture)
    picture = _to_srgb(picture, info)
    if picture.mode == "RGBA":
        mask = picture.getchannel("A")
    if mask is None:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    canvas = Image.new("RGB", picture.size, background)
    canvas.paste(picture, mask=mask)
    return canvas


def profile_to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Mode `RGB` (or `RGBA`) in sRGB of an `L`, `RGB`, `RGBA` or `CMYK` picture; as it is when `profile` is of no use.

    Of no use is a profile that is damaged or for another colour space than the pixels have (viewers ignore it
    too), and one under which pixels look as they do under sRGB.
    """
    transform = _transform(profile, picture.mode) if profile else None
    return ImageCms.applyTransform(picture, transform) if transform else picture


def _plain(picture: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """One of `L`, `RGB`, `RGBA`, `CMYK`; and the opacity where that mode has no place for it."""
    mask = None
    if picture.mode.startswith("I;16"):
        picture, mask = _from_sixteen_bit(picture)
    elif picture.mode in ("I", "F"):
        picture = _from_wide(picture)
    elif picture.mode == "LAB":
        picture = ImageCms.profileToProfile(
            picture, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    elif picture.mode in ("LA", "La") or (picture.mode in ("1", "L") and picture.has_transparency_data):
        both = picture.convert("LA")  # in two parts, so that a grey profile finds the grey that it is for
        picture, mask = both.getchannel("L"), both.getchannel("A")
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
    elif picture.mode == "1":
        picture = picture.convert("L")
    elif picture.mode not in ("RGB", "L", "CMYK"):
        picture = picture.convert("RGB")  # before any resizing: Pillow resizes palettes by nearest neighbour
    return picture, mask


def _from_sixteen_bit(picture: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """16-bit grey by its high end (Pillow's own conversion clips to white), and PNG's one transparent grey."""
    values = np.asarray(picture)
    clear = picture.info.get("transparency")
    mask = None if not isinstance(clear, int) else Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))
    table = ((np.arange(65536, dtype=np.uint32) + 128) // 257).astype(np.uint8)
    return Image.fromarray(table[values]), mask


def _from_wide(picture: Image.Image) -> Image.Image:
    """32-bit and float greys scaled to 0..255, in place: such a picture is large already."""
    values = np.array(picture, dtype=np.float32)
    np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1 and picture.mode == "F":
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 255.0 if high <= 255 else 65535.0
    values -= low
    values *= 255.0 / (high - low) if high > low else 0.0
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8))


def _to_srgb(picture: Image.Image, info: dict) -> Image.Image:
    """Apply what the file says of its colours: an ICC profile, else the gamma of a PNG."""
    gamma = info.get("gamma")
    if info.get("icc_profile"):
        return profile_to_srgb(picture, info["icc_profile"])
    if not gamma or "srgb" in info or abs(gamma * _SCREEN_GAMMA - 1) < 0.05:  # libpng's own threshold
        return picture
    power = 1 / (gamma * _SCREEN_GAMMA)
    curve = [round(255 * (value / 255) ** power) for value in range(256)]
    bands = {"L": 1, "RGB": 3, "RGBA": 3}.get(picture.mode, 0)
    return picture.point(curve * bands + (list(range(256)) if picture.mode == "RGBA" else [])) if bands else picture


@functools.lru_cache(maxsize=16)  # a drop's pictures mostly share one profile, and building takes longer than using
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From `profile` to sRGB for pictures of `mode`; None where the profile is of no use for them."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode not in _SPACES.get(source.profile.xcolor_space.strip(), ()):
            return None
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGBA" if mode == "RGBA" else "RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return None
    if mode == "CMYK":
        return transform
    # sRGB goes by many names. What moves no colour by more than rounding is sRGB, and is better left alone.
    steps = np.stack(np.meshgrid(*[np.linspace(0, 255, 9).astype(np.uint8)] * 3, indexing="ij"), -1)
    probe = Image.fromarray(steps.reshape(27, 27, 3)).convert(mode)
    moved = np.asarray(ImageCms.applyTransform(probe, transform).convert("RGB"), dtype=np.int16)
    return transform if np.abs(moved - np.asarray(probe.convert("RGB"))).max() > 2 else None
