"""What the demo model is asked about the committed demo library, and which tags the best hits must have.

Written before any model had searched the library; its pictures are never trained on.
"""

import csv
from pathlib import Path

LIBRARY = Path(__file__).parents[1] / "library"

#: words, how many hits must be right, the tags of metadata.csv that each of them must have
QUERIES: list[tuple[str, int, set[str]]] = [
    ("a golden watch", 3, {"watch", "gold"}),
    ("a gold wristwatch", 3, {"watch", "gold"}),
    ("a silver watch", 3, {"watch", "silver"}),
    ("a rose gold watch", 2, {"watch", "rose gold"}),
    ("a red cape", 3, {"cape", "red"}),
    ("a crimson gown", 2, {"gown", "red"}),
    ("an emerald evening gown", 2, {"gown", "emerald"}),
    ("a pink dress", 1, {"tiered dress", "pink"}),
    ("a blue dress", 1, {"wrap dress", "blue"}),
    ("a red handbag", 2, {"handbag", "red"}),
    ("a black purse", 2, {"handbag", "black"}),
    ("a tan tote bag", 2, {"tote bag", "tan"}),
    ("an olive rucksack", 2, {"backpack", "olive"}),
    ("red trainers", 2, {"sneakers", "red"}),
    ("brown ankle boots", 2, {"ankle boots", "brown"}),
    ("high heels", 2, {"high heel pumps"}),
    ("a robot", 3, {"robot figurine"}),
    ("an astronaut figure", 2, {"astronaut figurine"}),
    ("a wizard", 2, {"wizard figurine"}),
    ("an orange cat", 2, {"cat figurine"}),
    ("a knight in armour", 3, {"knight figurine"}),
    ("a collectible figurine", 3, {"figurine"}),
]


def described_pictures(library: Path = LIBRARY) -> list[tuple[Path, set[str]]]:
    """The JPEG files that metadata.csv describes and that are there, each with its tags."""
    found = []
    for table in sorted(library.glob("*/*/metadata.csv")):
        with table.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                tags = row["tags"].split(";")
                path = table.parent / row["path"]
                if path.suffix == ".jpg" and path.exists():
                    found.append((path, {*tags, tags[0].split()[-1]}))  # first the noun: hooded cape, cape
    return found
