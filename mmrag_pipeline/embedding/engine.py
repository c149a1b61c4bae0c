"""Embeds one drop: what is new is read, decoded and computed, what any drop has already is copied.

Work goes through in batches, each in one thread from file to vectors; while one thread waits for the disk another
decodes and another is in the model. On a CPU every thread runs the model on its own core; on a GPU the threads take
turns. Results are taken in order, so that parts are written while later batches are under way, and the memory in use
depends on the number of workers and the batch size only.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from upath import UPath

from mmrag_pipeline.embedding.model import BatchEncoder
from mmrag_pipeline.embedding.reuse import KnownVectors
from mmrag_pipeline.embedding.stages import StageTimes
from mmrag_pipeline.embedding.store import (
    DropEmbeddings,
    EmbeddingStore,
    content_hash,
    damage_sentence,
    vector_table,
)
from mmrag_pipeline.media.decode import Pixels

SHARD_BYTES = 16 * 1024 * 1024
"""Vectors in one part: what a killed run repeats at most."""

_BATCHES_AHEAD = 2  # for each worker: one in hand, one waiting

Progress = Callable[[int, int], None]


class Pictures(Protocol):
    """What is to be embedded, and how its pixels are had."""

    @property
    def content_ids(self) -> Sequence[str]:
        """Sorted, each once."""
        ...

    def pixels(
        self, positions: Sequence[int], *, short_side: int | None, times: StageTimes
    ) -> Iterator[tuple[int, Pixels]]:
        """(position, picture) of each of the `positions`, in whatever order they are best read.

        Called in many threads at once. With `short_side` a picture may come smaller, down to that many pixels.
        """
        ...


@dataclass(frozen=True)
class EmbedReport:
    """`changed` is False when every vector was there already and nothing was written.

    `damaged` has a sentence for each file of vectors that was passed over, because it can't be read: what the drop
    needed of it was embedded anew.
    """

    summary: DropEmbeddings
    changed: bool
    damaged: tuple[str, ...] = ()

    @property
    def images_per_second(self) -> float:
        return self.summary.computed / self.summary.seconds if self.changed and self.summary.seconds else 0.0


def embed_drop(
    pictures: Pictures,
    *,
    drop: str,
    encoder: BatchEncoder,
    store: EmbeddingStore,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> EmbedReport:
    """Make `store` hold exactly these contents for the drop, under the encoder's fingerprint.

    Args:
        pictures: their pixels are asked for only where no drop has the content's vector yet.
        progress: called with (contents done, contents in all) as they get done.
    """
    started = time.monotonic()
    content_ids = pictures.content_ids
    fingerprint = encoder.fingerprint
    digest = content_hash(content_ids)
    there = store.summary(fingerprint, drop)
    if there is not None and there.content_hash == digest and store.is_whole(there) and not store.damaged(there):
        store.tidy(there)
        return EmbedReport(there, changed=False)

    dim, times = encoder.dim, StageTimes()
    known = KnownVectors(store.root(fingerprint), content_ids, dim=dim)
    shards = _shards(content_ids, known, rows=max(1, shard_bytes // (4 * dim)))
    parts, computed, done = [], 0, 0

    def on_done(contents: int) -> None:
        nonlocal done
        done += contents
        if progress is not None:
            progress(done, len(content_ids))

    with _Workers(pictures, encoder, times) as workers:
        for number, shard in enumerate(_computed(shards, workers, on_done)):
            with times.measure("write"):
                table = vector_table(shard.content_ids, shard.vectors)
                parts.append(store.write_part(fingerprint, drop, number, table))
            computed += len(shard.missing)
            on_done(len(shard.content_ids) - len(shard.missing))
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
        stage_seconds=times.seconds,
    )
    summary = store.finish(summary)
    return EmbedReport(summary, changed=True, damaged=_sentences(known.damaged, store.folder(fingerprint, drop)))


def _sentences(damaged: Mapping[UPath, str], own: UPath) -> tuple[str, ...]:
    """What to say of files that can't be read; those of the drop itself are mended by now."""
    return tuple(
        f"the vectors in {path} were damaged ({why}): made anew." if path.parent == own else damage_sentence(path, why)
        for path, why in damaged.items()
    )


@dataclass(frozen=True)
class _Shard:
    """The contents of one part; `vectors` is float32 [n, dim], NaN where `missing` (positions in the drop)."""

    start: int
    content_ids: Sequence[str]
    vectors: np.ndarray
    missing: Sequence[int]


def _shards(content_ids: Sequence[str], known: KnownVectors, *, rows: int) -> Iterator[_Shard]:
    for start in range(0, len(content_ids), rows):
        ids = content_ids[start : start + rows]
        vectors = known.read(ids)
        missing = start + np.flatnonzero(np.isnan(vectors[:, 0]))
        yield _Shard(start, ids, vectors, missing.tolist())


def _computed(shards: Iterator[_Shard], workers: _Workers, on_done: Callable[[int], None]) -> Iterator[_Shard]:
    """The same shards with every vector; batches of the next ones are under way while one is handed out."""
    under_way: deque[tuple[_Shard, _Batch | None]] = deque()
    for step in itertools.chain(_steps(shards, workers), [None]):
        if step is not None:
            under_way.append(step)
        while under_way:
            shard, batch = under_way[0]
            if batch is not None and not batch.vectors.done() and step is not None and not workers.busy(under_way):
                break
            under_way.popleft()
            if batch is None:
                yield shard
            else:
                shard.vectors[np.subtract(batch.positions, shard.start)] = batch.vectors.result()
                on_done(len(batch.positions))


def _steps(shards: Iterator[_Shard], workers: _Workers) -> Iterator[tuple[_Shard, _Batch | None]]:
    """Each shard's batches, started, and then None for its end."""
    for shard in shards:
        for positions in _batches(shard, workers) if shard.missing else ():
            yield shard, _Batch(positions, workers.submit(positions))
        yield shard, None


def _batches(shard: _Shard, workers: _Workers) -> Iterator[list[int]]:
    """Positions of what is missing, a batch or somewhat more at a time: the frames of one file are not parted, because
    it is fetched, hashed and decoded once for each batch."""
    size = workers.batch_size
    batch: list[int] = []
    for _, frames in itertools.groupby(
        shard.missing, key=lambda position: shard.content_ids[position - shard.start].partition("#")[0]
    ):
        batch.extend(frames)
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


@dataclass(frozen=True)
class _Batch:
    positions: list[int]
    vectors: Future[np.ndarray]


class _Workers:
    """Threads that take positions and give vectors; the first batch starts them, so known contents load no model."""

    def __init__(self, pictures: Pictures, encoder: BatchEncoder, times: StageTimes):
        self._pictures, self._encoder, self._times = pictures, encoder, times
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    @property
    def batch_size(self) -> int:
        return self._encoder.batch_size

    def submit(self, positions: Sequence[int]) -> Future[np.ndarray]:
        if self._pool is None:
            self._short_side = self._encoder.short_side
            self._lanes = threading.Semaphore(self._encoder.lanes)
            self._pool = ThreadPoolExecutor(
                self._encoder.workers, thread_name_prefix="embed", initializer=self._encoder.start_worker
            )
        return self._pool.submit(self._vectors, positions)

    def busy(self, under_way: Collection[tuple[_Shard, _Batch | None]]) -> bool:
        """Whether there is work enough at hand that no thread idles, or as much as memory should hold."""
        complete = sum(batch is None for _, batch in under_way)  # shards that wait with all their vectors
        return len(under_way) > _BATCHES_AHEAD * self._encoder.workers or complete > 1

    def _vectors(self, positions: Sequence[int]) -> np.ndarray:
        prepared = {}
        pictures = self._pictures.pixels(positions, short_side=self._short_side, times=self._times)
        for position, pixels in pictures:  # one picture at full size at a time
            with self._times.measure("decode"):
                prepared[position] = self._encoder.prepare(pixels)
        with self._lanes, self._times.measure("model"):
            return self._encoder.encode_prepared([prepared[position] for position in positions])
