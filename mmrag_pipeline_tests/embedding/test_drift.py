"""Pictures embedded anew are compared with what is stored, in real pictures by the real demo model."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmrag_pipeline import wiring
from mmrag_pipeline.embed import embed_drops
from mmrag_pipeline.embedding import manifest
from mmrag_pipeline.embedding.drift import SourceDrop, measure_drift
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.errors import Unavailable
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.store import Store
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline

DROPS = ("bags__2026-09", "lunar__2026-09")


@pytest.fixture
def measure(pipeline: Pipeline):
    """Two embedded drops, measured."""
    for drop in DROPS:
        pipeline.deliver(drop, {f"{drop}-{name}.png": colour for name, colour in COLOURS.items()})
    embed_drops(pipeline.settings)
    settings, store = pipeline.settings, Store(pipeline.settings.store)
    encoder, library = wiring.encoder(settings), wiring.library(settings)

    def run():
        manifests = ManifestStore(store)
        drops = {key: SourceDrop(manifests.read(key), library.folder(Drop.parse(key))) for key in DROPS}
        return measure_drift(drops, encoder, EmbeddingStore(store), wiring.limits(settings), seed=3)

    return run


def test_what_was_just_stored_has_not_drifted(measure, pipeline: Pipeline) -> None:
    drop = next(pipeline.root.glob("store/embeddings/*/lunar__2026-09"))
    other = drop.parent / "lunar__other" / "part-00000-0.parquet"
    other.parent.mkdir()
    other.write_bytes(b"of no concern")  # another drop's vectors are not read
    drift = measure()
    assert drift.pictures == 8 and drift.passed and drift.unread == ()
    assert drift.mean >= drift.least > 0.999


def test_a_vector_that_is_no_longer_its_pictures_is_named(measure, pipeline: Pipeline) -> None:
    (part,) = (pipeline.root / "store" / "embeddings").glob("*/lunar__2026-09/part-*.parquet")
    table = pq.read_table(part)
    moved = np.roll(np.stack(table["embedding"].to_numpy()), 1, axis=1)
    flat = type(table["embedding"].chunk(0)).from_arrays(moved.ravel(), moved.shape[1])
    pq.write_table(table.set_column(1, table.schema.field(1), flat), part)
    drift = measure()
    assert not drift.passed and drift.least < 0.9 and drift.furthest.startswith("lunar__2026-09/lunar")


def test_a_drop_that_is_out_of_reach_is_named_and_the_others_are_looked_at(measure, pipeline: Pipeline) -> None:
    pipeline.remove("bags__2026-09")
    drift = measure()
    assert drift.pictures == 4 and drift.passed
    (why,) = drift.unread
    assert "bags__2026-09" in why
    pipeline.remove("lunar__2026-09")
    drift = measure()
    assert drift.pictures == 0 and not drift.passed and len(drift.unread) == 2


def test_a_drop_without_vectors_is_passed_over(measure, pipeline: Pipeline) -> None:
    shutil.rmtree(next(pipeline.root.glob("store/embeddings/*/lunar__2026-09")))
    drift = measure()
    assert drift.pictures == 4 and drift.passed and drift.unread == ()


def test_a_drop_without_a_single_usable_picture_is_passed_over(pipeline: Pipeline) -> None:
    pipeline.deliver(DROPS[0], {"good.png": COLOURS["red"]})
    broken = pipeline.media.joinpath(*DROPS[1].split("__")) / "broken.png"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no picture")
    embed_drops(pipeline.settings)
    settings, store = pipeline.settings, Store(pipeline.settings.store)
    manifests, library = ManifestStore(store), wiring.library(settings)
    drops = {key: SourceDrop(manifests.read(key), library.folder(Drop.parse(key))) for key in DROPS}
    drift = measure_drift(drops, wiring.encoder(settings), EmbeddingStore(store), wiring.limits(settings), seed=3)
    assert drift.pictures == 1 and drift.passed and drift.unread == ()


def test_a_library_that_does_not_answer_is_asked_again(measure, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_answer(*_: object) -> bytes:
        raise Unavailable("the bucket does not answer")

    monkeypatch.setattr(manifest, "read_file", no_answer)
    with pytest.raises(Unavailable):
        measure()


def test_a_drop_whose_vectors_are_lost_is_named(measure, pipeline: Pipeline) -> None:
    for part in (pipeline.root / "store" / "embeddings").glob("*/*/part-*.parquet"):
        part.unlink()
    found = measure()
    assert found.pictures == 0 and not found.passed and all("was deleted" in why for why in found.unread)


def test_nothing_to_embed_is_nothing_measured(pipeline: Pipeline) -> None:
    encoder = wiring.encoder(pipeline.settings)
    store = EmbeddingStore(Store(pipeline.settings.store))
    assert measure_drift({}, encoder, store, wiring.limits(pipeline.settings), seed=0) is None
