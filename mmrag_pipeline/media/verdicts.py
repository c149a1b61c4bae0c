"""What can be said of a file without reading it: by its name, and by where a link leads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from upath import UPath

from mmrag_pipeline.media.catalogue import NAMES
from mmrag_pipeline.media.listing import Entry
from mmrag_pipeline.media.probe import Probe, ignored, refused
from mmrag_pipeline.media.readiness import READY_MARKER
from mmrag_pipeline.media.rules import Reason
from mmrag_pipeline.store import is_local

_UNFINISHED = (".crdownload", ".part", ".partial", ".download", ".tmp")
_TELLING_ENDS = (*_UNFINISHED, *NAMES, READY_MARKER.lower())


class Seen(NamedTuple):
    """A file of a drop before it is read."""

    path: str
    """As the manifest writes it: always UTF-8."""
    bytes: int
    mtime_ns: int
    """Size and time of what is read: of a link's target, not of the link."""
    probe: Probe | None
    """The verdict, where the file need not be read for it."""
    entry: Entry


def look_at(entries: Iterable[Entry], folder: UPath) -> Iterator[Seen]:
    """Judge the files and links of a drop's listing as far as that goes without opening them."""
    root = os.path.realpath(folder) + os.sep if is_local(folder) else ""
    for entry in entries:
        path, probe = _by_name(entry.path)
        size, mtime_ns = entry.size, entry.mtime_ns
        if probe is None and entry.kind == "link":
            probe, size, mtime_ns = _follow(os.path.join(folder, entry.path), root, entry)
        yield Seen(path, size, mtime_ns, probe, entry)


def _by_name(path: str) -> tuple[str, Probe | None]:
    """The path as it is written in the manifest, and the verdict where the name alone decides."""
    if not path.isascii():
        try:
            path.encode()
        except UnicodeEncodeError:
            shown = path.encode("utf-8", "backslashreplace").decode()
            return shown, refused(Reason.BAD_NAME, "the name is not UTF-8: rename the file")
    if not path.lower().endswith(_TELLING_ENDS) and path[0] not in "./" and "/." not in path and "//" not in path:
        return path, None  # nearly every file, and there are many
    parts = path.split("/")
    if parts[-1] in NAMES:
        return path, ignored(Reason.CATALOGUE)
    if path == READY_MARKER:
        return path, ignored(Reason.MARKER)
    if any(part in ("", ".", "..") for part in parts):  # legal in a bucket, but no path of a file
        return path, refused(Reason.BAD_NAME, "a part of the path is empty or dots only: rename the object")
    if path.lower().endswith(_UNFINISHED):
        return path, refused(Reason.NOT_AN_IMAGE, "an unfinished download")
    if any(_hidden(part) for part in parts):
        return path, ignored(Reason.HIDDEN)
    return path, None


def _hidden(part: str) -> bool:
    return part.startswith(".") and not part.startswith("._")  # macOS keeps its notes on x.jpg in ._x.jpg


def _follow(file: str, root: str, entry: Entry) -> tuple[Probe | None, int, int]:
    """A verdict if the link decides it, and size and time of what it leads to; none leads out of the drop."""
    target = os.path.realpath(file)
    if not target.startswith(root):
        return refused(Reason.OUTSIDE_DROP, "a link that leads out of the drop"), entry.size, entry.mtime_ns
    if os.path.isdir(target):
        return ignored(Reason.FOLDER_LINK), entry.size, entry.mtime_ns
    try:
        status = os.stat(target)
    except OSError:
        return None, entry.size, entry.mtime_ns  # reading it will say what is wrong
    return None, status.st_size, status.st_mtime_ns
