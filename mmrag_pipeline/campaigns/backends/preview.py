"""The offline backend: draws what is planned, so that a person can judge it before anything is paid.

References large, scene and brand beside them, and PREVIEW across all of it in colours that no brand chooses.
The same request gives the same bytes; nothing is asked of a network, a model or the machine's fonts.
"""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFilter
from PIL.PngImagePlugin import PngInfo

from mmrag_pipeline.campaigns.backends.base import BACKENDS, Answer, Card, GenerationRequest, Ok
from mmrag_pipeline.campaigns.backends.drawing import (
    Box,
    Colour,
    contrast,
    fit_lines,
    font,
    framed,
    largest_size,
    line_height,
    luminance,
    mix,
    printable,
    rounded_mask,
)
from mmrag_pipeline.campaigns.provenance import PNG_XMP, xmp_packet

STAMP_GROUND: Colour = (255, 196, 0)
STAMP_INK: Colour = (20, 20, 20)
PAPER: Colour = (245, 243, 238)
INK: Colour = (32, 34, 40)


class PreviewBackend:
    """Draws a plan card of the exact pixel size of the placement. Free."""

    info = BACKENDS["preview"]

    def __repr__(self) -> str:
        return "PreviewBackend()"

    def generate(self, request: GenerationRequest) -> Ok:
        """See ImageBackend.generate; never refuses and never waits."""
        canvas = _Sheet(request).draw()
        notes = PngInfo()
        notes.add_itxt(PNG_XMP, xmp_packet("compositeSynthetic"))
        notes.add_text("Comment", "PREVIEW: composed offline from references, not a generated picture.")
        sink = io.BytesIO()
        canvas.save(sink, "PNG", pnginfo=notes, compress_level=6)
        return Ok(sink.getvalue(), "png", *canvas.size, answer=Answer(model_version="preview"))


class _Sheet:
    """One drawing: stage with the references, panel with the words, stamp over both."""

    def __init__(self, request: GenerationRequest):
        self.request, self.card = request, request.card
        self.width, self.height = request.pixels
        self.unit = max(4, round(min(self.width, self.height, max(self.width, self.height) * 0.62) / 36))
        self.paper, self.ink, self.accent = _roles(self.card)
        self.canvas = Image.new("RGB", request.pixels, self.paper)
        self.pen = ImageDraw.Draw(self.canvas)

    def draw(self) -> Image.Image:
        band, stage, panel = self._boxes()
        self._stage(stage)
        self._panel(panel)
        self._diagonal(stage)
        self._band(band)
        return self.canvas

    def _boxes(self) -> tuple[Box, Box, Box]:
        """Band on top; below it stage and panel, side by side where the picture is wide."""
        band = Box(0, 0, self.width, max(8, round(self.unit * 1.9)))
        rest = self.height - band.h
        ratio = self.width / max(1, rest)
        if ratio > 1.15:
            across = round(self.width * (0.6 if ratio < 3 else 0.7))
            return band, Box(0, band.h, across, rest), Box(across, band.h, self.width - across, rest)
        down = round(rest * (0.62 if ratio > 0.4 else 0.7))
        return band, Box(0, band.h, self.width, down), Box(0, band.h + down, self.width, rest - down)

    # -- stage: the references

    def _stage(self, box: Box) -> None:
        self._wash(box)
        pictures = [Image.open(io.BytesIO(r.data)).convert("RGB") for r in self.request.references]
        for number, (picture, place) in enumerate(zip(pictures, self._places(box, len(pictures)), strict=False), 1):
            self._card(picture, place, str(number))

    def _wash(self, box: Box) -> None:
        """A quiet vertical gradient of paper into a breath of the accent."""
        ramp = Image.linear_gradient("L").resize((box.w, box.h), Image.Resampling.BILINEAR)
        low = Image.new("RGB", (box.w, box.h), mix(self.paper, self.accent, 0.22))
        high = Image.new("RGB", (box.w, box.h), mix(self.paper, (255, 255, 255), 0.35))
        self.canvas.paste(Image.composite(low, high, ramp), (box.x, box.y))

    def _places(self, box: Box, count: int) -> list[Box]:
        """The first reference large, the others in a strip along the longer side; at most five are drawn."""
        count = min(count, 5)
        inner, gap = box.inset(round(self.unit * 1.4)), max(2, round(self.unit * 0.8))
        if count < 2:
            return [_shaped(inner, 0.8, 1.35)] if count else []
        strip = count - 1
        if inner.w >= inner.h * 0.82:  # wide: the strip stands to the right
            side = min(round(inner.w * (0.4 if strip < 3 else 0.3)), (inner.h - gap * (strip - 1)) // strip * 4 // 3)
            side = max(1, side)
            first = Box(inner.x, inner.y, max(1, inner.w - side - gap), inner.h)
            tall = max(1, (inner.h - gap * (strip - 1)) // strip)
            x = first.x + first.w + gap
            return [first, *(Box(x, inner.y + n * (tall + gap), side, tall) for n in range(strip))]
        side = max(1, min(round(inner.h * 0.34), (inner.w - gap * (strip - 1)) // strip * 4 // 3))
        first = Box(inner.x, inner.y, inner.w, max(1, inner.h - side - gap))
        wide = max(1, (inner.w - gap * (strip - 1)) // strip)
        y = first.y + first.h + gap
        return [first, *(Box(inner.x + n * (wide + gap), y, wide, side) for n in range(strip))]

    def _card(self, picture: Image.Image, box: Box, number: str) -> None:
        radius = round(self.unit * 0.55)
        blur = max(1, round(self.unit * 0.5))
        shade = Image.new("L", (box.w + 6 * blur, box.h + 6 * blur), 0)
        shade.paste(rounded_mask((box.w, box.h), radius).point(lambda v: v * 70 // 255), (3 * blur, 3 * blur))
        shade = shade.filter(ImageFilter.GaussianBlur(blur))
        self.canvas.paste(self.ink, (box.x - 3 * blur, box.y - 3 * blur + blur), shade)
        self.canvas.paste(framed(picture, (box.w, box.h)), (box.x, box.y), rounded_mask((box.w, box.h), radius))
        size = max(7, round(self.unit * 0.72))
        dot = round(size * 1.7)
        if dot * 3 < min(box.w, box.h):
            at = Box(box.x + dot // 3, box.y + dot // 3, dot, dot)
            self.canvas.paste(self.ink, (at.x, at.y), rounded_mask((dot, dot), dot // 2))
            self.pen.text((at.x + dot / 2, at.y + dot / 2), number, self.paper, font(size), anchor="mm")

    # -- panel: the words

    def _panel(self, box: Box) -> None:
        self.pen.rectangle((box.x, box.y, box.x + box.w - 1, box.y + box.h - 1), fill=self.ink)
        inner = box.inset(round(self.unit * 1.5))
        soft = mix(self.paper, self.ink, 0.28)
        small = max(6, round(self.unit * 0.78))
        foot = self._foot(inner, small, soft)
        y, end = inner.y, foot - round(self.unit * 0.8)
        y = self._text(inner, y, end, self.card.title.upper(), small, self.accent, 1, after=0.5)
        headline = self.card.message or self.card.product
        large = largest_size(headline, inner.w, most=round(self.unit * 2.7), least=small, lines=2)
        y = self._text(inner, y, end, headline, large, self.paper, 2, after=0.35)
        if self.card.message:
            y = self._text(inner, y, end, self.card.product, round(self.unit * 1.05), soft, 1, after=0.7)
        body = self._body_size(inner.w, end - y)
        self._text(inner, y, end, self.card.excerpt, body, mix(self.paper, self.ink, 0.12), 40, after=0)

    def _body_size(self, width: int, room: int) -> int:
        """The largest size, within reason, at which the whole scene can be read."""
        least, most = max(6, round(self.unit * 0.84)), max(7, round(self.unit * 1.2))
        for size in range(most, least, -1):
            lines = max(1, room // line_height(size))
            if not any(line.endswith("…") for line in fit_lines(self.card.excerpt, width, size=size, lines=lines)):
                return size
        return least

    def _foot(self, inner: Box, small: int, soft: Colour) -> int:
        """Swatches and facts at the lower edge; returns its top."""
        card, request = self.card, self.request
        facts = [
            f"{card.placement}  {request.pixels[0]} x {request.pixels[1]}  ({request.aspect_ratio}, "
            f"{request.image_size})",
            f"{card.locale}  ·  {card.scene}  ·  no. {card.number}  ·  {card.cost}",
        ]
        lines = [line for fact in facts for line in fit_lines(fact, inner.w, size=small, lines=2)]
        top = inner.y + inner.h - len(lines) * line_height(small)
        if top < inner.y + inner.h * 0.45:  # a very small picture keeps its first fact only
            lines, top = lines[:1], inner.y + inner.h - line_height(small)
        for number, line in enumerate(lines):
            self.pen.text((inner.x, top + number * line_height(small)), line, soft, font(small))
        return self._swatches(inner, top - round(self.unit * 0.6), small, soft)

    def _swatches(self, inner: Box, bottom: int, small: int, soft: Colour) -> int:
        colours = self.card.palette[:6]
        side = round(self.unit * 1.5)
        if not colours or bottom - side < inner.y + inner.h * 0.4:
            return bottom
        x, y = inner.x, bottom - side
        for words, value in colours:
            name = printable(words[:24])
            room = round(font(small).getlength(name))
            if x + side + room + self.unit > inner.x + inner.w:
                name, room = "", 0
            if x + side > inner.x + inner.w:
                break
            fill = _rgb(value) if value else None
            mask = rounded_mask((side, side), side // 2)
            self.canvas.paste(mix(self.ink, self.paper, 0.55), (x, y), mask)
            rim = max(1, side // 14)
            inside = rounded_mask((side - 2 * rim, side - 2 * rim), side // 2)
            self.canvas.paste(fill or self.ink, (x + rim, y + rim), inside)
            if name:
                at = (x + side + self.unit * 0.45, y + side / 2)
                self.pen.text(at, name, soft, font(small), anchor="lm")
            x += side + (room + round(self.unit * 1.3) if name else round(self.unit * 0.4))
        return y

    def _text(
        self, inner: Box, y: int, end: int, text: str, size: int, colour: Colour, lines: int, *, after: float
    ) -> int:
        """Write as many of `lines` as fit above `end`; returns where the next text may begin."""
        room = (end - y) // line_height(size)
        if room < 1 or not text:
            return y
        for line in fit_lines(text, inner.w, size=size, lines=min(lines, room)):
            self.pen.text((inner.x, y), line, colour, font(size))
            y += line_height(size)
        return y + round(self.unit * after)

    # -- stamp

    def _band(self, box: Box) -> None:
        self.pen.rectangle((box.x, box.y, box.x + box.w - 1, box.y + box.h - 1), fill=STAMP_GROUND)
        size = max(6, round(box.h * 0.46))
        text = "PREVIEW  ·  plan composed offline from the references, not a generated picture"
        if font(size).getlength(text) > box.w - 2 * size:
            text = "PREVIEW  ·  not a generated picture"
        if font(size).getlength(text) > box.w - 2 * size:
            text, size = "PREVIEW", max(5, min(size, round(box.w / 6)))
        self.pen.text((box.x + box.w / 2, box.y + box.h / 2), text, STAMP_INK, font(size), anchor="mm")

    def _diagonal(self, stage: Box) -> None:
        """The word across the references: light with a dark rim, so that it reads on any photo and hides
        none.
        """
        size = max(10, round(min(stage.w / 4.6, stage.h / 1.6)))
        face, rim = font(size), max(1, size // 40)
        wide, tall = round(face.getlength("PREVIEW")) + 4 * rim, round(size * 1.2)
        word = Image.new("LA", (wide, tall), (255, 0))
        pen = ImageDraw.Draw(word)
        pen.text(
            (wide / 2, tall / 2),
            "PREVIEW",
            (255, 118),
            face,
            anchor="mm",
            stroke_width=rim,
            stroke_fill=(0, 110),
        )
        angle = 14 if stage.w > stage.h * 1.6 else 24
        word = word.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        word.thumbnail((max(1, stage.w), max(1, stage.h)), Image.Resampling.LANCZOS)
        at = (stage.x + (stage.w - word.width) // 2, stage.y + (stage.h - word.height) // 2)
        self.canvas.paste(word.getchannel("L").convert("RGB"), at, word.getchannel("A"))


def _shaped(box: Box, least: float, most: float) -> Box:
    """The largest box in the middle of `box` whose width over height lies between the two."""
    width = min(box.w, round(box.h * most))
    height = min(box.h, round(width / least))
    return Box(box.x + (box.w - width) // 2, box.y + (box.h - height) // 2, max(1, width), max(1, height))


def _rgb(value: str) -> Colour:
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def _roles(card: Card) -> tuple[Colour, Colour, Colour]:
    """Paper, ink and accent from the brand's colours, moved until they can be read on each other."""
    colours = sorted((_rgb(value) for _, value in card.palette if value), key=luminance)
    paper = mix(colours[-1], (255, 255, 255), 0.25) if colours and luminance(colours[-1]) > 0.45 else PAPER
    ink = mix(colours[0], (0, 0, 0), 0.15) if colours and luminance(colours[0]) < 0.2 else INK
    if contrast(paper, ink) < 7:
        paper, ink = PAPER, INK
    vivid = max(colours, key=lambda c: max(c) - min(c), default=STAMP_GROUND)
    accent = vivid
    while contrast(accent, ink) < 4.5:
        accent = mix(accent, (255, 255, 255), 0.12)
    return paper, ink, accent
