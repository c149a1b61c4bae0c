"""The demo brand's catalogue: every SKU of the library, its look, and the pictures taken of it.

Made again with `python -m mmrag_pipeline.demo.render library` (its seed is `SEED`).
To change the library: change a line here, delete the pictures it concerns, run that, commit both.
Look-alikes are on purpose: in gold, silver and rose gold, the Aurora differs in nothing but its metal.
"""

from __future__ import annotations

from dataclasses import dataclass

from .wardrobe import Look

SEED = 20260801


@dataclass(frozen=True)
class Item:
    """One SKU: its name, its look, its season and price, and its pictures as (view, backdrop) pairs."""

    drop: str
    sku: str
    name: str
    title: str
    look: Look
    price_usd: int
    pictures: tuple[tuple[str, str], ...]


def _watch(style: str, metal: str, band: str = "bracelet", second: str = "black", face: str = "white") -> Look:
    material = {"bracelet": "bracelet", "mesh": "mesh band", "strap": "leather strap"}[band]
    return Look("watch", style, metal, material, second=second, band=band, face=face)


def _items(drop: str, *rows: tuple) -> list[Item]:
    return [Item(drop, *row) for row in rows]


WATCHES = _items(
    "watches/2026-08",
    (
        "WA-101-GLD",
        "aurora-gold",
        "Aurora automatic watch, gold",
        _watch("classic", "gold"),
        420,
        (("front", "white"), ("three-quarter", "cream pastel"), ("detail", "dark")),
    ),
    (
        "WA-101-SLV",
        "aurora-silver",
        "Aurora automatic watch, silver",
        _watch("classic", "silver"),
        390,
        (("front", "white"), ("three-quarter", "blue pastel"), ("detail", "dark")),
    ),
    (
        "WA-101-RSG",
        "aurora-rose-gold",
        "Aurora automatic watch, rose gold",
        _watch("classic", "rose gold"),
        420,
        (("front", "white"), ("three-quarter", "pink pastel")),
    ),
    (
        "WA-101-BLK",
        "aurora-black",
        "Aurora automatic watch, black steel",
        _watch("classic", "black steel", face="black"),
        410,
        (("front", "white"), ("three-quarter", "grey")),
    ),
    (
        "WA-204-SLV",
        "meridian-silver",
        "Meridian chronograph, silver with brown leather strap",
        _watch("chrono", "silver", "strap", "brown", "ivory"),
        560,
        (("front", "desk"), ("three-quarter", "white")),
    ),
    (
        "WA-204-GLD",
        "meridian-gold",
        "Meridian chronograph, gold with black leather strap",
        _watch("chrono", "gold", "strap", "black", "black"),
        590,
        (("three-quarter", "dark"),),
    ),
    (
        "WA-310-SLV",
        "tidal-silver",
        "Tidal diver watch, silver steel with navy bezel",
        _watch("diver", "silver", "bracelet", "navy", "navy"),
        480,
        (("front", "blue pastel"), ("three-quarter", "white")),
    ),
    (
        "WA-415-RSG",
        "lumen-rose-gold",
        "Lumen dress watch, rose gold mesh band",
        _watch("dress", "rose gold", "mesh", "black", "ivory"),
        350,
        (("front", "pink pastel"),),
    ),
)

BAGS = _items(
    "bags/2026-08",
    (
        "BG-110-TAN",
        "harbor-tote-tan",
        "Harbor tote, tan leather",
        Look("bag", "tote", "tan", "leather", "brown"),
        240,
        (("front", "white"), ("three-quarter", "desk")),
    ),
    (
        "BG-110-NVY",
        "harbor-tote-navy",
        "Harbor tote, navy canvas",
        Look("bag", "tote", "navy", "canvas", "tan"),
        190,
        (("front", "white"), ("three-quarter", "blue pastel")),
    ),
    (
        "BG-220-RED",
        "opera-handbag-red",
        "Opera handbag, red leather",
        Look("bag", "handbag", "red", "leather", "red"),
        380,
        (("front", "white"), ("three-quarter", "cream pastel")),
    ),
    (
        "BG-220-BLK",
        "opera-handbag-black",
        "Opera handbag, black leather",
        Look("bag", "handbag", "black", "leather", "black"),
        380,
        (("front", "white"), ("three-quarter", "grey")),
    ),
    (
        "BG-220-EMR",
        "opera-handbag-emerald",
        "Opera handbag, emerald suede",
        Look("bag", "handbag", "emerald", "suede", "emerald"),
        360,
        (("three-quarter", "mint pastel"),),
    ),
    (
        "BG-330-IVR",
        "soiree-crossbody-ivory",
        "Soiree crossbody bag, ivory leather with gold chain",
        Look("bag", "crossbody", "ivory", "leather", "beige"),
        310,
        (("three-quarter", "lilac pastel"), ("front", "dark")),
    ),
    (
        "BG-440-OLV",
        "trail-backpack-olive",
        "Trail backpack, olive canvas",
        Look("bag", "backpack", "olive", "canvas", "brown"),
        160,
        (("front", "white"), ("three-quarter", "desk")),
    ),
    (
        "BG-550-BRG",
        "sailor-bucket-burgundy",
        "Sailor bucket bag, burgundy suede",
        Look("bag", "bucket", "burgundy", "suede", "tan"),
        220,
        (("front", "cream pastel"),),
    ),
)

LUNAR = _items(
    "lunar/2026-09",
    (
        "LU-100-RED",
        "lunar-cape-red",
        "Lunar cape, red velvet",
        Look("dress", "cape", "red", "velvet", shape=1),
        340,
        (("front", "white"), ("three-quarter", "dark"), ("back", "grey")),
    ),
    (
        "LU-110-RED",
        "eclipse-hooded-cape-red",
        "Eclipse hooded cape, red wool",
        Look("dress", "hooded cape", "red", "wool", shape=2),
        360,
        (("three-quarter", "cream pastel"),),
    ),
    (
        "LU-110-NVY",
        "eclipse-hooded-cape-navy",
        "Eclipse hooded cape, navy wool",
        Look("dress", "hooded cape", "navy", "wool", hardware="silver", shape=2),
        360,
        (("front", "white"),),
    ),
    (
        "LU-200-RED",
        "selene-gown-red",
        "Selene evening gown, red silk",
        Look("dress", "gown", "red", "silk", "red", shape=3),
        620,
        (("front", "white"), ("three-quarter", "pink pastel")),
    ),
    (
        "LU-200-EMR",
        "selene-gown-emerald",
        "Selene evening gown, emerald silk",
        Look("dress", "gown", "emerald", "silk", "emerald", shape=3),
        620,
        (("front", "white"), ("three-quarter", "dark")),
    ),
    (
        "LU-200-IVR",
        "selene-gown-ivory",
        "Selene evening gown, ivory satin",
        Look("dress", "gown", "ivory", "satin", "ivory", shape=3),
        640,
        (("three-quarter", "blue pastel"),),
    ),
    (
        "LU-310-BLK",
        "noctis-sheath-black",
        "Noctis sheath dress, black satin",
        Look("dress", "sheath", "black", "satin", "black", shape=4),
        280,
        (("front", "white"), ("side", "lilac pastel")),
    ),
    (
        "LU-320-BLU",
        "tide-wrap-blue",
        "Tide wrap dress, blue cotton",
        Look("dress", "wrap", "blue", "cotton", "navy", shape=5),
        230,
        (("front", "cream pastel"),),
    ),
    (
        "LU-330-PNK",
        "petal-tiered-pink",
        "Petal tiered dress, pink silk",
        Look("dress", "tiered", "pink", "silk", "pink", shape=6),
        450,
        (("three-quarter", "white"),),
    ),
    (
        "LU-340-MUS",
        "solstice-cocktail-mustard",
        "Solstice cocktail dress, mustard satin",
        Look("dress", "cocktail", "mustard", "satin", "brown", shape=7),
        260,
        (("front", "grey"),),
    ),
)

SHOES = _items(
    "shoes/2026-09",
    (
        "SH-100-NVY",
        "dash-sneaker-navy",
        "Dash sneakers, navy suede",
        Look("shoe", "sneaker", "navy", "suede", "white"),
        120,
        (("side", "white"), ("three-quarter", "grey")),
    ),
    (
        "SH-100-RED",
        "dash-sneaker-red",
        "Dash sneakers, red suede",
        Look("shoe", "sneaker", "red", "suede", "white"),
        120,
        (("side", "white"), ("three-quarter", "cream pastel")),
    ),
    (
        "SH-200-YLW",
        "court-high-top-yellow",
        "Court high-top sneakers, yellow canvas",
        Look("shoe", "high-top", "yellow", "canvas", "black"),
        95,
        (("three-quarter", "blue pastel"),),
    ),
    (
        "SH-200-BLK",
        "court-high-top-black",
        "Court high-top sneakers, black canvas",
        Look("shoe", "high-top", "black", "canvas", "white"),
        95,
        (("side", "white"), ("three-quarter", "desk")),
    ),
    (
        "SH-300-BRN",
        "moor-boot-brown",
        "Moor ankle boots, brown leather",
        Look("shoe", "boot", "brown", "leather", "black"),
        210,
        (("side", "white"), ("three-quarter", "desk")),
    ),
    (
        "SH-300-BLK",
        "moor-boot-black",
        "Moor ankle boots, black leather",
        Look("shoe", "boot", "black", "leather", "charcoal"),
        210,
        (("three-quarter", "grey"),),
    ),
    (
        "SH-400-CRM",
        "vesper-pump-crimson",
        "Vesper high heels, crimson satin",
        Look("shoe", "pump", "crimson", "satin", "beige"),
        250,
        (("side", "white"), ("three-quarter", "pink pastel")),
    ),
)

FIGURINES = _items(
    "figurines/2026-10",
    (
        "FG-001-BLU",
        "captain-comet-blue",
        "Captain Comet figurine, blue suit and red cape",
        Look("figurine", "hero", "blue", "vinyl", "red", shape=1),
        45,
        (("front", "white"), ("three-quarter", "cream pastel"), ("back", "grey")),
    ),
    (
        "FG-002-WHT",
        "luna-astronaut-white",
        "Luna astronaut figurine, white and orange",
        Look("figurine", "astronaut", "white", "vinyl", "orange", shape=2),
        49,
        (("front", "blue pastel"), ("three-quarter", "dark")),
    ),
    (
        "FG-003-TEA",
        "bolt-robot-teal",
        "Bolt robot figurine, teal and yellow",
        Look("figurine", "robot", "teal", "enamel", "yellow", "silver", shape=2),
        42,
        (("front", "white"), ("three-quarter", "pink pastel")),
    ),
    (
        "FG-003-RED",
        "bolt-robot-red",
        "Bolt robot figurine, red and yellow",
        Look("figurine", "robot", "red", "enamel", "yellow", "silver", shape=2),
        42,
        (("front", "white"),),
    ),
    (
        "FG-004-ORG",
        "mango-cat-orange",
        "Mango cat figurine, orange with green scarf",
        Look("figurine", "cat", "orange", "vinyl", "green", shape=2),
        39,
        (("front", "mint pastel"), ("three-quarter", "desk")),
    ),
) + _items(
    "figurines/2026-11",
    (
        "FG-005-PRP",
        "orin-wizard-purple",
        "Orin the wizard figurine, purple robe and hat",
        Look("figurine", "wizard", "purple", "matte", "purple", shape=1),
        52,
        (("front", "white"), ("three-quarter", "dark")),
    ),
    (
        "FG-006-SLV",
        "sir-alden-knight-silver",
        "Sir Alden knight figurine, silver armour and red shield",
        Look("figurine", "knight", "navy", "enamel", "red", "silver", shape=2),
        55,
        (("front", "white"), ("three-quarter", "grey")),
    ),
    (
        "FG-006-GLD",
        "sir-alden-knight-gold",
        "Sir Alden knight figurine, golden armour and blue shield",
        Look("figurine", "knight", "white", "enamel", "blue", "gold", shape=2),
        65,
        (("front", "lilac pastel"),),
    ),
    (
        "FG-007-BLK",
        "captain-comet-black",
        "Captain Comet figurine, midnight edition, black suit and gold cape",
        Look("figurine", "hero", "black", "vinyl", "mustard", shape=3),
        59,
        (("front", "white"), ("three-quarter", "blue pastel")),
    ),
)

CATALOGUE: tuple[Item, ...] = tuple(WATCHES + BAGS + LUNAR + SHOES + FIGURINES)

SEASONS = {"2026-08": "late summer", "2026-09": "autumn", "2026-10": "autumn", "2026-11": "holiday"}
