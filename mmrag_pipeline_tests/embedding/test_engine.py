"""The engine computes what is new, copies what is known, and leaves deterministic files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmrag_pipeline.embedding import engine
from mmrag_pipeline.embedding.engine import embed_drop
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.store import Store

DIM = 8


class CountingEncoder:
    """A deterministic stand-in for a model: the vector is a hash of the pixels. Counts what it computes."""

    dim = DIM

    def __init__(self, fingerprint: str = "fake-1"):
        self.fingerprint = fingerprint
        self.computed = 0

    def prepare(self, image: Image.Image) -> bytes:
        return image.tobytes()

    def encode_prepared(self, prepared: Sequence[bytes]) -> np.ndarray:
        self.computed += len(prepared)
        seeds = [int.from_bytes(hashlib.sha256(pixels).digest()[:8]) for pixels in prepared]
        vectors = np.stack([np.random.default_rng(seed).normal(size=DIM) for seed in seeds])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def loaders(contents: Sequence[int]) -> dict:
    return {f"{n:064x}": lambda n=n: Image.new("RGB", (2, 2), (n % 256, n // 256 % 256, 7)) for n in contents}


def files(store: EmbeddingStore, fingerprint: str, drop: str) -> dict[str, bytes]:
    folder = Path(str(store.folder(fingerprint, drop)))
    return {path.name: path.read_bytes() for path in folder.glob("part-*")}


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore(Store(tmp_path))


def test_rows_are_sorted_unit_vectors_that_pandas_opens(store: EmbeddingStore) -> None:
    report = embed_drop(loaders([3, 1, 2]), drop="a__1", encoder=CountingEncoder(), store=store)
    part = store.folder("fake-1", "a__1") / report.summary.parts[0]
    frame = pd.read_parquet(str(part))
    assert frame["content_id"].tolist() == [f"{n:064x}" for n in (1, 2, 3)]
    assert np.linalg.norm(np.stack(frame["embedding"]), axis=1) == pytest.approx(1, abs=1e-6)
    assert report.summary.rows == report.summary.computed == 3


def test_second_run_computes_and_writes_nothing(store: EmbeddingStore) -> None:
    encoder = CountingEncoder()
    embed_drop(loaders([1, 2]), drop="a__1", encoder=encoder, store=store)
    before = {path: path.stat().st_mtime_ns for path in Path(str(store.folder("fake-1", "a__1"))).iterdir()}
    report = embed_drop(loaders([2, 1]), drop="a__1", encoder=encoder, store=store)
    after = {path: path.stat().st_mtime_ns for path in Path(str(store.folder("fake-1", "a__1"))).iterdir()}
    assert not report.changed
    assert encoder.computed == 2
    assert after == before


def test_content_of_another_drop_is_copied_not_computed(store: EmbeddingStore) -> None:
    encoder = CountingEncoder()
    embed_drop(loaders([1, 2]), drop="a__1", encoder=encoder, store=store)
    report = embed_drop(loaders([2, 3]), drop="b__1", encoder=encoder, store=store)
    assert (report.summary.computed, report.summary.reused, encoder.computed) == (1, 1, 3)


def test_another_fingerprint_lies_beside_and_shares_nothing(store: EmbeddingStore) -> None:
    embed_drop(loaders([1]), drop="a__1", encoder=CountingEncoder(), store=store)
    other = CountingEncoder("fake-2")
    embed_drop(loaders([1]), drop="a__1", encoder=other, store=store)
    assert other.computed == 1
    assert store.drops("fake-1") == store.drops("fake-2") == ["a__1"]


def test_a_killed_run_leaves_no_half_drop_and_keeps_its_shards(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SHARD_BYTES", 4 * DIM * 2)  # two rows a shard
    contents = loaders(range(6))
    last = f"{5:064x}"

    def killed() -> Image.Image:
        raise KeyboardInterrupt

    encoder = CountingEncoder()
    with pytest.raises(KeyboardInterrupt):
        embed_drop(contents | {last: killed}, drop="a__1", encoder=encoder, store=store)
    assert store.summary("fake-1", "a__1") is None
    assert list(store.batches("fake-1", "a__1")) == []

    resumed = embed_drop(contents, drop="a__1", encoder=encoder, store=store)
    assert resumed.summary.computed == 2  # the shard that was cut off, nothing before it
    undisturbed = EmbeddingStore(Store(Path(str(store.folder("x", "y"))).parents[2] / "undisturbed"))
    embed_drop(contents, drop="a__1", encoder=CountingEncoder(), store=undisturbed)
    assert files(store, "fake-1", "a__1") == files(undisturbed, "fake-1", "a__1")


def test_an_empty_drop_is_embedded_as_nothing(store: EmbeddingStore) -> None:
    report = embed_drop({}, drop="a__1", encoder=CountingEncoder(), store=store)
    assert (report.summary.rows, report.summary.parts) == (0, [])
    assert store.summary("fake-1", "a__1") is not None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.integers(0, 40), max_size=12), min_size=1, max_size=5))
def test_any_history_ends_in_the_bytes_of_the_last_state(
    tmp_path_factory: pytest.TempPathFactory, history: list[set[int]]
) -> None:
    store = EmbeddingStore(Store(tmp_path_factory.mktemp("history")))
    encoder = CountingEncoder()
    for contents in history:
        embed_drop(loaders(sorted(contents)), drop="a__1", encoder=encoder, store=store)
    fresh = EmbeddingStore(Store(tmp_path_factory.mktemp("fresh")))
    embed_drop(loaders(sorted(history[-1])), drop="a__1", encoder=CountingEncoder(), store=fresh)
    assert files(store, "fake-1", "a__1") == files(fresh, "fake-1", "a__1")
