"""How many tokens a request can be counted as, at most: known without asking anybody."""

from __future__ import annotations

from collections.abc import Iterable

MARKS = 16
"""For the marks that the API sets around each part of a request; nobody documents how many they are."""


def text_tokens(texts: Iterable[str], *, references: int) -> int:
    """Bound for the texts of a request and the marks around all its parts: a token is never less than one byte."""
    written = [len(text.encode("utf-8", "surrogatepass")) for text in texts]
    return sum(written) + MARKS * (len(written) + references)
