"""A drop leaves the pipeline: its rows, its vectors, what was found of its health, and its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mmrag_pipeline.embedding.model import Encoder
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.sync import sync_drop
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.manifest import MANIFEST_SCHEMA
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.quality.health import HealthStore
from mmrag_pipeline.store import Store


@dataclass(frozen=True)
class Removal:
    """`rows` left the live collection, `files` the manifest."""

    rows: int
    files: int


def remove_drop(
    drop: Drop, *, library: MediaLibrary, store: Store, milvus: Milvus, encoder: Encoder, now: datetime
) -> Removal:
    """Remove all that is kept of a drop whose folder is gone. Killed anywhere, it goes on where it stopped.

    Raises:
        UserError: the drop has a folder, nobody can tell whether it has one, or the live collection is of another
            model. What was not removed yet is as it was.
    """
    library.drops()  # raises for a library that is empty: an unmounted share has no folder of any drop
    if library.has(drop):
        raise UserError(
            f"drop {drop.key} has a folder in the library: it stays. To remove it, delete {library.folder(drop)} first."
        )
    manifests, embeddings = ManifestStore(store), EmbeddingStore(store)
    before, _ = manifests.find_usable(drop.key)
    if before is not None and len(before):
        manifests.write(drop.key, MANIFEST_SCHEMA.empty_table())  # from now on every reindex wants no row of it
    report = sync_drop(
        milvus,
        drop=drop,
        manifest=MANIFEST_SCHEMA.empty_table(),
        vectors=(),
        fingerprint=encoder.fingerprint,
        dim=encoder.dim,
        now=now,
    )
    embeddings.remove(drop.key)
    HealthStore(store).remove(drop.key)
    manifests.remove(drop.key)
    return Removal(rows=report.deleted, files=len(before) if before is not None else 0)
