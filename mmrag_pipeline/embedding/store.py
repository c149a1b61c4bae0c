"""Vectors on disk: `embeddings/<fingerprint>/<drop>/part-<n>-<hash>.parquet` and `_SUCCESS.json`.

Columns: `content_id` string, `embedding` fixed_size_list<float32>[dim] of unit norm; sorted by content id. A part's
name holds a hash of its ids, so a part is never overwritten with something else, and equal content gives equal
bytes. `_SUCCESS.json` names the parts that count; readers follow it and never meet a half-written drop.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
from upath import UPath

from mmrag_pipeline.store import Store, is_local, write_json, write_table

SUCCESS = "_SUCCESS.json"


@dataclass(frozen=True)
class DropEmbeddings:
    """What `_SUCCESS.json` says. `content_hash` is over the sorted content ids."""

    fingerprint: str
    drop: str
    dim: int
    rows: int
    content_hash: str
    parts: list[str]
    computed: int
    reused: int
    seconds: float


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

    def folder(self, fingerprint: str, drop: str) -> UPath:
        return self._store.embeddings(fingerprint) / drop

    def summary(self, fingerprint: str, drop: str) -> DropEmbeddings | None:
        """The drop's `_SUCCESS.json`, or None when the drop is not (wholly) embedded under this fingerprint."""
        try:
            return DropEmbeddings(**json.loads((self.folder(fingerprint, drop) / SUCCESS).read_text()))
        except FileNotFoundError:
            return None

    def batches(self, fingerprint: str, drop: str, *, rows: int = 2000) -> Iterator[pa.RecordBatch]:
        """The drop's vectors in order of content id; nothing when it is not embedded."""
        summary = self.summary(fingerprint, drop)
        for part in summary.parts if summary else []:
            with (self.folder(fingerprint, drop) / part).open("rb") as file:
                yield from pq.ParquetFile(file).iter_batches(batch_size=rows)

    def find(self, fingerprint: str, content_ids: Sequence[str]) -> pa.Table | None:
        """Vectors already computed for any of these ids in any drop, unfinished ones too; None if there are none."""
        root = self._store.embeddings(fingerprint)
        files = sorted(str(path) if is_local(path) else path.path for path in root.glob("*/part-*.parquet"))
        if not files or not content_ids:
            return None
        dataset = pyarrow.dataset.dataset(files, filesystem=None if is_local(root) else root.fs)
        wanted = pc.field("content_id").isin(pa.array(content_ids, pa.string()))
        return dataset.to_table(filter=wanted)

    def write_part(self, fingerprint: str, drop: str, number: int, table: pa.Table) -> str:
        """Write one part unless the same one is there already; returns its file name."""
        name = f"part-{number:05d}-{content_hash(table['content_id'].to_pylist())[:8]}.parquet"
        path = self.folder(fingerprint, drop) / name
        if not path.exists():
            write_table(path, table)
        return name

    def finish(self, summary: DropEmbeddings) -> None:
        """Make these parts the drop's vectors, then remove what no longer counts."""
        folder = self.folder(summary.fingerprint, summary.drop)
        write_json(folder / SUCCESS, asdict(summary))
        for path in folder.iterdir():
            if path.name != SUCCESS and path.name not in summary.parts:
                path.unlink()

    def drops(self, fingerprint: str) -> list[str]:
        """Keys of the drops wholly embedded under this fingerprint."""
        root = self._store.embeddings(fingerprint)
        return sorted(path.parent.name for path in root.glob(f"*/{SUCCESS}"))
