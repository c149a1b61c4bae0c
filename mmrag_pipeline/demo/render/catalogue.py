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

WATCHES += _items(
    "watches/2026-11",
    (
        "WA-101-NVY",
        "aurora-silver-navy",
        "Aurora automatic watch, silver with navy dial",
        _watch("classic", "silver", face="navy"),
        395,
        (("front", "white"), ("three-quarter", "dark")),
    ),
    (
        "WA-101-EMR",
        "aurora-gold-emerald",
        "Aurora automatic watch, gold with emerald dial",
        _watch("classic", "gold", face="emerald"),
        430,
        (("front", "white"), ("three-quarter", "mint pastel"), ("detail", "dark")),
    ),
    (
        "WA-204-RSG",
        "meridian-rose-gold",
        "Meridian chronograph, rose gold with burgundy leather strap",
        _watch("chrono", "rose gold", "strap", "burgundy", "ivory"),
        590,
        (("front", "white"), ("three-quarter", "desk")),
    ),
    (
        "WA-310-BLK",
        "tidal-black",
        "Tidal diver watch, black steel with red bezel",
        _watch("diver", "black steel", "bracelet", "red", "black"),
        520,
        (("front", "grey"), ("three-quarter", "white")),
    ),
    (
        "WA-415-GLD",
        "lumen-gold",
        "Lumen dress watch, gold mesh band",
        _watch("dress", "gold", "mesh", "black", "ivory"),
        350,
        (("front", "white"), ("three-quarter", "cream pastel")),
    ),
    (
        "WA-415-SLV",
        "lumen-silver",
        "Lumen dress watch, silver mesh band",
        _watch("dress", "silver", "mesh", "black", "white"),
        330,
        (("front", "white"), ("three-quarter", "lilac pastel")),
    ),
)

BAGS += _items(
    "bags/2026-10",
    (
        "BG-110-RED",
        "harbor-tote-red",
        "Harbor tote, red canvas",
        Look("bag", "tote", "red", "canvas", "tan"),
        190,
        (("front", "white"), ("three-quarter", "grey")),
    ),
    (
        "BG-220-WHT",
        "opera-handbag-white",
        "Opera handbag, white leather",
        Look("bag", "handbag", "white", "leather", "white"),
        380,
        (("front", "blue pastel"), ("three-quarter", "dark")),
    ),
    (
        "BG-330-BLK",
        "soiree-crossbody-black",
        "Soiree crossbody bag, black leather with gold chain",
        Look("bag", "crossbody", "black", "leather", "black"),
        310,
        (("front", "white"), ("three-quarter", "pink pastel")),
    ),
    (
        "BG-330-PNK",
        "soiree-crossbody-pink",
        "Soiree crossbody bag, pink leather with silver chain",
        Look("bag", "crossbody", "pink", "leather", "pink", "silver"),
        310,
        (("front", "white"), ("three-quarter", "cream pastel")),
    ),
    (
        "BG-440-MUS",
        "trail-backpack-mustard",
        "Trail backpack, mustard canvas",
        Look("bag", "backpack", "mustard", "canvas", "brown"),
        160,
        (("front", "white"), ("three-quarter", "blue pastel")),
    ),
    (
        "BG-440-BLK",
        "trail-backpack-black",
        "Trail backpack, black nylon",
        Look("bag", "backpack", "black", "nylon", "charcoal", "silver"),
        150,
        (("three-quarter", "white"), ("side", "grey")),
    ),
    (
        "BG-550-BLU",
        "sailor-bucket-blue",
        "Sailor bucket bag, blue suede",
        Look("bag", "bucket", "blue", "suede", "tan"),
        220,
        (("front", "white"), ("three-quarter", "desk")),
    ),
)

LUNAR += _items(
    "lunar/2026-12",
    (
        "LU-100-BLK",
        "lunar-cape-black",
        "Lunar cape, black velvet",
        Look("dress", "cape", "black", "velvet", shape=1),
        340,
        (("front", "white"), ("three-quarter", "lilac pastel")),
    ),
    (
        "LU-100-IVR",
        "lunar-cape-ivory",
        "Lunar cape, ivory wool",
        Look("dress", "cape", "ivory", "wool", shape=1),
        350,
        (("front", "blue pastel"), ("three-quarter", "dark")),
    ),
    (
        "LU-200-NVY",
        "selene-gown-navy",
        "Selene evening gown, navy silk",
        Look("dress", "gown", "navy", "silk", "navy", shape=3),
        620,
        (("front", "white"), ("three-quarter", "cream pastel")),
    ),
    (
        "LU-310-RED",
        "noctis-sheath-red",
        "Noctis sheath dress, red satin",
        Look("dress", "sheath", "red", "satin", "red", shape=4),
        280,
        (("front", "white"), ("side", "grey")),
    ),
    (
        "LU-320-GRN",
        "tide-wrap-green",
        "Tide wrap dress, green cotton",
        Look("dress", "wrap", "green", "cotton", "emerald", shape=5),
        230,
        (("front", "white"), ("three-quarter", "pink pastel")),
    ),
    (
        "LU-330-LAV",
        "petal-tiered-lavender",
        "Petal tiered dress, lavender silk",
        Look("dress", "tiered", "lavender", "silk", "lavender", shape=6),
        450,
        (("front", "white"), ("three-quarter", "grey")),
    ),
    (
        "LU-340-TEA",
        "solstice-cocktail-teal",
        "Solstice cocktail dress, teal satin",
        Look("dress", "cocktail", "teal", "satin", "black", shape=7),
        260,
        (("front", "cream pastel"), ("three-quarter", "white")),
    ),
)

SHOES += _items(
    "shoes/2026-11",
    (
        "SH-100-WHT",
        "dash-sneaker-white",
        "Dash sneakers, white leather",
        Look("shoe", "sneaker", "white", "leather", "navy"),
        130,
        (("side", "blue pastel"), ("three-quarter", "dark")),
    ),
    (
        "SH-100-GRN",
        "dash-sneaker-green",
        "Dash sneakers, green suede",
        Look("shoe", "sneaker", "green", "suede", "white"),
        120,
        (("side", "white"), ("three-quarter", "grey")),
    ),
    (
        "SH-200-RED",
        "court-high-top-red",
        "Court high-top sneakers, red canvas",
        Look("shoe", "high-top", "red", "canvas", "white"),
        95,
        (("side", "white"), ("three-quarter", "mint pastel")),
    ),
    (
        "SH-300-TAN",
        "moor-boot-tan",
        "Moor ankle boots, tan suede",
        Look("shoe", "boot", "tan", "suede", "brown"),
        210,
        (("side", "white"), ("three-quarter", "desk")),
    ),
    (
        "SH-400-BLK",
        "vesper-pump-black",
        "Vesper high heels, black patent leather",
        Look("shoe", "pump", "black", "patent leather", "black"),
        260,
        (("side", "white"), ("three-quarter", "lilac pastel")),
    ),
    (
        "SH-400-EMR",
        "vesper-pump-emerald",
        "Vesper high heels, emerald satin",
        Look("shoe", "pump", "emerald", "satin", "beige"),
        250,
        (("side", "cream pastel"), ("three-quarter", "white")),
    ),
)

HOME = _items(
    "home/2026-09",
    (
        "HM-100-RED",
        "dawn-mug-red",
        "Dawn mug, red ceramic",
        Look("home", "mug", "red", "ceramic", "white"),
        18,
        (("front", "white"), ("three-quarter", "cream pastel")),
    ),
    (
        "HM-100-BLU",
        "dawn-mug-blue",
        "Dawn mug, blue ceramic",
        Look("home", "mug", "blue", "ceramic", "white"),
        18,
        (("front", "white"), ("three-quarter", "desk")),
    ),
    (
        "HM-100-MUS",
        "dawn-mug-mustard",
        "Dawn mug, mustard stoneware",
        Look("home", "mug", "mustard", "stoneware", "brown"),
        19,
        (("front", "grey"), ("three-quarter", "white")),
    ),
    (
        "HM-110-WHT",
        "brook-teapot-white",
        "Brook teapot, white ceramic with blue handle",
        Look("home", "teapot", "white", "ceramic", "blue"),
        62,
        (("front", "pink pastel"), ("three-quarter", "dark")),
    ),
    (
        "HM-110-GRN",
        "brook-teapot-green",
        "Brook teapot, green stoneware",
        Look("home", "teapot", "green", "stoneware", "green"),
        58,
        (("front", "white"), ("three-quarter", "desk")),
    ),
    (
        "HM-120-TEA",
        "dune-vase-teal",
        "Dune vase, teal ceramic",
        Look("home", "vase", "teal", "ceramic"),
        45,
        (("front", "white"), ("three-quarter", "cream pastel")),
    ),
    (
        "HM-120-IVR",
        "dune-vase-ivory",
        "Dune vase, ivory stoneware",
        Look("home", "vase", "ivory", "stoneware"),
        42,
        (("front", "blue pastel"), ("three-quarter", "dark")),
    ),
    (
        "HM-121-CRL",
        "mesa-vase-coral",
        "Mesa vase, coral stoneware",
        Look("home", "vase", "coral", "stoneware", shape=1),
        44,
        (("front", "white"), ("three-quarter", "grey")),
    ),
) + _items(
    "home/2026-11",
    (
        "HM-200-EMR",
        "halo-lamp-emerald",
        "Halo table lamp, emerald ceramic with ivory shade",
        Look("home", "lamp", "emerald", "ceramic", "ivory"),
        140,
        (("front", "white"), ("three-quarter", "pink pastel")),
    ),
    (
        "HM-200-BLU",
        "halo-lamp-blue",
        "Halo table lamp, blue ceramic with white shade",
        Look("home", "lamp", "blue", "ceramic", "white"),
        140,
        (("front", "cream pastel"), ("three-quarter", "grey")),
    ),
    (
        "HM-201-BLK",
        "mast-lamp-black",
        "Mast table lamp, black ceramic with tan shade",
        Look("home", "lamp", "black", "ceramic", "tan", shape=2),
        155,
        (("front", "white"), ("three-quarter", "desk")),
    ),
    (
        "HM-210-GRN",
        "nest-cushion-green",
        "Nest cushion, green velvet",
        Look("home", "cushion", "green", "velvet", "green"),
        39,
        (("front", "white"), ("three-quarter", "cream pastel")),
    ),
    (
        "HM-210-PNK",
        "nest-cushion-pink",
        "Nest cushion, pink velvet",
        Look("home", "cushion", "pink", "velvet", "pink"),
        39,
        (("front", "grey"), ("three-quarter", "white")),
    ),
    (
        "HM-220-BLK",
        "ember-candle-black",
        "Ember scented candle in a black jar",
        Look("home", "candle", "black", "ceramic"),
        29,
        (("front", "white"), ("three-quarter", "dark desk")),
    ),
    (
        "HM-220-LAV",
        "ember-candle-lavender",
        "Ember scented candle in a lavender jar",
        Look("home", "candle", "lavender", "ceramic", hardware="silver"),
        29,
        (("front", "white"), ("three-quarter", "mint pastel")),
    ),
)

CATALOGUE: tuple[Item, ...] = tuple(WATCHES + BAGS + LUNAR + SHOES + HOME + FIGURINES)

SEASONS = {
    "2026-08": "late summer",
    "2026-09": "autumn",
    "2026-10": "autumn",
    "2026-11": "holiday",
    "2026-12": "winter",
}
