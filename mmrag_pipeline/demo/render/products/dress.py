"""Dresses and capes on a dress form. Cloth is a lattice of rings whose folds deepen towards the hem."""

from __future__ import annotations

import numpy as np

from ..mesh import (
    Array,
    Mesh,
    ellipsoid,
    evenly,
    grid,
    loft,
    merge,
    revolve,
    ring,
    sheet,
    spline,
    superellipse,
    torus,
    tube,
)
from ..parts import Part

STYLES = ("gown", "cocktail", "sheath", "wrap", "tiered", "cape", "hooded cape")

_COUNT = 181
_BODY = spline(
    np.array(  # height, half-width, half-depth
        [
            (1.45, 0.40, 0.27),
            (1.62, 0.43, 0.29),
            (1.85, 0.37, 0.245),
            (2.06, 0.295, 0.2),
            (2.25, 0.335, 0.225),
            (2.47, 0.40, 0.285),
            (2.62, 0.40, 0.25),
            (2.75, 0.41, 0.195),
            (2.86, 0.36, 0.155),
            (2.93, 0.22, 0.125),
            (2.98, 0.135, 0.115),
            (3.1, 0.12, 0.11),
            (3.22, 0.118, 0.108),
        ]
    ),
    160,
)


def dress(*, style: str = "gown", seed: int = 0) -> list[Part]:
    """A dress or a cape on its form, the front along -y; the seed moves the folds."""
    rng = np.random.default_rng(seed)
    if "cape" in style:
        return [*_form(head="hooded" in style), *_cape(rng, hood="hooded" in style)]
    return [*_form(), *_dress(style, rng)]


def _at(z: Array) -> tuple[Array, Array]:
    return np.interp(z, _BODY[:, 0], _BODY[:, 1]), np.interp(z, _BODY[:, 0], _BODY[:, 2])


def _form(*, head: bool = False) -> list[Part]:
    """The dress form: torso, neck cap, pole and foot."""
    torso = loft([ring(superellipse(w, d, 2.2, 64), z) for z, w, d in _BODY[::3]])
    cap = revolve(
        [
            (0.0, 3.2),
            (0.13, 3.2),
            (0.135, 3.23),
            (0.11, 3.27),
            (0.04, 3.29),
            (0.035, 3.33),
            (0.05, 3.37),
            (0.03, 3.42),
            (0, 3.43),
        ],
        smooth=40,
    )
    pole = revolve([(0, 0.05), (0.035, 0.05), (0.035, 1.5), (0, 1.5)])
    foot = revolve([(0, 0), (0.42, 0), (0.43, 0.02), (0.41, 0.045), (0.1, 0.07), (0.05, 0.12), (0, 0.13)])
    parts = [Part("form", torso), Part("stand", merge([pole, foot]))]
    if head:
        return [*parts, Part("form", ellipsoid(0.175, 0.2, 0.26).moved(0, -0.01, 3.42))]
    return [*parts, Part("stand", cap)]


def _angles() -> Array:
    """Once round, from the middle of the back, so that the seam is behind; -pi/2 is the front."""
    return np.linspace(np.pi / 2, np.pi / 2 + 2 * np.pi, _COUNT)


def _folds(t: Array, rng: np.random.Generator, count: int) -> Array:
    """A wavy line round the body between -1 and 1, sharper outside than in."""
    phase = rng.uniform(0, 2 * np.pi, 3)
    wave = np.sin(count * t + phase[0] + 0.7 * np.sin(2 * t + phase[1]))
    wave = 0.75 * wave + 0.25 * np.sin((2 * count - 3) * t + phase[2])
    return 1 - 2 * np.abs(0.5 - 0.5 * wave) ** 1.4


def _skirt(
    rng: np.random.Generator,
    *,
    hem: float,
    flare: float,
    folds: int,
    depth: float,
    start: float = 2.06,
    wave: float = 0.0,
) -> Mesh:
    t = _angles()
    wavy = _folds(t, rng, folds)
    rows = []
    for v in np.linspace(0, 1, 60):
        z = start + (hem - start) * v
        w, d = _at(np.array(max(z, 1.5)))
        spread = flare * v**1.35
        amp = depth * np.clip(v - 0.06, 0, 1) ** 1.15
        r = 1 + 0 * t
        x = (w + 0.018 + spread) * np.cos(t) * r + amp * wavy * np.cos(t)
        y = (d + 0.018 + spread * 0.85) * np.sin(t) * r + amp * wavy * np.sin(t)
        rows.append(np.stack([x, y, z + wave * v * np.sin(t * 2 + 1) + 0 * t], 1))
    return grid(np.stack(rows[::-1]))


def _bodice(top: Array, *, low: float = 2.02, ease: float = 0.02) -> Mesh:
    """Cloth that follows the form from the waist to a neckline given for every angle."""
    t = _angles()
    rows = []
    for v in np.linspace(0, 1, 40):
        z = low + (top - low) * v
        w, d = _at(z)
        rows.append(
            np.stack(
                [
                    (w + ease) * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** 0.92,
                    (d + ease) * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** 0.92,
                    z,
                ],
                1,
            )
        )
    inner = rows[-1] * [0.94, 0.94, 1]
    return grid(np.stack([*rows, inner]))


def _straps(top: float, x: float, radius: float) -> Mesh:
    straps = []
    for side in (-1, 1):
        line = [
            (side * x, -0.27, top),
            (side * x * 1.02, -0.235, 2.72),
            (side * x, -0.13, 2.9),
            (side * x, 0.0, 2.945),
            (side * x, 0.13, 2.9),
            (side * x, 0.24, 2.7),
            (side * x, 0.27, top - 0.1),
        ]
        straps.append(tube(evenly(spline(np.array(line), 60), 60), radius))
    return merge(straps)


def _belt(height: float = 0.05) -> Mesh:
    t = _angles()
    w, d = _at(np.array(2.06))
    rows = [
        np.stack([(w + g) * np.cos(t), (d + g) * np.sin(t), np.full(_COUNT, z)], 1)
        for z, g in (
            (2.06 - height, 0.02),
            (2.06 - height, 0.045),
            (2.06 + height, 0.045),
            (2.06 + height, 0.02),
        )
    ]
    return grid(np.stack(rows))


def _sleeves(rng: np.random.Generator, length: float) -> Mesh:
    made = []
    for side in (-1, 1):
        path = spline(
            np.array(
                [
                    (side * 0.33, 0, 2.8),
                    (side * 0.45, 0.0, 2.68),
                    (side * (0.5 + 0.06 * length), -0.02, 2.68 - 0.5 * length),
                    (side * (0.5 + 0.1 * length), -0.05, 2.68 - length),
                ]
            ),
            40,
        )
        rings = []
        u = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        wave = 1 + 0.05 * np.sin(5 * u + rng.uniform(0, 6))
        for k, p in enumerate(path):
            r = np.interp(k / 39, [0, 0.25, 0.9, 1], [0.13, 0.145, 0.125 + 0.03 * length, 0.12])
            rings.append(p + np.stack([r * wave * np.cos(u), r * wave * np.sin(u), 0.25 * r * np.cos(u) * side], 1))
        made.append(loft(rings))
    return merge(made)


def _dress(style: str, rng: np.random.Generator) -> list[Part]:
    t = _angles()
    front = np.exp(-(((t - 1.5 * np.pi) / 0.5) ** 2))
    sweetheart = (
        2.6
        - 0.05 * np.cos(2 * t)
        + 0.05 * np.exp(-(((np.abs(t - 1.5 * np.pi) - 0.45) / 0.3) ** 2))
        - 0.06 * np.exp(-(((t - 1.5 * np.pi) / 0.14) ** 2))
    )
    vneck = np.where(np.abs(np.cos(t)) > 0.25, 2.87, 2.9) - 0.36 * np.exp(-((np.abs(t - 1.5 * np.pi) / 0.33) ** 1.6))
    round_neck = 2.9 - 0.12 * front
    if style == "gown":
        return [
            Part("cloth", _skirt(rng, hem=0.03, flare=0.62, folds=11, depth=0.085)),
            Part("cloth", _bodice(sweetheart)),
            Part("trim", _belt(0.04)),
        ]
    if style == "cocktail":
        return [
            Part("cloth", _skirt(rng, hem=1.02, flare=0.5, folds=13, depth=0.07)),
            Part("cloth", _bodice(sweetheart)),
            Part("cloth", _straps(2.62, 0.21, 0.022)),
            Part("trim", _belt(0.045)),
        ]
    if style == "sheath":
        return [
            Part("cloth", _skirt(rng, hem=0.85, flare=-0.02, folds=5, depth=0.012)),
            Part("cloth", _bodice(round_neck)),
            Part("trim", _belt(0.025)),
        ]
    if style == "wrap":
        sash = tube(
            spline(
                np.array([(0.14, -0.26, 2.05), (0.2, -0.34, 1.8), (0.17, -0.42, 1.45), (0.22, -0.46, 1.15)]),
                40,
            ),
            0.03,
        )
        return [
            Part("cloth", _skirt(rng, hem=0.6, flare=0.34, folds=8, depth=0.06, wave=0.05)),
            Part("cloth", _bodice(vneck)),
            Part("cloth", _sleeves(rng, 0.42)),
            Part("trim", merge([_belt(0.045), sash])),
        ]
    tiers = []
    for level, (start, hem, flare) in enumerate(((2.06, 1.5, 0.2), (1.58, 0.85, 0.4), (0.95, 0.12, 0.62))):
        tier = _skirt(rng, hem=hem, flare=flare, folds=12 + 3 * level, depth=0.07, start=start)
        grow = (1.0, 1.32, 1.72)[level]
        tiers.append(tier.scaled(grow, grow, 1.0) if level else tier)
    return [
        Part("cloth", merge(tiers)),
        Part("cloth", _bodice(round_neck)),
        Part("cloth", _sleeves(rng, 0.25)),
        Part("trim", _belt(0.03)),
    ]


def _cape(rng: np.random.Generator, *, hood: bool) -> list[Part]:
    """A cloak: closed at the throat, open down the front, falling in deep folds."""
    n = 240
    rows = []
    u = np.linspace(-1, 1, n)
    wavy = _folds(u * np.pi, rng, 9)
    for v in np.linspace(0, 1, 80):
        gap = 0.10 + 0.32 * v**1.2
        t = np.pi / 2 + u * (np.pi - gap)
        z = np.interp(v, [0, 0.06, 0.14, 0.24, 1], [3.08, 2.98, 2.88, 2.68, 0.22])
        w = np.interp(v, [0, 0.06, 0.14, 0.24, 0.5, 1], [0.17, 0.24, 0.44, 0.54, 0.66, 0.98])
        d = np.interp(v, [0, 0.06, 0.14, 0.24, 0.5, 1], [0.155, 0.18, 0.25, 0.33, 0.46, 0.72])
        amp = 0.1 * np.clip((v - 0.12) / 0.88, 0, 1) ** 0.9
        rows.append(np.stack([(w + amp * wavy) * np.cos(t), (d + amp * wavy) * np.sin(t), z + 0 * t], 1))
    smooth = np.stack(rows)
    kernel = np.array([1, 2, 3, 2, 1]) / 9
    for axis in range(3):
        padded = np.pad(smooth[..., axis], ((2, 2), (0, 0)), mode="edge")
        smooth[..., axis] = sum(k * padded[i : i + len(rows)] for i, k in enumerate(kernel))
    parts = [
        Part("cloth", sheet(smooth[::-1], 0.03)),
        Part("inner", _skirt(rng, hem=0.55, flare=0.12, folds=6, depth=0.03)),
        Part("inner", _bodice(np.full(_COUNT, 2.9))),
    ]
    for x in (-0.08, 0.08):
        parts.append(
            Part(
                "metal",
                merge([ellipsoid(0.05, 0.025, 0.05), torus(0.052, 0.012, count=32).turned("x", 90)]).moved(
                    x, -0.185, 3.02
                ),
            )
        )
    parts.append(
        Part(
            "metal",
            tube(
                np.array(
                    [
                        (-0.08, -0.2, 3.0),
                        (-0.04, -0.21, 2.97),
                        (0, -0.215, 2.96),
                        (0.04, -0.21, 2.97),
                        (0.08, -0.2, 3.0),
                    ]
                ),
                0.012,
            ),
        )
    )
    if hood:
        parts.append(Part("cloth", _hood()))
    else:
        collar = []
        for v in np.linspace(0, 1, 12):
            t = np.pi / 2 + u * (np.pi - 0.55)
            r = 0.18 + 0.14 * v**1.5
            collar.append(np.stack([r * np.cos(t), r * 0.92 * np.sin(t), 3.02 + 0.27 * v + 0.05 * v * np.sin(t)], 1))
        parts.append(Part("cloth", sheet(np.stack(collar), 0.025)))
    return parts


def _hood() -> Mesh:
    """A hood drawn up round the head, open to the front."""
    rows = []
    u = np.linspace(-1, 1, 70)
    for v in np.linspace(0, 1, 36):
        half = u * np.pi * 0.5
        depth = -0.26 + 0.6 * v
        size = np.sqrt(max(1 - max(0, (v - 0.45) / 0.56) ** 2, 0.0))
        x = 0.27 * size * np.sin(u * np.pi * 0.78)
        z = 3.38 + 0.36 * size * np.cos(u * np.pi * 0.78) + 0.04 * v
        x = x * np.where(z < 3.3, 1 - 0.25 * np.clip(3.3 - z, 0, 0.3) / 0.3, 1)
        rows.append(np.stack([x, depth + 0.06 * np.cos(half), z], 1))
    return sheet(np.stack(rows), 0.03)
