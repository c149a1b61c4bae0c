"""Draws logo and lines on a picture of its final size. The same picture and recipe give the same pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw

from mmrag_pipeline.campaigns.backends.drawing import Colour, contrast, rounded_mask
from mmrag_pipeline.campaigns.finishing.contrast import (
    DARK,
    INKS,
    LIGHT,
    Ink,
    busyness,
    choose_ink,
    shade,
    stands_out,
)
from mmrag_pipeline.campaigns.finishing.faces import face
from mmrag_pipeline.campaigns.finishing.layout import BOLD, Edge, Layout, Lettering, lay_out

STANDS_OUT = 0.85  # of a logo, without a plate below it
CALMER = 0.8  # the upper edge has to be that much calmer than the lower one


def draw_overlay(
    picture: Image.Image,
    words: Mapping[str, str],
    logo: Image.Image | None,
    *,
    accent: Colour | None,
    edge: Edge | None = None,
    least_shade: float = 0.0,
) -> Image.Image:
    """The RGB picture with its lines and logo, at `edge`, or where the picture is calmer.

    `least_shade`, 0 to 1, is how much of the picture below the lines is hidden in any case.

    Raises:
        DoesNotFit: see `lay_out`; a plan was checked for that.
    """
    if not words and logo is None:
        return picture
    pixels = np.array(picture)
    layout = choose_layout(pixels, words, logo, edge=edge)
    ink = INKS[shade_below(pixels, layout, least=least_shade)][0]
    drawn = Image.fromarray(pixels)
    pen = ImageDraw.Draw(drawn)
    for name, lettering in layout.letterings.items():
        if name == "price":
            plate = accent or ink
            drawn.paste(plate, (lettering.box.x, lettering.box.y), _round(lettering))
            on_plate = max((LIGHT, DARK), key=lambda colour: contrast(colour, plate))
            _write(pen, lettering, on_plate, bold=True)
        else:
            _write(pen, lettering, ink, bold=name in BOLD)
    if logo is not None:
        _place_logo(drawn, logo, layout)
    return drawn


def choose_layout(
    pixels: np.ndarray, words: Mapping[str, str], logo: Image.Image | None, *, edge: Edge | None
) -> Layout:
    """At that edge, or at the lower one unless the picture is clearly calmer where the upper one's lines would be."""
    size = pixels.shape[1], pixels.shape[0]
    cut = logo.size if logo else None
    if edge is not None:
        return lay_out(size, words, cut, edge=edge)
    low, high = (lay_out(size, words, cut, edge=where) for where in ("bottom", "top"))
    return high if busyness(pixels, high.boxes) < CALMER * busyness(pixels, low.boxes) else low


def shade_below(pixels: np.ndarray, layout: Layout, *, least: float = 0.0) -> Ink:
    """Make every line without a plate of its own readable on the pixels, in place; returns the ink for them."""
    bare = [lettering.box for name, lettering in layout.letterings.items() if name != "price"]
    ink = choose_ink(pixels, bare)
    for box in bare:
        shade(pixels, box, ink, fade=round(min(pixels.shape[:2]) * 0.16), least=least)
    return ink


def _round(lettering: Lettering) -> Image.Image:
    return rounded_mask((lettering.box.w, lettering.box.h), lettering.box.h // 2)


def _write(pen: ImageDraw.ImageDraw, lettering: Lettering, ink: Colour, *, bold: bool) -> None:
    letters = face(lettering.size, bold=bold)
    rise, fall = letters.getmetrics()
    x, y = lettering.box.x + lettering.pad[0], lettering.box.y + lettering.pad[1]
    for number, line in enumerate(lettering.lines):
        at = (x, y + number * (rise + fall) + rise)
        pen.text(at, line, ink, letters, anchor="ls")


def _place_logo(drawn: Image.Image, logo: Image.Image, layout: Layout) -> None:
    assert layout.logo is not None
    box, pad = layout.logo, layout.logo_pad
    small = logo.resize((box.w - 2 * pad, box.h - 2 * pad), Image.Resampling.LANCZOS)
    at = (box.x + pad, box.y + pad)
    below = np.asarray(drawn.crop((*at, at[0] + small.width, at[1] + small.height)))
    if stands_out(small, below) < STANDS_OUT:
        plate = max((LIGHT, DARK), key=lambda colour: stands_out(small, np.full_like(below, colour)))
        drawn.paste(plate, (box.x, box.y), rounded_mask((box.w, box.h), pad))
    drawn.paste(small.convert("RGB"), at, small.getchannel("A"))
