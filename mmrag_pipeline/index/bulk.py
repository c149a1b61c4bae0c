"""Bulk import: rows as parquet files in a folder that the Milvus server reads, loaded by the server itself.

Jobs are started and listed, and one whose answer was lost is looked for before it is started again: Milvus does not
notice rows that are imported twice. Protocol: `Import` and `ListImportTasks` of milvus.proto. Of a job, servers from
2.4 on list little more than its id, state and progress, so nothing else is relied upon.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
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
from mmrag_pipeline.store import is_local, open_root, write_bytes, write_table

if TYPE_CHECKING:
    from pymilvus import MilvusClient

Progress = Callable[[int, int], None]
_FILE_ROWS = 50_000  # a job each, so that several nodes may work
_FILE_BYTES = 64 * 1024 * 1024
_ROW_GROUP = 2048
_AT_ONCE = 8
_POLL_S = 0.5
_STALLED_S = 1800.0
_STEADY = 6  # counts that must be equal


@dataclass(frozen=True)
class Job:
    """One import of one file; `percent` is 0 to 100, `reason` why it failed."""

    id: int
    percent: int
    done: bool
    failed: bool
    reason: str


class Importer:
    """Imports into one collection through its own folder below `root`, a path or fsspec URI that the server reads too.

    Of a bucket the server must read the very same one: it is given the path within it.

    Raises:
        UserError: `root` can't be opened.
    """

    def __init__(self, milvus: Milvus, root: str, collection: str):
        self.milvus = milvus
        self.collection = collection
        self.folder = open_root(root, setting="MMRAG_MILVUS_IMPORT") / collection

    def try_out(self) -> None:
        """Raises UserError: nothing can be written there."""
        file = self.folder / ".writable"
        try:
            write_bytes(file, b"")
            file.unlink()
        except OSError as error:
            raise UserError(
                f"MMRAG_MILVUS_IMPORT={self.folder} can't be written ({error.strerror or error}): give the pipeline's "
                f"user write access, or unset it, and rows are streamed."
            ) from error

    def load(
        self, rows: Iterable[Row], *, total: int, guard: Callable[[], None], progress: Progress | None = None
    ) -> None:
        """Import rows (as `Milvus.upsert` takes them) into the empty collection; they are searchable afterwards.

        `guard` may raise before a job is started.

        Raises:
            UserError: the server refuses a file or can't read it.
            Unavailable: it makes no progress for half an hour.
        """
        written = 0
        for number, chunk in enumerate(_files(rows)):
            file = self.folder / f"{number:06d}.parquet"
            write_table(file, _table(chunk), row_group_size=_ROW_GROUP)
            guard()
            self._start(_server_path(file))
            written += len(chunk)
            if progress:
                progress(written, total)
            wait_for_jobs(self.milvus, self.collection, at_most=_AT_ONCE)
        settle(self.milvus, self.collection, total=total)
        self.tidy()

    def tidy(self) -> None:
        """Remove the files."""
        if self.folder.exists():
            for path in list(self.folder.iterdir()):
                path.unlink()
            if is_local(self.folder):
                self.folder.rmdir()

    def _start(self, file: str) -> None:
        before = {job.id for job in _jobs(self.milvus, self.collection)}

        def start(client: MilvusClient) -> None:
            if {job.id for job in _jobs(self.milvus, self.collection)} <= before:  # else only the answer was lost
                _start_job(client, self.collection, file, timeout=self.milvus.config.timeout_s)

        self.milvus.patiently("import rows", start)


def wait_for_jobs(milvus: Milvus, collection: str, *, at_most: int = 0, failures: bool = True) -> None:
    """Return when at most so many jobs of the collection still run.

    Raises:
        UserError: one failed, unless `failures` don't matter.
        Unavailable: none got any further for half an hour.
    """
    before, moved = None, time.monotonic()
    while True:
        jobs = _jobs(milvus, collection)
        failed = [job for job in jobs if job.failed and failures]
        if failed:
            raise UserError(
                f"Milvus at {milvus.address} could not import a file into {collection} ({failed[0].reason}): give it "
                f"read access to the folder of MMRAG_MILVUS_IMPORT, or unset that, and rows are streamed; what is live "
                f"stays as it is."
            )
        if sum(not (job.done or job.failed) for job in jobs) <= at_most:
            return
        if jobs != before:
            before, moved = jobs, time.monotonic()
        if time.monotonic() - moved > _STALLED_S:
            raise Unavailable(
                f"Milvus at {milvus.address} has not got on with importing into {collection} for "
                f"{_STALLED_S / 60:.0f} minutes: look at its data nodes, then run the nightly_reindex job again."
            )
        time.sleep(_POLL_S)


def settle(milvus: Milvus, collection: str, *, total: int | None = None) -> None:
    """Return when no job of the collection runs any more and what was imported is visible.

    It is visible once the load is refreshed, and then not everywhere at once: until `total` rows are, or, where it is
    not known how many were imported, until their number stays.

    Raises:
        Unavailable: not so many rows appear.
    """
    wait_for_jobs(milvus, collection, failures=total is not None)
    milvus.ensure_loaded(collection)
    milvus.patiently("load imported rows", lambda client: client.refresh_load(collection, timeout=LOAD_S))
    deadline, counts = time.monotonic() + LOAD_S, [milvus.count(collection)]
    while counts[-1] < total if total is not None else len(counts) < _STEADY or len(set(counts[-_STEADY:])) > 1:
        if time.monotonic() > deadline:
            raise Unavailable(
                f"Milvus at {milvus.address} shows {counts[-1]} rows of those imported into {collection}: look at "
                f"its query nodes, then run the nightly_reindex job again."
            )
        time.sleep(_POLL_S)
        counts.append(milvus.count(collection))


def _jobs(milvus: Milvus, collection: str) -> list[Job]:
    found = milvus.patiently(
        "look at imports",
        lambda client: client._get_connection().list_bulk_insert_tasks(
            0, collection, timeout=milvus.config.timeout_s, context=client._generate_call_context()
        ),
    )
    return [_job(state) for state in found]


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
        id=int(state.task_id),
        percent=int(infos.get(state.IMPORT_PROGRESS) or 0),
        done=state.state == state.ImportCompleted,
        failed=state.state in (state.ImportFailed, state.ImportFailedAndCleaned),
        reason=" ".join(infos.get(state.FAILED_REASON, "").split())[:300],
    )


def _server_path(file: UPath) -> str:
    """What the server calls the file: its absolute path, or its path within the bucket."""
    return str(file.absolute()) if is_local(file) else file.path.lstrip("/").partition("/")[2]


def _files(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in order, as many as make one file: bounded by number and by bytes of vectors."""
    rows = iter(rows)
    for first in rows:
        most = max(1, min(_FILE_ROWS, _FILE_BYTES // first["embedding"].nbytes))
        yield [first, *islice(rows, most - 1)]


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
