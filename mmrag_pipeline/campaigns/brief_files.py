"""Pictures that lie beside a brief: where they may be, and reading one."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from upath import UPath

from mmrag_pipeline.media.decode import open_picture
from mmrag_pipeline.media.rules import Limits, MediaError
from mmrag_pipeline.store import is_local

MAX_BYTES = 32 * 1024 * 1024


def beside(name: str) -> str:
    """Raises ValueError for a name that leads out of the brief's folder."""
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in name or "://" in name:
        raise ValueError(f"{name!r} does not lie beside the brief; put the file there and write its name")
    return name


BesideBrief = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(beside)
]


def read_beside(folder: UPath, name: str) -> bytes:
    """The bytes of a picture beside a brief.

    Raises:
        ValueError: half a sentence on why it can't be used.
    """
    file = folder.joinpath(*PurePosixPath(name).parts)
    if is_local(folder) and not file.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name} is a link out of the folder of the briefs; copy the file there")
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"{name} is larger than {MAX_BYTES // 1024**2} MiB; give a smaller picture")
        data = file.read_bytes()
        open_picture(data, Limits())
    except MediaError as error:
        raise ValueError(f"{name} is not a usable picture ({error}); give a JPEG, PNG, WebP or similar") from None
    except OSError as error:
        raise ValueError(f"{name} can't be read ({error.strerror or error}); put the file beside the brief") from None
    return data
