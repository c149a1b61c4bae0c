"""Words that a brand rules out: whole words and phrases, whatever their case."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_UNSAID = {
    "": {"campaign", "objective", "references", "schedule", "backend", "model", "seed", "approval", "locales"},
    "brand": {"banned", "dont", "hex", "logo"},
    "products": {"where", "image", "product_line"},
    "scenes": {"name"},
    "placements": {"name", "aspect_ratio", "image_size"},
}
"""Keys of a brief that neither a prompt nor a picture repeats."""


def banned_in(text: str, banned: Sequence[str]) -> str | None:
    """The first of the banned words or phrases that `text` has, or None."""
    folded = _folded(text)
    return next((word for word in banned if re.search(rf"(?<!\w){re.escape(_folded(word))}(?!\w)", folded)), None)


def without_banned(text: str, banned: Sequence[str]) -> str:
    """`text`, or nothing where it has a banned word: half a catalogue text would say something else."""
    return "" if banned_in(text, banned) else text


def said_in(brief: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, text) of everything in a dumped brief that a prompt or a picture may repeat: `scenes[0].prompt`, ..."""
    for key, value in brief.items():
        if key not in _UNSAID[""]:
            yield from _texts(value, key, _UNSAID.get(key, set()))


def _texts(value: Any, key: str, unsaid: set[str]) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            named = name in ("query", "sku") and value.get("name")  # then these only look for it
            if name not in unsaid and not named:
                yield from _texts(inner, f"{key}.{name}", unsaid)
    elif isinstance(value, list | tuple):
        for at, inner in enumerate(value):
            yield from _texts(inner, f"{key}[{at}]", unsaid)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
