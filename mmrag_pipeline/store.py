"""Where things are kept, and how a file gets there whole.

Layout under the store's root (any fsspec URI, except the two databases, which need a local disk):
`manifests/<drop>.parquet`, `embeddings/<fingerprint>/<drop>/`, `models/`, `milvus.db`, `ledger.sqlite`,
`campaigns/<campaign>/<occurrence>/`. A file is written under a temporary name, synced and renamed: a reader never
sees half of one. Object stores publish an object only when it is complete, so there it is written in place.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from mmrag_pipeline.errors import UserError

TEMPORARY_PREFIX = ".tmp-"
CHECKED = {"page_checksum_verification": True}
"""How parquet is read here: pages that were changed on disk since they were written are an error, not other values."""
_HOST = socket.gethostname()
_ABANDONED_S = 24 * 3600


def open_root(uri: str | os.PathLike[str], *, setting: str) -> UPath:
    """A folder or fsspec URI as a path.

    Raises:
        UserError: no filesystem of that kind is known or installed; names the setting.
    """
    try:
        path = UPath(uri)
        if not is_local(path):
            _ = path.fs  # loads the filesystem's library
    except (ImportError, ValueError) as error:
        raise UserError(
            f"{setting}={os.fspath(uri)} can't be opened ({error}): give a folder, or install what its kind needs "
            f"(pip install 'mmrag-pipeline[s3]' for s3://, [gcs] for gs://)."
        ) from error
    return path


class Store:
    """Paths under one root."""

    def __init__(self, root: str | os.PathLike[str]):
        self.root = open_root(root, setting="MMRAG_STORE")

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    @property
    def manifests(self) -> UPath:
        return self.root / "manifests"

    def embeddings(self, fingerprint: str) -> UPath:
        return self.root / "embeddings" / fingerprint

    @property
    def models(self) -> UPath:
        return self.root / "models"

    def occurrence(self, campaign: str, occurrence: str) -> UPath:
        return self.root / "campaigns" / campaign / occurrence


def write_bytes(path: UPath, data: bytes | pa.Buffer) -> None:
    """Write `data` so that `path` is either the old file or the whole new one, also after a crash.

    Raises:
        UserError: the disk is full; the old file is there.
    """
    if not is_local(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.to_pybytes())
        return
    with full_disk_as_sentence(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(os.fspath(path), data)


def _replace(target: str, data: bytes | pa.Buffer) -> None:
    folder, name = os.path.split(target)
    sweep_abandoned(folder, ending=f"-{name}")
    temporary = os.path.join(folder, f"{TEMPORARY_PREFIX}{_HOST}-{os.getpid()}-{name}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


@contextlib.contextmanager
def full_disk_as_sentence(path: str | os.PathLike[str]) -> Iterator[None]:
    """Not `Unavailable`: tried again for a quarter of an hour, nobody would be told before that."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"no space is left to write {os.fspath(path)}: make room on its disk or raise the quota, then run it "
            f"again; what was there before is whole."
        ) from error


def require_room(folder: UPath, megabytes: int) -> None:
    """Raises UserError where a disk of this machine has less room than that for `folder`."""
    if not is_local(folder):
        return
    there = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(str(there)).free >> 20
    if free < megabytes:
        raise UserError(
            f"only {free} MB are free for {folder}, and what is paid for needs {megabytes}: make room on its disk, "
            f"then run it again; nothing more was asked for."
        )


def write_json(path: UPath, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def write_table(path: UPath, table: pa.Table, *, row_group_size: int | None = None) -> None:
    """Write one parquet file (zstd, vectors as they are), whole or not at all; equal tables give equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=row_group_size, write_page_checksum=True, **_encodings(table.schema))
    write_bytes(path, sink.getvalue())


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Nothing repeats in vectors: dictionaries and zstd took seven times as long to write them, and saved nothing."""
    lists = {field.name for field in schema if pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type)}
    vectors = {name for name in lists if pa.types.is_floating(schema.field(name).type.value_type)}
    if not vectors:
        return {"compression": "zstd"}
    leaves = {name: f"{name}.list.element" if name in lists else name for name in schema.names}
    return {
        "compression": {leaf: "none" if name in vectors else "zstd" for name, leaf in leaves.items()},
        "use_dictionary": [leaf for name, leaf in leaves.items() if name not in vectors],
    }


def read_table(path: UPath, columns: list[str] | None = None) -> pa.Table:
    with path.open("rb") as file:  # pq.read_table imports pandas: half a quiet night's time
        return pq.ParquetFile(file, **CHECKED).read(columns=columns)


class Damaged(Exception):
    """The bytes of a file were cut or changed since it was written."""


def whole_table(path: UPath) -> pa.Table:
    """All of a parquet file. It is fetched before it is looked at: a store that does not answer raises what it raises,
    and is not taken for a damaged file.

    Raises:
        Damaged: it is there and is no table.
        FileNotFoundError: it is not there.
    """
    data = path.read_bytes()
    try:
        return pq.ParquetFile(pa.BufferReader(data), **CHECKED).read()
    except (MemoryError, pa.ArrowCancelled):
        raise
    except (pa.ArrowException, OSError) as error:
        raise Damaged(" ".join(str(error).split()).rstrip(".")) from error


def is_local(path: UPath) -> bool:
    return path.protocol in ("", "file", "local")


def sweep_abandoned(folder: str, *, ending: str) -> None:
    """Remove temporary files whose writer was killed: on this machine, or any that are a day old."""
    ours = f"{TEMPORARY_PREFIX}{_HOST}-"
    for found in os.listdir(folder):
        if not (found.startswith(TEMPORARY_PREFIX) and found.endswith(ending)):
            continue
        path = os.path.join(folder, found)
        process = found.removeprefix(ours).partition("-")[0] if found.startswith(ours) else ""
        with contextlib.suppress(FileNotFoundError):  # another run sweeps too
            old = time.time() - os.stat(path).st_mtime > _ABANDONED_S
            if not _runs(int(process)) if process.isdigit() else old:
                os.unlink(path)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
