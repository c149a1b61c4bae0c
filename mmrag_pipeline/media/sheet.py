"""Contact sheets: pictures side by side on cards, for people; and how one gets into Markdown."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

_PAGE, _CARD, _EDGE = (242, 243, 245), (255, 255, 255), (222, 224, 228)
_INK, _QUIET = (28, 30, 34), (112, 117, 126)
_GAP, _PAD, _RADIUS = 14, 10, 8
_PLAIN = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"))  # not in the bundled font
_TITLE_SIZE, _CAPTION_SIZE, _NOTE_SIZE = 22, 14, 12


@dataclass(frozen=True)
class SheetItem:
    """One card: a picture, its name, and a quiet second line."""

    image: Image.Image
    caption: str
    note: str = ""


def contact_sheet(
    items: Sequence[SheetItem], *, title: str | None = None, columns: int | None = None, tile: int = 224
) -> Image.Image:
    """Lay out `items` row by row, each in a square of `tile` pixels; mode RGB.

    Without `columns`, up to five go in one row and more in a block about as wide as it is high.
    """
    if columns is None:
        columns = len(items) if len(items) <= 5 else min(8, math.ceil(math.sqrt(len(items) * 1.5)))
    columns = max(1, min(columns, len(items) or 1))
    rows = math.ceil(len(items) / columns)
    has_note = any(item.note for item in items)
    text_height = 8 + 18 + (17 if has_note else 0)
    card_width, card_height = tile + 2 * _PAD, tile + 2 * _PAD + text_height
    top = _GAP + (_TITLE_SIZE + 18 if title else 0)
    width = max(columns * (card_width + _GAP) + _GAP, 320)
    body = rows * (card_height + _GAP) if items else 40
    sheet = Image.new("RGB", (width, top + body), _PAGE)
    draw = ImageDraw.Draw(sheet)
    if title:
        font = ImageFont.load_default(_TITLE_SIZE)
        draw.text((_GAP + 2, _GAP), _fitted(title, font, width - 2 * _GAP - 4), font=font, fill=_INK)
    if not items:
        draw.text((_GAP + 2, top + 4), "nothing to show", font=ImageFont.load_default(_CAPTION_SIZE), fill=_QUIET)
    for position, item in enumerate(items):
        row, column = divmod(position, columns)
        left = _GAP + column * (card_width + _GAP)
        upper = top + row * (card_height + _GAP)
        draw.rounded_rectangle(
            (left, upper, left + card_width - 1, upper + card_height - 1), _RADIUS, fill=_CARD, outline=_EDGE
        )
        _draw_card(sheet, draw, item, (left + _PAD, upper + _PAD), tile)
    return sheet


def inline_markdown(image: Image.Image, *, max_bytes: int = 64 * 1024, alt: str) -> str:
    """`![alt](data:image/jpeg;base64,...)`, at most `max_bytes` long: first quality gives way, then size.

    Raises:
        ValueError: `max_bytes` has no room for even a thumbnail.
    """
    words = " ".join(alt.replace("[", "(").replace("]", ")").split())
    picture = image.convert("RGB")
    while True:
        for quality in (88, 78, 66, 54):
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=quality, optimize=True)
            text = f"![{words}](data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()})"
            if len(text.encode()) <= max_bytes:
                return text
        if max(picture.size) <= 16:
            raise ValueError(f"no picture fits into {max_bytes} bytes of Markdown")
        smaller = (max(1, picture.width * 4 // 5), max(1, picture.height * 4 // 5))
        picture = picture.resize(smaller, Image.Resampling.LANCZOS)


def _draw_card(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, item: SheetItem, corner: tuple[int, int], tile: int
) -> None:
    left, upper = corner
    picture = item.image.convert("RGB")
    scale = min(tile / picture.width, tile / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    sheet.paste(picture, (left + (tile - size[0]) // 2, upper + (tile - size[1]) // 2))
    caption_font = ImageFont.load_default(_CAPTION_SIZE)
    draw.text((left, upper + tile + 7), _fitted(item.caption, caption_font, tile), font=caption_font, fill=_INK)
    if item.note:
        note_font = ImageFont.load_default(_NOTE_SIZE)
        draw.text((left, upper + tile + 26), _fitted(item.note, note_font, tile), font=note_font, fill=_QUIET)


def _fitted(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """`text` on one line, ended by an ellipsis where it would be wider than `width` pixels."""
    text = " ".join(text.translate(_PLAIN).split())
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle].rstrip() + "…") <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"
