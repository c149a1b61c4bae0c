"""Filters as Milvus expressions. Lite knows no filter templates, so values are escaped, only here."""

from __future__ import annotations

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.schema import MAX_BYTES

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


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
    if size > MAX_BYTES[field]:
        raise UserError(
            f"the filter on {field} is {size} bytes long, more than the {MAX_BYTES[field]} that an item can "
            f"have: shorten it."
        )
    return f'"{value.translate(_ESCAPES)}"'
