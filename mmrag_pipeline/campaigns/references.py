"""Reference pictures as they are sent: encoded once, named by their hash, kept beside the plan.

The plan names each reference by the sha256 of these very bytes. They are stored, because a library may change
between the plan and the picture, and another encoding of the same photo would be another request.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image
from upath import UPath

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.pictures import load_picture
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.store import write_bytes

if TYPE_CHECKING:
    from mmrag_pipeline.index.hit import Hit

MAX_SIDE = 1024
MIME = "image/jpeg"


@dataclass(frozen=True)
class EncodedReference:
    data: bytes = field(repr=False)
    sha256: str
    width: int
    height: int


def encode_reference(image: Image.Image) -> EncodedReference:
    """JPEG of an upright RGB picture, longest side <= 1024, no metadata; the same picture gives the same
    bytes.
    """
    small = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())  # leaves EXIF, ICC and XMP behind
    small.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    sink = io.BytesIO()
    small.save(sink, "JPEG", quality=92, subsampling=0, optimize=False, progressive=False)
    data = sink.getvalue()
    return EncodedReference(data, hashlib.sha256(data).hexdigest(), *small.size)


def hit_opener(library: MediaLibrary, limits: Limits) -> Callable[[Hit], Image.Image]:
    """Opens the picture of a hit from the library."""

    def load(hit: Hit) -> Image.Image:
        return load_picture(library.folder(Drop.parse(hit.drop)), hit.path, hit.frame_ms, limits)

    return load


class ReferencePictures:
    """Encodes the pictures of hits into `folder` (`<occurrence>/references/`) and hands the bytes out by
    hash.
    """

    def __init__(self, folder: UPath, *, load: Callable[[Hit], Image.Image] | None = None):
        """`load` opens a hit's picture, RGB and upright; without it the folder can only be read."""
        self.folder = folder
        self._load = load

    def __repr__(self) -> str:
        return f"ReferencePictures({str(self.folder)!r})"

    def prepare(self, hit: Hit) -> EncodedReference:
        """Encode one hit's picture and keep it."""
        return self.keep(self.open(hit))

    def open(self, hit: Hit) -> Image.Image:
        """One hit's picture as the library has it."""
        if self._load is None:
            raise TypeError("these reference pictures were opened for reading only: pass `load`")
        return self._load(hit)

    def keep(self, picture: Image.Image) -> EncodedReference:
        """Encode a picture, RGB and upright, and keep it."""
        encoded = encode_reference(picture)
        path = self._path(encoded.sha256)
        if not path.exists():
            write_bytes(path, encoded.data)
        return encoded

    def read(self, sha256: str) -> bytes:
        """The bytes of that hash.

        Raises:
            UserError: they are gone or altered; the plan, or another picture on demand, has to be made.
        """
        try:
            data = self._path(sha256).read_bytes()
        except FileNotFoundError:
            data = b""
        if hashlib.sha256(data).hexdigest() != sha256:
            raise UserError(
                f"the reference {self._path(sha256)} is missing or altered: run campaign_plan for this occurrence "
                f"again, with replan; for a picture on demand, ask for another one (another=True, or --another)."
            )
        return data

    def copy_to(self, folder: UPath, hashes: Iterable[str]) -> ReferencePictures:
        """Write those of these hashes into `folder` that are not there yet.

        Raises:
            UserError: one of them is gone or altered.
        """
        written = ReferencePictures(folder)
        for sha256 in hashes:
            if not written._path(sha256).exists():
                write_bytes(written._path(sha256), self.read(sha256))
        return written

    def _path(self, sha256: str) -> UPath:
        return self.folder / f"{sha256}.jpg"


class ReferencesInMemory(ReferencePictures):
    """The same without a file, for a plan that may come to nothing; `keep_in` writes them once it does not."""

    def __init__(self, *, load: Callable[[Hit], Image.Image] | None = None):
        super().__init__(UPath("memory:///never-written"), load=load)
        self._kept: dict[str, bytes] = {}

    def keep(self, picture: Image.Image) -> EncodedReference:
        encoded = encode_reference(picture)
        self._kept[encoded.sha256] = encoded.data
        return encoded

    def read(self, sha256: str) -> bytes:
        return self._kept[sha256]

    def keep_in(self, folder: UPath) -> ReferencePictures:
        """Write what is not there yet into `folder`."""
        return self.copy_to(folder, self._kept)
