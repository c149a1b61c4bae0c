"""Collectible figurines: stylised characters with large heads, each on a round base."""

from __future__ import annotations

import numpy as np

from ..mesh import (
    Mesh,
    box,
    capsule,
    ellipsoid,
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

CHARACTERS = ("hero", "astronaut", "robot", "wizard", "knight", "cat")


def figurine(*, character: str = "hero", wave: bool = False) -> list[Part]:
    """A character that faces -y on its base; `wave` lifts one arm."""
    build = {
        "hero": _hero,
        "astronaut": _astronaut,
        "robot": _robot,
        "wizard": _wizard,
        "knight": _knight,
        "cat": _cat,
    }
    return [*_base(), *build[character](wave)]


def _base() -> list[Part]:
    disc = revolve([(0, 0), (0.78, 0), (0.8, 0.02), (0.8, 0.1), (0.77, 0.14), (0.7, 0.16), (0, 0.16)], count=96)
    plate = box(0.5, 0.02, 0.07, 0.01).moved(0, -0.8, 0.06)
    return [
        Part("base", disc),
        Part("metal", torus(0.785, 0.016, count=96).moved(0, 0, 0.115)),
        Part("metal", plate),
    ]


def _legs(slot: str, boots: str, *, apart: float = 0.19, thick: float = 0.14) -> list[Part]:
    parts = []
    for x in (-apart, apart):
        parts.append(Part(slot, capsule((x, 0, 0.3), (x * 0.8, 0, 0.72), thick, thick * 1.05)))
        shoe = merge(
            [
                capsule((x, 0.02, 0.27), (x, 0.02, 0.4), thick * 1.18),
                ellipsoid(thick * 1.15, thick * 1.75, thick * 0.95).moved(x * 1.05, -0.09, 0.25),
            ]
        )
        parts.append(Part(boots, shoe))
    return parts


def _arms(slot: str, hands: str, wave: bool, thick: float = 0.105) -> list[Part]:
    parts = []
    for side in (-1, 1):
        up = wave and side > 0
        elbow = (0.62 * side, -0.02, 1.18) if up else (0.54 * side, 0.0, 0.92)
        hand = (0.74 * side, -0.12, 1.5) if up else (0.5 * side, -0.2, 0.72)
        parts.append(
            Part(
                slot,
                merge([capsule((0.3 * side, 0, 1.18), elbow, thick * 1.1, thick), capsule(elbow, hand, thick)]),
            )
        )
        parts.append(Part(hands, ellipsoid(0.125, 0.125, 0.125).moved(*hand)))
    return parts


def _torso(slot: str, *, belly: float = 1.0) -> Part:
    z, w, d = (
        [0.6, 0.66, 0.8, 1.0, 1.18, 1.28, 1.34],
        [0.2, 0.29, 0.31, 0.3, 0.33, 0.27, 0.12],
        [0.16, 0.22, 0.235, 0.23, 0.24, 0.2, 0.1],
    )
    points = spline(np.stack([z, np.array(w) * belly, np.array(d) * belly], 1), 40)
    return Part(slot, loft([ring(superellipse(a, b, 2.3, 48), h) for h, a, b in points]))


def _face(z: float = 1.75, y: float = -0.47, apart: float = 0.19) -> list[Part]:
    eyes = merge([ellipsoid(0.075, 0.04, 0.1).moved(x, y, z) for x in (-apart, apart)])
    glints = merge([ellipsoid(0.024, 0.015, 0.03).moved(x + 0.025, y - 0.035, z + 0.04) for x in (-apart, apart)])
    smile = tube(
        spline(np.array([(-0.1, y - 0.02, z - 0.2), (0, y - 0.04, z - 0.245), (0.1, y - 0.02, z - 0.2)]), 20),
        0.016,
    )
    return [Part("eyes", merge([eyes, smile])), Part("glint", glints)]


def _head() -> Part:
    return Part("skin", ellipsoid(0.52, 0.48, 0.5).moved(0, 0, 1.76))


def _hero(wave: bool) -> list[Part]:
    parts = [*_legs("suit", "boots"), *_arms("suit", "boots", wave), _torso("suit"), _head(), *_face()]
    belt = loft([ring(superellipse(0.325, 0.25, 2.3, 48), z) for z in (0.72, 0.73, 0.8, 0.81)])
    parts += [Part("metal", belt), Part("metal", ellipsoid(0.13, 0.03, 0.13).moved(0, -0.235, 1.08))]
    rng = np.random.default_rng(3)
    locks = [ellipsoid(0.545, 0.5, 0.4).moved(0, 0.05, 1.93)]
    locks += [
        ellipsoid(0.14, 0.12, 0.17).moved(
            0.42 * np.sin(a), -0.36 * np.cos(a) * (abs(a) < 1.4) + 0.03, 2.08 + 0.03 * rng.normal()
        )
        for a in np.linspace(-1.2, 1.2, 7)
    ]
    parts.append(Part("hair", merge(locks)))
    u = np.linspace(-1, 1, 60)
    rows = []
    for v in np.linspace(0, 1, 30):
        wide, fold = 0.32 + 0.36 * v, 0.045 * v * np.sin(u * 9)
        rows.append(
            np.stack(
                [
                    wide * u,
                    0.24 + 0.28 * v**1.3 - 0.16 * u**2 * (1 - 0.3 * v) + fold,
                    1.28 - 0.98 * v + 0 * u,
                ],
                1,
            )
        )
    parts.append(Part("cape", sheet(np.stack(rows), 0.035)))
    collar = torus(0.27, 0.06).scaled(1, 0.85, 0.8).moved(0, 0.02, 1.3)
    return [*parts, Part("cape", collar)]


def _astronaut(wave: bool) -> list[Part]:
    parts = [
        *_legs("suit", "boots", thick=0.17),
        *_arms("suit", "boots", wave, 0.135),
        _torso("suit", belly=1.12),
    ]
    parts.append(Part("suit", ellipsoid(0.56, 0.53, 0.54).moved(0, 0, 1.76)))
    parts.append(Part("visor", ellipsoid(0.42, 0.3, 0.35).moved(0, -0.29, 1.76)))
    frame = torus(0.4, 0.045).scaled(1.04, 0.88, 1).turned("x", 90).moved(0, -0.37, 1.76)
    parts.append(Part("cape", frame))
    parts.append(
        Part(
            "cape",
            merge(
                [
                    torus(0.32, 0.055).scaled(1, 0.85, 1).moved(0, 0, 1.31),
                    box(0.3, 0.1, 0.2, 0.03).moved(0, -0.27, 1.02),
                ]
            ),
        )
    )
    parts.append(Part("metal", merge([ellipsoid(0.035, 0.03, 0.035).moved(x, -0.33, 1.03) for x in (-0.08, 0, 0.08)])))
    parts.append(Part("boots", box(0.55, 0.28, 0.62, 0.09, 6).moved(0, 0.36, 1.05)))
    for x in (-0.58, 0.58):
        parts.append(Part("cape", capsule((x * 0.96, 0, 1.76), (x * 1.04, 0, 1.76), 0.11)))
    return [
        *parts,
        Part(
            "metal",
            merge(
                [
                    capsule((0.45, 0.1, 2.1), (0.5, 0.1, 2.45), 0.016),
                    ellipsoid(0.05, 0.05, 0.05).moved(0.5, 0.1, 2.47),
                ]
            ),
        ),
    ]


def _robot(wave: bool) -> list[Part]:
    parts = [*_legs("metal", "boots", thick=0.1), *_arms("metal", "boots", wave, 0.075)]
    parts.append(Part("suit", box(0.72, 0.5, 0.68, 0.12, 7).moved(0, 0, 0.98)))
    parts.append(Part("suit", box(0.98, 0.78, 0.72, 0.16, 7).moved(0, 0, 1.74)))
    parts.append(Part("eyes", box(0.76, 0.08, 0.44, 0.03, 6).moved(0, -0.375, 1.76)))
    parts.append(Part("cape", merge([ellipsoid(0.105, 0.05, 0.105).moved(x, -0.41, 1.79) for x in (-0.18, 0.18)])))
    parts.append(Part("cape", box(0.26, 0.04, 0.035, 0.01).moved(0, -0.42, 1.61)))
    parts.append(Part("cape", merge([box(0.34, 0.06, 0.26, 0.03).moved(0, -0.25, 1.02)])))
    parts.append(Part("metal", merge([ellipsoid(0.035, 0.03, 0.035).moved(x, -0.29, 1.02) for x in (-0.09, 0, 0.09)])))
    for x in (-0.52, 0.52):
        parts.append(Part("metal", capsule((x * 0.95, 0, 1.74), (x * 1.12, 0, 1.74), 0.13)))
    parts.append(
        Part(
            "metal",
            merge([capsule((0, 0, 2.05), (0, 0, 2.32), 0.025), capsule((0, 0, 1.3), (0, 0, 1.42), 0.14)]),
        )
    )
    return [*parts, Part("cape", ellipsoid(0.075, 0.075, 0.075).moved(0, 0, 2.36))]


def _wizard(wave: bool) -> list[Part]:
    t = np.linspace(0, 2 * np.pi, 97)
    rows = [
        np.stack(
            [(r + f * np.cos(9 * t)) * np.cos(t), (r + f * np.cos(9 * t)) * 0.85 * np.sin(t), np.full(97, z)],
            1,
        )
        for r, f, z in (
            (0.1, 0, 0.17),
            (0.5, 0.035, 0.17),
            (0.47, 0.03, 0.4),
            (0.38, 0.02, 0.8),
            (0.32, 0.005, 1.15),
            (0.24, 0, 1.3),
            (0.1, 0, 1.33),
        )
    ]
    robe = Mesh(*_smooth_rows(rows))
    parts = [Part("suit", robe), *_arms("suit", "skin", True, 0.13), _head(), *_face(1.72)]
    beard = loft(
        [
            ring(superellipse(a, b, 2, 40) + np.array([0, y]), z)
            for z, a, b, y in (
                (0.86, 0.02, 0.02, -0.36),
                (1.0, 0.13, 0.08, -0.38),
                (1.25, 0.28, 0.16, -0.35),
                (1.45, 0.37, 0.22, -0.29),
                (1.58, 0.3, 0.2, -0.3),
                (1.62, 0.1, 0.1, -0.3),
            )
        ]
    )
    parts.append(Part("hair", beard))
    parts.append(Part("hair", merge([capsule((0.02 * s, -0.5, 1.58), (0.17 * s, -0.47, 1.53), 0.06) for s in (-1, 1)])))
    hat = revolve(
        [
            (0.0, 2.0),
            (0.78, 1.98),
            (0.8, 2.0),
            (0.76, 2.03),
            (0.5, 2.07),
            (0.4, 2.2),
            (0.26, 2.5),
            (0.12, 2.82),
            (0.03, 3.02),
            (0, 3.04),
        ],
        smooth=60,
    )
    bent = hat.vertices.copy()
    bent[:, 0] += 0.22 * np.clip(bent[:, 2] - 2.3, 0, 1) ** 1.6
    parts.append(Part("cape", Mesh(bent, hat.faces, hat.uv)))
    parts.append(Part("metal", torus(0.43, 0.04).moved(0, 0, 2.11)))
    parts.append(Part("wood", capsule((-0.52, -0.24, 0.2), (-0.5, -0.24, 1.75), 0.04)))
    return [*parts, Part("gem", ellipsoid(0.12, 0.12, 0.14).moved(-0.5, -0.24, 1.85))]


def _smooth_rows(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from ..mesh import grid

    stack = np.stack(rows)
    fine = spline(stack.reshape(len(rows), -1), 50).reshape(50, *stack.shape[1:])
    made = grid(fine)
    return made.vertices, made.faces, made.uv


def _knight(wave: bool) -> list[Part]:
    parts = [
        *_legs("metal", "metal", thick=0.15),
        *_arms("metal", "metal", wave, 0.12),
        _torso("suit", belly=1.08),
    ]
    parts.append(Part("metal", ellipsoid(0.54, 0.52, 0.54).moved(0, 0, 1.76)))
    parts.append(Part("eyes", box(0.74, 0.3, 0.1, 0.02, 4).moved(0, -0.4, 1.82)))
    parts.append(
        Part(
            "metal",
            merge(
                [
                    box(0.07, 0.1, 0.62, 0.03).moved(0, -0.52, 1.72),
                    torus(0.525, 0.035).scaled(1, 0.97, 1).moved(0, 0, 1.95),
                ]
            ),
        )
    )
    plume = [
        ellipsoid(0.1, 0.2, 0.17).moved(0, -0.1 + 0.16 * k, 2.36 + 0.1 * np.sin(k * 0.9) - 0.035 * k**1.6)
        for k in range(5)
    ]
    parts.append(Part("cape", merge(plume)))
    parts += [Part("metal", ellipsoid(0.19, 0.19, 0.15).moved(x, 0, 1.24)) for x in (-0.4, 0.4)]
    shield = loft(
        [
            np.stack(
                [
                    superellipse(0.27 * s, 0.3 * s, 2.6, 40)[:, 0] - 0.52,
                    np.full(40, y),
                    superellipse(0.27 * s, 0.34 * s, 2.6, 40)[:, 1] + 0.85,
                ],
                1,
            )
            for y, s in ((-0.3, 0.97), (-0.36, 1.0), (-0.4, 0.9))
        ][::-1]
    )
    parts.append(Part("cape", shield))
    parts.append(
        Part(
            "metal",
            merge(
                [
                    box(0.07, 0.03, 0.42, 0.01).moved(-0.52, -0.41, 0.85),
                    box(0.34, 0.03, 0.07, 0.01).moved(-0.52, -0.41, 0.9),
                ]
            ),
        )
    )
    hand = (0.74, -0.12, 1.5) if wave else (0.5, -0.2, 0.72)
    sword = merge(
        [
            box(0.085, 0.03, 0.95, 0.02).moved(0, 0, 0.58),
            box(0.34, 0.07, 0.07, 0.02).moved(0, 0, 0.13),
            capsule((0, 0, -0.1), (0, 0, 0.1), 0.04),
        ]
    )
    return [*parts, Part("blade", sword.turned("y", 12).moved(*hand))]


def _cat(wave: bool) -> list[Part]:
    parts = [*_legs("suit", "boots", thick=0.13), *_arms("suit", "boots", wave), _torso("suit", belly=1.05)]
    parts.append(Part("suit", ellipsoid(0.56, 0.48, 0.47).moved(0, 0, 1.74)))
    for side in (-1, 1):
        ear = revolve([(0.2, 0), (0.17, 0.12), (0.08, 0.3), (0.0, 0.38)], smooth=20)
        parts.append(Part("suit", ear.scaled(1, 0.6, 1).turned("y", 16 * side).moved(0.33 * side, 0, 2.05)))
        parts.append(Part("cape", ear.scaled(0.62, 0.3, 0.7).turned("y", 16 * side).moved(0.33 * side, -0.085, 2.08)))
    parts += _face(1.78, -0.455, 0.22)[:2]
    parts.append(Part("boots", merge([ellipsoid(0.14, 0.12, 0.1).moved(x, -0.44, 1.58) for x in (-0.09, 0.09)])))
    parts.append(Part("cape", ellipsoid(0.06, 0.05, 0.045).moved(0, -0.54, 1.64)))
    tail = spline(
        np.array([(0.1, 0.2, 0.7), (0.4, 0.5, 0.6), (0.72, 0.45, 0.9), (0.7, 0.35, 1.3), (0.85, 0.3, 1.5)]),
        40,
    )
    parts.append(Part("suit", tube(tail, 0.085)))
    scarf = merge(
        [
            torus(0.29, 0.085).scaled(1, 0.85, 0.9).moved(0, 0, 1.31),
            box(0.17, 0.09, 0.42, 0.04).turned("y", 10).moved(0.16, -0.3, 1.1),
        ]
    )
    return [*parts, Part("cape", scarf), Part("metal", ellipsoid(0.06, 0.05, 0.06).moved(0, -0.3, 1.24))]
