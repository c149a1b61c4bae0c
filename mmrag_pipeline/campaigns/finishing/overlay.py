"""What a brief wants on its finished pictures: lines of words that no model can misspell, and the brand's logo.

Where they go is layout.py's work, how they are drawn drawn.py's.
"""

from __future__ import annotations

import hashlib
import io
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from PIL import Image
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from upath import UPath

from mmrag_pipeline.campaigns.finishing.faces import can_draw
from mmrag_pipeline.store import is_local

MAX_LETTERS = {"headline": 120, "price": 40, "legal": 400}
"""The lines there are, in the order they are read, and the most characters of each."""
MAX_LOGO_BYTES = 512 * 1024
MAX_LOGO_SIDE = 4096
_FAINT = 8  # opacity, of 255, up to which nobody sees anything

Words = str | dict[str, str] | None


@dataclass(frozen=True)
class Logo:
    """A logo file as it was read."""

    file: str
    data: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def open_logo(data: bytes) -> Image.Image:
    """RGBA, cut to what can be seen of it."""
    with Image.open(io.BytesIO(data)) as image:
        logo = image.convert("RGBA")
    return logo.crop(_visible(logo))


def _visible(logo: Image.Image) -> tuple[int, int, int, int] | None:
    return logo.getchannel("A").point(lambda a: 255 if a > _FAINT else 0).getbbox()


def _read_logo(value: Any, info: ValidationInfo) -> Logo:
    if isinstance(value, Logo):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError("it is no file name: write the path of a PNG, relative to the brief.")
    folder = (info.context or {}).get("folder")
    if folder is None:
        raise ValueError("a logo is a file beside the brief, and this brief was not read from a file.")
    path = _inside(UPath(folder), value)
    try:
        data = path.read_bytes()
    except OSError as error:
        said = error.strerror or type(error).__name__
        raise ValueError(f"the logo {value} can't be read ({said}): put the file beside the brief.") from None
    if len(data) > MAX_LOGO_BYTES:
        raise ValueError(f"the logo {value} has {len(data)} bytes, {MAX_LOGO_BYTES} is the most: save it smaller.")
    _require_png(value, data)
    return Logo(value, data)


def _inside(folder: UPath, name: str) -> UPath:
    """The file `name` of `folder`: a brief must not reach for other files of the machine, by a link neither."""
    outside = name.startswith("/") or ".." in name.replace("\\", "/").split("/") or "://" in name
    if not outside and is_local(folder):
        outside = not (folder / name).resolve().is_relative_to(folder.resolve())
    if outside:
        raise ValueError(f"the logo {name} is not inside the folder of the briefs: copy it there.")
    return folder / name


def _require_png(name: str, data: bytes) -> None:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            size = image.size
            logo = image.convert("RGBA") if max(size) <= MAX_LOGO_SIDE else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise ValueError(f"the logo {name} is no PNG that can be read: save it as PNG with transparency.") from None
    if logo is None:
        raise ValueError(f"the logo {name} is {size[0]} x {size[1]}, {MAX_LOGO_SIDE} is the most: save it smaller.")
    if logo.getchannel("A").getextrema()[0] == 255:
        raise ValueError(f"the logo {name} has no transparent part: save it as PNG with transparency.")
    if _visible(logo) is None:
        raise ValueError(f"the logo {name} is transparent everywhere: save it again.")


LogoFile = Annotated[
    Logo,
    BeforeValidator(_read_logo),
    PlainSerializer(lambda logo: logo.sha256, return_type=str),
    WithJsonSchema({"type": "string", "description": "PNG with transparency; its path, relative to the brief."}),
]


class Overlay(BaseModel):
    """Lines drawn on the finished picture, each one text or one for each locale; none of it is sent to a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    headline: Words = Field(None, description="Large; a text, or a text for each locale.")
    price: Words = Field(None, description="One line on a plate; a text, or a text for each locale.")
    legal: Words = Field(None, description="Small, along the lower edge; a text, or a text for each locale.")

    @field_validator(*MAX_LETTERS, mode="before")
    @classmethod
    def _can_be_drawn(cls, value: Any, info: ValidationInfo) -> Words:
        most = MAX_LETTERS[info.field_name or ""]
        if isinstance(value, Mapping):
            if not value:
                raise ValueError("it names no locale: write a text, or `en: text` for each locale.")
            return {str(locale): _line(text, most, f" for {locale}") for locale, text in value.items()}
        return None if value is None else _line(value, most, "")

    def words(self, name: str, locale: str) -> str | None:
        """The line of that name in a locale, else in its language; None where it has no words for it."""
        words: Words = getattr(self, name)
        if isinstance(words, dict):
            return words.get(locale) or words.get(locale.partition("-")[0])
        return words


def _line(value: Any, most: int, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"the text{where} is {value!r}: put it in quotes.")
    text = " ".join(unicodedata.normalize("NFC", value).split())
    if not text:
        raise ValueError(f"the text{where} is empty: write one, or delete the key.")
    if len(text) > most:
        raise ValueError(f"the text{where} has {len(text)} characters, {most} is the most: shorten it.")
    if lacking := sorted({c for c in text if not can_draw(c)}):
        shown = " ".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in lacking[:5])
        raise ValueError(
            f"the bundled font can't draw {shown} of the text{where}: word it with Latin, Greek or Cyrillic letters."
        )
    return text


def locale_mistakes(overlay: Overlay, locales: Iterable[str]) -> Iterator[str]:
    """A sentence for each line that has words for some of the locales and not for all, or for others."""
    wanted = list(locales)
    for name in MAX_LETTERS:
        words = getattr(overlay, name)
        if not isinstance(words, dict):
            continue
        if without := [locale for locale in wanted if overlay.words(name, locale) is None]:
            yield f"overlay.{name}: there is no text for {', '.join(without)}; add it, or write one text for all."
        known = {*wanted, *(locale.partition("-")[0] for locale in wanted)}
        if spare := sorted(set(words) - known):
            yield f"overlay.{name}: {', '.join(spare)} is not in locales; add it there, or delete the text."
