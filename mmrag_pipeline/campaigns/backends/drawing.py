"""Small drawing tools that give the same pixels everywhere: Pillow's bundled font, basic layout, own
corners.
"""

from __future__ import annotations

import io
from functools import cache
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
MISSING = "\N{MIDDLE DOT}"


class Box(NamedTuple):
    """A rectangle in whole pixels: left, top, width, height."""

    x: int
    y: int
    w: int
    h: int

    def inset(self, by: int) -> Box:
        by = min(by, (self.w - 1) // 2, (self.h - 1) // 2)
        return Box(self.x + by, self.y + by, max(1, self.w - 2 * by), max(1, self.h - 2 * by))


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that comes with Pillow, laid out without libraqm so that its presence changes nothing."""
    bundled = ImageFont.load_default(16)
    return ImageFont.truetype(io.BytesIO(bundled.font_bytes), max(4, size), layout_engine=ImageFont.Layout.BASIC)


@cache
def _has_glyph(character: str) -> bool:
    drawn = font(24).getmask(character)
    tofu = font(24).getmask("\ufffe")
    return character.isspace() or drawn.size != tofu.size or bytes(drawn) != bytes(tofu)


def printable(text: str) -> str:
    """One line that the bundled font can draw; characters it lacks become a middle dot each."""
    folded = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return "".join(c if _has_glyph(c) else MISSING for c in folded)


def line_height(size: int) -> int:
    return round(size * 1.28)


def fit_lines(text: str, width: int, *, size: int, lines: int) -> list[str]:
    """`text` broken into at most `lines` lines of `width` pixels; what is left out shows as an ellipsis."""
    face, out = font(size), [""]
    words = printable(text[:1500]).split(" ")
    for word in words:
        longer = f"{out[-1]} {word}".strip()
        if face.getlength(longer) <= width:
            out[-1] = longer
            continue
        if len(out) == lines and out[-1]:
            return _ellipsis(out, face, width)
        if out[-1]:
            out.append("")
        while face.getlength(word) > width and len(word) > 1:
            cut = next((n for n in range(len(word) - 1, 1, -1) if face.getlength(word[:n]) <= width), 1)
            out[-1], word = word[:cut], word[cut:]
            if len(out) == lines:
                return _ellipsis(out, face, width)
            out.append("")
        out[-1] = word
        if len(out) > lines:
            return _ellipsis(out[:lines], face, width)
    return [line for line in out if line]


def _ellipsis(out: list[str], face: ImageFont.FreeTypeFont, width: int) -> list[str]:
    last = out[-1]
    while last and face.getlength(f"{last}…") > width:
        last = last[:-1]
    return [*out[:-1], f"{last.rstrip(' ,.;:')}…"]


def largest_size(text: str, width: int, *, most: int, least: int, lines: int) -> int:
    """The largest font size at which `text` needs no more than `lines` lines and no ellipsis, else
    `least`.
    """
    for size in range(most, least, -max(1, (most - least) // 12)):
        broken = fit_lines(text, width, size=size, lines=lines)
        longest = max((font(size).getlength(word) for word in printable(text[:1500]).split(" ")), default=0)
        if longest <= width and not any(line.endswith("…") for line in broken):
            return size
    return least


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`share` of `other` in `one`, 0 to 1."""
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


def luminance(colour: Colour) -> float:
    """Relative luminance as WCAG defines it, 0 to 1."""
    r, g, b = (c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: Colour, other: Colour) -> float:
    """WCAG contrast ratio, 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def rounded_mask(size: tuple[int, int], radius: int) -> Image.Image:
    """An L mask with smooth round corners."""
    width, height = size
    radius = min(radius, width // 2, height // 2)
    mask = Image.new("L", size, 255)
    if radius < 1:
        return mask
    corner = Image.new("L", (radius * 4, radius * 4), 0)
    ImageDraw.Draw(corner).ellipse((0, 0, radius * 8 - 1, radius * 8 - 1), fill=255)
    corner = corner.resize((radius, radius), Image.Resampling.BOX)
    flip, mirror = Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.FLIP_LEFT_RIGHT
    mask.paste(corner, (0, 0))
    mask.paste(corner.transpose(mirror), (width - radius, 0))
    mask.paste(corner.transpose(flip), (0, height - radius))
    mask.paste(corner.transpose(flip).transpose(mirror), (width - radius, height - radius))
    return mask


def framed(image: Image.Image, size: tuple[int, int], *, crop: float = 0.12) -> Image.Image:
    """The picture inside `size` on the mean colour of its own edge; up to `crop` of a side may be cut off to
    fill it.
    """
    width, height = size
    inside = min(width / image.width, height / image.height)
    cover = max(width / image.width, height / image.height)
    scale = min(cover, inside / (1 - crop))
    scaled = image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.LANCZOS
    )
    frame = Image.new("RGB", size, edge_colour(image))
    frame.paste(scaled, ((width - scaled.width) // 2, (height - scaled.height) // 2))
    return frame


def edge_colour(image: Image.Image) -> Colour:
    """Mean colour of the outermost pixels: a studio picture goes on without a seam."""
    small = image.resize((24, 24), Image.Resampling.BOX)
    rim = [small.getpixel((x, y)) for x in range(24) for y in range(24) if x in (0, 23) or y in (0, 23)]
    return tuple(round(sum(pixel[n] for pixel in rim) / len(rim)) for n in range(3))  # type: ignore[return-value]
