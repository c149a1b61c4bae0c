"""Does the model still make of a picture the vector that is stored for it?

A fingerprint covers weights, preprocessing and precision, but not the libraries beneath: another torch, Pillow or
processor may move vectors without a word, and then old and new ones of one collection no longer compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from mmrag_pipeline.embedding.manifest import ManifestPictures
from mmrag_pipeline.embedding.model import BatchEncoder
from mmrag_pipeline.embedding.stages import StageTimes
from mmrag_pipeline.embedding.store import EmbeddingStore, LostVectors
from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.media.rules import Limits

SAMPLE = 32
DROPS = 8
LEAST_COSINE = 0.995
"""Between a stored vector and the same picture embedded anew; two precisions of one model differ by 0.0001."""


@dataclass(frozen=True)
class SourceDrop:
    """A drop's manifest, and the folder that its files lie in."""

    manifest: pa.Table
    folder: UPath


@dataclass(frozen=True)
class Drift:
    """Cosines between what is stored and what the same picture gives now; `least` and `mean` are 1 where nothing moved.

    `furthest` is `<drop>/<path>` of the picture that moved most, `unread` says of drops why nothing of them was looked
    at.
    """

    pictures: int
    mean: float
    least: float
    furthest: str
    unread: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.pictures > 0 and self.least >= LEAST_COSINE


def measure_drift(
    drops: Mapping[str, SourceDrop], encoder: BatchEncoder, store: EmbeddingStore, limits: Limits, *, seed: int
) -> Drift | None:
    """Embed some pictures anew, up to `SAMPLE` out of `DROPS` drops drawn by `seed`; None when there are none to embed.

    Drops whose files are not those of the manifest are named instead of looked at.

    Raises:
        Unavailable: the store or the library does not answer.
    """
    random = np.random.default_rng(seed)
    keys = sorted(drops)
    cosines: dict[str, float] = {}
    unread = []
    for at in random.permutation(len(keys))[:DROPS].tolist():
        key = keys[at]
        picked = _some(drops[key].manifest, SAMPLE // min(DROPS, len(keys)), random)
        try:
            cosines |= _cosines(picked, drops[key].folder, key, encoder, store, limits)
        except Unavailable:
            raise
        except UserError as error:
            unread.append(str(error))
    if not cosines:
        return Drift(0, 1.0, 1.0, "", tuple(unread)) if unread else None
    furthest = min(cosines, key=cosines.__getitem__)
    return Drift(len(cosines), float(np.mean(list(cosines.values()))), cosines[furthest], furthest, tuple(unread))


def _some(manifest: pa.Table, count: int, random: np.random.Generator) -> pa.Table:
    usable = manifest.filter(pc.equal(manifest["status"], "ok"))
    return usable.take(np.sort(random.permutation(len(usable))[: max(1, count)]))


def _cosines(
    manifest: pa.Table, folder: UPath, drop: str, encoder: BatchEncoder, store: EmbeddingStore, limits: Limits
) -> Iterator[tuple[str, float]]:
    """(`<drop>/<path>`, cosine) of each picture of the manifest whose vector is stored."""
    pictures = ManifestPictures(manifest, folder, drop=drop, limits=limits)
    paths = dict(zip(manifest["content_id"].to_pylist(), manifest["path"].to_pylist(), strict=True))
    try:
        stored = _stored(store.batches(encoder.fingerprint, drop), pictures.content_ids)
    except LostVectors as error:  # asking again would not bring it back
        raise UserError(str(error)) from error
    there = [position for position, content_id in enumerate(pictures.content_ids) if content_id in stored]
    if not there:
        return  # its ingest failed or is under way
    read = pictures.pixels(there, short_side=encoder.short_side, times=StageTimes())
    for position, pixels in read:
        vector = encoder.encode_prepared([encoder.prepare(pixels)])[0]
        yield f"{drop}/{paths[pictures.content_ids[position]]}", float(vector @ stored[pictures.content_ids[position]])


def _stored(batches: Iterable[pa.RecordBatch], content_ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Vectors by content id, of those that are among a drop's own."""
    wanted, found = pa.array(content_ids, pa.string()), {}
    for batch in batches:
        some = batch.filter(pc.is_in(batch["content_id"], wanted))
        for content_id, vector in zip(some["content_id"].to_pylist(), some["embedding"], strict=True):
            found[content_id] = np.asarray(vector.values, dtype=np.float32)
    return found
