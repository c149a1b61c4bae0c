"""The media library: a folder or bucket laid out `<product_line>/<drop>/**`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from upath import UPath

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.listing import Entry, is_folder, list_entries, list_folders
from mmrag_pipeline.store import StoreError, is_local, no_answer, open_root

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
        self._local = os.fspath(self.root) if is_local(self.root) else None

    def folder(self, drop: Drop) -> UPath:
        return self.root.joinpath(drop.product_line, drop.name)

    def drops(self) -> DropListing:
        """All drops, sorted by key.

        Raises:
            UserError: the library is missing, unreadable or holds no drop (an unmounted share looks so).
        """
        drops, malformed, unreadable = [], [], []
        try:
            if not is_folder(self.root):
                raise UserError(
                    f"the media library {self.root} does not exist: set MMRAG_MEDIA to your folder "
                    f"(laid out <product_line>/<drop>/), or run `mmrag demo` for the demo library."
                )
            lines = list_folders(self.root)
        except StoreError as error:
            raise no_answer(f"the media library {self.root}", error) from error
        except OSError as error:
            raise UserError(
                f"the media library {self.root} can't be read ({error.strerror or error}): is the share mounted, and "
                f"has the pipeline's user read access?"
            ) from error
        for line in lines:
            try:
                names = list_folders(self.root / line)
            except OSError:
                unreadable.append(line)  # one product line must not hide the others
                continue
            for name in names:
                if _NAME.fullmatch(line) and _NAME.fullmatch(name):
                    drops.append(Drop(line, name))
                else:
                    malformed.append(f"{line}/{name}")
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

    def has(self, drop: Drop) -> bool:
        """Whether the drop has a folder.

        Raises:
            UserError: nobody can tell.
        """
        try:
            return is_folder(self.folder(drop))
        except StoreError as error:
            raise no_answer(f"drop {drop.key}", error) from error
        except OSError as error:
            raise UserError(f"drop {drop.key} can't be looked for ({error.strerror or error}).") from error

    def entries(self, drop: Drop) -> list[Entry]:
        """Everything under the drop, sorted by path: files, links and, in a local library, folders.

        Links are listed like files, wherever they lead; the scan quarantines those that lead out of the drop.

        Raises:
            UserError: the drop's folder is missing or unreadable.
        """
        # A path object for each of 10,000 drops costs the sensor a third of its tick.
        folder = os.path.join(self._local, drop.product_line, drop.name) if self._local else self.folder(drop)
        try:
            return list_entries(folder)
        except StoreError as error:
            raise no_answer(f"drop {drop.key}", error) from error
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(
                f"drop {drop.key} has no folder {folder}: was it moved, or is the share unmounted? If it is "
                f"meant to go, materialise it with allow_mass_deletion: true."
            ) from error
        except OSError as error:
            raise UserError(
                f"drop {drop.key} can't be listed ({error.filename or folder}: {error.strerror or error}): give the "
                f"pipeline's user read access, or materialise it again when the share answers."
            ) from error

    def files(self, drop: Drop) -> list[Entry]:
        """The files and links under the drop, sorted by path.

        Raises:
            UserError: as `entries`.
        """
        return [entry for entry in self.entries(drop) if entry.kind != "folder"]
