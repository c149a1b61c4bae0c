"""The painted picture on a watch dial: sunburst, minute track, numerals, name."""

from __future__ import annotations

import numpy as np

from ..palette import COLOURS

SIZE = 512


def paint(style: str, face: str, ink: str) -> np.ndarray:
    """An RGB dial, (SIZE, SIZE, 3) bytes, twelve o'clock at the top."""
    from PIL import Image, ImageDraw, ImageFont

    base = np.array([int(COLOURS[face][i : i + 2], 16) for i in (1, 3, 5)], float)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE / 2) - 1
    rays = 1 + 0.08 * np.cos(2 * np.arctan2(y, x) + 0.7) + 0.015 * np.cos(90 * np.arctan2(y, x))
    shade = rays * (1.04 - 0.16 * np.hypot(x, y) ** 2)
    picture = Image.fromarray(np.clip(base * shade[..., None], 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    colour = tuple(int(COLOURS[ink][i : i + 2], 16) for i in (1, 3, 5))
    centre = SIZE / 2

    def spot(turn: float, radius: float) -> tuple[float, float]:
        angle = 2 * np.pi * turn
        return centre + centre * radius * np.sin(angle), centre - centre * radius * np.cos(angle)

    for minute in range(60):
        wide = minute % 5 == 0
        draw.line(
            [spot(minute / 60, 0.9 if wide else 0.93), spot(minute / 60, 0.975)],
            fill=colour,
            width=5 if wide else 2,
        )
    if style == "dress":
        numerals = "XII I II III IV V VI VII VIII IX X XI".split()
        font = ImageFont.load_default(52)
        for hour, text in enumerate(numerals):
            draw.text(spot(hour / 12, 0.72), text, fill=colour, font=font, anchor="mm")
    if style == "chrono":
        for turn in (0.25, 0.5, 0.75):
            cx, cy = spot(turn, 0.47)
            r = 0.25 * centre
            draw.ellipse(
                [cx - r, cy - r, cx + r, cy + r],
                fill=tuple(int(c * 0.82) for c in base),
                outline=colour,
                width=3,
            )
            for k in range(12):
                a = 2 * np.pi * k / 12
                inner = (cx + 0.78 * r * np.sin(a), cy - 0.78 * r * np.cos(a))
                draw.line([inner, (cx + 0.94 * r * np.sin(a), cy - 0.94 * r * np.cos(a))], fill=colour, width=3)
            draw.line(
                [(cx, cy), (cx + 0.7 * r * np.sin(turn * 9), cy - 0.7 * r * np.cos(turn * 9))],
                fill=colour,
                width=4,
            )
    if style in ("classic", "diver", "dress"):
        draw.rounded_rectangle(
            [*np.subtract(spot(0.25, 0.55), (26, 22)), *np.add(spot(0.25, 0.55), (26, 22))],
            6,
            fill=(250, 250, 250),
            outline=colour,
            width=3,
        )
        draw.text(spot(0.25, 0.55), "21", fill=(20, 20, 20), font=ImageFont.load_default(34), anchor="mm")
    draw.text(spot(0, 0.38), "AURORA", fill=colour, font=ImageFont.load_default(36), anchor="mm")
    draw.text(spot(0.5, 0.36), "automatic", fill=colour, font=ImageFont.load_default(20), anchor="mm")
    return np.asarray(picture)
