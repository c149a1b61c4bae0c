"""A Milvus Lite file: one process at a time, so it is opened late, shared in it, and soon given back.

pymilvus itself keeps the file's lock until the process ends, whatever is closed. Therefore the Lite server is
started and stopped here, its users counted, and pymilvus is only given its loopback address. What pymilvus would take
too long for is read from the engine itself, by lite_rows.py.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.store import full_disk_as_sentence

_POLL_S = 0.2
_M_ARENA_MAX = -8  # malloc.h


@dataclass
class OpenFile:
    """A Lite server of this process; `writing` is held for each write, because concurrent ones are unsafe in Lite, and
    while rows are read from the engine itself.
    """

    server: Any
    database: Any
    address: str
    users: int = 0
    writing: threading.RLock = field(default_factory=threading.RLock)


_open: dict[str, OpenFile] = {}
_guard = threading.Lock()
_opening: dict[str, threading.Lock] = {}


def _forget() -> None:
    """In a forked child: the server's threads stayed with the parent."""
    global _guard
    _guard = threading.Lock()
    _open.clear()
    _opening.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def opened(path: str, *, wait_s: float) -> Iterator[OpenFile]:
    """Open the file, or join who has it open in this process; the last one to leave releases the lock.

    Raises:
        Unavailable: another process still holds the file after `wait_s` seconds.
        UserError: the path can't be a Milvus Lite file.
    """
    key = os.path.realpath(path)
    with _guard:
        turn = _opening.setdefault(key, threading.Lock())
    with turn:
        file = _open.get(key)
        if file is None:
            file = _open[key] = _start(key, wait_s)
        file.users += 1
    try:
        yield file
    finally:
        with turn:
            file.users -= 1
            if not file.users:
                del _open[key]
                _stop(file)


def _start(path: str, wait_s: float) -> OpenFile:
    # Read once, when it is imported: an eighth of its default takes more than 600 MB off the peak of 100,000 items.
    os.environ.setdefault("MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES", str(16 * 1024 * 1024))
    _share_memory_between_threads()
    from milvus_lite.adapter.grpc.server import start_server_in_thread
    from milvus_lite.exceptions import DataDirLockedError

    deadline = time.monotonic() + wait_s
    try:
        while True:
            try:
                with full_disk_as_sentence(path):
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    server, database, port = start_server_in_thread(path, host="127.0.0.1", port=0)
                return OpenFile(server, database, f"http://127.0.0.1:{port}")
            except DataDirLockedError:
                if time.monotonic() >= deadline:
                    raise Unavailable(
                        f"the Milvus Lite file {path} is held by another process{_holder(path)}, waited "
                        f"{wait_s:g} s: let that finish or stop it, or use a Milvus server, which many may "
                        f"share (MMRAG_MILVUS_URI)."
                    ) from None
                time.sleep(max(0.0, min(_POLL_S, deadline - time.monotonic())))
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"{path} is not a Milvus Lite database that this version can open: move it away and run the "
            f"nightly_reindex job, which builds it anew from the embeddings."
        ) from None
    except OSError as error:
        raise UserError(
            f"the Milvus Lite file {path} can't be opened ({error.strerror or error}): give the pipeline's "
            f"user write access, or set MMRAG_MILVUS_URI to another place."
        ) from error


def _share_memory_between_threads() -> None:
    """glibc keeps what a thread has freed for that thread, and the server has many: 200 MB of a rebuild's peak."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 2)


def _stop(file: OpenFile) -> None:
    try:
        file.server.stop(grace=2).wait()
    finally:
        file.database.close()


def _holder(path: str) -> str:
    """` (process 123)` where Linux tells, else nothing."""
    try:
        inode = str(os.stat(os.path.join(path, "LOCK")).st_ino)
        with open("/proc/locks") as locks:
            rows = [line.split() for line in locks]
    except OSError:
        return ""
    owners = {row[4] for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5].rsplit(":", 1)[-1] == inode}
    owners -= {"0", "-1"}  # of another container
    return f" (process {', '.join(sorted(owners))})" if owners else ""
