"""The words of the demo model: synonyms of colours, things and materials, and the phrases made from them."""

import random
from dataclasses import dataclass

#: colour -> words for it; the first is the plain one
COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet", "ruby red", "bright red", "cherry red", "vermilion"),
    "burgundy": ("burgundy", "maroon", "wine red", "dark red"),
    "pink": ("pink", "rose", "rosy pink", "fuchsia", "magenta", "cerise"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "lemon yellow"),
    "green": ("green", "bright green"),
    "olive": ("olive", "olive green", "khaki", "army green"),
    "turquoise": ("turquoise", "teal", "aqua", "cyan"),
    "navy": ("navy", "navy blue", "dark blue", "midnight blue", "indigo"),
    "blue": ("blue", "royal blue", "cobalt", "azure", "sapphire blue", "cerulean"),
    "light blue": ("light blue", "sky blue", "pale blue", "baby blue"),
    "purple": ("purple", "violet", "plum", "mauve", "amethyst"),
    "brown": ("brown", "chocolate brown", "chestnut", "coffee brown", "mocha"),
    "beige": ("beige", "sand", "cream", "oatmeal", "champagne"),
    "black": ("black", "jet black", "ebony", "dark"),
    "white": ("white", "snow white", "pale"),
    "grey": ("grey", "gray", "slate grey", "ash grey"),
    "gold": ("golden", "gold", "gilded", "gold-coloured", "made of gold"),
    "silver": ("silver", "silvery", "chrome", "steel", "made of silver"),
    "rose gold": ("rose gold", "rose-gold", "pink gold"),
    "bronze": ("bronze", "bronze-coloured"),
    "copper": ("copper", "coppery"),
    # finer shades, which only the renderer tells apart
    "crimson": ("crimson", "deep red", "ruby", "carmine"),
    "coral": ("coral", "salmon", "coral red"),
    "mustard": ("mustard", "mustard yellow", "ochre"),
    "emerald": ("emerald", "emerald green", "dark green"),
    "mint": ("mint", "mint green", "light green"),
    "lavender": ("lavender", "light purple", "lilac"),
    "blush": ("blush", "light pink", "pale pink", "blush pink"),
    "tan": ("tan", "camel", "light brown"),
    "ivory": ("ivory", "cream", "off-white"),
    "charcoal": ("charcoal", "dark grey", "anthracite", "charcoal grey"),
    "black steel": ("black steel", "black metal", "gunmetal"),
}
#: the renderer's names for colours of the list
SAME_COLOURS = {"teal": "turquoise", "sky blue": "light blue", "gray": "grey", "golden": "gold"}
#: a picture of the first also answers to the second
COLOUR_PARENTS = {
    "burgundy": "red",
    "crimson": "red",
    "navy": "blue",
    "light blue": "blue",
    "olive": "green",
    "emerald": "green",
    "mint": "green",
    "mustard": "yellow",
    "lavender": "purple",
    "blush": "pink",
    "tan": "brown",
    "ivory": "white",
    "charcoal": "grey",
    "black steel": "black",
}

#: thing -> words for it; the first is the plain one
THINGS: dict[str, tuple[str, ...]] = {
    # garments of the clothing pictures
    "blazer": ("blazer", "suit jacket", "sport coat"),
    "blouse": ("blouse", "ladies' blouse"),
    "body": ("baby bodysuit", "onesie", "romper", "baby grow"),
    "dress": ("dress", "gown", "frock"),
    "hat": ("hat", "cap", "headwear"),
    "hoodie": ("hoodie", "hooded sweatshirt", "hooded sweater"),
    "longsleeve": ("long sleeve top", "longsleeve", "long-sleeved shirt", "sweater", "jumper", "pullover"),
    "outwear": ("jacket or coat", "jacket", "coat", "outerwear", "outwear", "overcoat", "parka"),
    "pants": ("pants", "trousers", "jeans", "slacks", "chinos"),
    "polo": ("polo shirt", "polo"),
    "shirt": ("shirt", "button-up shirt", "dress shirt", "collared shirt"),
    "shoes": ("shoes", "footwear", "shoe", "pair of shoes"),
    "shorts": ("shorts", "short pants", "bermuda shorts"),
    "skirt": ("skirt", "mini skirt"),
    "t-shirt": ("t-shirt", "tee", "tshirt", "tee shirt"),
    "top": ("top", "sleeveless top"),
    "undershirt": ("undershirt", "tank top", "singlet", "sleeveless vest"),
    # what the rendered products are
    "watch": ("watch", "wristwatch", "wrist watch", "timepiece"),
    "bag": ("bag",),
    "handbag": ("handbag", "purse", "ladies' bag"),
    "cape": ("cape", "cloak", "mantle"),
    "figurine": ("figurine", "figure", "collectible figure", "statue", "collectible", "toy figure"),
    # their styles
    "chronograph watch": ("chronograph watch", "chronograph", "sports watch", "racing watch"),
    "diver watch": ("diver watch", "diving watch", "dive watch", "waterproof watch"),
    "dress watch": ("dress watch", "elegant watch"),
    "tote bag": ("tote bag", "tote", "shopper"),
    "crossbody bag": ("crossbody bag", "shoulder bag", "messenger bag"),
    "bucket bag": ("bucket bag", "drawstring bag"),
    "backpack": ("backpack", "rucksack"),
    "sneakers": ("sneakers", "trainers", "sneaker", "running shoes", "trainer"),
    "high-top sneakers": ("high-top sneakers", "high tops", "basketball shoes"),
    "ankle boots": ("ankle boots", "boots", "leather boots", "boot"),
    "high heel pumps": ("high heel pumps", "high heels", "pumps", "stilettos", "heels"),
    "evening gown": ("evening gown", "gown", "ball gown", "long dress", "full-length gown"),
    "cocktail dress": ("cocktail dress", "party dress", "short dress"),
    "sheath dress": ("sheath dress", "pencil dress"),
    "wrap dress": ("wrap dress",),
    "tiered dress": ("tiered dress", "ruffled dress"),
    "hooded cape": ("hooded cape", "hooded cloak", "cape with a hood"),
    "superhero figurine": (
        "superhero figurine",
        "superhero",
        "hero figure",
        "superhero statue",
        "superhero with a cape",
    ),
    "astronaut figurine": ("astronaut figurine", "astronaut", "spaceman figure", "astronaut in a space suit"),
    "robot figurine": ("robot figurine", "robot", "toy robot", "small android"),
    "wizard figurine": ("wizard figurine", "wizard", "magician figure", "sorcerer statue", "wizard with a beard"),
    "knight figurine": ("knight figurine", "knight", "knight in armour", "armoured swordsman", "crusader figure"),
    "cat figurine": ("cat figurine", "cat", "cat figure", "kitten statue", "small toy cat"),
    "mug": ("mug", "coffee mug", "cup"),
    "teapot": ("teapot", "tea pot"),
    "vase": ("vase", "flower vase"),
    "scented candle": ("scented candle", "candle", "candle in a jar"),
    "table lamp": ("table lamp", "lamp", "bedside lamp"),
    "cushion": ("cushion", "pillow", "throw pillow"),
}
#: a picture of the first is also one of the others
THING_PARENTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("chronograph watch", "diver watch", "dress watch"), ("watch",)),
    **dict.fromkeys(("tote bag", "crossbody bag", "bucket bag"), ("handbag", "bag")),
    "handbag": ("bag",),
    "backpack": ("bag",),
    **dict.fromkeys(("sneakers", "ankle boots", "high heel pumps"), ("shoes",)),
    "high-top sneakers": ("sneakers", "shoes"),
    **dict.fromkeys(("evening gown", "cocktail dress", "sheath dress", "wrap dress", "tiered dress"), ("dress",)),
    "hooded cape": ("cape",),
    **{f"{name} figurine": ("figurine",) for name in "superhero astronaut robot wizard knight cat".split()},
}
#: nouns that take no article
PLURAL_ENDINGS = ("s", "footwear", "outerwear", "outwear", "headwear")
SINGULAR_IN_S = ("dress", "glass", "brass")

MATERIALS: dict[str, tuple[str, ...]] = {
    "leather": ("leather", "genuine leather"),
    "patent leather": ("patent leather", "glossy leather"),
    "suede": ("suede",),
    "canvas": ("canvas", "fabric"),
    "nylon": ("nylon", "synthetic"),
    "silk": ("silk", "silky", "silken"),
    "satin": ("satin", "silky"),
    "vinyl": ("vinyl",),
    "enamel": ("enamel", "enamelled"),
    "velvet": ("velvet", "velvety"),
    "cotton": ("cotton", "cloth"),
    "denim": ("denim", "jean"),
    "wool": ("wool", "woollen"),
    "linen": ("linen",),
    "metal": ("metal", "metallic"),
    "steel": ("steel", "stainless steel"),
    "ceramic": ("ceramic", "porcelain"),
    "stoneware": ("stoneware", "earthenware"),
    "glass": ("glass",),
    "wood": ("wooden", "wood"),
    "plastic": ("plastic",),
    "rubber": ("rubber",),
    "marble": ("marble", "stone"),
    "matte": ("matte", "matt"),
    "glossy": ("glossy", "shiny", "polished"),
}
#: the renderer's views and backgrounds -> how a caption ends that mentions them
VIEWS: dict[str, tuple[str, ...]] = {
    "front": ("from the front", "in front view"),
    "back": ("from the back", "in back view", "shown from the rear"),
    "side": ("from the side", "in side view", "in profile"),
    "three-quarter": ("from an angle", "in three-quarter view"),
    "top": ("from above", "in top view"),
    "detail": ("close-up", "in detail", "up close"),
}
BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "white": ("on white", "on a white background"),
    "grey": ("on grey", "on a grey background"),
    "dark": ("on black", "on a dark background", "on a black background"),
    "desk": ("on a desk", "on a wooden table", "on a table"),
    "dark desk": ("on a desk", "on a dark table", "on a table"),
    "blue pastel": ("on light blue", "on a light blue background", "on pastel blue"),
    "mint pastel": ("on mint", "on a light green background", "on pastel green"),
    "pink pastel": ("on pink", "on a light pink background", "on pastel pink"),
    "lilac pastel": ("on lilac", "on a light purple background", "on pastel purple"),
    "cream pastel": ("on cream", "on a beige background", "on an off-white background"),
}
FRAMES = (
    "{}",
    "{}",
    "{}",
    "a photo of {}",
    "a picture of {}",
    "product photo of {}",
    "{}, studio shot",
    "{} for sale",
    "an image of {}",
    "show me {}",
    "looking for {}",
    "{} on a plain background",
    "i am looking for {}",
    "do you have {}?",
    "{} for the new collection",
    "a nice {}",
    "the {}",
)
CLAUSES = ("{noun} in {colour}", "{noun} that is {colour}", "{noun}, {colour}", "{colour} coloured {noun}")


@dataclass(frozen=True)
class Caption:
    """Words, and what they claim; a picture matches when it has every claimed tag."""

    text: str
    tags: frozenset[str]


def with_article(words: str) -> str:
    """`a` or `an` before a countable noun phrase."""
    plural = words.endswith(PLURAL_ENDINGS) and not words.endswith(SINGULAR_IN_S)
    if plural or words.startswith(("a ", "an ", "the ")):
        return words
    return ("an " if words[0] in "aeiou" else "a ") + words


def noun_phrase(noun: str, *, colour: str = "", material: str = "", rng: random.Random) -> str:
    """One way of saying it: `golden watch`, `watch in gold`, `watch made of gold`."""
    if material and rng.random() < 0.15:
        noun, material = f"{noun} made of {material}", ""
    words = f"{material} {noun}".strip()
    if colour.startswith("made of"):
        return with_article(f"{words} {colour}")
    if colour and rng.random() < 0.15:
        return with_article(rng.choice(CLAUSES).format(noun=words, colour=colour))
    words = f"{colour} {words}".strip()
    return with_article(words) if rng.random() < 0.6 else words


def describe(
    *,
    things: dict[str, tuple[str, ...]],
    colours: tuple[str, ...],
    materials: tuple[str, ...],
    details: dict[str, tuple[str, ...]],
    rng: random.Random,
) -> Caption:
    """A caption for a thing with these tags: each colour, material and detail is named or left out at random."""
    thing = rng.choice(list(things))
    words = things[thing]
    noun = words[0] if rng.random() < 0.45 else rng.choice(words)
    tags = {thing}
    colour = material = ""
    if colours and rng.random() < 0.85:
        name = colours[0] if rng.random() < 0.6 else rng.choice(colours)
        tags.add(name)
        colour = COLOURS[name][0] if rng.random() < 0.5 else rng.choice(COLOURS[name])
    if materials and rng.random() < 0.4:
        name = rng.choice(materials)
        tags.add(name)
        material = rng.choice(MATERIALS.get(name, (name,)))
    if colour and rng.random() < 0.1:  # the colour alone, so that it is learned apart from the thing
        return Caption(f"something {colour}", frozenset({name for name in tags if name in COLOURS}))
    phrase = noun_phrase(noun, colour=colour, material=material, rng=rng)
    if details and rng.random() < 0.35:
        name = rng.choice(list(details))
        return Caption(f"{phrase} {rng.choice(details[name])}", frozenset({*tags, name}))
    frame = rng.choice(FRAMES)
    if frame.startswith(("a ", "the ")) and frame.endswith(" {}") and len(frame) < 10:
        phrase = phrase.removeprefix("an ").removeprefix("a ")
    return Caption(frame.format(phrase), frozenset(tags))
