"""Approved pictures in the index, as `origin = generated`: found only by who asks for them, never as references.

Those of one occurrence and product line are a drop like any other, with a manifest and vectors in the store: so the
nightly reindex keeps them, and what is no longer approved leaves the index as a deleted file does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from upath import UPath

from mmrag_pipeline.campaigns.decisions import APPROVED, EXPORTED
from mmrag_pipeline.campaigns.occurrence_lock import hold_occurrence
from mmrag_pipeline.campaigns.review import OnFile, occurrences, pictures_of
from mmrag_pipeline.campaigns.schedule import ON_DEMAND, Occurrence
from mmrag_pipeline.campaigns.sidecar import GENERATED, is_whole
from mmrag_pipeline.embedding.manifest import embed_manifest
from mmrag_pipeline.embedding.model import BatchEncoder
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.sync import sync_drop
from mmrag_pipeline.media.catalogue import Entry
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest import Finding, as_generated, generated_in, to_table
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.media.probe import Probe
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.store import Store

LOCK_WAIT_S = 60.0


@dataclass(frozen=True)
class IndexedOccurrence:
    """What of one occurrence is in the index now."""

    occurrence: Occurrence
    pictures: int
    upserted: int
    deleted: int


@dataclass(frozen=True)
class IndexReport:
    """What was indexed, and one sentence for each occurrence that could not be."""

    done: tuple[IndexedOccurrence, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class PictureIndexer:
    """Everything that indexing needs besides the occurrence; `connect` opens the collection for one drop at a time."""

    store: Store
    encoder: BatchEncoder
    connect: Callable[[], AbstractContextManager[Milvus]]
    limits: Limits
    ledger: str
    in_library: Callable[[Drop], bool]
    """Whether the media library has a folder for such a drop."""

    def index(self, named: str | None, *, now: datetime, remove: bool = False) -> IndexReport:
        """Make the index hold exactly the approved pictures of the named occurrence, else of all; with `remove` none.

        Killed anywhere and run again, it ends the same. An occurrence that can't be indexed (an approved picture's file
        is gone or altered, ...) is one of the problems and keeps no other from it.

        Raises:
            UserError: the named occurrence has no folder.
        """
        done, problems = [], []
        for place, folder in occurrences(self.store, named):
            try:
                done.append(self._index(place, folder, now, remove))
            except UserError as error:
                problems.append(f"{place.key}: {error}")
        return IndexReport(tuple(done), tuple(problems))

    def _index(self, place: Occurrence, folder: UPath, now: datetime, remove: bool) -> IndexedOccurrence:
        with hold_occurrence(self.ledger, campaign=place.campaign, occurrence=place.name, wait_s=LOCK_WAIT_S):
            approved = [] if remove else list(_approved(place, folder))
            wanted = {Drop.parse(key): [] for key in self._indexed_before(place)}
            for picture, since in approved:
                wanted.setdefault(_drop(place, picture), []).append((picture, since))
            reports = [self._sync(drop, place, pictures, now) for drop, pictures in wanted.items()]
        upserted, deleted = sum(up for up, _ in reports), sum(down for _, down in reports)
        return IndexedOccurrence(place, len(approved), upserted, deleted)

    def _indexed_before(self, place: Occurrence) -> list[str]:
        return [key for key in ManifestStore(self.store).drops() if key.endswith(f"__{_name(place)}")]

    def _sync(
        self, drop: Drop, place: Occurrence, pictures: list[tuple[OnFile, datetime]], now: datetime
    ) -> tuple[int, int]:
        """Vectors first, then the manifest: between the two a nightly reindex must find vectors for what it says."""
        manifests, vectors = ManifestStore(self.store), EmbeddingStore(self.store)
        images = f"campaigns/{place.campaign}/{place.name}/images"
        table = as_generated(_table(drop, pictures, self.limits), images)
        before, damaged = manifests.find_usable(drop.key)
        if self.in_library(drop) if damaged else before is not None and generated_in(before) is None:
            raise UserError(
                f"the library has a drop {drop.key}, a name that generated pictures need: rename that drop."
            )
        either = table
        if before is not None and vectors.summary(self.encoder.fingerprint, drop.key):
            kept = set(table["content_id"].to_pylist())
            gone = [content not in kept for content in before["content_id"].to_pylist()]
            either = pa.concat_tables([table, before.filter(pa.array(gone, pa.bool_()))])
        self._embed(either, drop, images)
        if before is None or not before.equals(table, check_metadata=True):
            manifests.write(drop.key, table)
        with self.connect() as milvus:
            report = sync_drop(
                milvus,
                drop=drop,
                manifest=table,
                vectors=vectors.batches(self.encoder.fingerprint, drop.key),
                fingerprint=self.encoder.fingerprint,
                dim=self.encoder.dim,
                now=now,
            )
        if pictures:
            self._embed(table, drop, images)
        else:  # the rows are gone: now nothing of the drop need stay
            vectors.remove(drop.key)
            manifests.remove(drop.key)
        return report.upserted, report.deleted

    def _embed(self, table: pa.Table, drop: Drop, images: str) -> None:
        embed_manifest(
            table,
            self.store.root / images,
            drop=drop.key,
            encoder=self.encoder,
            store=EmbeddingStore(self.store),
            limits=self.limits,
        )


def _approved(place: Occurrence, folder: UPath) -> Iterator[tuple[OnFile, datetime]]:
    """Approved pictures, each with when it was approved."""
    for picture in pictures_of(folder, place):
        if picture.sidecar["status"] != GENERATED or picture.sidecar["preview"]:
            continue
        review = picture.review()
        if review.state not in (APPROVED, EXPORTED) or review.last is None:
            continue
        if not is_whole(folder / "images", picture.sidecar):
            raise UserError(
                f"the approved picture {picture.key[:12]} of {place.key} is gone or was altered: run campaign_images "
                f"for {place.key} again."
            )
        yield picture, datetime.fromisoformat(review.last.at)


def _name(place: Occurrence) -> str:
    return f"generated-{place.campaign}-{place.name.lower()}".replace("/", "-")  # one on demand: `<date>/<digest>-<n>`


def _drop(place: Occurrence, picture: OnFile) -> Drop:
    """Whose picture shows nothing of the library (all of it was given by the asker) has a product line of its own."""
    return Drop.parse(f"{picture.sidecar['variant']['product_line'] or ON_DEMAND}__{_name(place)}")


def _table(drop: Drop, pictures: list[tuple[OnFile, datetime]], limits: Limits) -> pa.Table:
    findings, entries = [], {}
    for picture, since in pictures:
        file, asked = picture.sidecar["picture"], picture.sidecar["variant"]
        probe = Probe(
            status="ok",
            content=file["sha256"],
            media_type="image",
            format=file["mime"].removeprefix("image/"),
            width=file["width"],
            height=file["height"],
            frames=1,
        )
        findings.append(Finding(file["file"], file["bytes"], 0, since, probe))
        extra = {"campaign": picture.occurrence.campaign, "occurrence": picture.occurrence.name, "key": picture.key}
        entries[file["file"]] = Entry(
            sku=asked["sku"],
            title=f"{asked['product_name']}, {asked['scene']}",
            tags=(asked["scene"], asked["placement"], asked["locale"]),
            extra=json.dumps(extra, sort_keys=True),
        )
    return to_table(findings, drop=drop.key, entries=entries, limits=limits)
