"""The prefilter lets copies through, and keeps other colours, other pictures and plain ones out."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmrag_pipeline.media.likeness import look_of
from mmrag_pipeline.media.phash import like_pairs


def scene(seed: int, colour: tuple[int, int, int] = (200, 40, 40)) -> Image.Image:
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (320, 240), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, w, h = random.integers(0, [220, 150, 100, 90], 4).tolist()
        shade = tuple(int(part * random.uniform(0.4, 1)) for part in colour)
        draw.ellipse((x, y, x + w + 20, y + h + 20), fill=shade)
    return image


def encoded_again(image: Image.Image) -> Image.Image:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=35)
    return Image.open(sink).convert("RGB")


def pairs(*pictures: Image.Image) -> list[tuple[int, int]]:
    return list(like_pairs([look_of(picture) for picture in pictures]))


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_near(seed: int) -> None:
    image = scene(seed)
    trimmed = image.crop((5, 4, 315, 236))
    assert pairs(image, encoded_again(image), image.resize((160, 120)), trimmed) == [
        (0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3),
    ]  # fmt: skip


def test_another_colourway_and_another_picture_are_not() -> None:
    assert pairs(scene(1), scene(1, (40, 60, 220)), scene(2), scene(3)) == []


def test_plain_pictures_are_near_nothing() -> None:
    plain = Image.new("RGB", (100, 100), (240, 240, 240))
    assert pairs(plain, plain, scene(1)) == [] and pairs() == [] and pairs(scene(1)) == []


def test_blocks_lose_no_pair_and_keep_the_callers_indices() -> None:
    looks = [look_of(scene(seed)) for seed in range(30)] * 40
    looks[7] = b""
    found = set(like_pairs(looks))
    assert (5, 5 + 30 * 39) in found and (1024 - 30, 1024) in found
    assert not any(7 in pair for pair in found)
    same = sum(1 for a, b in found if (a - b) % 30 == 0)
    assert same == 29 * 40 * 39 // 2 + 39 * 38 // 2
