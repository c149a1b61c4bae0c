"""What is done to the pictures of a plan after they were made. None of it is paid for, so none of it is in a key."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

VERSION = 1
"""Raise it when the same recipe gives other pixels: every picture is then finished anew, for nothing."""


class Line(NamedTuple):
    """One line of an overlay in one locale."""

    name: str
    locale: str
    text: str


@dataclass(frozen=True)
class Recipe:
    """All that decides what one finished picture looks like besides its original; "" is for none."""

    width: int
    height: int
    headline: str = ""
    price: str = ""
    legal: str = ""
    logo_sha256: str = ""
    accent: str = ""

    @property
    def sha256(self) -> str:
        text = json.dumps({"v": VERSION, **asdict(self)}, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def lines(self) -> dict[str, str]:
        """The lines there are, by name, in reading order."""
        named = {"headline": self.headline, "price": self.price, "legal": self.legal}
        return {name: text for name, text in named.items() if text}


@dataclass(frozen=True)
class Finishing:
    """What a plan keeps of its brief for finishing. `bare` are the placements on which nothing is drawn."""

    lines: tuple[Line, ...] = ()
    bare: tuple[str, ...] = ()
    logo: bytes = field(default=b"", repr=False)

    def recipe(
        self, *, placement: str, locale: str, width: int, height: int, palette: Sequence[tuple[str, str | None]]
    ) -> Recipe:
        """What one picture of the plan gets."""
        if placement in self.bare:
            return Recipe(width, height)
        lines = {line.name: line.text for line in self.lines if line.locale == locale}
        logo = hashlib.sha256(self.logo).hexdigest() if self.logo else ""
        accent = _accent(palette) if "price" in lines else ""
        return Recipe(width, height, **lines, logo_sha256=logo, accent=accent)

    def to_json(self) -> dict[str, Any]:
        return {
            "lines": [list(line) for line in self.lines],
            "bare": list(self.bare),
            "logo": base64.b64encode(self.logo).decode(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any] | None) -> Finishing:
        """Plans of an earlier version have none."""
        if content is None:
            return cls()
        return cls(
            lines=tuple(Line(*line) for line in content["lines"]),
            bare=tuple(content["bare"]),
            logo=base64.b64decode(content["logo"]),
        )


def _accent(palette: Sequence[tuple[str, str | None]]) -> str:
    """The most vivid colour of a brand that has a number, else ""."""
    numbered = [value.lower() for _, value in palette if value]
    return max(numbered, key=lambda v: max(rgb := bytes.fromhex(v[1:])) - min(rgb), default="")
