"""Where logo and lines go on a picture of a given size: inside its margins, never on each other, or not at all.

Nothing here looks at a picture, so whether everything fits is known before anything is paid.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mmrag_pipeline.campaigns.backends.drawing import Box
from mmrag_pipeline.campaigns.finishing.faces import line_height, text_width, wrapped

Edge = Literal["top", "bottom"]

MARGIN = 0.055  # of the shorter side
WIDE = 1.6  # width over height from which the lines keep to a column, so that the product has a place beside it
COLUMN = 0.58
LEAST_PIXELS = 9  # letters below that are nobody's


BOLD = frozenset({"headline", "price"})


class DoesNotFit(Exception):
    """`name` is the line, or `logo`, that has no room."""

    def __init__(self, name: str):
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Lettering:
    """Lines of one size in their box. `pad` is the room inside it around the letters, left and right, and above."""

    box: Box
    lines: tuple[str, ...]
    size: int
    pad: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Layout:
    """`letterings` by name. The logo's box has room for a plate around it."""

    edge: Edge
    letterings: Mapping[str, Lettering]
    logo: Box | None
    logo_pad: int = 0

    @property
    def boxes(self) -> list[Box]:
        return [lettering.box for lettering in self.letterings.values()] + ([self.logo] if self.logo else [])


def lay_out(size: tuple[int, int], words: Mapping[str, str], logo: tuple[int, int] | None, *, edge: Edge) -> Layout:
    """Headline and price at that edge, the legal line always at the lower one, the logo across from the headline.

    Raises:
        DoesNotFit: a line, even at its smallest readable size, or the logo has no room.
    """
    return _Sheet(*size).lay_out(words, logo, edge)


@dataclass(frozen=True)
class _Set:
    """A text broken into lines at one size, and the room that takes."""

    lines: tuple[str, ...]
    size: int
    width: int
    height: int
    pad: tuple[int, int] = (0, 0)


class _Sheet:
    """One picture's measures. Sizes go by its area, but a strip's letters must not grow with its length."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        short = min(width, height)
        self.unit = min(math.sqrt(width * height), 2.2 * short)
        margin = max(4, round(short * MARGIN))
        self.safe = Box(margin, margin, width - 2 * margin, height - 2 * margin)
        self.gap = max(3, round(self.unit * 0.022))
        self.wide = width >= WIDE * height
        self.column = round(self.safe.w * COLUMN) if self.wide else self.safe.w

    def lay_out(self, words: Mapping[str, str], logo: tuple[int, int] | None, edge: Edge) -> Layout:
        most_lines = 2 if self.wide else 6 if self.height > 2 * self.width else 4
        legal = self._first(words, "legal", self.safe.w, most=0.022, least=0.0155, lines=most_lines)
        floor = self.safe.y + self.safe.h - (legal.height + self.gap if legal else 0)
        pad = max(3, round(self.unit * 0.016)) if logo else 0
        cell = self._cell(logo, pad) if logo else None
        room = floor - self.safe.y
        if cell and (cell[1] > room or cell[0] > self.safe.w):
            raise DoesNotFit("logo")
        if cell and not self.wide:
            room -= cell[1] + self.gap
        price = self._first(words, "price", self.column, most=0.052, least=0.03, lines=1)
        headline = self._headline(words, price, min(room, round(self.height * (0.9 if self.wide else 0.5))))
        block = [(name, one) for name, one in (("headline", headline), ("price", price)) if one]
        tall = sum(one.height for _, one in block) + self.gap * max(0, len(block) - 1)
        y = self.safe.y if edge == "top" else floor - tall
        letterings = {}
        for name, one in block:
            letterings[name] = _placed(one, self.safe.x, y)
            y += one.height + self.gap
        if legal:
            letterings["legal"] = _placed(legal, self.safe.x, self.safe.y + self.safe.h - legal.height)
        return Layout(edge, letterings, self._corner(cell, floor, edge) if cell else None, pad)

    def _headline(self, words: Mapping[str, str], price: _Set | None, room: int) -> _Set | None:
        left = room - (price.height if price else 0)
        if left < 0:
            raise DoesNotFit("price")
        if "headline" not in words:
            return None
        left -= self.gap if price else 0
        lines = 3 if self.wide else 5
        for one in self._settings(words, "headline", self.column, most=0.084, least=0.036, lines=lines):
            if one.height <= left:
                return one
        raise DoesNotFit("headline")

    def _first(
        self,
        words: Mapping[str, str],
        name: str,
        width: int,
        *,
        most: float,
        least: float,
        lines: int,
    ) -> _Set | None:
        if name not in words:
            return None
        found = next(self._settings(words, name, width, most=most, least=least, lines=lines), None)
        if found is None or found.height > self.safe.h:
            raise DoesNotFit(name)
        return found

    def _settings(
        self, words: Mapping[str, str], name: str, width: int, *, most: float, least: float, lines: int
    ) -> Iterator[_Set]:
        """The line whole, broken into so many at most, from the largest size that it can have to the smallest."""
        bold, plate = name in BOLD, name == "price"
        largest, smallest = round(self.unit * most), max(LEAST_PIXELS, round(self.unit * least))
        for size in range(max(largest, smallest), smallest - 1, -1):
            pad = (round(size * 0.6), round(size * 0.22)) if plate else (0, 0)
            broken = wrapped(words[name], width - 2 * pad[0], size=size, bold=bold)
            if broken is None or len(broken) > lines:
                continue
            longest = max(text_width(line, size=size, bold=bold) for line in broken)
            tall = len(broken) * line_height(size, bold=bold)
            yield _Set(broken, size, longest + 2 * pad[0], tall + 2 * pad[1], pad)

    def _cell(self, logo: tuple[int, int], pad: int) -> tuple[int, int]:
        """What the logo and the plate that it may need take up."""
        most_wide, most_tall = self.safe.w * (0.24 if self.wide else 0.36), self.unit * 0.11
        scale = min(most_wide / logo[0], most_tall / logo[1])
        return max(1, round(logo[0] * scale)) + 2 * pad, max(1, round(logo[1] * scale)) + 2 * pad

    def _corner(self, cell: tuple[int, int], floor: int, edge: Edge) -> Box:
        """At the right, away from the headline: on a wide picture there is room beside the column anyway."""
        x = self.safe.x + self.safe.w - cell[0]
        return Box(x, floor - cell[1] if edge == "top" else self.safe.y, *cell)


def _placed(one: _Set, x: int, y: int) -> Lettering:
    return Lettering(Box(x, y, one.width, one.height), one.lines, one.size, one.pad)
