"""A part of the library that models are compared on: large enough to tell them apart, small enough to embed at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from mmrag_pipeline.embedding.engine import EmbedReport, Progress, embed_drop
from mmrag_pipeline.embedding.manifest import ManifestPictures
from mmrag_pipeline.embedding.model import BatchEncoder
from mmrag_pipeline.embedding.reuse import KnownVectors
from mmrag_pipeline.embedding.stages import StageTimes
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.media.decode import Pixels
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.quality.golden import ASKED_FOR

FOLDER = "_quality"
"""Beside the drops of a fingerprint: vectors made for a comparison, which a later ingest reuses."""
_RIGHT_ANSWERS = 5


def choose_sample(content_ids: Iterable[str], graded: Mapping[str, Mapping[str, int]], *, most: int) -> list[str]:
    """Up to `most` contents, sorted, the same ones for the same library: some right answers to each query, then others.

    Content ids are hashes: in their order pictures come as if they had been drawn.
    """
    contents = sorted(set(content_ids))
    if len(contents) <= most:
        return contents
    chosen: dict[str, None] = {}
    for grades in graded.values():
        right = sorted(content_id for content_id, given in grades.items() if given == ASKED_FOR)
        chosen.update(dict.fromkeys(right[:_RIGHT_ANSWERS]))
    chosen.update(dict.fromkeys(contents))
    return sorted(list(chosen)[:most])


class SamplePictures:
    """Pictures out of many drops, for the engine; see `engine.Pictures`."""

    def __init__(
        self,
        content_ids: Sequence[str],
        manifests: Mapping[str, pa.Table],
        *,
        folder: Callable[[Drop], UPath],
        limits: Limits,
    ):
        self._at: dict[str, tuple[ManifestPictures, int]] = {}
        wanted = pa.array(content_ids, pa.string())
        for key in sorted(manifests):
            table = manifests[key].filter(pc.is_in(manifests[key]["content_id"], wanted))
            if not len(table):
                continue
            part = ManifestPictures(table, folder(Drop.parse(key)), drop=key, limits=limits)
            for position, content_id in enumerate(part.content_ids):
                self._at.setdefault(content_id, (part, position))
        self.content_ids: list[str] = sorted(self._at)

    def pixels(
        self, positions: Sequence[int], *, short_side: int | None, times: StageTimes
    ) -> Iterator[tuple[int, Pixels]]:
        """Drop by drop."""
        parts: dict[int, tuple[ManifestPictures, dict[int, int]]] = {}
        for position in positions:
            part, inner = self._at[self.content_ids[position]]
            parts.setdefault(id(part), (part, {}))[1][inner] = position
        for part, outer in parts.values():
            for inner, pixels in part.pixels(sorted(outer), short_side=short_side, times=times):
                yield outer[inner], pixels


def sample_vectors(
    pictures: Callable[[Sequence[str]], SamplePictures],
    content_ids: Sequence[str],
    *,
    encoder: BatchEncoder,
    store: EmbeddingStore,
    progress: Progress | None = None,
) -> tuple[np.ndarray, EmbedReport | None]:
    """float32 [n, dim] of sorted contents: what the store has under this model is taken, what it lacks is computed and
    kept beside the drops. The report is None where nothing had to be.
    """

    def known() -> np.ndarray:
        root = store.root(encoder.fingerprint)
        return KnownVectors(root, content_ids, dim=encoder.dim).read(content_ids)

    vectors, report = known(), None
    missing = [content_ids[at] for at in np.flatnonzero(np.isnan(vectors[:, 0])).tolist()]
    if missing:
        report = embed_drop(pictures(missing), drop=FOLDER, encoder=encoder, store=store, progress=progress)
        vectors = known()
    return vectors, report
