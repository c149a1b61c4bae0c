"""Mitsuba and Open Image Denoise: a described scene becomes an 8-bit picture.

The scalar variant is the default: it needs no system LLVM. `MMRAG_RENDER_VARIANT=llvm_ad_rgb` (with
`DRJIT_LIBLLVM_PATH`) is three times as quick, and made the committed library.
"""

from __future__ import annotations

import os
from functools import cache

import numpy as np

from .mesh import Mesh


@cache
def mitsuba():
    """The Mitsuba module with its variant chosen, imported on first use."""
    import mitsuba as mi

    mi.set_variant(os.environ.get("MMRAG_RENDER_VARIANT", "scalar_rgb"))
    return mi


def shape(mesh: Mesh, material: dict) -> object:
    """A Mitsuba mesh with smooth normals that wears a material."""
    mi = mitsuba()
    properties = mi.Properties()
    properties["mesh_bsdf"] = mi.load_dict(material)
    made = mi.Mesh("part", len(mesh.vertices), len(mesh.faces), properties, True, True)
    values = mi.traverse(made)
    values["vertex_positions"] = np.ascontiguousarray(mesh.vertices, np.float32).ravel()
    values["vertex_normals"] = np.ascontiguousarray(normals(mesh), np.float32).ravel()
    values["vertex_texcoords"] = np.ascontiguousarray(mesh.uv, np.float32).ravel()
    values["faces"] = np.ascontiguousarray(mesh.faces, np.uint32).ravel()
    values.update()
    return made


def normals(mesh: Mesh) -> np.ndarray:
    """Smooth vertex normals; vertices in one place share theirs, so that texture seams do not show."""
    corners = mesh.vertices[mesh.faces]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    _, place = np.unique(np.round(mesh.vertices, 5), axis=0, return_inverse=True)
    place = place.ravel()
    total = np.stack(
        [np.bincount(place[mesh.faces].ravel(), np.repeat(face[:, k], 3), place.max() + 1) for k in range(3)],
        1,
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    total = np.where(length > 1e-12, total / np.maximum(length, 1e-12), [0.0, 0.0, 1.0])
    return total[place]


def denoise(colour: np.ndarray, albedo: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Open Image Denoise over linear light, guided by albedo and normals."""
    from pyoidn.denoise import denoise as clean

    return clean(colour, albedo, normal, hdr=True)


def develop(linear: np.ndarray, exposure: float) -> np.ndarray:
    """Linear light to sRGB bytes, with highlights rolled off softly rather than clipped."""
    light = np.maximum(linear * exposure, 0)
    knee = 0.75
    light = np.where(light > knee, knee + (1 - knee) * (1 - np.exp(-(light - knee) / (1 - knee))), light)
    srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * np.power(np.maximum(light, 1e-8), 1 / 2.4) - 0.055)
    return np.clip(srgb * 255 + 0.5, 0, 255).astype(np.uint8)


def _generalise(scene: object) -> None:
    """Keep this scene's numbers out of the compiled kernel, so that the next scene can use it too."""
    mi = mitsuba()
    if mi.variant().startswith("scalar"):
        return
    import drjit

    for _, value in mi.traverse(scene):
        drjit.make_opaque(value)


def render(scene: dict, *, samples: int, seed: int, exposure: float = 1.0) -> np.ndarray:
    """The picture of a scene, (height, width, 3) bytes."""
    mi = mitsuba()
    loaded = mi.load_dict(scene | {"type": "scene"}, parallel=False)  # in order: lights keep their turns
    _generalise(loaded)
    paths = mi.load_dict({"type": "path", "max_depth": 4, "rr_depth": 4})
    guides = mi.load_dict({"type": "aov", "aovs": "albedo:albedo,normal:sh_normal"})
    colour = np.array(mi.render(loaded, integrator=paths, spp=samples, seed=seed), dtype=np.float32)[..., :3]
    guide = np.array(mi.render(loaded, integrator=guides, spp=samples, seed=seed), dtype=np.float32)[..., -6:]
    colour = np.nan_to_num(colour).astype(np.float16).astype(np.float32)  # forgets the order of parallel sums
    colour, albedo, normal = (np.ascontiguousarray(x) for x in (colour, np.clip(guide[..., :3], 0, 1), guide[..., 3:]))
    return develop(denoise(colour, albedo, normal), exposure)
