"""Embeds one drop: what is new is decoded and computed, what any drop has already is copied."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mmrag_pipeline.embedding.model import BatchEncoder
from mmrag_pipeline.embedding.store import DropEmbeddings, EmbeddingStore, content_hash, vector_table

SHARD_BYTES = 16 * 1024 * 1024
"""Vectors in one part: what a killed run repeats at most."""

Loader = Callable[[], Image.Image]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EmbedReport:
    """`changed` is False when every vector was there already and nothing was written."""

    summary: DropEmbeddings
    changed: bool

    @property
    def images_per_second(self) -> float:
        return self.summary.computed / self.summary.seconds if self.changed and self.summary.seconds else 0.0


def embed_drop(
    loaders: Mapping[str, Loader],
    *,
    drop: str,
    encoder: BatchEncoder,
    store: EmbeddingStore,
    batch_size: int = 32,
    workers: int = 2,
    progress: Progress | None = None,
) -> EmbedReport:
    """Make `store` hold exactly these contents for the drop, under the encoder's fingerprint.

    Args:
        loaders: content id -> a function that opens the RGB picture; called only for contents not embedded before.
        batch_size: pictures a model call. Memory holds at most 3 batches of prepared pictures, and `workers`
            pictures at full size.
        progress: called with (contents done, contents in all) after each batch.
    """
    started = time.monotonic()
    content_ids = sorted(loaders)
    fingerprint = encoder.fingerprint
    digest = content_hash(content_ids)
    there = store.summary(fingerprint, drop)
    if there is not None and there.content_hash == digest:
        return EmbedReport(there, changed=False)

    dim = encoder.dim
    rows_a_shard = max(1, SHARD_BYTES // (4 * dim))
    parts, computed, done = [], 0, 0
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        for number, start in enumerate(range(0, len(content_ids), rows_a_shard)):
            shard = content_ids[start : start + rows_a_shard]
            vectors = _reused(store, fingerprint, shard, dim)
            missing = [i for i, content_id in enumerate(shard) if np.isnan(vectors[i, 0])]
            done += len(shard) - len(missing)
            prepare = [_prepared(loaders[shard[i]], encoder) for i in missing]
            for batch in _batches(missing, prepare, size=batch_size, pool=pool):
                rows, inputs = zip(*batch, strict=True)
                vectors[list(rows)] = encoder.encode_prepared(inputs)
                done += len(rows)
                if progress is not None:
                    progress(done, len(content_ids))
            computed += len(missing)
            parts.append(store.write_part(fingerprint, drop, number, vector_table(shard, vectors)))
    summary = DropEmbeddings(
        fingerprint=fingerprint,
        drop=drop,
        dim=dim,
        rows=len(content_ids),
        content_hash=digest,
        parts=parts,
        computed=computed,
        reused=len(content_ids) - computed,
        seconds=round(time.monotonic() - started, 3),
    )
    store.finish(summary)
    return EmbedReport(summary, changed=True)


def _reused(store: EmbeddingStore, fingerprint: str, content_ids: Sequence[str], dim: int) -> np.ndarray:
    """float32 [n, dim] with the vectors that are known; rows of the others are NaN."""
    vectors = np.full((len(content_ids), dim), np.nan, dtype=np.float32)
    found = store.find(fingerprint, content_ids)
    if found is not None and found.num_rows:
        row = {content_id: i for i, content_id in enumerate(content_ids)}
        known = found["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, dim)
        vectors[[row[content_id] for content_id in found["content_id"].to_pylist()]] = known
    return vectors


def _prepared(loader: Loader, encoder: BatchEncoder) -> Callable[[], Any]:
    return lambda: encoder.prepare(loader())


def _batches(
    rows: Sequence[int], work: Sequence[Callable[[], Any]], *, size: int, pool: ThreadPoolExecutor
) -> Iterator[list[tuple[int, Any]]]:
    """(row, model input) in batches; while one batch is in the model the next ones are being prepared."""
    rest = zip(rows, work, strict=True)
    waiting = [(row, pool.submit(task)) for row, task in itertools.islice(rest, 2 * size)]
    while waiting:
        batch = [(row, future.result()) for row, future in waiting[:size]]
        waiting = waiting[size:] + [(row, pool.submit(task)) for row, task in itertools.islice(rest, size)]
        yield batch
