"""The letters of an overlay: Roboto (Apache License 2.0, beside this file in fonts/), laid out alike on every machine.

Pillow's own font, which previews use, has neither umlauts nor a euro sign.
"""

from __future__ import annotations

import io
import math
from functools import cache
from importlib import resources

from PIL import ImageFont


@cache
def _file(bold: bool) -> bytes:
    name = f"Roboto-{'Bold' if bold else 'Regular'}.ttf"
    return resources.files(__package__).joinpath("fonts", name).read_bytes()


@cache
def face(size: int, *, bold: bool) -> ImageFont.FreeTypeFont:
    """One size of it, laid out without libraqm so that its presence changes nothing."""
    return ImageFont.truetype(io.BytesIO(_file(bold)), size, layout_engine=ImageFont.Layout.BASIC)


def line_height(size: int, *, bold: bool) -> int:
    return sum(face(size, bold=bold).getmetrics())


@cache
def can_draw(character: str) -> bool:
    """Whether the font has this character."""
    drawn, tofu = (face(24, bold=False).getmask(one) for one in (character, "\ufffe"))
    return character == " " or (character.isprintable() and (drawn.size, bytes(drawn)) != (tofu.size, bytes(tofu)))


def wrapped(text: str, width: int, *, size: int, bold: bool) -> tuple[str, ...] | None:
    """The text in lines of so many pixels at most, as few as can be; None where a word alone is longer."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size=size, bold=bold) <= width:
            lines[-1] = longer
        elif text_width(word, size=size, bold=bold) <= width:
            lines.append(word)
        else:
            return None
    return tuple(lines)


def text_width(text: str, *, size: int, bold: bool) -> int:
    """Pixels from the first letter's left edge to the last one's right."""
    return math.ceil(face(size, bold=bold).getlength(text))
