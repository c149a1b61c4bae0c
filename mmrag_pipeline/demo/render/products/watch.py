"""Wrist watches: a turned case, a painted dial, applied markers and hands, a bracelet or a leather strap."""

from __future__ import annotations

import numpy as np

from ..mesh import Mesh, box, capsule, evenly, frames, grid, merge, revolve, superellipse, sweep, torus
from ..parts import Part, turned
from .dial import paint

BRACELETS = ("bracelet", "mesh", "strap")
DIALS = ("classic", "chrono", "diver", "dress")


def watch(*, strap: str = "bracelet", dial: str = "classic", face: str = "white", ink: str = "black") -> list[Part]:
    """A watch that stands on its closed strap with the dial to the front."""
    parts = [
        *_case(dial),
        *_markers(dial),
        *_hands(),
        Part("dial", _disc(0.845, 0.085), paint(dial, face, ink)),
    ]
    if dial == "chrono":
        parts += [Part("metal", torus(0.21, 0.012).moved(x, y, 0.09)) for x, y in ((0.4, 0), (-0.4, 0), (0, -0.4))]
    parts += {"bracelet": _bracelet, "mesh": _mesh_band, "strap": _strap}[strap]()
    return turned(parts, "x", 90)


def _case(dial: str) -> list[Part]:
    body = [(0, -0.24), (0.8, -0.24), (0.93, -0.2), (1.0, -0.12), (1.03, 0.0), (1.0, 0.08), (0.985, 0.1)]
    rim = [
        (0.985, 0.1),
        (0.975, 0.135),
        (0.94, 0.175),
        (0.9, 0.18),
        (0.87, 0.165),
        (0.855, 0.12),
        (0.845, 0.08),
    ]
    parts = [Part("metal", revolve(body, count=96, smooth=40))]
    bezel = revolve(rim, count=120, smooth=30)
    if dial == "diver":
        parts.append(Part("bezel", bezel.scaled(1.03, 1.03, 1.0)))
        parts += [
            Part(
                "metal",
                box(0.035, 0.1 if k % 3 else 0.13, 0.02, 0.01, 2).moved(0, 0.93, 0.187).turned("z", -30 * k),
            )
            for k in range(12)
        ]
    else:
        parts.append(Part("metal", bezel))
    lug = box(0.2, 0.52, 0.2, 0.08)
    for x in (-0.56, 0.56):
        parts.append(Part("metal", lug.turned("x", -14).moved(x, 1.0, -0.1)))
        parts.append(Part("metal", lug.turned("x", 14).moved(x, -1.0, -0.1)))
    angles = np.linspace(0, 2 * np.pi, 121)
    teeth = 0.13 + 0.012 * np.sign(np.sin(angles * 20))
    rows = [(0.0, 0.0), (1.0, 0.0), (1.0, 0.17), (0.75, 0.2), (0.0, 0.2)]
    points = np.stack(
        [np.stack([r * teeth * np.cos(angles), r * teeth * np.sin(angles), np.full(121, z)], -1) for r, z in rows]
    )
    parts.append(Part("metal", grid(points).turned("y", 90).moved(1.02, 0, -0.06)))
    if dial == "chrono":
        for angle in (35, -35):
            pusher = merge(
                [
                    capsule((0.98, 0, -0.06), (1.16, 0, -0.06), 0.05),
                    capsule((1.15, 0, -0.06), (1.2, 0, -0.06), 0.08),
                ]
            )
            parts.append(Part("metal", pusher.turned("z", angle)))
    return parts


def _disc(radius: float, z: float) -> Mesh:
    flat = revolve([(0.0, z), (radius, z)], count=96)
    return Mesh(flat.vertices, flat.faces, flat.vertices[:, :2] / (2 * radius) + 0.5)


def _markers(dial: str) -> list[Part]:
    if dial == "dress":
        return []
    parts = []
    for hour in range(12):
        if dial == "chrono" and hour in (3, 6, 9):
            continue
        long = hour % 3 == 0
        if dial == "diver":
            mark = (
                revolve([(0, 0.1), (0.055, 0.1), (0.06, 0.085)], count=24)
                if not long
                else box(0.08, 0.17, 0.03, 0.012, 2).moved(0, 0, 0.095)
            )
            parts.append(Part("lume", mark.moved(0, 0.68, 0).turned("z", -30 * hour)))
        else:
            mark = box(0.055 if long else 0.035, 0.19 if long else 0.15, 0.03, 0.012, 2)
            parts.append(Part("hands", mark.moved(0, 0.69, 0.095).turned("z", -30 * hour)))
    return parts


def _hands() -> list[Part]:
    hour = merge([box(0.07, 0.5, 0.02, 0.01, 2).moved(0, 0.2, 0.12)]).turned("z", 55)
    minute = box(0.05, 0.76, 0.02, 0.01, 2).moved(0, 0.31, 0.14).turned("z", -60)
    second = merge(
        [
            box(0.014, 0.95, 0.01, 0.004, 2).moved(0, 0.25, 0.155),
            torus(0.035, 0.014, count=24).moved(0, -0.16, 0.155),
        ]
    )
    pin = revolve([(0.05, 0.09), (0.05, 0.165), (0.0, 0.17)], count=24)
    return [Part("hands", merge([hour, minute, pin])), Part("second", second.turned("z", 150))]


def _loop(count: int) -> np.ndarray:
    """The path of the closed strap, from one pair of lugs round the wrist to the other."""
    t = np.linspace(0, 2 * np.pi, 800)
    oval = superellipse(1.9, 1.22, 2.6, 800)
    t = np.stack([np.zeros(800), oval[:, 0], oval[:, 1] - 1.22], 1)
    start = int(np.argmin(np.abs(t[:200, 1] - 1.1) + 10 * (t[:200, 2] < -1.22)))
    path = np.roll(t, -start, axis=0)[::-1]
    keep = [p for p in path if not (abs(p[1]) < 1.1 and p[2] > -0.6)]
    return evenly(np.array(keep), count)


def _bracelet() -> list[Part]:
    path = _loop(44)
    tangent, _, _ = frames(path, np.array([1.0, 0, 0]))
    width = 0.92 - 0.22 * np.sin(np.linspace(0, np.pi, len(path)))
    step = np.linalg.norm(path[1] - path[0])
    bright, centre = [], []
    for i, p in enumerate(path):
        frame = np.stack([[1.0, 0, 0], tangent[i], np.cross([1.0, 0, 0], tangent[i])], 1)
        middle = box(width[i] * 0.42, step * 0.86, 0.16, 0.05, 3)
        edge = box(width[i] * 0.31, step * 0.93, 0.15, 0.045, 3)
        for mesh, x, bucket in (
            (middle, 0, centre),
            (edge, 0.37 * width[i], bright),
            (edge, -0.37 * width[i], bright),
        ):
            placed = Mesh(mesh.moved(x).vertices @ frame.T + p, mesh.faces, mesh.uv)
            bucket.append(placed)
    return [Part("metal", merge(centre)), Part("brushed", merge(bright))]


def _mesh_band() -> list[Part]:
    path = _loop(160)
    ripple = 1 + 0.004 * np.cos(np.arange(160) * np.pi)
    return [
        Part("brushed", sweep(path, superellipse(0.44, 0.045, 6, 24), scale=ripple)),
        Part("metal", box(0.95, 0.2, 0.12, 0.04).moved(0, -1.22, -0.28)),
    ]


def _strap() -> list[Part]:
    path = _loop(140)
    taper = 1 - 0.2 * np.sin(np.linspace(0, np.pi, 140))
    band = sweep(path, superellipse(0.46, 0.075, 4, 36), scale=taper)
    _, _, normal = frames(path, np.array([1.0, 0, 0]))
    stitches = []
    outward = np.sign((normal * (path - path.mean(0))).sum(1))[:, None] * normal
    for i in range(3, 134, 3):
        for side in (-1, 1):
            offset = side * 0.385 * taper[i] * np.array([1.0, 0, 0]) + outward[i] * 0.068 * taper[i]
            stitches.append(capsule(path[i] + offset, path[i + 2] + offset, 0.014))
    return [Part("strap", band), Part("stitch", merge(stitches))]
