"""What each product wears: from a few named choices to a finish for every slot of its parts.

A `Look` is all that a customer would say about a product: kind, style, colours, material, hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from .palette import Finish
from .parts import Part

NOUNS = {
    ("watch", "classic"): "watch",
    ("watch", "chrono"): "chronograph watch",
    ("watch", "diver"): "diver watch",
    ("watch", "dress"): "dress watch",
    ("bag", "tote"): "tote bag",
    ("bag", "handbag"): "handbag",
    ("bag", "crossbody"): "crossbody bag",
    ("bag", "backpack"): "backpack",
    ("bag", "bucket"): "bucket bag",
    ("shoe", "sneaker"): "sneakers",
    ("shoe", "high-top"): "high-top sneakers",
    ("shoe", "boot"): "ankle boots",
    ("shoe", "pump"): "high heel pumps",
    ("dress", "gown"): "evening gown",
    ("dress", "cocktail"): "cocktail dress",
    ("dress", "sheath"): "sheath dress",
    ("dress", "wrap"): "wrap dress",
    ("dress", "tiered"): "tiered dress",
    ("dress", "cape"): "cape",
    ("dress", "hooded cape"): "hooded cape",
    ("figurine", "hero"): "superhero figurine",
    ("figurine", "astronaut"): "astronaut figurine",
    ("figurine", "robot"): "robot figurine",
    ("figurine", "wizard"): "wizard figurine",
    ("figurine", "knight"): "knight figurine",
    ("figurine", "cat"): "cat figurine",
    ("home", "mug"): "mug",
    ("home", "teapot"): "teapot",
    ("home", "vase"): "vase",
    ("home", "candle"): "scented candle",
    ("home", "lamp"): "table lamp",
    ("home", "cushion"): "cushion",
}


@dataclass(frozen=True)
class Look:
    """One product as a customer would describe it.

    `second` colours the strap, trim, stripe, sash, cape, handle or lampshade; `band` and `face` matter to watches only.
    `tint` overrides the colour's own shade; `shape` varies folds and proportions.
    """

    kind: str
    style: str
    colour: str
    material: str
    second: str = "black"
    hardware: str = "gold"
    band: str = "bracelet"
    face: str = "white"
    tint: str | None = None
    shape: int = 0

    @property
    def noun(self) -> str:
        """The everyday name of the product."""
        return NOUNS[self.kind, self.style]


@lru_cache(maxsize=256)
def _built(kind: str, style: str, band: str, face: str, ink: str, shape: int) -> tuple[Part, ...]:
    from .products import bag, dress, figurine, home, shoe, watch

    if kind == "watch":
        return tuple(watch.watch(strap=band, dial=style, face=face, ink=ink))
    if kind == "bag":
        return tuple(bag.bag(style=style, wide=1 + 0.1 * (shape % 3 - 1), tall=1 + 0.1 * (shape // 3 % 3 - 1)))
    if kind == "shoe":
        return tuple(shoe.shoe(style=style, pair=shape % 4 != 3))
    if kind == "dress":
        return tuple(dress.dress(style=style, seed=shape))
    if kind == "home":
        return tuple(home.home(style=style, shape=shape))
    return tuple(figurine.figurine(character=style, wave=bool(shape % 2)))


def parts(look: Look) -> list[Part]:
    """The parts of a look, built once a process."""
    light = look.face in ("white", "ivory", "beige", "silver", "mint", "sky blue", "pink", "grey")
    ink = "charcoal" if light else "ivory"
    shape = 4 if look.kind == "bag" and look.shape == 0 else look.shape
    face = look.face if look.kind == "watch" else "white"
    return list(_built(look.kind, look.style, look.band, face, ink, shape))


def finishes(look: Look) -> Mapping[str, Finish]:
    """The finish of every slot that the look's parts may have."""
    main = look.tint or look.colour
    hardware = ("metal", look.hardware)
    if look.kind == "watch":
        metal = look.colour
        return {
            "metal": ("metal", metal),
            "brushed": ("brushed metal", metal),
            "hands": ("metal", "silver" if metal == "black steel" else metal),
            "second": ("enamel", "red"),
            "lume": ("matte", "mint"),
            "bezel": ("enamel", look.second),
            "strap": ("leather", look.second),
            "stitch": ("cotton", "ivory"),
        }
    if look.kind == "bag":
        return {
            "body": (look.material, main),
            "trim": ("leather", look.second),
            "lining": ("cotton", "beige"),
            "metal": hardware,
        }
    if look.kind == "shoe":
        dress_shoe = look.style in ("boot", "pump")
        return {
            "upper": (look.material, main),
            "accent": ("leather", look.second),
            "toe": ("rubber", "white") if look.style == "high-top" else (look.material, look.second),
            "laces": ("cotton", "black" if look.colour in ("white", "ivory") else "white"),
            "sole": ("leather", "black" if look.style == "pump" else "brown") if dress_shoe else ("rubber", "white"),
            "tread": ("rubber", "black" if dress_shoe else "tan"),
        }
    if look.kind == "dress":
        return {
            "cloth": (look.material, main),
            "trim": ("satin", look.second),
            "inner": ("cotton", "charcoal" if look.colour not in ("black", "charcoal", "navy") else "grey"),
            "form": ("cotton", "#cfc3b0"),
            "stand": ("metal", "black steel"),
            "metal": hardware,
        }
    if look.kind == "home":
        return {
            "body": (look.material, main),
            "band": (look.material, look.second),
            "inner": ("ceramic", "white" if look.style == "mug" else "charcoal"),
            "shade": ("linen", look.second),
            "wax": ("matte", "ivory"),
            "wick": ("matte", "charcoal"),
            "label": ("matte", "white"),
            "metal": hardware,
        }
    dark = look.colour in ("black", "charcoal", "navy")
    return {
        "suit": (look.material, main),
        "cape": (look.material, look.second),
        "boots": ("vinyl", "white" if look.colour not in ("white", "ivory") else look.second),
        "hair": (
            "vinyl",
            "#f2f0ec" if look.style == "wizard" else ("brown" if look.shape % 4 < 2 else "mustard"),
        ),
        "skin": ("skin", "#e0ac82" if look.shape % 3 else "#8a5638"),
        "base": ("enamel", "charcoal" if dark else "black"),
        "eyes": ("enamel", "black"),
        "glint": ("enamel", "white"),
        "visor": ("metal", "black steel"),
        "wood": ("wood", "brown"),
        "gem": ("enamel", look.second),
        "blade": ("metal", "silver"),
        "metal": hardware,
    }
