"""Names of colours and materials, and what a renderer must know about each.

Belongs here: the shop's vocabulary. A finish is a (material, colour) pair; `bsdf` says it in Mitsuba's words.
"""

from __future__ import annotations

from dataclasses import dataclass

COLOURS = {
    "red": "#b80f16",
    "crimson": "#8f0f22",
    "burgundy": "#571020",
    "coral": "#f0705c",
    "orange": "#e8761a",
    "mustard": "#d19a1c",
    "yellow": "#f2cc2e",
    "olive": "#5e6330",
    "green": "#2c8a45",
    "emerald": "#04694a",
    "mint": "#9ed8bd",
    "teal": "#0f767c",
    "sky blue": "#82b9e4",
    "blue": "#1f55b8",
    "navy": "#14213f",
    "purple": "#63308a",
    "lavender": "#b3a3db",
    "pink": "#f09ab5",
    "blush": "#e8c1b6",
    "brown": "#5f371f",
    "tan": "#b5814f",
    "beige": "#d4bd98",
    "ivory": "#efe6d2",
    "white": "#f0f0ee",
    "grey": "#85878a",
    "charcoal": "#333539",
    "black": "#111113",
}

METALS = {
    "gold": (1.00, 0.66, 0.22),
    "silver": (0.66, 0.67, 0.70),
    "rose gold": (0.95, 0.55, 0.44),
    "black steel": (0.075, 0.075, 0.085),
    "bronze": (0.60, 0.36, 0.17),
    "copper": (0.93, 0.45, 0.28),
}


@dataclass(frozen=True)
class Surface:
    """How a material answers light: roughness, highlight, and the soft glow of cloth at grazing angles."""

    roughness: float
    specular: float = 0.5
    sheen: float = 0.0
    clearcoat: float = 0.0


MATERIALS = {
    "leather": Surface(0.42, 0.55),
    "patent leather": Surface(0.25, 0.6, clearcoat=1.0),
    "suede": Surface(0.95, 0.1, sheen=0.9),
    "canvas": Surface(0.9, 0.15, sheen=0.3),
    "nylon": Surface(0.5, 0.45, sheen=0.3),
    "silk": Surface(0.42, 0.4, sheen=0.6),
    "satin": Surface(0.38, 0.45, sheen=0.4),
    "velvet": Surface(0.9, 0.1, sheen=1.0),
    "cotton": Surface(0.85, 0.2, sheen=0.3),
    "wool": Surface(0.95, 0.1, sheen=0.7),
    "rubber": Surface(0.6, 0.35),
    "vinyl": Surface(0.3, 0.5, clearcoat=0.5),
    "enamel": Surface(0.22, 0.5, clearcoat=0.8),
    "skin": Surface(0.5, 0.4),
    "wood": Surface(0.55, 0.4),
    "ceramic": Surface(0.25, 0.5, clearcoat=0.6),
    "stoneware": Surface(0.65, 0.3),
    "linen": Surface(0.95, 0.1, sheen=0.3),
    "matte": Surface(0.8, 0.2),
}

Finish = tuple[str, str]


def linear(colour: str) -> list[float]:
    """A named or `#rrggbb` colour in linear light."""
    code = COLOURS.get(colour, colour).lstrip("#")
    channels = [int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def bsdf(finish: Finish) -> dict:
    """Mitsuba's description of a finish such as ("leather", "tan") or ("metal", "gold").

    No lobe is ever quite zero: Mitsuba drops empty ones, and would compile a kernel for each mixture.
    """
    material, colour = finish
    if material in ("metal", "brushed metal"):
        return {
            "type": "roughconductor",
            "material": "none",
            "distribution": "ggx",
            "alpha": 0.24 if material == "brushed metal" else 0.13,
            "specular_reflectance": {"type": "rgb", "value": list(METALS[colour])},
        }
    surface = MATERIALS[material]
    return {
        "type": "twosided",
        "bsdf": {
            "type": "principled",
            "base_color": {"type": "rgb", "value": linear(colour)},
            "roughness": surface.roughness,
            "specular": surface.specular,
            "sheen": max(surface.sheen, 0.01),
            "sheen_tint": 0.7,
            "clearcoat": max(surface.clearcoat, 0.01),
            "clearcoat_gloss": 0.92,
        },
    }
