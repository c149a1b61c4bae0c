"""Bags: an open tote, handbags with a flap and a top handle or a chain, a backpack, a bucket bag."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..mesh import (
    box,
    capsule,
    evenly,
    grid,
    loft,
    merge,
    ring,
    sheet,
    spline,
    superellipse,
    sweep,
    torus,
    tube,
)
from ..parts import Part

STYLES = ("tote", "handbag", "crossbody", "backpack", "bucket")


def bag(*, style: str = "tote", wide: float = 1.0, tall: float = 1.0) -> list[Part]:
    """A bag of one style, its front along -y; `wide` and `tall` stretch the body."""
    build = {
        "tote": _tote,
        "handbag": _handbag,
        "crossbody": _crossbody,
        "backpack": _backpack,
        "bucket": _bucket,
    }
    return build[style](wide, tall)


def _tote(wide: float, tall: float) -> list[Part]:
    heights = np.array([0, 0.015, 0.06, 0.4, 0.9, 1.4, 1.75]) * tall
    widths = np.array([0.86, 0.93, 0.97, 1.0, 1.04, 1.08, 1.1]) * wide
    depths = np.array([0.3, 0.35, 0.38, 0.37, 0.35, 0.31, 0.28])
    rings = [ring(superellipse(w, d, 4.5, 96), z) for w, d, z in zip(widths, depths, heights, strict=True)]
    top = heights[-1]
    inside = [
        ring(superellipse(widths[-1] - g, depths[-1] - g, 4.5, 96), z)
        for g, z in ((0.0, top), (0.035, top), (0.05, top - 0.1), (0.08, top - 0.9))
    ]
    body = loft([*rings, inside[1]], caps=False)
    floor = loft([ring(superellipse(0.01, 0.01, 4.5, 96), 0), rings[0]], caps=False)
    hem = sweep(
        np.concatenate([ring(superellipse(widths[-1] + 0.004, depths[-1] + 0.004, 4.5, 96), top - 0.07)] * 2)[:97],
        superellipse(0.07, 0.014, 6, 16),
        side=(0, 0, 1),
    )
    parts = [Part("body", merge([body, floor])), Part("lining", loft(inside[1:])), Part("trim", hem)]
    base = [
        ring(superellipse(w + 0.012, d + 0.012, 4.5, 96), z)
        for w, d, z in (
            (0.86 * wide, 0.3, -0.006),
            (0.95 * wide, 0.37, 0.03),
            (0.985 * wide, 0.38, 0.26 * tall),
        )
    ]
    parts.append(Part("trim", loft(base)))
    for y, turn in ((-depths[-1] - 0.02, -1), (depths[-1] + 0.02, 1)):
        arch = [
            (-0.5, y, top - 0.42),
            (-0.48, y, top - 0.05),
            (-0.42, y * 0.85, top + 0.45),
            (0, y * 0.6, top + 0.82),
            (0.42, y * 0.85, top + 0.45),
            (0.48, y, top - 0.05),
            (0.5, y, top - 0.42),
        ]
        path = evenly(spline(np.array(arch) * [wide, 1, 1], 80), 80)
        parts.append(Part("trim", sweep(path, superellipse(0.062, 0.024, 4, 20), side=(0, turn, 0.01)).scaled(1)))
        for x in (-0.5, 0.5):
            stud = torus(0.045, 0.018, count=24).turned("x", 90)
            parts.append(Part("metal", stud.moved(x * wide, y + turn * 0.03, top - 0.38)))
    logo = box(0.3, 0.02, 0.085, 0.01).moved(0, -depths[4] - 0.012, 1.0 * tall)
    return [*parts, Part("metal", logo)]


def _body(wide: float, tall: float, taper: float, depth: float) -> tuple[list[np.ndarray], Callable[..., np.ndarray]]:
    """Rings of a closed structured body, and the depth of its front at (x, z)."""
    z = np.array([0, 0.02, 0.08, 0.3, 0.6, 0.9, 1.12, 1.17, 1.19]) * tall
    w = wide * np.interp(z / tall, [0, 1.2], [0.98, 0.98 - taper]) * np.array([0.93, 0.97, 1, 1, 1, 1, 1, 0.985, 0.95])
    d = depth * np.array([0.85, 0.95, 1, 1.02, 0.97, 0.86, 0.68, 0.55, 0.35])
    power = 5.0
    rings = [ring(superellipse(a, b, power, 96), h) for a, b, h in zip(w, d, z, strict=True)]

    def front(x: np.ndarray, height: np.ndarray) -> np.ndarray:
        a, b = np.interp(height, z, w), np.interp(height, z, d)
        return b * np.maximum(1 - np.abs(np.clip(x / a, -1, 1)) ** power, 0) ** (1 / power)

    return rings, front


def _flap(front: Callable[..., np.ndarray], wide: float, top: float, drop: float, curve: float) -> list[Part]:
    """A front flap: from the back edge over the top, down to a curved lower edge."""
    u = np.linspace(-1, 1, 61)
    x = u * 0.9 * wide
    rows = []
    for back in np.linspace(1, -1, 9):
        rows.append(
            np.stack(
                [
                    x,
                    back * front(x, np.full(61, top - 0.03)) * 1.04,
                    np.full(61, top + 0.03 - 0.015 * back**2),
                ],
                1,
            )
        )
    for v in np.linspace(0.06, 1, 24):
        z = top - v * (drop * (1 - curve * np.abs(u) ** 2.2))
        rows.append(np.stack([x, -front(x, z) - 0.035, z], 1))
    edge = rows[-1]
    return [
        Part("body", sheet(np.stack(rows), 0.045)),
        Part("trim", tube(evenly(edge + np.array([0, -0.012, 0]), 80), 0.018, side=(0, 1, 0))),
    ]


def _handbag(wide: float, tall: float) -> list[Part]:
    rings, front = _body(wide, tall, 0.2, 0.42)
    top = 1.19 * tall
    parts = [Part("body", loft(rings)), *_flap(front, wide * 0.86, top, 0.66 * tall, 0.3)]
    parts += _piping(wide, tall, front)
    z = top - 0.62 * tall
    y = -float(front(np.array(0.0), np.array(z))) - 0.085
    clasp = merge([box(0.2, 0.05, 0.2, 0.03), torus(0.07, 0.018, count=32).turned("x", 90).moved(0, -0.035, 0)])
    parts.append(Part("metal", clasp.moved(0, y, z)))
    arch = [
        (-0.42, 0, top - 0.02),
        (-0.42, 0, top + 0.22),
        (-0.3, 0, top + 0.52),
        (0, 0, top + 0.64),
        (0.3, 0, top + 0.52),
        (0.42, 0, top + 0.22),
        (0.42, 0, top - 0.02),
    ]
    path = evenly(spline(np.array(arch) * [wide, 1, tall], 80), 80)
    parts.append(Part("trim", sweep(path[8:-8], superellipse(0.05, 0.05, 2.4, 16), side=(0, 1, 0))))
    for x in (-0.42, 0.42):
        parts.append(Part("metal", torus(0.075, 0.02, count=32).turned("x", 90).moved(x * wide, 0, top + 0.08)))
        parts.append(Part("metal", box(0.12, 0.16, 0.06, 0.02).moved(x * wide, 0, top + 0.03)))
    for x in (-0.75, 0.75):
        parts += [Part("metal", box(0.09, 0.09, 0.05, 0.02).moved(x * wide, yy, -0.02)) for yy in (-0.22, 0.22)]
    return parts


def _piping(wide: float, tall: float, front: Callable[..., np.ndarray]) -> list[Part]:
    """A cord round the front panel's edge."""
    left = np.array([(-0.93, 1.05), (-0.96, 0.5), (-0.96, 0.15), (-0.85, 0.05), (-0.4, 0.035), (0, 0.03)])
    right = left[::-1][1:] * [-1, 1]
    outline = spline(np.concatenate([left, right]), 120) * [wide * 0.93, tall]
    path = np.stack([outline[:, 0], -front(outline[:, 0], outline[:, 1]) - 0.01, outline[:, 1]], 1)
    return [Part("trim", tube(path, 0.017, side=(0, 1, 0)))]


def _crossbody(wide: float, tall: float) -> list[Part]:
    rings, front = _body(wide, tall * 0.82, 0.06, 0.3)
    top = 1.19 * tall * 0.82
    parts = [Part("body", loft(rings)), *_flap(front, wide * 0.96, top, 0.62 * tall, 0.12)]
    z = top - 0.56 * tall
    y = -float(front(np.array(0.0), np.array(z))) - 0.08
    lock = merge(
        [
            torus(0.085, 0.026, count=32).turned("x", 90).moved(-0.05),
            torus(0.085, 0.026, count=32).turned("x", 90).moved(0.05),
        ]
    )
    parts.append(Part("metal", lock.moved(0, y, z)))
    quilt = []
    for k in np.linspace(-1.7, 1.7, 11):
        for lean in (-1, 1):
            t = np.linspace(0.04, 0.97, 40) * top
            x = k * wide + lean * (t - top / 2)
            ok = np.abs(x) < 0.86 * wide
            below = t < top - 0.6 * tall
            if (ok & below).sum() > 3:
                quilt.append(
                    tube(np.stack([x, -front(x, t) - 0.002, t], 1)[ok & below], 0.009, side=(0, 1, 0), count=6)
                )
    parts.append(Part("trim", merge(quilt)))
    arch = [
        (-0.93, 0, top - 0.12),
        (-0.97, 0, top + 0.25),
        (-0.62, 0.05, top + 0.92),
        (0, 0.1, top + 1.16),
        (0.62, 0.05, top + 0.92),
        (0.97, 0, top + 0.25),
        (0.93, 0, top - 0.12),
    ]
    path = evenly(spline(np.array(arch) * [wide, 1, tall], 300), 64)
    links = []
    for i in range(len(path) - 1):
        across = path[i + 1] - path[i]
        angle = np.degrees(np.arctan2(across[2], across[0]))
        link = torus(0.055, 0.015, count=20, sides=8).scaled(1.35, 0.8, 1.0).turned("x", 90 if i % 2 else 20)
        links.append(link.turned("y", -angle).moved(*((path[i] + path[i + 1]) / 2)))
    return [*parts, Part("metal", merge(links))]


def _backpack(wide: float, tall: float) -> list[Part]:
    w, h = 1.3 * wide, 1.85 * tall
    outline = superellipse(w / 2, h / 2, 4.2, 96)
    pushes = [
        (-0.36, 0.86),
        (-0.34, 0.93),
        (-0.27, 0.985),
        (-0.1, 1.02),
        (0.1, 1.02),
        (0.27, 0.98),
        (0.33, 0.93),
        (0.35, 0.86),
    ]
    rings = [np.stack([outline[:, 0] * s, np.full(96, y), outline[:, 1] * s + h / 2], 1) for y, s in pushes]
    parts = [Part("body", loft(rings[::-1]))]
    small = superellipse(w * 0.4, h * 0.235, 4.5, 96)
    pocket = [
        np.stack([small[:, 0] * s, np.full(96, y), small[:, 1] * s + h * 0.3], 1)
        for y, s in ((-0.3, 1.0), (-0.46, 1.0), (-0.53, 0.97), (-0.56, 0.9))
    ]
    parts.append(Part("body", loft(pocket)))
    for line, y, s in ((outline, -0.2, 1.018), (outline, -0.12, 1.026)):
        arc = line[(line[:, 1] > -h * 0.2)]
        arc = arc[np.argsort(np.arctan2(arc[:, 1] + h, arc[:, 0]))]
        path = np.stack([arc[:, 0] * s, np.full(len(arc), y), arc[:, 1] * s + h / 2], 1)
        parts.append(Part("metal" if y > -0.15 else "trim", tube(evenly(path, 90), 0.016, side=(0, 1, 0))))
    u = np.linspace(-0.44, 0.44, 40) * w * 0.86
    parts.append(
        Part("trim", tube(np.stack([u, np.full(40, -0.545), np.full(40, h * 0.44)], 1), 0.018, side=(0, 1, 0)))
    )
    parts.append(Part("metal", capsule((0.44 * w * 0.8, -0.57, h * 0.44), (0.44 * w * 0.8, -0.57, h * 0.38), 0.018)))
    parts.append(Part("trim", box(0.36, 0.03, 0.24, 0.05).moved(0, -0.565, h * 0.29)))
    parts.append(Part("metal", box(0.18, 0.02, 0.05, 0.01).moved(0, -0.585, h * 0.29)))
    for x in (-1, 1):
        parts.append(Part("body", box(0.2, 0.42, 0.62 * tall, 0.09, 6).moved(x * w * 0.52, 0.0, h * 0.24)))
        parts.append(Part("trim", box(0.21, 0.43, 0.06, 0.03).moved(x * w * 0.52, 0.0, h * 0.24 + 0.31 * tall)))
        back = [
            (x * 0.2, 0.3, h * 0.93),
            (x * 0.3, 0.55, h * 0.86),
            (x * 0.4, 0.66, h * 0.55),
            (x * 0.45, 0.5, h * 0.2),
            (x * 0.5, 0.33, h * 0.08),
        ]
        parts.append(Part("trim", sweep(spline(np.array(back), 50), superellipse(0.09, 0.028, 4, 16), side=(1, 0, 0))))
        strap = [(x * 0.3 * w, -0.2, h * 0.99), (x * 0.3 * w, -0.43, h * 0.9), (x * 0.3 * w, -0.45, h * 0.66)]
        parts.append(Part("trim", sweep(spline(np.array(strap), 30), superellipse(0.05, 0.014, 4, 16), side=(1, 0, 0))))
        parts.append(Part("metal", box(0.13, 0.035, 0.1, 0.02).moved(x * 0.3 * w, -0.455, h * 0.66)))
    loop = [
        (-0.16, 0.1, h * 0.985),
        (-0.13, 0.1, h + 0.12),
        (0, 0.1, h + 0.17),
        (0.13, 0.1, h + 0.12),
        (0.16, 0.1, h * 0.985),
    ]
    return [
        *parts,
        Part("trim", sweep(spline(np.array(loop), 40), superellipse(0.04, 0.025, 3, 14), side=(0, 1, 0))),
    ]


def _bucket(wide: float, tall: float) -> list[Part]:
    count = 144
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    rings = []
    for z, r, fold in [
        (0, 0.55, 0),
        (0.02, 0.6, 0),
        (0.1, 0.64, 0),
        (0.5, 0.68, 0),
        (0.95, 0.68, 0.012),
        (1.15, 0.6, 0.05),
        (1.25, 0.5, 0.07),
        (1.32, 0.5, 0.085),
        (1.45, 0.58, 0.09),
    ]:
        radius = r + fold * np.cos(14 * t)
        rings.append(np.stack([wide * radius * np.cos(t), 0.82 * radius * np.sin(t), np.full(count, z * tall)], 1))
    inner = [r * [0.95, 0.95, 1] for r in rings[:4:-1]]
    parts = [Part("body", loft([*rings, *inner]))]
    base = [
        ring(np.stack([wide * r * np.cos(t), 0.82 * r * np.sin(t)], 1), z)
        for r, z in ((0.56, -0.005), (0.625, 0.03), (0.66, 0.2 * tall))
    ]
    parts.append(Part("trim", loft(base)))
    cord = np.stack(
        [
            wide * (0.53 + 0.065 * np.cos(14 * t)) * np.cos(t),
            0.82 * (0.53 + 0.065 * np.cos(14 * t)) * np.sin(t),
            np.full(count, 1.25 * tall),
        ],
        1,
    )
    parts.append(Part("trim", tube(np.concatenate([cord, cord[:1]]), 0.026, side=(0, 0, 1))))
    for x in (-0.07, 0.07):
        hang = [(x * 0.4, -0.5, 1.24 * tall), (x, -0.6, 1.1 * tall), (x * 1.6, -0.61, 0.75 * tall)]
        parts.append(Part("trim", tube(spline(np.array(hang), 30), 0.02)))
        parts.append(Part("metal", capsule((x * 1.6, -0.61, 0.77 * tall), (x * 1.7, -0.61, 0.66 * tall), 0.032)))
    arch = [
        (-0.62, 0, 1.2),
        (-0.7, 0, 1.6),
        (-0.45, 0, 2.15),
        (0, 0, 2.35),
        (0.45, 0, 2.15),
        (0.7, 0, 1.6),
        (0.62, 0, 1.2),
    ]
    path = evenly(spline(np.array(arch) * [wide, 1, tall], 90), 90)
    parts.append(Part("trim", sweep(path, superellipse(0.075, 0.022, 4, 16), side=(0, 1, 0))))
    for x in (-0.66, 0.66):
        parts.append(
            Part(
                "metal",
                torus(0.08, 0.02, count=32).turned("x", 90).turned("z", 90).moved(x * wide, 0, 1.27 * tall),
            )
        )
    parts.append(Part("metal", grid(np.array([[[x, -0.565, z * tall] for x in (-0.12, 0.12)] for z in (0.42, 0.5)]))))
    return parts
