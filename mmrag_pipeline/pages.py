"""What every HTML page for people shares: templates that escape and refuse gaps, and pictures inside the page."""

from __future__ import annotations

import base64
import io
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image


@cache
def templates(package: str) -> Environment:
    """The templates that lie beside the modules of a package."""
    return Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def inline_jpeg(picture: Image.Image, side: int, *, quality: int) -> str:
    """A picture as a JPEG data URI, longest side at most `side` pixels."""
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    sink = io.BytesIO()
    small.save(sink, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(sink.getvalue()).decode()}"
