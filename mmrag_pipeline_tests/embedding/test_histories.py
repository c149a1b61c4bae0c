"""Whatever happens to a library, its vectors end up as if its last state were embedded from nothing, and none twice."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmrag_pipeline.embedding.manifest import embed_manifest
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.media.scan import scan_drop
from mmrag_pipeline.store import Store
from mmrag_pipeline_tests.embedding.test_engine import TWO_ROWS, CountingEncoder

DROPS = (Drop("bags", "1"), Drop("lunar", "1"))
NOW = datetime(2026, 9, 1, tzinfo=UTC)

drops, names, contents = st.sampled_from(DROPS), st.sampled_from("abcd"), st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("write"), drops, names, contents),  # adds or changes
    st.tuples(st.just("delete"), drops, names),
    st.tuples(st.just("move"), drops, names, drops, names),  # renames, or moves to the other drop
    st.tuples(st.just("copy"), drops, names, drops, names),
    st.tuples(st.just("night"), st.permutations(DROPS)),  # both drops are ingested, in some order
)


class History:
    """A library, and a store that follows it night by night."""

    def __init__(self, root: Path):
        self.root = root
        self.ever: set[int] = set()
        self.encoder = CountingEncoder()
        for drop in DROPS:
            self.folder(drop).mkdir(parents=True)

    def folder(self, drop: Drop) -> Path:
        return self.root / "media" / drop.product_line / drop.name

    def take(self, what: str, *values) -> None:
        if what == "night":
            for drop in values[0]:
                self.ingest(drop, self.root / "store", self.encoder)
        elif what == "write":
            drop, name, content = values
            picture = Image.new("RGB", (40 + content, 40), (content * 40, 9, 9))
            picture.save(self.folder(drop) / f"{name}.png")
        elif what == "delete":
            (self.folder(values[0]) / f"{values[1]}.png").unlink(missing_ok=True)
        else:
            source = self.folder(values[0]) / f"{values[1]}.png"
            target = self.folder(values[2]) / f"{values[3]}.png"
            if source.exists() and source != target:
                (shutil.move if what == "move" else shutil.copy2)(source, target)

    def ingest(self, drop: Drop, root: Path, encoder: CountingEncoder) -> None:
        library, manifests = MediaLibrary(str(self.root / "media")), ManifestStore(Store(root))
        scan = scan_drop(
            library, drop, previous=manifests.find(drop.key), limits=Limits(), now=NOW, allow_mass_deletion=True
        )
        manifests.write(drop.key, scan.table)
        embed_manifest(
            scan.table,
            library.folder(drop),
            drop=drop.key,
            encoder=encoder,
            store=EmbeddingStore(Store(root)),
            limits=Limits(),
            shard_bytes=TWO_ROWS,
        )
        rows = scan.table.to_pylist()
        self.ever |= {row["width"] for row in rows if row["status"] == "ok"}


def vectors(root: Path) -> dict[str, dict[str, np.ndarray]]:
    store = EmbeddingStore(Store(root))
    found: dict[str, dict[str, np.ndarray]] = {}
    for drop in DROPS:
        rows = found.setdefault(drop.key, {})
        for batch in store.batches("fake-1", drop.key):
            rows.update(zip(batch["content_id"].to_pylist(), batch["embedding"].to_pylist(), strict=True))
    return found


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.lists(steps, min_size=4, max_size=14))
def test_any_history_of_a_library_ends_as_if_it_had_none(history: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        followed = History(Path(folder))
        for step in history:
            followed.take(*step)
        followed.take("night", DROPS)
        for drop in DROPS:
            followed.ingest(drop, Path(folder) / "fresh", CountingEncoder())
        assert vectors(Path(folder) / "store") == vectors(Path(folder) / "fresh")
        assert followed.encoder.computed == len(followed.ever)  # moved, copied, gone and back: computed once
