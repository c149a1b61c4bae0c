"""Shoes: sneakers, ankle boots, pumps with a heel. The toe points to +x; a shop shows the pair.

The upper is a level set: stations along the foot give half-width and height, a hole makes room for the foot,
and panels (toe cap, heel counter, stripe) are the same solid, a hair larger, cut to a region.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..mesh import (
    Array,
    Mesh,
    box,
    capsule,
    ellipsoid,
    level_set,
    loft,
    merge,
    spline,
    superellipse,
    sweep,
    tube,
)
from ..parts import Part, mirrored, moved, turned

STYLES = ("sneaker", "high-top", "boot", "pump")

Field = Callable[[Array, Array, Array], Array]

_LENGTH = 3.0
_WAIST = spline(
    np.array([(0.0, 0.37), (0.2, 0.37), (0.4, 0.345), (0.55, 0.4), (0.7, 0.47), (0.85, 0.485), (1.0, 0.46)]),
    300,
)


def shoe(*, style: str = "sneaker", pair: bool = True) -> list[Part]:
    """A pair of shoes (or one), seen from the side when it faces the camera."""
    one = {"sneaker": _sneaker, "high-top": _high_top, "boot": _boot, "pump": _pump}[style]()
    if not pair:
        return one
    other = turned(mirrored(one), "z", 7)
    return [*moved(one, y=-0.42), *moved(other, x=0.25, y=0.72)]


def _width(x: Array) -> Array:
    """Half the width of the foot at x: a waist between a round heel and a round toe."""
    at = np.clip(x / _LENGTH, 0, 1)
    heel = np.clip(1 - at / 0.13, 0, 1)
    toe = np.clip((at - 0.8) / 0.2, 0, 1)
    ends = np.sqrt(np.maximum(1 - heel**2.2, 0)) * np.sqrt(np.maximum(1 - toe**2.4, 0))
    return np.maximum(np.interp(at, _WAIST[:, 0], _WAIST[:, 1]) * ends, 1e-3)


def _foot(
    heights: list[tuple[float, float]],
    *,
    lift: Callable[[Array], Array],
    inflate: float = 0.0,
    power: float = 2.4,
) -> Field:
    """Inside of the upper: half a superellipse over every station of the foot."""
    knots = spline(np.array(heights), 200)

    def field(x: Array, y: Array, z: Array) -> Array:
        w = np.maximum(_width(x) * 0.97 + inflate, 1e-3)
        h = np.interp(x / _LENGTH, knots[:, 0], knots[:, 1]) + inflate
        up = z - lift(x)
        p = power(x) if callable(power) else power
        wall = (np.abs(y / w) ** p + np.abs(np.maximum(up, 0) / h) ** p) ** (1 / p)
        return np.maximum(
            (wall - 1) * np.minimum(w, h), np.maximum(-up, np.abs(x - _LENGTH / 2) - _LENGTH / 2 - inflate)
        )

    return field


def _hole(centre: tuple[float, float], radii: tuple[float, float], floor: float, lean: float = 0.0) -> Field:
    """An oval shaft cut down from above; `lean` tips it towards the heel as it rises."""

    def field(x: Array, y: Array, z: Array) -> Array:
        oval = np.sqrt(((x - centre[0] + lean * (z - floor)) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2)
        return np.maximum((oval - 1) * min(radii), floor - z)

    return field


def _cut(solid: Field, hole: Field) -> Field:
    return lambda x, y, z: np.maximum(solid(x, y, z), -hole(x, y, z))


def _within(solid: Field, region: Callable[[Array, Array, Array], Array]) -> Field:
    return lambda x, y, z: np.maximum(solid(x, y, z), region(x, y, z))


def _solid(field: Field, top: float, step: float = 0.032) -> Mesh:
    return level_set(field, (-0.12, -0.62, -0.05), (_LENGTH + 0.12, 0.62, top), step)


def _sole(layers: list[tuple[float, float]], rocker: float = 0.12) -> Mesh:
    """The outline of the foot stacked in layers of (height, growth)."""
    s = (1 - np.cos(np.linspace(0, np.pi, 70))) / 2 * _LENGTH
    w = _width(s)
    outline = np.concatenate([np.stack([s, -w], 1), np.stack([s, w], 1)[::-1][1:-1]])
    centre = np.array([_LENGTH / 2, 0])
    rings = []
    for z, grow in layers:
        away = outline - centre
        flat = outline + grow * away / np.linalg.norm(away, axis=1, keepdims=True)
        lift = rocker * np.clip((flat[:, 0] - 2.1) / 0.9, 0, 1.1) ** 2
        rings.append(np.concatenate([flat, (z + lift)[:, None]], 1))
    return loft(rings)


_SNEAKER = [
    (0.0, 0.75),
    (0.06, 0.92),
    (0.14, 0.9),
    (0.28, 0.82),
    (0.4, 0.92),
    (0.5, 0.82),
    (0.62, 0.62),
    (0.75, 0.48),
    (0.87, 0.4),
    (0.96, 0.3),
    (1.0, 0.2),
]


def _heights(foot: Field, x: Array, y: Array, top: float) -> Array:
    """How high the surface is over each (x, y), by looking down from above."""
    z = np.linspace(top, 0.1, 300)
    inside = foot(np.repeat(x[:, None], 300, 1), np.repeat(y[:, None], 300, 1), np.repeat(z[None], len(x), 0)) < 0
    return z[inside.argmax(1)]


def _laces(foot: Field, rows: int, start: float, stop: float, top: float) -> Mesh:
    """Cords across the throat, laid on the surface."""
    cords = []
    for x in np.linspace(start, stop, rows):
        y = np.linspace(-0.2, 0.2, 17)
        z = _heights(foot, np.full(17, x), y, top)
        cords.append(tube(np.stack([x + 0.03 * np.sin(y * 8), y, z + 0.025], 1), 0.032, side=(1, 0, 0), count=10))
    return merge(cords)


def _front_laces(foot: Field, rows: int, low: float, high: float) -> Mesh:
    """Cords up the shin, laid on the surface by looking from the toe."""
    cords = []
    for height in np.linspace(low, high, rows):
        y = np.linspace(-0.19, 0.19, 17)
        x = np.linspace(2.6, 0.8, 300)
        inside = (
            foot(
                np.broadcast_to(x, (17, 300)),
                np.broadcast_to(y[:, None], (17, 300)),
                np.full((17, 300), height),
            )
            < 0
        )
        path = np.stack([x[inside.argmax(1)] + 0.02, y, height + 0.03 * np.sin(y * 8)], 1)
        cords.append(tube(path, 0.03, side=(0, 0, 1), count=10))
    return merge(cords)


def _sneaker() -> list[Part]:
    def lift(x: Array) -> Array:
        return 0.22 + 0.1 * np.clip((x - 2.2) / 0.8, 0, 1) ** 2

    foot = _foot(_SNEAKER, lift=lift)
    hole = _hole((0.78, 0), (0.55, 0.25), 0.62)
    bigger = _foot(_SNEAKER, lift=lift, inflate=0.022)
    biggest = _foot(_SNEAKER, lift=lift, inflate=0.038)
    upper = _cut(foot, hole)
    cap = _within(biggest, lambda x, y, z: np.maximum(2.45 - x + 0.25 * np.abs(y), z - 0.62))
    counter = _within(_cut(bigger, hole), lambda x, y, z: x - 0.42 + 0.25 * (z - 0.3))
    eyestay = _within(
        _cut(bigger, hole),
        lambda x, y, z: np.maximum(np.maximum(1.15 - x, x - 2.2), np.abs(np.abs(y) - 0.2) - 0.075),
    )
    stripe = _within(
        bigger,
        lambda x, y, z: np.maximum(
            np.abs(z - 0.5 - 0.16 * (x - 0.9) ** 2) - 0.085 * (1 - 0.45 * (x - 0.4)), np.abs(x - 1.05) - 0.7
        ),
    )
    tongue = box(0.62, 0.36, 0.08, 0.035).turned("y", 38).moved(1.22, 0, 1.05)
    t = np.linspace(0, 2 * np.pi, 73)
    x, y = 0.78 + 0.56 * np.cos(t), 0.26 * np.sin(t)
    collar = tube(np.stack([x, y, _heights(foot, x, y, 1.4)], 1), 0.05, side=(0, 0, 1))
    return [
        Part("upper", _solid(upper, 1.35)),
        Part("accent", _solid(counter, 1.35)),
        Part("accent", _solid(stripe, 1.35)),
        Part("toe", _solid(cap, 1.0)),
        Part("upper", _solid(eyestay, 1.35)),
        Part("accent", collar),
        Part("upper", tongue),
        Part("laces", _laces(foot, 6, 1.28, 2.05, 1.5)),
        Part("sole", _sole([(0.0, -0.02), (0.03, 0.03), (0.12, 0.055), (0.22, 0.05), (0.27, 0.03)])),
        Part("tread", _sole([(-0.045, -0.03), (-0.04, 0.025), (0.02, 0.045)])),
    ]


def _ankle(radius: tuple[float, float], top: float, lean: float = 0.06, flare: float = 0.0) -> Field:
    """A shaft that rises from the heel."""

    def field(x: Array, y: Array, z: Array) -> Array:
        grow = 1 + flare * np.clip(z - 0.8, 0, None)
        oval = np.sqrt(((x - 0.72 + lean * z) / (radius[0] * grow)) ** 2 + (y / (radius[1] * grow)) ** 2)
        return np.maximum((oval - 1) * radius[1], np.maximum(z - top, 0.3 - z))

    return field


def _blend(a: Field, b: Field, soft: float) -> Field:
    def field(x: Array, y: Array, z: Array) -> Array:
        f, g = a(x, y, z), b(x, y, z)
        h = np.clip(0.5 + 0.5 * (g - f) / soft, 0, 1)
        return g * (1 - h) + f * h - soft * h * (1 - h)

    return field


def _high_top() -> list[Part]:
    low = [(s, h if s > 0.45 else 0.75) for s, h in _SNEAKER]

    def lift(x: Array) -> Array:
        return 0.28 + 0.08 * np.clip((x - 2.2) / 0.8, 0, 1) ** 2

    foot, bigger = _foot(low, lift=lift), _foot(low, lift=lift, inflate=0.03)
    body = _blend(foot, _ankle((0.56, 0.36), 1.72), 0.25)
    hole = _hole((0.72, 0), (0.47, 0.28), 0.7, 0.06)
    cap = _within(bigger, lambda x, y, z: 2.5 - x + 0.3 * np.abs(y))
    t = np.linspace(0, 2 * np.pi, 50)
    collar = tube(np.stack([0.62 + 0.53 * np.cos(t), 0.33 * np.sin(t), np.full(50, 1.72)], 1), 0.04, side=(0, 0, 1))
    patch = merge([ellipsoid(0.19, 0.035, 0.19).moved(0.64, y, 1.2) for y in (-0.37, 0.37)])
    front = _front_laces(body, 5, 0.98, 1.6)
    return [
        Part("upper", _solid(_cut(body, hole), 1.85)),
        Part("toe", _solid(cap, 1.0)),
        Part("accent", collar),
        Part("accent", patch),
        Part("laces", merge([_laces(body, 4, 1.75, 2.25, 1.4), front])),
        Part("sole", _sole([(0.0, 0.0), (0.02, 0.035), (0.3, 0.04), (0.34, 0.02)])),
        Part("accent", _sole([(0.2, 0.05), (0.21, 0.055), (0.245, 0.055), (0.25, 0.05)])),
        Part("tread", _sole([(-0.03, -0.01), (-0.025, 0.035), (0.05, 0.045)])),
    ]


def _boot() -> list[Part]:
    heights = [(s, h * 0.95 if s > 0.45 else 0.72) for s, h in _SNEAKER]

    def lift(x: Array) -> Array:
        return 0.34 + 0.06 * np.clip((x - 2.2) / 0.8, 0, 1) ** 2

    foot = _foot(heights, lift=lift)
    body = _blend(foot, _ankle((0.58, 0.38), 2.35, 0.05, 0.03), 0.3)
    grown = _blend(_foot(heights, lift=lift, inflate=0.02), _ankle((0.6, 0.4), 2.3, 0.05, 0.03), 0.3)
    hole = _hole((0.72, 0), (0.5, 0.31), 0.8, 0.05)
    gusset = _within(
        _cut(grown, hole),
        lambda x, y, z: np.maximum(
            np.abs(x - 0.64) - 0.1 - 0.13 * np.clip(z - 1.2, 0, 2), np.maximum(1.15 - z, z - 2.28)
        ),
    )
    t = np.linspace(0, 2 * np.pi, 50)
    rim = tube(np.stack([0.6 + 0.6 * np.cos(t), 0.39 * np.sin(t), np.full(50, 2.34)], 1), 0.028, side=(0, 0, 1))
    pull = tube(
        spline(np.array([(0.02, 0, 2.1), (-0.06, 0, 2.35), (-0.04, 0, 2.55), (0.04, 0, 2.5), (0.08, 0, 2.2)]), 30),
        0.035,
    )
    welt = _sole([(0.2, 0.02), (0.22, 0.06), (0.3, 0.065), (0.34, 0.04)], 0.06)
    heel = level_set(
        lambda x, y, z: (
            np.maximum(
                np.maximum(np.abs(y) / np.maximum(_width(x) * 1.05, 0.02) - 1, x - 0.85),
                np.maximum(z - 0.22, -z),
            )
            * 0.4
        ),
        (-0.05, -0.5, -0.05),
        (1.0, 0.5, 0.3),
        0.03,
    )
    ball = level_set(
        lambda x, y, z: (
            np.maximum(
                np.maximum(np.abs(y) / np.maximum(_width(x) * 1.05, 0.02) - 1, 1.0 - x),
                np.maximum(z - 0.22, 0.12 - z - 0.1 + 0.06 * np.clip(x - 2.2, 0, 1)),
            )
            * 0.4
        ),
        (0.9, -0.55, -0.05),
        (3.05, 0.55, 0.3),
        0.03,
    )
    return [
        Part("upper", _solid(_cut(body, hole), 2.45, 0.036)),
        Part("accent", _solid(gusset, 2.45, 0.036)),
        Part("accent", merge([rim, pull])),
        Part("sole", welt),
        Part("tread", merge([heel, ball])),
    ]


def _pump() -> list[Part]:
    rise = 1.05
    heights = [
        (0.0, 0.42),
        (0.06, 0.56),
        (0.15, 0.55),
        (0.3, 0.42),
        (0.45, 0.34),
        (0.6, 0.3),
        (0.72, 0.3),
        (0.82, 0.29),
        (0.92, 0.22),
        (1.0, 0.12),
    ]

    def lift(x: Array) -> Array:
        t = np.clip((x - 0.35) / 1.75, 0, 1)
        return 0.07 + rise * (1 - t * t * (3 - 2 * t)) + 0.03 * np.clip((x - 2.5) / 0.5, 0, 1) ** 2

    foot = _foot(heights, lift=lift, power=lambda x: np.interp(x, [0, 1.6, 2.4, 3.0], [3.4, 3.4, 2.3, 1.9]))
    top = spline(
        np.array([(0, 0.5), (0.25, 0.47), (0.8, 0.33), (1.4, 0.25), (2.0, 0.23), (2.3, 0.26), (3.0, 0.5)]),
        200,
    )

    def shell(x: Array, y: Array, z: Array) -> Array:
        up = z - lift(x)
        topline = np.interp(x, top[:, 0], top[:, 1])
        mouth = x - 2.2 + 0.9 * y**2
        room = np.maximum(np.maximum(np.abs(y) - np.maximum(_width(x) * 0.97 - 0.07, -0.05), 0.06 - up), mouth)
        room = np.maximum(room, 0.1 - x)
        above = np.maximum(topline - up, mouth)
        return np.maximum(np.maximum(foot(x, y, z), -room), -above)

    def slab(x: Array, y: Array, z: Array) -> Array:
        up = z - lift(x)
        side = (np.abs(y) / np.maximum(_width(x) * 0.98, 0.02) - 1) * 0.35
        return np.maximum(np.maximum(side, np.abs(up + 0.02) - 0.04), np.maximum(-x, x - _LENGTH))

    heel_path = np.array([(0.3, 0, rise + 0.05), (0.24, 0, 0.75), (0.18, 0, 0.35), (0.16, 0, 0.0)])
    path = spline(heel_path, 24)
    heel = sweep(
        path,
        superellipse(0.3, 0.25, 2.4, 28),
        side=(0, 1, 0),
        scale=np.interp(np.linspace(0, 1, 24), [0, 0.25, 1], [1.0, 0.5, 0.24]),
    )
    insole = level_set(
        lambda x, y, z: np.maximum(
            np.maximum(np.abs(y) - np.maximum(_width(x) * 0.97 - 0.075, -0.02), np.abs(z - lift(x) - 0.045) - 0.02),
            np.maximum(0.1 - x, x - 2.6),
        ),
        (-0.1, -0.6, -0.05),
        (3.1, 0.6, 1.4),
        0.025,
    )
    fine = 0.02
    return [
        Part("upper", level_set(shell, (-0.1, -0.6, 0), (3.1, 0.6, 1.85), fine)),
        Part("sole", level_set(slab, (-0.1, -0.6, -0.05), (3.1, 0.6, 1.4), fine)),
        Part("upper", heel),
        Part("accent", insole),
        Part("tread", capsule((0.16, 0, 0.02), (0.16, 0, -0.02), 0.06)),
    ]
