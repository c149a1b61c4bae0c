"""Any Pillow mode -> 8-bit sRGB, the way a person would see the picture."""

from __future__ import annotations

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
    """Mode `RGB` in sRGB: ICC applied, deep greys scaled (never clipped), transparency on `background`."""
    profile = picture.info.get("icc_profile")
    picture = _eight_bit(picture)
    if picture.mode == "LAB":
        picture = ImageCms.profileToProfile(
            picture, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        profile = None
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
    elif picture.mode not in ("RGB", "L", "CMYK"):
        picture = picture.convert("RGB")  # before any resizing: Pillow resizes palettes by nearest neighbour
    if profile:
        picture = _to_srgb(picture, profile)
    if picture.mode != "RGBA":
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    canvas = Image.new("RGB", picture.size, background)
    canvas.paste(picture, mask=picture.getchannel("A"))
    return canvas


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit and float greys to 0..255 (Pillow's own conversion clips them to white)."""
    if picture.mode.startswith("I;16"):
        table = ((np.arange(65536, dtype=np.uint32) + 128) // 257).astype(np.uint8)
        return Image.fromarray(table[np.asarray(picture)])
    if picture.mode not in ("I", "F"):
        return picture
    values = np.nan_to_num(np.asarray(picture, dtype=np.float32))
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1 and picture.mode == "F":
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 255.0 if high <= 255 else 65535.0
    scale = 255.0 / (high - low) if high > low else 0.0
    return Image.fromarray(np.rint((values - low) * scale).astype(np.uint8))


def _to_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return picture  # the usual case, and a round trip through lcms would move pixels by one
        mode = "RGBA" if picture.mode == "RGBA" else "RGB"
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return picture  # damaged, or for another colour space than the pixels have: viewers ignore it
