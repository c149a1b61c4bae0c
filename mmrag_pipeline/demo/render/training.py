"""Random small renders with captions, to train the demo model on.

Cameras, lights, tints, folds and seeds are others than the library's: no picture is in both.
"""

from __future__ import annotations

import colorsys
import csv
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from .palette import COLOURS, METALS
from .studio import BACKDROPS, VIEWS, Backdrop, Shot, photograph
from .wardrobe import NOUNS, Look, finishes, parts

COLUMNS = ("path", "product", "colour", "material", "view", "background", "title")

SHOE_VIEWS = {"front": "side", "side": "front"}  # a shoe is made, and shown first, in profile
_MATERIALS = {
    "bag": ("leather", "leather", "canvas", "suede", "patent leather", "nylon"),
    "shoe": ("leather", "suede", "canvas", "patent leather", "satin"),
    "dress": ("silk", "satin", "velvet", "cotton", "wool"),
    "figurine": ("vinyl", "vinyl", "matte", "enamel"),
    "home": ("ceramic", "ceramic", "stoneware"),
}
_STYLE_MATERIALS = {"cushion": ("velvet", "linen", "cotton", "wool"), "candle": ("ceramic", "matte")}
_SHARE = {"watch": 0.2, "bag": 0.19, "shoe": 0.16, "dress": 0.17, "figurine": 0.13, "home": 0.15}
_BANDS = {"bracelet": "bracelet", "mesh": "mesh band", "strap": "leather strap"}


def write(*, count: int, out: Path, seed: int, size: int = 256, samples: int = 6) -> None:
    """Render `count` pictures into `out` beside captions.csv; a second call goes on where one stopped."""
    from PIL import Image

    out.mkdir(parents=True, exist_ok=True)
    table = out / "captions.csv"
    done = sum(1 for _ in table.open()) - 1 if table.exists() else 0
    started = time.monotonic()
    with table.open("a", newline="") as stream:
        rows = csv.DictWriter(stream, COLUMNS)
        if not done:
            rows.writeheader()
        for index in range(max(done, 0), count):
            rng = np.random.default_rng([seed, index])
            look = random_look(rng)
            view, background, shot = random_shot(rng, size=size, samples=samples)
            picture = photograph(parts(look), finishes(look), shot)
            name = f"{look.kind}-{index:05d}.jpg"
            Image.fromarray(picture).save(out / name, quality=90)
            rows.writerow(
                {
                    "path": name,
                    "product": look.noun,
                    "colour": look.colour,
                    "material": look.material,
                    "view": SHOE_VIEWS.get(view, view) if look.kind == "shoe" else view,
                    "background": background,
                    "title": title(look),
                }
            )
            stream.flush()
            if index % 20 == 19:
                each = (time.monotonic() - started) / (index + 1 - done)
                print(f"{index + 1}/{count}  {each:.2f} s a picture", flush=True)


def random_look(rng: np.random.Generator) -> Look:
    """Any product in any of its colours."""
    kind = str(rng.choice(list(_SHARE), p=list(_SHARE.values())))
    style = str(rng.choice([s for k, s in NOUNS if k == kind]))
    second = str(rng.choice(list(COLOURS)))
    if kind == "watch":
        band = str(rng.choice(["bracelet", "bracelet", "strap", "strap", "mesh"]))
        metal = str(rng.choice(list(METALS), p=[0.27, 0.25, 0.18, 0.18, 0.06, 0.06]))
        second = str(rng.choice(["black", "brown", "tan", "navy", "burgundy", "green", "grey", "white", "red"]))
        face = str(
            rng.choice(
                [
                    "white",
                    "white",
                    "ivory",
                    "black",
                    "black",
                    "navy",
                    "emerald",
                    "charcoal",
                    "burgundy",
                    "sky blue",
                ]
            )
        )
        return Look(kind, style, metal, _BANDS[band], second=second, band=band, face=face)
    colour = str(rng.choice(list(COLOURS)))
    return Look(
        kind,
        style,
        colour,
        str(rng.choice(_STYLE_MATERIALS.get(style, _MATERIALS[kind]))),
        second=second if rng.random() < 0.75 else colour,
        hardware=str(rng.choice(["gold", "silver", "rose gold", "black steel"], p=[0.45, 0.35, 0.1, 0.1])),
        tint=_shade(colour, rng),
        shape=int(rng.integers(10, 22)),
    )


def random_shot(rng: np.random.Generator, *, size: int, samples: int) -> tuple[str, str, Shot]:
    """A view and a backdrop by name, and the shot with its camera and lights moved at random."""
    view = str(rng.choice(list(VIEWS), p=[0.27, 0.33, 0.15, 0.05, 0.08, 0.12]))
    background = str(rng.choice(list(BACKDROPS)))
    base = VIEWS[view]
    mirror = -1 if rng.random() < 0.5 else 1
    placed = replace(
        base,
        azimuth=mirror * base.azimuth + rng.uniform(-16, 16),
        elevation=base.elevation + rng.uniform(-6, 12),
        fill=base.fill * rng.uniform(0.8, 1.1),
        focus=(base.focus[0] + rng.uniform(-0.05, 0.05), base.focus[1] + rng.uniform(-0.05, 0.05)),
    )
    backdrop: Backdrop = BACKDROPS[background]
    light = rng.uniform(0.8, 1.2, 4)
    backdrop = replace(
        backdrop,
        floor=_tinted(backdrop.floor, rng),
        key=backdrop.key * light[0],
        fill=backdrop.fill * light[1],
        rim=backdrop.rim * light[2],
        ambient=backdrop.ambient * light[3],
    )
    shot = Shot(
        placed,
        backdrop,
        size=size,
        samples=samples,
        seed=int(rng.integers(1 << 30)),
        light=float(rng.uniform(-0.7, 1.4)),
        plinth=str(rng.choice(["white", "#e7d6c4", "#d4c4d8"])) if rng.random() < 0.12 and not backdrop.wood else None,
        field_of_view=float(rng.uniform(18, 40)),
    )
    return view, background, shot


def title(look: Look) -> str:
    """The title a shop would give."""
    if look.kind == "watch":
        strap = f"{look.second} leather strap" if look.band == "strap" else f"{look.colour} {look.material}"
        return f"{look.colour} {look.noun} with {look.face} dial and {strap}"
    if look.kind == "figurine":
        return f"{look.style} figurine in {look.colour} and {look.second}"
    return f"{look.colour} {look.material} {look.noun}"


def _shade(colour: str, rng: np.random.Generator) -> str:
    """A slightly different red for every red thing."""
    return _tinted(COLOURS[colour], rng, 0.012, 0.08)


def _tinted(code: str, rng: np.random.Generator, hue: float = 0.03, value: float = 0.1) -> str:
    red, green, blue = (int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))
    h, s, v = colorsys.rgb_to_hsv(red, green, blue)
    h = (h + rng.uniform(-hue, hue)) % 1
    s = float(np.clip(s * rng.uniform(0.88, 1.12), 0, 1))
    v = float(np.clip(v * rng.uniform(1 - value, 1 + value), 0, 1))
    return "#" + "".join(f"{round(c * 255):02x}" for c in colorsys.hsv_to_rgb(h, s, v))
