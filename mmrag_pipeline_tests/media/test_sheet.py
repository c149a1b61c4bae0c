"""Contact sheets and inline pictures."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmrag_pipeline.media.sheet import SheetItem, contact_sheet, inline_markdown


def items(number: int, **fields) -> list[SheetItem]:
    return [
        SheetItem(Image.new("RGB", (80, 60), (250, 0, 0)), **{"caption": f"picture {n}", **fields})
        for n in range(number)
    ]


def red(sheet: Image.Image) -> int:
    pixels = np.asarray(sheet).astype(int)
    return int(((pixels[..., 0] > 200) & (pixels[..., 1] < 60)).sum())


@settings(max_examples=25, deadline=None)
@given(
    number=st.integers(0, 13),
    columns=st.none() | st.integers(1, 6),
    tile=st.integers(16, 120),
    title=st.none() | st.text(max_size=80),
    caption=st.text(max_size=60),
)
def test_every_picture_is_on_the_sheet(number, columns, tile, title, caption) -> None:
    sheet = contact_sheet(items(number, caption=caption), title=title, columns=columns, tile=tile)
    shown = number * tile * round(60 * tile / 80)
    assert sheet.mode == "RGB"
    assert abs(red(sheet) - shown) <= number * tile * 2


def test_hits_lie_side_by_side_and_many_make_a_block() -> None:
    row = contact_sheet(items(3), title="a golden watch")
    assert row.width > 2 * row.height
    block = contact_sheet(items(24))
    assert 0.6 < block.width / block.height < 2.2


@pytest.mark.parametrize("size", [(2000, 10), (10, 2000), (1, 1), (3000, 2000)])
def test_any_shape_fits_its_tile(size: tuple[int, int]) -> None:
    sheet = contact_sheet([SheetItem(Image.new("RGB", size, (250, 0, 0)), "x")], tile=100)
    assert 0 < red(sheet) <= 100 * 100


def test_a_long_caption_stays_on_its_card() -> None:
    one = contact_sheet(items(1, caption="short"), tile=100)
    long = contact_sheet(items(1, caption="a very long caption " * 20, note="n" * 300), tile=100)
    assert long.width == one.width
    right = np.asarray(long)[:, 15 + 100 + 10 + 2 :]
    assert right.min() > 200  # no ink right of the picture's edge


def decoded(markdown: str) -> Image.Image:
    data = re.fullmatch(r"!\[[^\]]*\]\(data:image/jpeg;base64,([A-Za-z0-9+/=]+)\)", markdown).group(1)
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_inline_markdown_fits() -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (700, 900, 3), dtype=np.uint8))
    for limit in (64 * 1024, 8 * 1024):
        text = inline_markdown(noise, max_bytes=limit, alt="noise [1]\n(two)")
        assert len(text.encode()) <= limit
        picture = decoded(text)
        assert abs(picture.width / picture.height - 9 / 7) < 0.1
    assert decoded(inline_markdown(items(1)[0].image, alt="small")).size == (80, 60)


def test_no_room_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="fits into 40 bytes"):
        inline_markdown(Image.new("RGB", (50, 50)), max_bytes=40, alt="x")
