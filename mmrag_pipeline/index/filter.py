"""Filters as Milvus expressions. Lite knows no filter templates, so values are escaped, only here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.schema import LIBRARY, MAX_BYTES, MAX_TAG_BYTES

TEXT_FIELDS = ("product_line", "drop", "sku", "media_type", "origin")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


@dataclass(frozen=True)
class Filter:
    """Which items may be found; what is None does not filter.

    `tags`: all of them. `since` and `until`: first seen at or after, and before; with a timezone. `min_width` and
    `min_height` in pixels. Generated pictures are only found with `origin="generated"`, or with all others when it is
    None.
    """

    product_line: str | None = None
    drop: str | None = None
    sku: str | None = None
    media_type: str | None = None
    origin: str | None = LIBRARY
    tags: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    min_width: int | None = None
    min_height: int | None = None

    def expression(self) -> str:
        """The Milvus expression; "" for none.

        Raises:
            UserError: no row can have a value, or a time has no timezone.
        """
        texts = ((name, getattr(self, name)) for name in TEXT_FIELDS)
        bounds = (
            ("ingested_at", ">=", _epoch_ms("since", self.since)),
            ("ingested_at", "<", _epoch_ms("until", self.until)),
            ("width", ">=", self.min_width),
            ("height", ">=", self.min_height),
        )
        return both(
            *(equals(name, value) for name, value in texts if value is not None),
            *(f"array_contains(tags, {_literal('tags', tag)})" for tag in self.tags),
            *(f"{field} {operator} {int(value)}" for field, operator, value in bounds if value is not None),
        )

    def __str__(self) -> str:
        """For people: `product_line 'bags', tags 'red'`."""
        named = {name: value for name, value in vars(self).items() if value not in (None, ())}
        return ", ".join(f"{name} {_shown(value)}" for name, value in named.items())


IN_LIBRARY = Filter()
"""Everything but generated pictures."""


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " and ".join(map(repr, value))
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def _epoch_ms(name: str, moment: datetime | None) -> int | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise UserError(
            f"the filter {name} {moment.isoformat()} has no timezone: give one, as in 2026-09-01T00:00+02:00."
        )
    return int(moment.timestamp() * 1000)


def equals(field: str, value: str) -> str:
    """`field == "value"`, matching exactly the rows with that value, whatever characters it has.

    Raises:
        UserError: no row can have the value (it holds NUL, isn't Unicode text, or is longer than the field).
    """
    return f"{field} == {_literal(field, value)}"


def both(*parts: str) -> str:
    """All of the parts that aren't empty; "" matches every row."""
    return " and ".join(part for part in parts if part)


def _literal(field: str, value: str) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise UserError(f"the filter on {field} is not Unicode text: correct it.") from None
    if "\0" in value:
        raise UserError(f"the filter on {field} holds a NUL character, which no item has: remove it.")
    limit = MAX_TAG_BYTES if field == "tags" else MAX_BYTES[field]
    if size > limit:
        raise UserError(
            f"the filter on {field} is {size} bytes long, more than the {limit} that an item can have: shorten it."
        )
    return f'"{value.translate(_ESCAPES)}"'
