"""The bytes that were paid for, exactly as they came: `<occurrence>/originals/<stem>.<ext>`.

Written before anything is done to them, so that neither a crash nor another logo ever asks for the same picture twice.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import Image
from upath import UPath

from mmrag_pipeline.campaigns.sidecar import Picture

Format = Literal["png", "jpeg", "webp"]

MIMES: Mapping[Format, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
FORMATS: Mapping[str, Format] = {mime: format_ for format_, mime in MIMES.items()}
SUFFIXES: Mapping[Format, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}


@dataclass(frozen=True)
class Original:
    """An original with the bytes that `picture` vouches for."""

    picture: Picture
    data: bytes = field(repr=False)


def picture_of(name: str, data: bytes, format_: Format, width: int, height: int) -> Picture:
    """A picture file that has these bytes."""
    digest = hashlib.sha256(data).hexdigest()
    return Picture(f"{name}.{SUFFIXES[format_]}", digest, len(data), MIMES[format_], width, height)


def find_original(folder: UPath, name: str) -> Original | None:
    """The original of that name that no sidecar vouches for yet; files are written whole, so it is."""
    for format_, suffix in SUFFIXES.items():
        file = folder / f"{name}.{suffix}"
        if file.exists():
            return opened_original(name, file.read_bytes(), format_)
    return None


def opened_original(name: str, data: bytes, format_: Format) -> Original:
    """An original with the size that it says it has."""
    with Image.open(io.BytesIO(data)) as image:
        return Original(picture_of(name, data, format_, *image.size), data)


def read_original(folder: UPath, sidecar: Mapping[str, Any]) -> Original | None:
    """The original that a sidecar vouches for, None where it is gone or altered."""
    kept = sidecar.get("original")
    if not kept:
        return None
    try:
        data = (folder / kept["file"]).read_bytes()
    except FileNotFoundError:
        return None
    return Original(Picture(**kept), data) if hashlib.sha256(data).hexdigest() == kept["sha256"] else None


def remove_leftovers(folder: UPath, name: str) -> None:
    """Remove files of that name that nothing can be made of, before another picture takes their place."""
    for suffix in SUFFIXES.values():
        file = folder / f"{name}.{suffix}"
        if file.exists():
            file.unlink()
