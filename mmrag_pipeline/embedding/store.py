"""Vectors on disk: `embeddings/<fingerprint>/<drop>/part-<n>-<hash>.parquet` and `_SUCCESS.json`.

Columns: `content_id` string, `embedding` fixed_size_list<float32>[dim] of unit norm; sorted by content id. A part's
name holds a hash of its ids, so a part is never overwritten with something else, and equal vectors give equal
bytes. `_SUCCESS.json` names the parts that count; readers follow it and never meet a half-written drop.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from mmrag_pipeline.embedding.departed import FOLDER, keep_departed
from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.media.listing import forget_listings, list_entries
from mmrag_pipeline.store import (
    CHECKED,
    Damaged,
    Store,
    read_table,
    whole_table,
    write_bytes,
    write_json,
    write_table,
)

SUCCESS = "_SUCCESS.json"
DAMAGED = "_DAMAGED"
COLUMNS = ["content_id", "embedding"]
_ROW_GROUP = 2048  # rows that a reader holds at once; 4 MB of vectors at 512 dimensions


class DamagedVectors(UserError):
    """A part is there and can't be read: its drop makes it anew, nobody else need wait for that."""


def damage_of(path: UPath) -> str:
    """Why a file of vectors can't be used; empty where all of it can be read. That a store does not answer is raised.

    Raises:
        FileNotFoundError: it is not there.
    """
    forget_listings(path)
    try:
        columns = whole_table(path).column_names
    except Damaged as error:
        return str(error)
    return "" if columns == COLUMNS else f"its columns are {', '.join(columns)}"


def damage_sentence(path: UPath, why: str) -> str:
    """What is damaged and what to do."""
    drop = path.parent.name
    to_do = (
        "delete that file; what it held is embedded anew where it is needed"
        if drop == FOLDER
        else f"materialise clip_embeddings for drop {drop}, which makes them anew (or, where a campaign made it, run "
        f"mmrag campaign index again)"
    )
    return f"the vectors in {path} are damaged ({why}): {to_do}."


@dataclass(frozen=True)
class DropEmbeddings:
    """What `_SUCCESS.json` says of one drop: its parts, and how the run that finished it went."""

    fingerprint: str
    drop: str
    dim: int
    rows: int
    content_hash: str
    """Over the sorted content ids."""
    parts: list[str]
    computed: int
    """Rows that went through the model; the others were there already, in this drop or another."""
    reused: int
    seconds: float
    """Wall time of the run."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    """Time by stage (read, decode, model, write), summed over threads."""
    part_bytes: list[int] = field(default_factory=list)
    """Size of each part, so that one that was cut shows in a listing; empty in a summary of an older version."""


def content_hash(content_ids: Sequence[str]) -> str:
    """Hash of a sorted sequence of content ids."""
    return hashlib.sha256("\n".join(content_ids).encode()).hexdigest()[:16]


def vector_table(content_ids: Sequence[str], vectors: np.ndarray) -> pa.Table:
    """Ids and float32 [n, dim] vectors as one Arrow table."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    embedding = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    return pa.table({"content_id": pa.array(content_ids, pa.string()), "embedding": embedding})


class EmbeddingStore:
    """Reads and writes the vectors of drops."""

    def __init__(self, store: Store):
        self._store = store

    def root(self, fingerprint: str) -> UPath:
        return self._store.embeddings(fingerprint)

    def folder(self, fingerprint: str, drop: str) -> UPath:
        return self.root(fingerprint) / drop

    def summary(self, fingerprint: str, drop: str) -> DropEmbeddings | None:
        """The drop's `_SUCCESS.json`, or None when the drop is not (wholly) embedded under this fingerprint.

        A damaged one counts as none: the next ingest writes it again, with what the parts hold.
        """
        path = self.folder(fingerprint, drop) / SUCCESS
        forget_listings(path)  # another process may have written it since
        try:
            return DropEmbeddings(**json.loads(path.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def holds(self, fingerprint: str, drop: str, content_ids: Sequence[str]) -> bool:
        """Whether the drop's vectors are those of exactly these contents (sorted) and all there; none is opened."""
        summary = self.summary(fingerprint, drop)
        return summary is not None and summary.content_hash == content_hash(content_ids) and self.is_whole(summary)

    def batches(self, fingerprint: str, drop: str, *, rows: int = 2000) -> Iterator[pa.RecordBatch]:
        """The drop's vectors in order of content id; nothing when it is not embedded.

        Raises:
            Unavailable: the drop is being embedded anew, and its old parts are gone.
            DamagedVectors: a part can't be read.
        """
        summary = self.summary(fingerprint, drop)
        for part in summary.parts if summary else []:
            path = self.folder(fingerprint, drop) / part
            try:
                with path.open("rb") as file:
                    yield from pq.ParquetFile(file, **CHECKED).iter_batches(batch_size=rows)
            except FileNotFoundError as error:
                raise Unavailable(
                    f"the vectors of drop {drop} are being replaced by another run, or {part} was deleted: try again; "
                    f"if that does not help, materialise clip_embeddings for the drop."
                ) from error
            except (pa.ArrowException, OSError) as error:
                if why := damage_of(path):
                    raise DamagedVectors(damage_sentence(path, why)) from error
                raise

    def write_part(self, fingerprint: str, drop: str, number: int, table: pa.Table) -> str:
        """Write one part unless the same one is there already, and whole; returns its file name."""
        name = f"part-{number:05d}-{content_hash(table['content_id'].to_pylist())[:8]}.parquet"
        path = self.folder(fingerprint, drop) / name
        try:
            there = not damage_of(path)
        except FileNotFoundError:
            there = False
        if not there:
            write_table(path, table, row_group_size=_ROW_GROUP)
        return name

    def finish(self, summary: DropEmbeddings, *, now: datetime | None = None) -> DropEmbeddings:
        """Make these parts the drop's vectors, then remove what no longer counts; returns the summary with their sizes.

        Vectors of contents that left the drop are set aside for a while: most have only moved to another one.
        """
        folder = self.folder(summary.fingerprint, summary.drop)
        before = self.summary(summary.fingerprint, summary.drop)
        if before is not None and set(before.parts) != set(summary.parts):
            departed = self._rows_only_in(before, summary)
            keep_departed(self.root(summary.fingerprint), summary.drop, departed, now=now or datetime.now(UTC))
        sizes = self._sizes(summary)
        if not set(summary.parts) <= sizes.keys():
            raise UserError(
                f"the vectors of drop {summary.drop} were changed by another run while this one made them: "
                f"materialise clip_embeddings for it again, one run at a time."
            )
        summary = replace(summary, part_bytes=[sizes[part] for part in summary.parts])
        write_json(folder / SUCCESS, asdict(summary))
        self.tidy(summary)
        return summary

    def is_whole(self, summary: DropEmbeddings) -> bool:
        """Whether every part that the summary names is there, and as large as it was: a listing tells."""
        sizes = self._sizes(summary)
        if DAMAGED in sizes:
            return False
        if not summary.part_bytes:
            return set(summary.parts) <= sizes.keys()
        return [sizes.get(part) for part in summary.parts] == summary.part_bytes

    def damaged(self, summary: DropEmbeddings) -> list[str]:
        """A sentence for each part that is there and can't be read; all of them are opened to tell."""
        found = []
        for part in summary.parts:
            path = self.folder(summary.fingerprint, summary.drop) / part
            with contextlib.suppress(FileNotFoundError):
                if why := damage_of(path):
                    found.append(damage_sentence(path, why))
        return found

    def mark_damaged(self, summary: DropEmbeddings) -> None:
        """Make the drop count as not whole, because a part of the right size can't be read: its next ingest, which the
        next night asks for, makes that anew.
        """
        write_bytes(self.folder(summary.fingerprint, summary.drop) / DAMAGED, b"")

    def tidy(self, summary: DropEmbeddings) -> None:
        """Remove what lies beside the drop's parts and does not count: of earlier states, and of killed runs."""
        for path in self.folder(summary.fingerprint, summary.drop).iterdir():
            if path.name != SUCCESS and path.name not in summary.parts:
                path.unlink(missing_ok=True)

    def remove(self, drop: str) -> None:
        """Delete the drop's vectors under every fingerprint."""
        for marker in list(self._store.root.glob(f"embeddings/*/{drop}/{SUCCESS}")):
            marker.unlink(missing_ok=True)  # first: without it nobody reads the parts
        for path in list(self._store.root.glob(f"embeddings/*/{drop}/*")):
            path.unlink(missing_ok=True)
        for folder in list(self._store.root.glob(f"embeddings/*/{drop}")):
            folder.rmdir()

    def drops(self, fingerprint: str) -> list[str]:
        """Keys of the drops wholly embedded under this fingerprint."""
        return sorted(path.parent.name for path in self.root(fingerprint).glob(f"*/{SUCCESS}"))

    def _sizes(self, summary: DropEmbeddings) -> dict[str, int]:
        """Of every file in the drop's folder, by name; nothing is asked for a drop without parts."""
        if not summary.parts:
            return {}
        try:
            return {entry.path: entry.size for entry in list_entries(self.folder(summary.fingerprint, summary.drop))}
        except FileNotFoundError:  # it is being removed
            return {}

    def _rows_only_in(self, before: DropEmbeddings, after: DropEmbeddings) -> Iterator[pa.Table]:
        """Vectors of the old parts whose contents the new parts don't hold, a part at a time."""
        folder = self.folder(after.fingerprint, after.drop)
        ids = [read_table(folder / part, ["content_id"])["content_id"] for part in after.parts]
        kept = pa.chunked_array([chunk for column in ids for chunk in column.chunks], pa.string())
        for part in before.parts:
            if part not in after.parts:
                try:
                    table = whole_table(folder / part)
                except (FileNotFoundError, Damaged):
                    continue  # what it held is computed again where it is needed
                yield table.filter(pc.invert(pc.is_in(table["content_id"], kept)))
