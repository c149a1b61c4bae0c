"""Which drops are not what their folders hold. Found by listing: no picture is opened, no model loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.listing import Entry
from mmrag_pipeline.media.manifest_store import DamagedManifest, ManifestStore
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.media.scan import is_current
from mmrag_pipeline.store import Store


@dataclass(frozen=True)
class Drift:
    """A drop that an ingest would change, and why, as the end of a sentence that begins with its key."""

    drop: Drop
    why: str


def find_drift(
    drops: Iterable[Drop],
    *,
    library: MediaLibrary,
    store: Store,
    fingerprint: str | None,
    limits: Limits,
    ready: Callable[[Sequence[Entry]], bool] | None = None,
) -> Iterator[Drift]:
    """Compare each drop's folder with its manifest, and that with its vectors; the collection is not looked at.

    Args:
        fingerprint: of the model in force; None: it was never loaded, so nothing is embedded.
        ready: says of a drop's listing whether it is wholly delivered; one that isn't is passed over.
    """
    manifests, embeddings = ManifestStore(store), EmbeddingStore(store)
    for drop in drops:
        try:
            entries = library.entries(drop)
        except UserError as error:
            yield Drift(drop, f"can't be compared: {error}")  # its ingest fails for the same reason, and is seen
            continue
        if ready is not None and not ready(entries):
            continue
        try:
            manifest = manifests.find(drop.key)
        except DamagedManifest as error:
            yield Drift(drop, f"has a manifest that can't be read ({error.__cause__})")
            continue
        if manifest is None:
            yield Drift(drop, "was never scanned")
        elif not is_current(library, drop, manifest, limits=limits, entries=entries):
            yield Drift(drop, "has other files than its manifest says")
        elif not (fingerprint and is_embedded(embeddings, fingerprint, drop.key, manifest)):
            yield Drift(drop, "has no vectors, damaged ones, or other ones than its manifest says")


def is_embedded(embeddings: EmbeddingStore, fingerprint: str, drop: str, manifest: pa.Table) -> bool:
    """Whether the drop's vectors are those of its manifest."""
    ok = manifest["content_id"].filter(pc.equal(manifest["status"], "ok"))
    return embeddings.holds(fingerprint, drop, sorted(ok.to_pylist()))
