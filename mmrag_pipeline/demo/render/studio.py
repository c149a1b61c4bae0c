"""The photo studio: where the camera stands, what is behind the product, how it is lit.

The camera and the lights stay put; the product turns on its table. `photograph` is the one entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .engine import mitsuba, render, shape
from .mesh import Mesh, grid, revolve
from .palette import Finish, bsdf, linear
from .parts import Part, by_slot, moved, project, standing, turned


@dataclass(frozen=True)
class View:
    """How far the product is turned, how high the camera stands, how much of the frame it fills."""

    azimuth: float
    elevation: float
    fill: float = 0.80
    focus: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Backdrop:
    """Floor and wall colours, the wood grain or not, and how strong each light is against it."""

    floor: str
    wall: str | None = None
    wood: bool = False
    key: float = 1.0
    fill: float = 0.55
    rim: float = 0.5
    ambient: float = 0.36
    exposure: float = 1.0


VIEWS = {
    "front": View(0, 9),
    "three-quarter": View(-34, 17),
    "side": View(-84, 9),
    "back": View(180, 10),
    "top": View(-18, 52),
    "detail": View(-22, 16, fill=1.55, focus=(0.0, 0.12)),
}

BACKDROPS = {
    "white": Backdrop("#f6f6f5", exposure=1.04, ambient=0.32),
    "pink pastel": Backdrop("#f2cdd3"),
    "blue pastel": Backdrop("#c3dbea"),
    "mint pastel": Backdrop("#cde6d6"),
    "cream pastel": Backdrop("#efe3c8"),
    "lilac pastel": Backdrop("#d9d0ea"),
    "grey": Backdrop("#a9abad"),
    "dark": Backdrop("#17181b", key=1.25, fill=0.45, rim=1.5, ambient=0.12),
    "desk": Backdrop("#8a5a33", wall="#d8d0c4", wood=True),
    "dark desk": Backdrop("#4a2c18", wall="#6d675f", wood=True, key=1.1, ambient=0.3),
}


@dataclass(frozen=True)
class Shot:
    """One picture to take of a product that stands ready."""

    view: View
    backdrop: Backdrop
    size: int = 512
    samples: int = 64
    seed: int = 0
    light: float = 0.0
    plinth: str | None = None
    field_of_view: float = 24.0


def photograph(parts: list[Part], finishes: Mapping[str, Finish], shot: Shot) -> np.ndarray:
    """A picture of the parts in their finishes, (size, size, 3) bytes."""
    parts = turned(standing(parts), "z", shot.view.azimuth)
    scene: dict = {}
    lift = 0.0
    if shot.plinth:
        lift = 0.28
        points = np.concatenate([p.mesh.vertices for p in parts])[:, :2]
        radius = np.linalg.norm(points, axis=1).max() * 1.12
        disc = revolve([(0, 0), (radius, 0), (radius, lift - 0.03), (radius - 0.03, lift), (0, lift)], count=96)
        scene["plinth"] = shape(disc, bsdf(("matte", shot.plinth)))
        parts = moved(parts, z=lift)
    for index, part in enumerate(by_slot(parts)):
        scene[f"part{index}"] = shape(part.mesh, _material(part, finishes))
    scene |= _ballast() | _room(shot.backdrop) | _lights(shot.backdrop, shot.light)
    scene["camera"] = _camera(parts, shot)
    return render(scene, samples=shot.samples, seed=shot.seed, exposure=shot.backdrop.exposure)


def _material(part: Part, finishes: Mapping[str, Finish]) -> dict:
    if part.picture is None:
        return bsdf(finishes[part.slot])
    painted = bsdf(("enamel", "white"))
    painted["bsdf"]["base_color"] = _bitmap(part.picture)
    painted["bsdf"]["roughness"] = 0.4
    return painted


def _bitmap(picture: np.ndarray) -> dict:
    mi = mitsuba()
    flipped = np.ascontiguousarray(picture[::-1])
    return {"type": "bitmap", "bitmap": mi.Bitmap(flipped), "raw": False, "wrap_mode": "mirror"}


def _ballast() -> dict:
    """A speck of every kind of finish, out of sight: one compiled kernel then serves all scenes."""
    speck = Mesh(np.array([[0, 0, -90], [1e-3, 0, -90], [0, 1e-3, -90]]), np.array([[0, 1, 2]]), np.zeros((3, 2)))
    white = np.full((4, 4, 3), 255, np.uint8)
    made = {"metal": bsdf(("metal", "silver")), "painted": _material(Part("", speck, white), {})}
    return {f"ballast_{name}": shape(speck, material) for name, material in made.items()}


def _room(backdrop: Backdrop) -> dict:
    """A sweep: floor that curves up into the wall; or a wooden table before a wall."""
    arc = np.linspace(0, np.pi / 2, 24)
    far, bend = (5.0, 2.5) if not backdrop.wood else (3.2, 0.02)
    line = [(-30.0, 0.0), (far, 0.0)]
    line += [(far + bend * np.sin(a), bend - bend * np.cos(a)) for a in arc[1:]] + [(far + bend, 30.0)]
    points = np.array([[[x, y, z] for x in (-40.0, 40.0)] for y, z in line])
    sweep = grid(points).flipped()
    if not backdrop.wood:
        return {"room": shape(sweep, bsdf(("matte", backdrop.floor)))}
    table = Mesh(
        np.array([[-6, -8, 0], [6, -8, 0], [6, 3.2, 0], [-6, 3.2, 0]], float),
        np.array([[0, 1, 2], [0, 2, 3]]),
        np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float),
    )
    wood = bsdf(("wood", backdrop.floor))
    wood["bsdf"]["base_color"] = _bitmap(grain(backdrop.floor))
    wall = grid(np.array([[[x, 5.5, z] for x in (-40.0, 40.0)] for z in (-20.0, 30.0)])).flipped()
    return {"room": shape(table, wood), "wall": shape(wall, bsdf(("matte", backdrop.wall)))}


def grain(colour: str, size: int = 768, planks: int = 9) -> np.ndarray:
    """A picture of wooden planks."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:size, 0:size] / size
    row = (y * planks).astype(int)
    shift, tone = rng.uniform(0, 40, planks)[row], rng.uniform(0.82, 1.1, planks)[row]
    noise = sum(np.sin((x * k * 3.1 + shift) + 5 * np.sin(y * 40 + k + shift)) / k for k in range(1, 7))
    lines = 0.5 + 0.5 * np.sin(y * 520 + 4 * noise + shift * 9)
    shade = tone * (0.9 + 0.1 * lines + 0.03 * noise)
    seam = np.abs(y * planks % 1 - 0.5) > 0.49
    shade = np.where(seam, shade * 0.45, shade)
    base = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return np.clip(base * shade[..., None], 0, 255).astype(np.uint8)


def _lights(backdrop: Backdrop, swing: float) -> dict:
    """A large key on the left, a fill on the right, a rim behind, a soft sky; `swing` moves the key."""
    return {
        "key": _softbox((-4.2 + 2.5 * swing, -3.6, 5.2 + abs(swing)), 2.2, 7.0 * backdrop.key),
        "fill": _softbox((5.0 + 1.5 * swing, -3.2, 2.6), 1.8, 4.2 * backdrop.fill),
        "rim": _softbox((2.5 - 3 * swing, 3.4, 5.6), 1.4, 9.0 * backdrop.rim),
        "top": _softbox((0.0, -0.4, 7.0), 2.2, 3.0 * backdrop.key),
        "sky": {"type": "constant", "radiance": {"type": "rgb", "value": [backdrop.ambient] * 3}},
    }


def _softbox(place: tuple[float, float, float], half: float, power: float) -> dict:
    to_world = mitsuba().ScalarTransform4f().look_at(list(place), [0, 0, 0.9], [0.01, 0.02, 1])
    return {
        "type": "rectangle",
        "to_world": to_world @ mitsuba().ScalarTransform4f().scale([half, half, 1]),
        "light": {"type": "area", "radiance": {"type": "rgb", "value": [power] * 3}},
    }


def _camera(parts: list[Part], shot: Shot) -> dict:
    """A camera whose frame the product fills as the view asks."""
    mi = mitsuba()
    seen = project(parts, azimuth=0, elevation=shot.view.elevation)
    slope = np.tan(np.radians(shot.field_of_view / 2))
    centre, distance = seen.mean(0), 8.0
    centre[2] = (seen[:, 2].min() + seen[:, 2].max()) / 2
    for _ in range(6):
        depth = distance - (seen[:, 2] - centre[2])
        u, v = (seen[:, 0] - centre[0]) / depth / slope, (seen[:, 1] - centre[1]) / depth / slope
        centre[0] += (u.min() + u.max()) / 2 * distance * slope
        centre[1] += (v.min() + v.max()) / 2 * distance * slope
        distance *= max(u.max() - u.min(), v.max() - v.min()) / 2 / min(shot.view.fill, 0.92)
    if shot.view.fill > 0.92:
        distance *= 0.92 / shot.view.fill
    span = (seen[:, :2].max(0) - seen[:, :2].min(0)) / 2
    centre[:2] += np.array(shot.view.focus) * span
    e = np.radians(shot.view.elevation)
    right, up = np.array([1.0, 0, 0]), np.array([0, np.sin(e), np.cos(e)])
    back = np.array([0, -np.cos(e), np.sin(e)])
    target = centre[0] * right + centre[1] * up + centre[2] * back
    return {
        "type": "perspective",
        "fov": shot.field_of_view,
        "to_world": mi.ScalarTransform4f().look_at((target + distance * back).tolist(), target.tolist(), up.tolist()),
        "film": {
            "type": "hdrfilm",
            "width": shot.size,
            "height": shot.size,
            "rfilter": {"type": "box"},
            "pixel_format": "rgb",
        },
        "sampler": {"type": "independent"},
    }


__all__ = ["BACKDROPS", "VIEWS", "Backdrop", "Shot", "View", "grain", "linear", "photograph"]
