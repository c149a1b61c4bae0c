"""Bulk import: rows as parquet files in a folder that the Milvus server reads, loaded by the server itself.

Jobs are started, listed and never repeated: Milvus does not notice rows that are imported twice. Protocol: `Import` and
`ListImportTasks` of milvus.proto, which servers have since 2.2.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from upath import UPath

from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.index.columns import Row, dynamic_json
from mmrag_pipeline.index.connection import LOAD_S
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.schema import DYNAMIC, INT_FIELDS, MAX_BYTES, WIDE_INT_FIELDS
from mmrag_pipeline.store import is_local, write_table

if TYPE_CHECKING:
    from pymilvus import MilvusClient

Progress = Callable[[int, int], None]
_FILE_ROWS = 50_000  # 100 MB at 512 dimensions: a job each, so that several nodes may work
_ROW_GROUP = 2048
_AT_ONCE = 8
_POLL_S = 0.5
_STALLED_S = 1800.0


@dataclass(frozen=True)
class Job:
    """One import of one file; `percent` is 0 to 100, `reason` why it failed."""

    file: str
    rows: int
    percent: int
    done: bool
    failed: bool
    reason: str


class Importer:
    """Imports into one collection through its own folder below `root`, a path or fsspec URI that the server reads too.

    Of a bucket the server must read the very same one: it is given the path within it.
    """

    def __init__(self, milvus: Milvus, root: str, collection: str):
        self.milvus = milvus
        self.collection = collection
        self.folder = UPath(root) / collection

    def load(self, rows: Iterable[Row], *, total: int, progress: Progress | None = None) -> None:
        """Import rows (as `Milvus.upsert` takes them) into the empty collection; they are searchable afterwards.

        Raises:
            UserError: the server refuses a file or can't read it.
            Unavailable: it makes no progress for half an hour.
        """
        for number, chunk in enumerate(_chunks(rows)):
            file = self.folder / f"{number:06d}.parquet"
            write_table(file, _table(chunk), row_group_size=_ROW_GROUP)
            self._start(_server_path(file))
            self.wait(at_most=_AT_ONCE, total=total, progress=progress)
        self.wait(total=total, progress=progress)
        self._show(total)
        self.tidy()

    def wait(self, *, at_most: int = 0, total: int = 0, progress: Progress | None = None) -> None:
        """Return when at most so many jobs of the collection still run.

        Raises:
            UserError: one failed.
            Unavailable: none got any further for half an hour.
        """
        before, moved = None, time.monotonic()
        while True:
            jobs = self._jobs()
            failed = [job for job in jobs if job.failed]
            if failed:
                raise UserError(
                    f"Milvus at {self.milvus.address} could not import {failed[0].file} into {self.collection} "
                    f"({failed[0].reason}): give it read access to the folder of MMRAG_MILVUS_IMPORT, or unset that, "
                    f"and rows are streamed; what is live stays as it is."
                )
            if progress:
                progress(sum(job.rows for job in jobs if job.done), total)
            if sum(not job.done for job in jobs) <= at_most:
                return
            if jobs != before:
                before, moved = jobs, time.monotonic()
            if time.monotonic() - moved > _STALLED_S:
                raise Unavailable(
                    f"Milvus at {self.milvus.address} has not got on with importing into {self.collection} for "
                    f"{_STALLED_S / 60:.0f} minutes: look at its data nodes, then run the nightly_reindex job again."
                )
            time.sleep(_POLL_S)

    def tidy(self) -> None:
        """Remove the files."""
        if self.folder.exists():
            for path in list(self.folder.iterdir()):
                path.unlink()
            if is_local(self.folder):
                self.folder.rmdir()

    def _start(self, file: str) -> None:
        def start(client: MilvusClient) -> None:
            if all(job.file != file for job in self._jobs()):  # else only the answer was lost
                _start_job(client, self.collection, file, timeout=self.milvus.config.timeout_s)

        self.milvus.patiently("import rows", start)

    def _jobs(self) -> list[Job]:
        found = self.milvus.patiently(
            "look at imports",
            lambda client: client._get_connection().list_bulk_insert_tasks(
                0, self.collection, timeout=self.milvus.config.timeout_s, context=client._generate_call_context()
            ),
        )
        return [_job(state) for state in found]

    def _show(self, total: int) -> None:
        """A completed import is visible once the load is refreshed, and then not everywhere at once."""
        self.milvus.patiently("load imported rows", lambda client: client.refresh_load(self.collection, timeout=LOAD_S))
        deadline = time.monotonic() + LOAD_S
        while (found := self.milvus.count(self.collection)) < total:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Milvus at {self.milvus.address} shows {found} of {total} rows that were imported into "
                    f"{self.collection}: look at its query nodes, then run the nightly_reindex job again."
                )
            time.sleep(_POLL_S)


def _start_job(client: MilvusClient, collection: str, file: str, *, timeout: float) -> None:
    """One request, whatever happens: pymilvus's own call repeats it when an answer is lost."""
    from pymilvus.client.call_context import _api_level_md
    from pymilvus.client.utils import check_status
    from pymilvus.grpc_gen.milvus_pb2 import ImportRequest

    request = ImportRequest(collection_name=collection, files=[file])
    metadata = _api_level_md(client._generate_call_context())
    check_status(client._get_connection()._stub.Import(request, timeout=timeout, metadata=metadata).status)


def _job(state: Any) -> Job:
    infos = state.infos
    return Job(
        file=infos.get(state.IMPORT_FILES, ""),
        rows=int(state.row_count),
        percent=int(infos.get(state.IMPORT_PROGRESS) or 0),
        done=state.state == state.ImportCompleted,
        failed=state.state in (state.ImportFailed, state.ImportFailedAndCleaned),
        reason=" ".join(infos.get(state.FAILED_REASON, "").split())[:300],
    )


def _server_path(file: UPath) -> str:
    """What the server calls the file: its absolute path, or its path within the bucket."""
    return str(file.absolute()) if is_local(file) else file.path.lstrip("/").partition("/")[2]


def _chunks(rows: Iterable[Row]) -> Iterable[list[Row]]:
    rows = iter(rows)
    while chunk := list(islice(rows, _FILE_ROWS)):
        yield chunk


def _table(rows: list[Row]) -> pa.Table:
    """Plain lists of floats: servers before 2.6 refuse fixed-size ones."""
    block = np.stack([row["embedding"] for row in rows]).astype(np.float32, copy=False)
    offsets = np.arange(0, block.size + 1, block.shape[1], dtype=np.int32)
    integers = {name: pa.int64() if name in WIDE_INT_FIELDS else pa.int32() for name in INT_FIELDS}
    kinds = dict.fromkeys(MAX_BYTES, pa.string()) | integers | {"tags": pa.list_(pa.string())}
    table = {name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()}
    table["embedding"] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(block.reshape(-1)))
    table[DYNAMIC] = pa.array([dynamic_json(row).decode() for row in rows], pa.string())
    return pa.table(table)
