"""A vector belongs to the content that was hashed, whatever happens to the file afterwards."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from mmrag_pipeline.embedding import manifest
from mmrag_pipeline.embedding.manifest import embed_manifest
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.rules import Limits, MediaError, Reason
from mmrag_pipeline.media.scan import scan_drop
from mmrag_pipeline.store import Store
from mmrag_pipeline_tests.embedding.test_engine import CountingEncoder


def test_a_picture_that_passed_the_scan_and_does_not_decode_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*args, **options):
        raise MediaError(Reason.DECODE_ERROR, "MemoryError")

    file = tmp_path / "media" / "lunar" / "drop" / "cape.png"
    file.parent.mkdir(parents=True)
    Image.new("RGB", (64, 64), "red").save(file)
    library, drop = MediaLibrary(str(tmp_path / "media")), Drop("lunar", "drop")
    scan = scan_drop(library, drop, previous=None, limits=Limits(), now=datetime.now(UTC))
    monkeypatch.setattr(manifest, "decode_pixels", out_of_memory)
    store = EmbeddingStore(Store(tmp_path / "store"))
    with pytest.raises(UserError, match=r"cape\.png of drop lunar__drop passed the scan.*more memory"):
        embed_manifest(
            scan.table, library.folder(drop), drop=drop.key, encoder=CountingEncoder(), store=store, limits=Limits()
        )


@pytest.mark.parametrize("change", ["overwritten", "deleted"])
def test_a_picture_that_changes_after_the_scan_is_not_embedded_under_its_old_content(
    tmp_path: Path, change: str
) -> None:
    file = tmp_path / "media" / "lunar" / "drop" / "cape.png"
    file.parent.mkdir(parents=True)
    Image.new("RGB", (64, 64), "red").save(file)
    library, drop = MediaLibrary(str(tmp_path / "media")), Drop("lunar", "drop")
    scan = scan_drop(library, drop, previous=None, limits=Limits(), now=datetime.now(UTC))
    if change == "deleted":
        file.unlink()
    else:
        Image.new("RGB", (64, 64), "blue").save(file)
    store = EmbeddingStore(Store(tmp_path / "store"))
    with pytest.raises(UserError, match="materialise drop_manifest"):
        embed_manifest(
            scan.table,
            library.folder(drop),
            drop=drop.key,
            encoder=CountingEncoder(),
            store=store,
            limits=Limits(),
        )
    assert store.drops("fake-1") == []
    assert list(Path(str(store.root("fake-1"))).glob("*/part-*")) == []
