"""Scan and embed drops from the command line, as the `drop_manifest` and `clip_embeddings` assets do; or measure it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from PIL import Image

from mmrag_pipeline import wiring
from mmrag_pipeline.embedding.engine import EmbedReport
from mmrag_pipeline.embedding.manifest import embed_manifest
from mmrag_pipeline.embedding.stages import STAGES
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.media.scan import ScanReport, scan_drop
from mmrag_pipeline.settings import Settings
from mmrag_pipeline.store import Store

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DropDone:
    """What became of one drop."""

    drop: Drop
    scan: ScanReport
    embedded: EmbedReport
    warning: str = ""
    """Of a manifest that was damaged and is made anew."""


@dataclass(frozen=True)
class Embedded:
    """The drops that were brought up to date, and why others were not, one sentence each."""

    done: list[DropDone]
    failed: list[str]


@dataclass(frozen=True)
class StageRate:
    """One stage of a measured run: seconds summed over threads, their share, pictures a second of one thread."""

    stage: str
    seconds: float
    share: float
    rate: float


@dataclass(frozen=True)
class Measured:
    """A drop embedded into an empty store: nothing reused, nothing kept."""

    done: DropDone
    workers: int
    stages: list[StageRate]

    @property
    def bound_by(self) -> StageRate:
        """The stage that takes most of the threads' time: making another one faster would change little."""
        return max(self.stages, key=lambda stage: stage.seconds)


def embed_drops(settings: Settings, drop: str | None = None, *, progress: Progress | None = None) -> Embedded:
    """Bring manifests and vectors of one drop, or of all, up to date; the collection is not touched.

    Args:
        progress: called with (what is being counted, done, in all).

    Raises:
        UserError: the library can't be read, or there is no such drop.
    """
    done, failed = [], []
    for each in _drops(settings, drop):
        try:
            done.append(_embed(settings, each, Store(settings.store), progress))
        except UserError as error:  # one drop must not keep the others waiting
            failed.append(str(error))
    return Embedded(done, failed)


def measure(settings: Settings, drop: str | None = None, *, progress: Progress | None = None) -> Measured:
    """Embed one drop (default: the first of the library) from nothing, into a store that is thrown away.

    Raises:
        UserError: as `embed_drops`, or it holds no picture.
    """
    first = _drops(settings, drop)[0]
    encoder = wiring.encoder(settings)
    # Loading and the first call are not what is measured; the run below finds the model in this process.
    encoder.encode_images([Image.new("RGB", (256, 256))] * encoder.batch_size)
    with tempfile.TemporaryDirectory() as root:
        done = _embed(settings, first, Store(root), progress)
    summary = done.embedded.summary
    if not summary.computed:
        raise UserError(f"drop {first.key} holds no usable picture: choose another one to measure.")
    whole = sum(summary.stage_seconds.values())
    stages = [
        StageRate(stage, seconds, seconds / whole, summary.computed / seconds if seconds else float("inf"))
        for stage, seconds in ((stage, summary.stage_seconds[stage]) for stage in STAGES)
    ]
    return Measured(done, encoder.workers, stages)


def _drops(settings: Settings, key: str | None) -> list[Drop]:
    found = wiring.library(settings).drops().drops
    if key is None:
        return found
    drop = Drop.parse(key)
    if drop not in found:
        raise UserError(
            f"there is no drop {key} in {settings.media_root}: `mmrag status` lists those that were scanned."
        )
    return [drop]


def _embed(settings: Settings, drop: Drop, store: Store, progress: Progress | None) -> DropDone:
    library, limits, manifests = wiring.library(settings), wiring.limits(settings), ManifestStore(store)
    previous, warning = manifests.find_usable(drop.key)
    scan = scan_drop(
        library,
        drop,
        previous=previous,
        limits=limits,
        now=datetime.now(UTC),
        progress=_counting(progress, f"{drop.key}: files"),
    )
    if scan.changed:
        manifests.replace(drop.key, previous, scan.table)
    embedded = embed_manifest(
        scan.table,
        library.folder(drop),
        drop=drop.key,
        encoder=wiring.encoder(settings, store),
        store=EmbeddingStore(store),
        limits=limits,
        progress=_counting(progress, f"{drop.key}: pictures"),
    )
    return DropDone(drop, scan, embedded, warning)


def _counting(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return (lambda done, total: progress(what, done, total)) if progress else None
