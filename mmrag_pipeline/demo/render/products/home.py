"""Things for the home: a mug, a teapot, a vase, a scented candle, a table lamp, a cushion."""

from __future__ import annotations

import numpy as np

from ..mesh import Array, Mesh, ellipsoid, evenly, grid, merge, revolve, spline, superellipse, sweep, tube
from ..parts import Part

STYLES = ("mug", "teapot", "vase", "candle", "lamp", "cushion")

_VASES = (
    [(0.3, 0.0), (0.5, 0.22), (0.58, 0.6), (0.42, 1.0), (0.17, 1.3), (0.15, 1.55), (0.23, 1.68)],  # a bottle
    [(0.26, 0.0), (0.34, 0.3), (0.5, 0.8), (0.56, 1.15), (0.42, 1.42), (0.34, 1.5), (0.4, 1.6)],  # shoulders
    [(0.4, 0.0), (0.47, 0.1), (0.43, 0.5), (0.36, 0.9), (0.38, 1.3), (0.5, 1.6)],  # a trumpet
)


def home(*, style: str = "mug", shape: int = 0) -> list[Part]:
    """One thing for the home, its front along -y; `shape` chooses proportions."""
    build = {
        "mug": _mug,
        "teapot": _teapot,
        "vase": _vase,
        "candle": _candle,
        "lamp": _lamp,
        "cushion": _cushion,
    }
    return build[style](shape)


def _mug(shape: int) -> list[Part]:
    height, flare = (1.0, 1.16, 0.86)[shape % 3], (1.0, 0.9, 1.12)[shape % 3]
    outside = [(0.0, 0.0), (0.4, 0.0), (0.46, 0.02), (0.49, 0.08), (0.5 * flare, height * 0.5), (0.5 * flare, height)]
    radius = outside[-1][0]
    rim = [(radius, height), (radius - 0.015, height + 0.02), (radius - 0.04, height + 0.01)]
    inside = [rim[-1], (radius - 0.05, height - 0.06), (0.42, 0.16), (0.36, 0.09), (0.0, 0.08)]
    middle = 0.52 * height
    ear = [
        (radius - 0.03, middle + 0.28 * height),
        (radius + 0.16, middle + 0.3 * height),
        (radius + 0.32, middle + 0.13 * height),
        (radius + 0.3, middle - 0.12 * height),
        (radius + 0.12, middle - 0.3 * height),
        (0.46, middle - 0.34 * height),
    ]
    path = evenly(spline(np.array([(x, 0.0, z) for x, z in ear]), 80), 60)
    handle = sweep(path, superellipse(0.075, 0.045, 2.4, 24), side=(0, 1, 0))
    return [
        Part("body", merge([revolve(outside, count=120), revolve(rim, count=120), handle])),
        Part("inner", revolve(inside, count=120, smooth=40)),
        Part("band", _ribbon(outside, 0.09 * height, 0.24 * height, 0.004)),
    ]


def _ribbon(profile: list[tuple[float, float]], low: float, high: float, off: float) -> Mesh:
    """A painted band on a turned surface, `off` outside of it."""
    points = np.array(profile[2:], float)
    heights = np.linspace(low, high, 12)
    radii = np.interp(heights, points[:, 1], points[:, 0]) + off
    return revolve(list(zip(radii, heights, strict=True)), count=120)


def _teapot(shape: int) -> list[Part]:
    tall = (1.0, 1.2, 0.85)[shape % 3]
    body = [(0.0, 0.0), (0.34, 0.0), (0.52, 0.1), (0.68, 0.4), (0.64, 0.72), (0.44, 0.95), (0.3, 1.0)]
    body = [(r, z * tall) for r, z in body]
    lid = [(0.31, 1.0), (0.3, 1.04), (0.2, 1.12), (0.06, 1.16), (0.0, 1.17)]
    lid = [(r, z * tall) for r, z in lid]
    spout = np.array([(-0.56, 0.0, 0.36), (-0.8, 0.0, 0.5), (-0.93, 0.0, 0.78), (-1.08, 0.0, 0.98)]) * [1, 1, tall]
    along = evenly(spline(spout, 60), 48)
    narrow = np.linspace(1.0, 0.42, 48)
    handle = np.array(
        [(0.58, 0.0, 0.82), (0.85, 0.0, 0.95), (1.05, 0.0, 0.72), (0.96, 0.0, 0.4), (0.64, 0.0, 0.26)]
    ) * [1, 1, tall]
    return [
        Part("body", merge([revolve(body, count=120, smooth=60), revolve(lid, count=96, smooth=30)])),
        Part("body", sweep(along, superellipse(0.17, 0.15, 2.2, 32), side=(0, 1, 0), scale=narrow)),
        Part("band", sweep(evenly(spline(handle, 80), 60), superellipse(0.065, 0.05, 2.4, 24), side=(0, 1, 0))),
        Part("band", ellipsoid(0.1, 0.1, 0.1).moved(0, 0, 1.24 * tall)),
    ]


def _vase(shape: int) -> list[Part]:
    profile = spline(np.array(_VASES[shape % len(_VASES)]), 80)
    throat = profile[profile[:, 1] > profile[-1, 1] - 0.4][::-1] - [0.02, 0.0]  # what one sees of the inside
    inside = [tuple(profile[-1]), (profile[-1, 0] - 0.01, profile[-1, 1] + 0.01), *map(tuple, throat)]
    foot = [(0.0, 0.0), tuple(profile[0])]
    return [
        Part("body", merge([revolve(foot, count=120), revolve([tuple(p) for p in profile], count=120)])),
        Part("inner", revolve(inside, count=120)),
    ]


def _candle(shape: int) -> list[Part]:
    height, radius = (0.95, 1.2, 0.75)[shape % 3], (0.45, 0.4, 0.55)[shape % 3]
    jar = [(0.0, 0.0), (radius - 0.03, 0.0), (radius, 0.04), (radius, height - 0.02), (radius - 0.015, height)]
    inside = [(radius - 0.015, height), (radius - 0.04, height - 0.02), (radius - 0.045, height - 0.14)]
    wax = [(0.0, height - 0.14), (radius * 0.6, height - 0.145), (radius - 0.045, height - 0.13)]
    wick = np.array([(0.0, 0.0, height - 0.15), (0.005, 0.0, height - 0.07), (0.03, 0.0, height + 0.01)])
    lid = [(0.0, 0.0), (radius, 0.0), (radius + 0.02, 0.02), (radius + 0.02, 0.09), (radius, 0.11), (0.0, 0.11)]
    return [
        Part("body", merge([revolve(jar, count=120), revolve(inside, count=120)])),
        Part("wax", revolve(wax[::-1], count=96).flipped()),
        Part("wick", tube(spline(wick, 20), 0.012)),
        Part("label", _patch(radius + 0.004, height * 0.24, height * 0.66, 38)),
        Part("metal", _patch(radius + 0.007, height * 0.43, height * 0.47, 22)),
        Part("metal", revolve(lid, count=96).moved(radius * 1.75, -0.12, 0.0)),
    ]


def _patch(radius: float, low: float, high: float, half_angle: float) -> Mesh:
    """A label on the front of a cylinder, `half_angle` degrees to either side."""
    angles = np.radians(np.linspace(-half_angle, half_angle, 40) - 90)
    rows = [
        np.stack([radius * np.cos(angles), radius * np.sin(angles), np.full(40, z)], 1)
        for z in np.linspace(low, high, 6)
    ]
    return grid(np.stack(rows))


def _lamp(shape: int) -> list[Part]:
    bodies: tuple[list[tuple[float, float]], ...] = (
        [(0.3, 0.06), (0.36, 0.14), (0.42, 0.45), (0.3, 0.82), (0.1, 0.98), (0.06, 1.1)],
        [(0.22, 0.06), (0.34, 0.3), (0.22, 0.55), (0.3, 0.75), (0.14, 0.95), (0.06, 1.1)],
        [(0.1, 0.06), (0.07, 0.2), (0.06, 0.6), (0.06, 0.9), (0.05, 1.1)],
    )
    foot = [(0.0, 0.0), (0.42, 0.0), (0.44, 0.02), (0.43, 0.05), (0.3, 0.07), (0.0, 0.07)]
    low, high, wide, narrow = 1.08, 1.78, (0.66, 0.6, 0.7)[shape % 3], (0.42, 0.5, 0.3)[shape % 3]
    shade = [(wide, low), (wide + 0.004, low + 0.03), (narrow + 0.004, high - 0.03), (narrow, high)]
    lining = [(narrow - 0.012, high), (wide - 0.012, low)]
    return [
        Part("body", revolve(bodies[shape % 3], count=120, smooth=60)),
        Part("metal", merge([revolve(foot, count=96), revolve([(0.05, 1.05), (0.05, 1.3), (0.0, 1.3)], count=32)])),
        Part("shade", merge([revolve(shade, count=120), revolve(lining, count=120)])),
        Part("metal", merge([_hoop(wide, low), _hoop(narrow, high)])),
    ]


def _hoop(radius: float, z: float) -> Mesh:
    around = np.linspace(0, 2 * np.pi, 97)
    return tube(np.stack([radius * np.cos(around), radius * np.sin(around), np.full(97, z)], 1), 0.012, side=(0, 0, 1))


def _cushion(shape: int) -> list[Part]:
    width, height = ((1.0, 1.0), (1.3, 0.85), (1.0, 1.0))[shape % 3]
    u = np.linspace(-1, 1, 81)
    x, z = np.meshgrid(u, u)
    full = ((1 - x**2) * (1 - z**2)) ** 0.42
    rng = np.random.default_rng(100 + shape)
    folds = sum(
        0.012 * np.sin(k * x * rng.uniform(1, 3) + k * z * rng.uniform(-3, 3) + rng.uniform(0, 6)) for k in range(2, 6)
    )
    pinch = 1 - 0.1 * (1 - np.abs(x) ** 2) * np.abs(z) ** 6
    tuck = 1 - 0.1 * (1 - np.abs(z) ** 2) * np.abs(x) ** 6
    flat = np.stack([width * x * tuck, np.zeros_like(x), height * z * pinch], -1)
    sides = []
    for front in (-1, 1):
        points = flat.copy()
        points[..., 1] = front * full * (0.36 + folds)
        sides.append(grid(points) if front < 0 else grid(points).flipped())
    piping = tube(_edge(flat), 0.022, side=(0, 1, 0))
    lean = [Part("body", merge(sides)), Part("band", piping)]
    if shape % 3 == 2:
        lean.append(Part("band", ellipsoid(0.09, 0.05, 0.09).moved(0, -0.35, 0)))
    return [Part(part.slot, part.mesh.turned("x", -14)) for part in lean]


def _edge(flat: Array) -> Array:
    """The outline of a lattice of points, once round."""
    return np.concatenate([flat[0, :-1], flat[:-1, -1], flat[-1, :0:-1], flat[:0:-1, 0], flat[:1, 0]])
