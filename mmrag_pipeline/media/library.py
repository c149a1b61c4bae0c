"""The media library: a folder or bucket laid out `<product_line>/<drop>/**`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from upath import UPath

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import is_local, open_root

_HALF = r"[a-z0-9][a-z0-9-]*"
_KEY = re.compile(rf"({_HALF})__({_HALF})")
_NAME = re.compile(_HALF)
NAME_RULE = "lower-case letters, digits and hyphens, starting with a letter or digit"


@dataclass(frozen=True, order=True)
class Drop:
    """One delivery of media for one product line. `key` is its Dagster partition."""

    product_line: str
    name: str

    @property
    def key(self) -> str:
        return f"{self.product_line}__{self.name}"

    @classmethod
    def parse(cls, key: str) -> Drop:
        """Read a key such as `lunar__2026-09`.

        Raises:
            UserError: the key is not `<product_line>__<drop>` in the allowed letters.
        """
        match = _KEY.fullmatch(key)
        if match is None:
            raise UserError(
                f"drop {key!r} is not a valid name: write <product_line>__<drop>, each in {NAME_RULE} "
                f"(for example lunar__2026-09-01)."
            )
        return cls(*match.groups())


@dataclass(frozen=True)
class DropListing:
    """What the library's folders say: the drops, the folders whose names can't be one, and those that can't be read."""

    drops: list[Drop]
    malformed: list[str]
    unreadable: list[str]


class MediaLibrary:
    """Lists drops and their files; never opens a picture."""

    def __init__(self, root: str):
        self.root = open_root(root, setting="MMRAG_MEDIA")

    def folder(self, drop: Drop) -> UPath:
        return self.root / drop.product_line / drop.name

    def drops(self) -> DropListing:
        """All drops, sorted by key.

        Raises:
            UserError: the library is missing, unreadable or holds no drop (an unmounted share looks so).
        """
        drops, malformed, unreadable = [], [], []
        try:
            if not self.root.is_dir():
                raise UserError(
                    f"the media library {self.root} does not exist: set MMRAG_MEDIA to your folder "
                    f"(laid out <product_line>/<drop>/), or run `mmrag demo` for the demo library."
                )
            lines = _folders(self.root)
        except OSError as error:
            raise UserError(
                f"the media library {self.root} can't be read ({error.strerror or error}): is the share mounted, and "
                f"has the pipeline's user read access?"
            ) from error
        for line in lines:
            try:
                folders = _folders(line)
            except OSError:
                unreadable.append(line.name)  # one product line must not hide the others
                continue
            for folder in folders:
                if _NAME.fullmatch(line.name) and _NAME.fullmatch(folder.name):
                    drops.append(Drop(line.name, folder.name))
                else:
                    malformed.append(f"{line.name}/{folder.name}")
        if unreadable and not drops:
            raise UserError(
                f"no product line of the media library {self.root} can be read ({', '.join(unreadable[:5])}): give the "
                f"pipeline's user read access."
            )
        if not drops:
            raise UserError(
                f"the media library {self.root} holds no drop: is the share mounted? "
                f"Pictures belong in <product_line>/<drop>/, names in {NAME_RULE}."
            )
        return DropListing(sorted(drops, key=lambda drop: drop.key), sorted(malformed), sorted(unreadable))

    def files(self, drop: Drop) -> Iterator[tuple[str, UPath, int, int]]:
        """Every file under the drop as (posix path inside the drop, file, bytes, mtime_ns), sorted by path.

        Symbolic links that lead out of the drop's folder are listed like any other file; the scan quarantines
        them.

        Raises:
            UserError: the drop's folder is missing or unreadable.
        """
        folder = self.folder(drop)
        try:
            if not folder.is_dir():
                raise UserError(
                    f"drop {drop.key} has no folder {folder}: was it moved, or is the share unmounted? If it is "
                    f"meant to go, materialise it with allow_mass_deletion: true."
                )
            found = sorted(_walk(folder, PurePosixPath()), key=lambda entry: entry[0])
        except OSError as error:
            raise UserError(
                f"drop {drop.key} can't be listed ({error.filename or folder}: {error.strerror or error}): give the "
                f"pipeline's user read access, or materialise it again when the share answers."
            ) from error
        for relative, file in found:
            try:
                stat = file.lstat() if is_local(file) else file.stat()
            except FileNotFoundError:
                continue  # deleted while listing: the next tick sees the drop as changed
            yield relative, file, stat.st_size, getattr(stat, "st_mtime_ns", int(stat.st_mtime * 1e9))

    def signature(self, drop: Drop) -> str:
        """Hash of the drop's listing (paths, sizes, times; no file is opened): changes when the drop does."""
        digest = hashlib.sha256()
        for relative, _, size, mtime_ns in self.files(drop):
            digest.update(f"{relative}\0{size}\0{mtime_ns}\0".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()[:16]


def _folders(parent: UPath) -> list[UPath]:
    return [child for child in parent.iterdir() if not child.name.startswith(".") and child.is_dir()]


def _walk(folder: UPath, relative: PurePosixPath) -> Iterator[tuple[str, UPath]]:
    for child in folder.iterdir():
        if child.is_dir() and not (hasattr(child, "is_symlink") and child.is_symlink()):
            yield from _walk(child, relative / child.name)
        else:
            yield str(relative / child.name), child
