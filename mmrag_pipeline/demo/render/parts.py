"""A part: one mesh and the name of the finish it wears. Products are lists of parts; colour comes later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from .mesh import Mesh, merge, rotation


@dataclass(frozen=True)
class Part:
    """One piece of a product: its shape, its finish slot, and a painted picture where it has one."""

    slot: str
    mesh: Mesh
    picture: np.ndarray | None = None


def by_slot(parts: Iterable[Part]) -> list[Part]:
    """The same product with one mesh for each finish; painted parts stay alone."""
    parts = list(parts)
    painted = [p for p in parts if p.picture is not None]
    slots = dict.fromkeys(p.slot for p in parts if p.picture is None)
    return painted + [Part(s, merge([p.mesh for p in parts if p.picture is None and p.slot == s])) for s in slots]


def turned(parts: Iterable[Part], axis: str, degrees: float) -> list[Part]:
    """All parts turned about an axis through the origin."""
    return [replace(p, mesh=p.mesh.turned(axis, degrees)) for p in parts]


def moved(parts: Iterable[Part], x: float = 0.0, y: float = 0.0, z: float = 0.0) -> list[Part]:
    """All parts moved together."""
    return [replace(p, mesh=p.mesh.moved(x, y, z)) for p in parts]


def mirrored(parts: Iterable[Part]) -> list[Part]:
    """All parts mirrored left to right (the other shoe)."""
    return [replace(p, mesh=p.mesh.scaled(1, -1, 1).flipped()) for p in parts]


def standing(parts: Iterable[Part], *, size: float = 2.0) -> list[Part]:
    """The product scaled to `size` along its longest side, standing on z = 0 above the origin."""
    parts = list(parts)
    points = np.concatenate([p.mesh.vertices for p in parts])
    low, high = points.min(0), points.max(0)
    scale = size / (high - low).max()
    x, y = -(low + high)[:2] / 2
    return [replace(p, mesh=p.mesh.moved(x, y, -low[2]).scaled(scale)) for p in parts]


def project(parts: Iterable[Part], *, azimuth: float, elevation: float) -> np.ndarray:
    """All vertices in camera directions (right, up, towards the camera), for framing."""
    points = np.concatenate([p.mesh.vertices for p in parts])
    points = points @ rotation("z", azimuth).T
    e = np.radians(elevation)
    right = points[:, 0]
    up = points[:, 2] * np.cos(e) + points[:, 1] * np.sin(e)
    near = -points[:, 1] * np.cos(e) + points[:, 2] * np.sin(e)
    return np.stack([right, up, near], 1)
