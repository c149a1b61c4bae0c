"""Writes the committed demo library: pictures, metadata.csv in every drop, two promo videos, a few defects.

Same seed, same pictures to the eye: a second run differs by less than one level of 255 on average, so bytes may
change. Only missing pictures are rendered; keep the others.
"""

from __future__ import annotations

import csv
import time
import zlib
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from .catalogue import CATALOGUE, SEASONS, SEED, Item
from .defects import MISNAMED, add_defects
from .studio import BACKDROPS, VIEWS, Shot, View, photograph
from .video import add_promos
from .wardrobe import finishes, parts

LIBRARY = Path(__file__).parents[1] / "library"
COLUMNS = ("path", "sku", "title", "tags", "season", "price_usd")
QUALITY = 88

# A shoe is made, and shown first, in profile.
_SHOE_VIEWS = {"side": View(4, 8), "three-quarter": View(-28, 20), "front": View(-84, 12)}


def write(*, out: Path = LIBRARY, samples: int = 12, only: str = "") -> None:
    """Render what is missing, then write tables, video and defects. Delete `out` for a clean start."""
    started, made = time.monotonic(), 0
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    for item in CATALOGUE:
        for view, backdrop in item.pictures:
            path = _path(out, item, view)
            if only in str(path) and not path.exists():
                _save(path, take(item, view, backdrop, samples=samples))
                made += 1
                print(f"{made:3d}  {time.monotonic() - started:6.1f} s  {path.relative_to(out)}", flush=True)
            rows[item.drop].append(_row(item, path.name, view, backdrop))
    add_defects(out, rows)
    add_promos(out, rows)
    for drop, table in rows.items():
        with (out / drop / "metadata.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(sorted(table, key=lambda row: row["path"]))
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    print(f"{made} pictures made in {time.monotonic() - started:.0f} s; {out} holds {size / 1e6:.2f} MB")


def take(item: Item, view: str, backdrop: str, *, size: int = 512, samples: int = 12) -> np.ndarray:
    """One picture of the catalogue; its seed depends on its name alone."""
    seed = (SEED + zlib.crc32(f"{item.sku}/{view}/{backdrop}".encode())) % (1 << 30)
    angle = _SHOE_VIEWS.get(view, VIEWS[view]) if item.look.kind == "shoe" else VIEWS[view]
    plinth = "#dedad4" if "pastel" in backdrop and seed % 3 == 0 else None
    if item.look.kind == "watch" and view == "detail":
        angle = replace(angle, fill=1.5, focus=(0.0, 0.0))
    shot = Shot(angle, BACKDROPS[backdrop], size=size, samples=samples, seed=seed, plinth=plinth)
    return photograph(parts(item.look), finishes(item.look), shot)


def _path(out: Path, item: Item, view: str) -> Path:
    name = f"{item.drop}/{item.name}-{view}.jpg"
    return out / MISNAMED.get(name, name)


def _save(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, "JPEG", quality=QUALITY, optimize=True)


def _row(item: Item, name: str, view: str, backdrop: str) -> dict[str, str]:
    look = item.look
    hardware = [look.hardware] if look.kind in ("bag",) else []
    band = [look.second] if look.kind == "watch" and look.band == "strap" else []
    tags = [
        look.noun,
        look.kind,
        look.colour,
        look.material,
        *band,
        *hardware,
        view,
        f"{backdrop} background",
    ]
    return {
        "path": name,
        "sku": item.sku,
        "title": item.title,
        "tags": ";".join(dict.fromkeys(tags)),
        "season": SEASONS[item.drop.split("/")[1]],
        "price_usd": str(item.price_usd),
    }


__all__ = ["COLUMNS", "LIBRARY", "take", "write"]
