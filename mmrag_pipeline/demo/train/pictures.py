"""The training and held-out pictures, each with what is known about it.

Split: clothing by sender (a sender whose sha256 falls in the first 15% is held out with all pictures),
grocery and characters by picture; renders are all for training. Of what is left, the same way, 12% ("dev") is what
settings are chosen with; the final model is trained on it too. The committed demo library is in none.
"""

import csv
import hashlib
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mmrag_pipeline.demo.train import words
from mmrag_pipeline.demo.train.colours import measured_colour

HELD_OUT_SHARE = 0.15
DEV_SHARE = 0.12
"""Of what is not held out: what settings are chosen with."""
Part = Literal["train", "dev", "test"]


@dataclass(frozen=True)
class Picture:
    """A picture: the things it shows with words for each, colours, materials, details with how to mention each, and
    free captions."""

    path: Path
    source: str
    things: dict[str, tuple[str, ...]]
    colours: tuple[str, ...] = ()
    materials: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    part: Part = "train"
    details: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def tags(self) -> frozenset[str]:
        """Everything that a caption may claim about it."""
        return frozenset((*self.things, *self.colours, *self.materials, *self.details, *map(says, self.sentences)))

    def captions(self, *, count: int, rng: random.Random) -> list[words.Caption]:
        """Different captions for it; a free caption claims only itself."""
        own = [words.Caption(text, frozenset({says(text)})) for text in self.sentences]
        made = [
            words.describe(
                things=self.things, colours=self.colours, materials=self.materials, details=self.details, rng=rng
            )
            for _ in range(count)
        ]
        return list(dict.fromkeys((*own, *made)))


def says(sentence: str) -> str:
    """The tag of a free caption: pictures with the same one both match it."""
    return f"says:{sentence}"


def part_of(key: str) -> Part:
    """The same answer on every machine and in every order."""
    if _share(key) < HELD_OUT_SHARE:
        return "test"
    return "dev" if _share(f"dev {key}") < DEV_SHARE else "train"


def _share(key: str) -> float:
    """0 to 1, evenly."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32


def colour_family(colour: str | None) -> tuple[str, ...]:
    """The colour and the wider one that it also answers to."""
    if colour is None:
        return ()
    parent = words.COLOUR_PARENTS.get(colour)
    return (colour, parent) if parent else (colour,)


def rows(path: Path) -> list[dict[str, str]]:
    """A CSV file as dictionaries."""
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def clothing(root: Path) -> list[Picture]:
    """Photographs of garments, CC0, with the colour measured from the pixels."""
    found = []
    for row in rows(root / "labels.csv"):
        label, path = row["label"].lower(), root / row["path"]
        names = words.THINGS[label]
        if row["kids"] == "True":
            names = (*names, *(f"kids {name}" for name in names[:2]))
        colours = colour_family(measured_colour(path))
        part = part_of(f"clothing sender {row['sender_id']}")
        found.append(Picture(path, "clothing", {label: names}, colours, (), (), part))
    return found


def grocery(root: Path) -> list[Picture]:
    """Photographs in grocery stores, MIT; packages and fruit, 81 products in 43 groups."""
    found = []
    for row in rows(root / "labels.csv"):
        label, group = row["label"].replace("-", " ").lower(), row["coarse"].replace("-", " ").lower()
        fine = (label, f"{label} ({group})", f"{label} in a grocery store")
        things = {f"grocery:{label}": fine, f"grocery group:{group}": (group, f"{group} in a grocery store")}
        part = part_of(f"grocery {row['path']}")
        found.append(Picture(root / row["path"], "grocery", things, (), (), (row["caption"],), part))
    return found


def characters(root: Path) -> list[Picture]:
    """Drawn characters, CC0 and CC BY 4.0 (designers in the model card)."""
    found = []
    for row in rows(root / "labels.csv"):
        style, full = row["label"], row["caption"]
        short = re.split(r" with |,", full)[0]
        things = {f"character:{style}": (short, f"{style.replace('-', ' ')} character", "cartoon character avatar")}
        sentences = (full, full.removeprefix(short).removeprefix(" with "))
        part = part_of(f"characters {row['path']}")
        found.append(Picture(root / row["path"], "characters", things, (), (), sentences, part))
    return found


def renders(root: Path) -> list[Picture]:
    """Pictures of the project's own renderer with what it was told to draw; all for training."""
    found = []
    for row in rows(root / "captions.csv"):
        product = row["product"]
        kinds = (product, *words.THING_PARENTS.get(product, ()))
        things = {kind: words.THINGS[kind] for kind in kinds}
        colour = words.SAME_COLOURS.get(row["colour"], row["colour"])
        materials = (row["material"],) if row["material"] in words.MATERIALS else ()
        picture = Picture(root / row["path"], "renders", things, colour_family(colour), materials, (row["title"],))
        picture.details.update(
            {f"view:{row['view']}": words.VIEWS[row["view"]]}
            | {f"on:{row['background']}": words.BACKGROUNDS[row["background"]]}
            | parts_named(row["title"])
        )
        found.append(picture)
    return found


def parts_named(title: str) -> dict[str, tuple[str, ...]]:
    """The dial and the strap or bracelet that a watch's title names, the second colour that a figurine's does."""
    if found := re.search(r" with (.+) dial and (.+) (leather strap|bracelet|mesh band)$", title):
        dial, colour, band = found.groups()
        return {
            f"dial:{dial}": tuple(f"with {words.with_article(name)} dial" for name in colour_words(dial)),
            f"{band}:{colour}": tuple(f"with {words.with_article(name)} {band}" for name in colour_words(colour)),
            band: (f"with {words.with_article(band)}", f"on {words.with_article(band)}"),
        }
    if found := re.search(r" figurine in .+ and (.+)$", title):
        second = found[1]
        return {f"second:{second}": tuple(f"with {name} details" for name in colour_words(second))}
    return {}


def colour_words(colour: str) -> tuple[str, ...]:
    """Words for a colour by the renderer's name."""
    return words.COLOURS[words.SAME_COLOURS.get(colour, colour)]


def real_pictures(data: Path) -> list[Picture]:
    """Clothing, grocery and characters under the data folder."""
    return [*clothing(data / "clothing"), *grocery(data / "grocery"), *characters(data / "characters")]
