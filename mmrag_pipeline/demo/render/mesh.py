"""Triangle meshes from numpy alone: lofts, sweeps, turned profiles, rounded boxes and level sets.

Belongs here: shape-making that knows nothing about products. Z is up, the front of a thing looks along -y.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Mesh:
    """Vertices, triangles, and a texture coordinate for each vertex."""

    vertices: Array
    faces: Array
    uv: Array

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Mesh:
        """The same mesh elsewhere."""
        return Mesh(self.vertices + np.array([x, y, z]), self.faces, self.uv)

    def scaled(self, x: float, y: float | None = None, z: float | None = None) -> Mesh:
        """Scaled about the origin; one number scales all axes."""
        y, z = (x, x) if y is None else (y, z)
        return Mesh(self.vertices * np.array([x, y, z]), self.faces, self.uv)

    def turned(self, axis: str, degrees: float) -> Mesh:
        """Turned about x, y or z through the origin."""
        return Mesh(self.vertices @ rotation(axis, degrees).T, self.faces, self.uv)

    def flipped(self) -> Mesh:
        """The same surface with its normals the other way."""
        return Mesh(self.vertices, self.faces[:, ::-1], self.uv)


def rotation(axis: str, degrees: float) -> Array:
    """Rotation matrix about one coordinate axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + start for m, start in zip(meshes, starts, strict=True)]),
        np.concatenate([m.uv for m in meshes]),
    )


def grid(points: Array) -> Mesh:
    """A surface through an (n, m, 3) lattice of points; a wrapped one repeats its first column at the end."""
    n, m, _ = points.shape
    at = np.arange(n * m).reshape(n, m)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, 1:].ravel(), at[1:, :-1].ravel()
    v, u = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, m), indexing="ij")
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return Mesh(points.reshape(-1, 3).astype(float), faces, np.stack([u.ravel(), v.ravel()], 1))


def loft(rings: Sequence[Array], *, caps: bool = True) -> Mesh:
    """Closed rings (each (m, 3), same m), skinned one to the next."""
    stack = np.stack(rings).astype(float)
    if caps:
        first, last = stack[0].mean(0), stack[-1].mean(0)
        stack = np.concatenate([np.broadcast_to(first, stack[:1].shape), stack, np.broadcast_to(last, stack[:1].shape)])
    return grid(np.concatenate([stack, stack[:, :1]], 1))


def superellipse(a: float, b: float, power: float = 2.0, count: int = 48) -> Array:
    """A closed outline in the plane, from ellipse (2) towards rectangle (6 and more); (count, 2)."""
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    return np.stack([a * np.sign(c) * np.abs(c) ** (2 / power), b * np.sign(s) * np.abs(s) ** (2 / power)], 1)


def ring(outline: Array, z: float) -> Array:
    """A plane outline lifted to height z."""
    return np.concatenate([outline, np.full((len(outline), 1), z)], 1)


def revolve(profile: Sequence[tuple[float, float]], *, count: int = 64, smooth: int = 0) -> Mesh:
    """A profile of (radius, z) turned about z, from bottom to top; `smooth` points make it a spline."""
    points = np.array(profile, float)
    if smooth:
        points = spline(points, smooth)
    t = np.linspace(0, 2 * np.pi, count + 1)
    r, z = np.maximum(points[:, 0], 0)[:, None], points[:, 1][:, None]
    return grid(np.stack([r * np.cos(t), r * np.sin(t), np.broadcast_to(z, (len(points), count + 1))], -1))


def spline(points: Array, count: int, *, closed: bool = False) -> Array:
    """A Catmull-Rom curve through the points, sampled evenly in its parameter."""
    p = np.asarray(points, float)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    spans = len(p) - 3
    t = np.linspace(0, spans, count, endpoint=not closed)
    i = np.minimum(t.astype(int), spans - 1)
    f = (t - i)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    return 0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3)


def evenly(path: Array, count: int) -> Array:
    """The same path, resampled at equal distances."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.linspace(0, length[-1], count)
    return np.stack([np.interp(at, length, path[:, k]) for k in range(path.shape[1])], 1)


def frames(path: Array, side: Array) -> tuple[Array, Array, Array]:
    """Tangent, side and normal along a path whose section keeps its width near `side`."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    normal = np.cross(tangent, side)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    return tangent, np.cross(normal, tangent), normal


def sweep(path: Array, outline: Array, *, side: Sequence[float] = (1, 0, 0), scale: Array | float = 1.0) -> Mesh:
    """A plane outline (width, thickness) carried along a path, with closed ends."""
    path = np.asarray(path, float)
    _, across, normal = frames(path, np.asarray(side, float))
    scale = np.broadcast_to(np.asarray(scale, float), (len(path),))
    rings = [path[i] + scale[i] * (outline[:, :1] * across[i] + outline[:, 1:] * normal[i]) for i in range(len(path))]
    return loft(rings)


def tube(path: Array, radius: float, *, side: Sequence[float] = (0.31, 0.22, 0.92), count: int = 12) -> Mesh:
    """A round cord along a path."""
    return sweep(path, superellipse(radius, radius, 2, count), side=side)


def box(width: float, depth: float, height: float, radius: float = 0.05, steps: int = 4) -> Mesh:
    """A box with rounded edges, centred on the origin."""
    half = np.array([width, depth, height]) / 2
    radius = min(radius, *half)
    arc = np.linspace(0, np.pi / 2, steps)
    around = np.concatenate([arc + k * np.pi / 2 for k in range(4)])
    sx = np.repeat([1, -1, -1, 1], steps)
    sy = np.repeat([1, 1, -1, -1], steps)
    around, sx, sy = np.append(around, 2 * np.pi), np.append(sx, 1), np.append(sy, 1)
    up = np.concatenate([arc - np.pi / 2, arc])
    sz = np.repeat([-1, 1], steps)
    core = half - radius
    x = core[0] * sx + radius * np.cos(up)[:, None] * np.cos(around)
    y = core[1] * sy + radius * np.cos(up)[:, None] * np.sin(around)
    z = np.broadcast_to((core[2] * sz + radius * np.sin(up))[:, None], x.shape)
    points = np.stack([x, y, z], -1)
    caps = [np.broadcast_to([0, 0, k * half[2]], points[:1].shape) for k in (-1, 1)]
    return grid(np.concatenate([caps[0], points, caps[1]]))


def ellipsoid(x: float, y: float, z: float, count: int = 40) -> Mesh:
    """An ellipsoid with these radii, centred on the origin."""
    up = np.linspace(-np.pi / 2, np.pi / 2, count // 2)
    return revolve(list(zip(np.cos(up), np.sin(up), strict=True)), count=count).scaled(x, y, z)


def capsule(start: Sequence[float], end: Sequence[float], radius: float, end_radius: float | None = None) -> Mesh:
    """A limb: a round-ended rod from one point to another."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    axis = (end - start) / np.linalg.norm(end - start)
    last = radius if end_radius is None else end_radius
    a = np.linspace(0, np.pi / 2, 7)
    offsets = np.concatenate([-radius * np.cos(a), np.linalg.norm(end - start) + last * np.sin(a)])
    radii = np.concatenate([radius * np.sin(a), last * np.cos(a)])
    side = np.cross(axis, [0.0, 0.0, 1.0] if abs(axis[2]) < 0.9 else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)
    t = np.linspace(0, 2 * np.pi, 25)
    around = np.cos(t)[:, None] * side + np.sin(t)[:, None] * other
    return grid(start + offsets[:, None, None] * axis + radii[:, None, None] * around)


def torus(radius: float, thickness: float, *, count: int = 48, sides: int = 12) -> Mesh:
    """A ring lying flat about z."""
    t = np.linspace(0, 2 * np.pi, sides + 1)
    return revolve([(radius + thickness * np.cos(a), thickness * np.sin(a)) for a in t], count=count)


def sheet(points: Array, thickness: float) -> Mesh:
    """A lattice of points given a thickness: cloth, flaps, tongues. (n, m, 3), not wrapped."""
    du, dv = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normal = np.cross(du, dv)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    front, back = points + normal * thickness / 2, points - normal * thickness / 2
    rows = [np.concatenate([front[i], back[i][::-1]]) for i in range(len(points))]
    return loft(rows)


def level_set(
    field: Callable[[Array, Array, Array], Array],
    low: Sequence[float],
    high: Sequence[float],
    step: float,
) -> Mesh:
    """The surface where a field over space is zero (negative inside), by marching cubes."""
    from skimage.measure import marching_cubes

    axes = [np.arange(a, b + step, step) for a, b in zip(low, high, strict=True)]
    values = np.pad(field(*np.meshgrid(*axes, indexing="ij")), 1, constant_values=1.0)
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="descent")
    vertices = (vertices - 1) * step + np.array(low)
    return Mesh(vertices, faces, vertices[:, [0, 2]])
