"""What lies in a folder or under a prefix of a bucket: names, sizes and times; no file is opened.

A local folder costs one stat an entry, a store of objects one recursive listing. Nothing here is cached: a sensor
lives for weeks in one process, and fsspec would show it the listing of the first day.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from upath import UPath

from mmrag_pipeline.store import is_local, store_errors

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = {stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")  # by kind of store, best first


class Entry(NamedTuple):
    """One name in a drop. Not a dataclass: drops have 10^5 of them, and every tick of the sensor lists them all."""

    path: str
    """Posix path inside the drop, '' for the drop's own folder; bytes that are no UTF-8 as surrogates."""
    size: int
    mtime_ns: int
    """0 in a store that has no times."""
    changed_ns: int
    """When its bytes or its name last changed: the later of ctime and mtime locally, the modification time remotely."""
    kind: Literal["file", "link", "folder"] = "file"
    """Links, never followed here, and folders are only known locally."""


def list_entries(folder: UPath | str) -> list[Entry]:
    """Everything under `folder`, a string where it is local, sorted by path; pipes and sockets count as files.

    Raises:
        FileNotFoundError: there is no such folder.
        OSError: it can't be listed, or not all of it.
    """
    if isinstance(folder, str) or is_local(folder):
        found = _local_entries(os.fspath(folder))
    else:
        with store_errors():
            found = _remote_entries(folder)
    return sorted(found)


def list_folders(folder: UPath) -> list[str]:
    """Names of the folders in `folder`, without the hidden ones, sorted; links to folders count.

    Raises:
        OSError: it can't be listed.
    """
    if is_local(folder):
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    else:
        with store_errors():
            fs, root = _fresh(folder)
            names = [
                info["name"].rstrip("/").rpartition("/")[2]
                for info in fs.ls(root, detail=True)
                if info["type"] == "directory" and info["name"].rstrip("/") != root
            ]
    return sorted(name for name in names if not name.startswith("."))


def is_folder(folder: UPath) -> bool:
    """Whether there is such a folder now.

    Raises:
        OSError: nobody can tell.
    """
    if is_local(folder):
        return folder.is_dir()
    with store_errors():
        fs, root = _fresh(folder)
        return fs.isdir(root)


def forget_listings(path: UPath) -> None:
    """Make the path's filesystem ask its store again: by sizes that hold no longer it would read too little."""
    if not is_local(path):
        path.fs.invalidate_cache()


def signature_of(entries: Iterable[Entry]) -> str:
    """Hash of the names, sizes and times of all files: changes when one of them does, or may be read now."""
    digest = hashlib.sha256()
    for entry in entries:
        if entry.kind != "folder":
            line = f"{entry.path}\0{entry.size}\0{entry.changed_ns}\0"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _local_entries(top: str) -> Iterator[Entry]:
    yield _local_entry("", os.stat(top))
    waiting = [("", top)]
    while waiting:
        prefix, folder = waiting.pop()
        try:
            entries = os.scandir(folder)
        except FileNotFoundError:
            if folder == top:
                raise
            continue  # deleted while listing: the next listing differs from this one
        with entries:
            for entry in entries:
                try:
                    found = _local_entry(prefix + entry.name, entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue
                yield found
                if found.kind == "folder":
                    waiting.append((found.path + "/", entry.path))


def _local_entry(path: str, status: os.stat_result) -> Entry:
    mtime_ns = status.st_mtime_ns
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "file")
    return Entry(path, status.st_size, mtime_ns, max(mtime_ns, status.st_ctime_ns), kind)


def _remote_entries(folder: UPath) -> list[Entry]:
    fs, root = _fresh(folder)
    infos = list(fs.find(root, detail=True).values() if _has_flat_listing(fs) else _walk(fs, root))
    if not infos and not fs.isdir(root):
        raise FileNotFoundError(root)
    entries = []
    for info in infos:
        name = info["name"]
        # A key that ends in a slash is how consoles draw a folder.
        if name.startswith(root + "/") and not name.endswith("/") and info["type"] != "directory":
            time_ns = _time_ns(info)
            entries.append(Entry(name[len(root) + 1 :], int(info.get("size") or 0), time_ns, time_ns))
    if not entries and any(info["name"] == root and info["type"] == "file" for info in infos):
        raise NotADirectoryError(root)
    return entries


def _has_flat_listing(fs: Any) -> bool:
    """Whether the store lists a whole prefix at once; otherwise fsspec's `find` walks, and leaves out what fails."""
    from fsspec.asyn import AsyncFileSystem
    from fsspec.spec import AbstractFileSystem

    kind = type(fs)
    if issubclass(kind, AsyncFileSystem):
        return kind._find is not AsyncFileSystem._find
    return kind.find is not AbstractFileSystem.find


def _walk(fs: Any, root: str) -> Iterator[dict[str, Any]]:
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        for info in fs.ls(folder, detail=True):
            if info["type"] == "directory" and info["name"].rstrip("/") != folder:
                waiting.append(info["name"].rstrip("/"))
            else:
                yield info


def _fresh(folder: UPath) -> tuple[Any, str]:
    """The filesystem, with nothing remembered, and the folder's name in it."""
    forget_listings(folder)
    fs = folder.fs
    return fs, fs._strip_protocol(str(folder)).rstrip("/")


def _time_ns(info: dict[str, Any]) -> int:
    value = next((info[name] for name in _TIMES if info.get(name) is not None), 0)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return 0  # a time that we can't read is no time: such files are read at every scan
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(microseconds=1) * 1000
    return int(value * 1_000_000_000)
