"""Whether letters can be read on a picture: WCAG contrast against every pixel below them, and shade where it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

from mmrag_pipeline.campaigns.backends.drawing import Box, Colour, luminance

LIGHT: Colour = (255, 255, 255)
DARK: Colour = (0, 0, 0)
READABLE = 4.5
"""WCAG 2 AA for text of any size; graphics need 3."""
VISIBLE = 3.0
STEPS = 20
FOG = 0.3
"""How much more dark shade is rather taken than light shade."""

_LINEAR = np.array([luminance((value,) * 3) for value in range(256)], dtype=np.float32)
_WEIGHTS = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)

Ink = Literal["light", "dark"]
INKS: dict[Ink, tuple[Colour, Colour]] = {"light": (LIGHT, DARK), "dark": (DARK, LIGHT)}
"""Ink -> its colour, and that of the shade below it."""


def luminances(pixels: np.ndarray) -> np.ndarray:
    """Relative luminance of each pixel, 0 to 1."""
    return _LINEAR[pixels] @ _WEIGHTS


def least_contrast(pixels: np.ndarray, ink: Colour) -> float:
    """Contrast of the ink with the pixel that is nearest to it."""
    below, own = luminances(pixels), luminance(ink)
    lighter, darker = np.maximum(below, own), np.minimum(below, own)
    return float(((lighter + 0.05) / (darker + 0.05)).min())


def choose_ink(picture: np.ndarray, boxes: Sequence[Box]) -> Ink:
    """Light, unless dark needs clearly less shade below it: a photo stands darkening better than fog. One for the whole
    picture, so that no shade of one line spoils another.
    """
    light, dark = (max((_strength(_cut(picture, box), ink) for box in boxes), default=0.0) for ink in INKS)
    return "dark" if dark + FOG < light else "light"


def shade(picture: np.ndarray, box: Box, ink: Ink, *, fade: int, least: float = 0.0) -> None:
    """Shade the picture below a box, in place, just enough that this ink can be read on every pixel of it, `least` or
    more of it.

    The shade goes on to the picture's edges left and beyond the box, and fades out over `fade` pixels elsewhere.
    """
    strength = max(least, _strength(_cut(picture, box), ink))
    if not strength:
        return
    height, width = picture.shape[:2]
    near_top = box.y + box.h / 2 < height / 2
    up = 0 if near_top else max(0, box.y - fade)
    down = min(height, box.y + box.h + fade) if near_top else height
    right = min(width, box.x + box.w + fade)
    rows, columns = np.arange(up, down), np.arange(0, right)
    beyond = (rows - (box.y + box.h - 1)) if near_top else (box.y - rows)
    cover = np.outer(_eased(beyond, fade), _eased(columns - (box.x + box.w - 1), fade))[..., None]
    place = picture[up:down, 0:right]
    place[...] = _blended(place, INKS[ink][1], cover * strength)


def _eased(beyond: np.ndarray, fade: int) -> np.ndarray:
    """1 inside, 0 from `fade` pixels beyond, smooth in between."""
    left = np.clip(1 - beyond / max(1, fade), 0, 1).astype(np.float32)
    return left * left * (3 - 2 * left)


def _strength(pixels: np.ndarray, ink: Ink) -> float:
    """The least share of shade, 0 to 1, at which the ink can be read on each of these pixels."""
    colour, ground = INKS[ink]
    # Four steps of each channel as one, by that one of them that is the worst for this ink.
    red, green, blue = (pixels[..., n].astype(np.int32).ravel() >> 2 for n in range(3))
    found = np.flatnonzero(np.bincount(red << 12 | green << 6 | blue))
    worst = np.stack([found >> 12, found >> 6 & 63, found & 63], axis=-1) << 2 | (3 if ink == "light" else 0)
    low, high = 0, STEPS
    while low < high:
        middle = (low + high) // 2
        enough = least_contrast(_blended(worst, ground, np.float32(middle / STEPS)), colour) >= READABLE
        low, high = (low, middle) if enough else (middle + 1, high)
    return low / STEPS


def _blended(pixels: np.ndarray, ground: Colour, share: np.ndarray | np.float32) -> np.ndarray:
    over = np.array(ground, dtype=np.float32)
    return np.rint(pixels + (over - pixels) * share).astype(np.uint8)


def stands_out(logo: Image.Image, below: np.ndarray) -> float:
    """The share of what is seen of an RGBA logo that has enough contrast with the pixel below it."""
    pixels = np.asarray(logo)
    own, ground = luminances(pixels[..., :3]), luminances(below)
    lighter, darker = np.maximum(own, ground), np.minimum(own, ground)
    seen = pixels[..., 3].astype(np.float32)
    return float((((lighter + 0.05) / (darker + 0.05) >= VISIBLE) * seen).sum() / max(1.0, seen.sum()))


def busyness(picture: np.ndarray, boxes: Sequence[Box]) -> float:
    """How much goes on below these boxes: mean change from pixel to pixel."""
    changes, count = 0.0, 0
    for box in boxes:
        grey = luminances(_cut(picture, box))
        changes += float(np.abs(np.diff(grey, axis=0)).sum() + np.abs(np.diff(grey, axis=1)).sum())
        count += grey.size
    return changes / max(1, count)


def _cut(picture: np.ndarray, box: Box) -> np.ndarray:
    return picture[box.y : box.y + box.h, box.x : box.x + box.w]
