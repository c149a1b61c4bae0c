"""Names the main colour of the thing in a picture, from its pixels.

Used for two things only: colour words in training captions, and the colour label of the held-out test. How it
is measured: the picture at 96 px in CIELAB; background = up to three colour clusters of the outer frame; the
thing = pixels of the centred ellipse that are further than 13 from each of them (the middle of the ellipse
when almost nothing is left, as for a white shirt on a white bed); every pixel gets the nearest prototype's
name, and the most frequent name wins when it covers at least 40% of the thing (55% for grey, which any shadow
looks like). Otherwise the answer is None: no caption or label is better than a wrong one.
"""

from pathlib import Path

import numpy as np
from PIL import Image

#: name -> prototype sRGB values as they look in ordinary indoor photographs
PROTOTYPES: dict[str, list[tuple[int, int, int]]] = {
    "black": [(12, 12, 14), (38, 37, 40), (28, 28, 34), (52, 50, 52)],
    "white": [(250, 250, 250), (228, 228, 230), (215, 217, 224), (236, 232, 224)],
    "grey": [(128, 128, 130), (160, 160, 164), (95, 95, 98), (140, 145, 152), (182, 183, 187)],
    "red": [(200, 25, 35), (160, 25, 35), (220, 60, 60), (185, 45, 50)],
    "burgundy": [(95, 25, 38), (75, 28, 38), (118, 32, 48)],
    "pink": [(235, 150, 170), (225, 175, 180), (225, 90, 140), (200, 120, 135), (205, 30, 110)],
    "orange": [(235, 120, 35), (220, 95, 40), (245, 150, 70)],
    "yellow": [(235, 205, 60), (215, 175, 45), (240, 220, 120)],
    "green": [(50, 120, 65), (30, 75, 50), (110, 160, 90), (60, 150, 95), (150, 190, 130)],
    "olive": [(95, 95, 60), (70, 72, 50), (120, 118, 80)],
    "turquoise": [(60, 160, 165), (30, 120, 130), (120, 200, 200)],
    "navy": [(28, 34, 66), (35, 42, 84), (40, 48, 74)],
    "blue": [(40, 80, 170), (60, 100, 160), (70, 100, 140), (30, 60, 130), (80, 105, 135)],
    "light blue": [(140, 175, 215), (165, 190, 215), (120, 150, 185), (130, 160, 190)],
    "purple": [(110, 60, 140), (80, 45, 105), (150, 115, 170), (120, 50, 95)],
    "brown": [(100, 65, 45), (75, 50, 38), (130, 85, 55), (60, 44, 38)],
    "beige": [(205, 185, 155), (190, 168, 140), (220, 200, 175), (165, 145, 120)],
}
NAMES = [name for name, rows in PROTOTYPES.items() for _ in rows]


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB 0..255 (any shape, last axis 3) -> CIELAB (D65)."""
    linear = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ matrix.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


PROTOTYPE_LAB = to_lab(np.array([row for rows in PROTOTYPES.values() for row in rows]))


def clusters(points: np.ndarray, *, k: int = 3, rounds: int = 6) -> np.ndarray:
    """A few rounds of k-means, started from lightness quantiles so that it is deterministic."""
    order = points[np.argsort(points[:, 0])]
    centres = order[np.linspace(0, len(order) - 1, 2 * k + 1).astype(int)[1::2]]
    for _ in range(rounds):
        nearest = np.linalg.norm(points[:, None] - centres[None], axis=2).argmin(1)
        centres = np.stack([points[nearest == i].mean(0) if (nearest == i).any() else centres[i] for i in range(k)])
    return centres


def thing_pixels(lab: np.ndarray) -> np.ndarray:
    """The pixels that belong to the pictured thing, as rows of Lab values."""
    height, width = lab.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    frame = (np.abs(x) > 0.88) | (np.abs(y) > 0.88)
    inside = (x / 0.72) ** 2 + (y / 0.8) ** 2 < 1
    background = clusters(lab[frame])
    distance = np.linalg.norm(lab[:, :, None] - background[None, None], axis=3).min(2)
    thing = inside & (distance > 13)
    if thing.sum() < 0.2 * inside.sum():
        thing = (x / 0.4) ** 2 + (y / 0.45) ** 2 < 1
    return lab[thing]


def measured_colour(path: Path) -> str | None:
    """The name of the thing's main colour, or None when no colour clearly leads."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((96, 96), Image.Resampling.BOX))
    lab = thing_pixels(to_lab(pixels))
    weights = np.array([0.6, 1.0, 1.0])  # lightness differs with the lighting; hue and chroma less
    nearest = np.linalg.norm((lab[:, None] - PROTOTYPE_LAB[None]) * weights, axis=2).argmin(1)
    names, counts = np.unique(np.array(NAMES)[nearest], return_counts=True)
    best = counts.argmax()
    share = 0.55 if names[best] == "grey" else 0.4
    return str(names[best]) if counts[best] >= share * len(lab) else None
