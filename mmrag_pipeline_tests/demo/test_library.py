"""The committed demo library: complete, small, honestly labelled, with the defects it is meant to have."""

from __future__ import annotations

import csv
import hashlib
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import mmrag_pipeline.demo

LIBRARY = Path(mmrag_pipeline.demo.__file__).parent / "library"
DROPS = (
    "bags/2026-08",
    "bags/2026-10",
    "figurines/2026-10",
    "figurines/2026-11",
    "home/2026-09",
    "home/2026-11",
    "lunar/2026-09",
    "lunar/2026-12",
    "shoes/2026-09",
    "shoes/2026-11",
    "watches/2026-08",
    "watches/2026-11",
)
TRUNCATED = "bags/2026-08/harbor-tote-tan-side-upload.jpg"
NOT_A_PICTURE = "shoes/2026-09/dash-sneaker-navy-packshot.png"
DUPLICATE = ("watches/2026-08/aurora-silver-front.jpg", "watches/2026-08/aurora-silver-copy.jpg")
SIDEWAYS = "lunar/2026-09/selene-gown-red-three-quarter.jpg"
MISNAMED = "home/2026-09/dawn-mug-blue-front.png"
PROMOS = ("figurines/2026-11/holiday-promo.mp4", "lunar/2026-12/moonrise-promo.mp4")
BROKEN = (TRUNCATED, NOT_A_PICTURE)


def rows() -> list[dict[str, str]]:
    found = []
    for drop in DROPS:
        with (LIBRARY / drop / "metadata.csv").open(newline="") as stream:
            found += [row | {"drop": drop, "file": f"{drop}/{row['path']}"} for row in csv.DictReader(stream)]
    return found


def pictures() -> list[str]:
    names = [str(p.relative_to(LIBRARY)) for p in LIBRARY.rglob("*") if p.suffix in (".jpg", ".png")]
    return sorted(n for n in names if n not in BROKEN)


def product_pixels(name: str) -> np.ndarray:
    """The saturated or dark part of the middle of a picture: the product, not the paper behind it."""
    with Image.open(LIBRARY / name) as picture:
        size = picture.width
        middle = np.asarray(picture.convert("RGB").crop((size // 4, size // 8, size * 3 // 4, size * 7 // 8)), float)
    pixels = middle.reshape(-1, 3)
    return pixels[(pixels.max(1) - pixels.min(1) > 40) | (pixels.max(1) < 200)]


def test_the_drops_are_laid_out_by_product_line():
    assert tuple(sorted(str(p.parent.relative_to(LIBRARY)) for p in LIBRARY.rglob("metadata.csv"))) == DROPS
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*", drop) for drop in DROPS)


def test_it_is_small_enough_to_ship():
    sizes = {p: p.stat().st_size for p in LIBRARY.rglob("*") if p.is_file()}
    assert sum(sizes.values()) <= 8_000_000
    assert len(pictures()) >= 150
    assert all(sizes[LIBRARY / promo] < 400_000 for promo in PROMOS)


@pytest.mark.parametrize("name", pictures())
def test_every_picture_opens_at_512_pixels(name: str):
    with Image.open(LIBRARY / name) as picture:
        picture.load()
        assert picture.size == (512, 512)
        assert np.asarray(picture.convert("L")).std() > 12


def test_every_metadata_row_names_a_file_and_every_good_file_has_a_row():
    named = [row["file"] for row in rows()]
    assert len(named) == len(set(named))
    assert all((LIBRARY / name).is_file() for name in named)
    assert set(pictures()) | set(PROMOS) == set(named)


def test_titles_and_tags_say_colour_material_and_view():
    for row in rows():
        tags = row["tags"].split(";")
        assert row["title"]
        assert row["season"]
        if row["file"] not in PROMOS:
            assert re.fullmatch(r"[A-Z]{2}-\d{3}-[A-Z]{3}", row["sku"])
            assert {"front", "three-quarter", "side", "back", "detail"} & set(tags)
            assert any(tag.endswith("background") for tag in tags)
            assert len(tags) >= 5


def test_the_truncated_jpeg_cannot_be_decoded():
    with Image.open(LIBRARY / TRUNCATED) as picture, pytest.raises(OSError):
        picture.load()


def test_the_png_is_text():
    assert (LIBRARY / NOT_A_PICTURE).read_text().isprintable() is False
    with pytest.raises(OSError):
        Image.open(LIBRARY / NOT_A_PICTURE)


def test_there_is_exactly_one_duplicate():
    digests: dict[str, list[str]] = {}
    for path in sorted(LIBRARY.rglob("*")):
        if path.is_file():
            digests.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), []).append(str(path.relative_to(LIBRARY)))
    assert [sorted(same) for same in digests.values() if len(same) > 1] == [sorted(DUPLICATE)]


def test_one_picture_lies_sideways_and_exif_stands_it_up():
    with Image.open(LIBRARY / SIDEWAYS) as picture:
        assert picture.getexif()[0x0112] == 6
        stored = np.asarray(picture.convert("RGB"), float)
        shown = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"), float)

    def red(pixels: np.ndarray) -> np.ndarray:
        return (pixels[..., 0] > 110) & (pixels[..., 1] < 80) & (pixels[..., 2] < 90)

    y, x = np.nonzero(red(shown))
    assert np.ptp(y) > 1.2 * np.ptp(x)
    y, x = np.nonzero(red(stored))
    assert np.ptp(x) > 1.2 * np.ptp(y)


def test_one_jpeg_is_called_png():
    assert (LIBRARY / MISNAMED).read_bytes().startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize("promo", PROMOS)
def test_the_promos_are_short_square_films_with_several_shots(promo: str):
    import av

    with av.open(str(LIBRARY / promo)) as film:
        stream = film.streams.video[0]
        assert (stream.width, stream.height) == (480, 480)
        frames = [f.to_ndarray(format="gray8").astype(float) for f in film.decode(stream)]
        assert 4 <= len(frames) / float(stream.average_rate) <= 7
    jumps = [np.abs(a - b).mean() for a, b in pairwise(frames)]
    assert 3 <= sum(jump > 15 for jump in jumps) <= 5


def test_gold_silver_and_rose_gold_watches_differ_in_colour():
    mean = {
        metal: product_pixels(f"watches/2026-08/aurora-{metal}-front.jpg").mean(0)
        for metal in ("gold", "silver", "rose-gold", "black")
    }
    warmth = {metal: rgb[0] - rgb[2] for metal, rgb in mean.items()}
    assert warmth["gold"] > warmth["rose-gold"] > warmth["silver"] + 15
    assert abs(warmth["silver"]) < 25
    assert mean["black"].mean() < 0.6 * mean["silver"].mean()


def test_there_are_enough_golden_watches_to_fill_a_top_three():
    watches = [row for row in rows() if row["drop"] == "watches/2026-08"]
    assert sum("gold" in row["tags"].split(";") for row in watches) >= 3
    assert sum("silver" in row["tags"].split(";") for row in watches) >= 4


def test_there_is_a_red_cape():
    capes = [row for row in rows() if {"red", "cape"} <= set(row["tags"].split(";"))]
    assert len(capes) >= 3
    red, green, blue = product_pixels(capes[0]["file"]).mean(0)
    assert red > 1.6 * green
    assert red > 1.6 * blue
