"""What may be wrong with a picture that decodes: blurred, dark, empty, small, oddly shaped.

Everything here is a warning for people and shuts nothing out. Measures are those that cleanvision reports too; it isn't
used, because it would bring matplotlib, scipy and PyWavelets for three formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image

from mmrag_pipeline.media.decode import Pixels

SIDE = 1024
"""Pixels of the longest side at which a picture is judged, at most: so large it becomes a reference."""
_TILES = 4


class Concern(StrEnum):
    """What somebody should look at."""

    BLURRED = "blurred"
    DARK = "dark"
    LOW_INFORMATION = "low_information"
    SMALL = "small"
    ODD_ASPECT = "odd_aspect"
    RIGHTS = "rights_to_clear"


LEAST_SHARPNESS = 20.0
"""400 photographs and renders of products have 24 and more; blurred by 2 pixels half of them have under 18, by 4 all
have under 5; enlarged four times half have under 37.
"""
LEAST_BRIGHT = 80.0
LEAST_ENTROPY = 2.0
LEAST_SIDE = 256
MOST_ASPECT = 3.0

TO_DO = {
    Concern.BLURRED: "ask for a sharper shot, or the file before it was enlarged",
    Concern.DARK: "ask for a lighter shot: nothing in it is brighter than a third of white",
    Concern.LOW_INFORMATION: "look at it: it is nearly one shade, perhaps a placeholder or a failed export",
    Concern.SMALL: f"ask for a larger file: a side has under {LEAST_SIDE} pixels",
    Concern.ODD_ASPECT: f"crop it: longer than {MOST_ASPECT:g} to 1, the model sees only a part or a squeezed whole",
    Concern.RIGHTS: "clear the rights of the people in it and say so in the catalogue (column release), or take it out",
}


@dataclass(frozen=True)
class Measures:
    """`sharpness` is the variance of the Laplacian in the sharpest part, `bright` the 99th percentile of the lightness
    (0 to 255), `entropy` that of the lightness in bits.
    """

    sharpness: float
    bright: float
    entropy: float


def measure(pixels: Pixels) -> Measures:
    """Of an upright picture, as it is or reduced.

    Sharpness: variance of the Laplacian (Pech-Pacheco et al., ICPR 2000), of the sharpest of 4 x 4 tiles, because a
    product on white is mostly nothing. Entropy: Shannon's, of the histogram.
    """
    picture = Image.fromarray(pixels.rgb).convert("L")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    light = np.asarray(picture, dtype=np.float32)
    bright = float(np.percentile(light, 99))
    return Measures(_sharpness(light), bright, float(picture.entropy()))


def concerns_of(measures: Measures, *, width: int, height: int) -> list[Concern]:
    """What is outside the bounds above; an empty picture is not called blurred as well."""
    short, long = sorted((width, height))
    found = []
    if measures.entropy < LEAST_ENTROPY:
        found.append(Concern.LOW_INFORMATION)
    elif measures.sharpness < LEAST_SHARPNESS:
        found.append(Concern.BLURRED)
    if measures.bright < LEAST_BRIGHT:
        found.append(Concern.DARK)
    if short < LEAST_SIDE:
        found.append(Concern.SMALL)
    if long > MOST_ASPECT * short:
        found.append(Concern.ODD_ASPECT)
    return found


def _sharpness(light: np.ndarray) -> float:
    around = light[:-2, 1:-1] + light[2:, 1:-1] + light[1:-1, :-2] + light[1:-1, 2:]
    laplacian = around - 4 * light[1:-1, 1:-1]
    rows = np.array_split(laplacian, _TILES, axis=0)
    tiles = [tile for row in rows for tile in np.array_split(row, _TILES, axis=1) if tile.size]
    return max(float(tile.var()) for tile in tiles) if tiles else 0.0
