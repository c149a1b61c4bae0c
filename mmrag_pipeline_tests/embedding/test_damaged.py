"""A part that was cut or changed on disk costs its own drop one embedding, and nobody else anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from mmrag_pipeline.embedding.departed import FOLDER
from mmrag_pipeline.embedding.reuse import KnownVectors
from mmrag_pipeline.embedding.store import DamagedVectors, EmbeddingStore
from mmrag_pipeline.store import Store
from mmrag_pipeline_tests.embedding.test_engine import DIM, TWO_ROWS, CountingEncoder, content_id, embed
from mmrag_pipeline_tests.integration.s3_server import s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    pytest.importorskip("moto", reason="needs moto[server], of the dev extra")
    pytest.importorskip("s3fs", reason="needs s3fs, of the s3 extra")
    with s3_server() as client:
        yield client


@pytest.fixture(params=["folder", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddingStore]:
    """On disk, and on stores of objects: fsspec's own, and a server that speaks S3."""
    name = uuid4().hex
    if request.param == "folder":
        yield EmbeddingStore(Store(tmp_path))
    elif request.param == "memory":
        root = UPath(f"memory://{name}")
        yield EmbeddingStore(Store(str(root)))
        root.fs.rm(root.path, recursive=True)
    else:
        request.getfixturevalue("server").create_bucket(Bucket=name)
        yield EmbeddingStore(Store(f"s3://{name}/store"))


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def empty(data: bytes) -> bytes:
    return b""


def turned(data: bytes) -> bytes:
    """One bit of a vector is another: the size is the same, and so is all that says what the file holds."""
    vectors = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(1)
    at = vectors.data_page_offset + vectors.total_compressed_size - 1
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


DAMAGES = [cut, empty, turned]


def damage(store: EmbeddingStore, how: Callable[[bytes], bytes], drop: str = "a__1") -> UPath:
    path = sorted(store.folder("fake-1", drop).glob("part-*.parquet"))[0]
    path.write_bytes(how(path.read_bytes()))
    return path


def stored(store: EmbeddingStore, drop: str) -> dict[str, list[float]]:
    batches = list(store.batches("fake-1", drop))
    return {
        name: vector
        for batch in batches
        for name, vector in zip(batch["content_id"].to_pylist(), batch["embedding"].to_pylist(), strict=True)
    }


@pytest.mark.parametrize("how", DAMAGES)
def test_other_drops_pass_over_it_and_its_own_makes_it_anew(
    store: EmbeddingStore, how: Callable[[bytes], bytes]
) -> None:
    encoder = CountingEncoder()
    embed(range(6), encoder, store, shard_bytes=TWO_ROWS)
    before = stored(store, "a__1")
    path = damage(store, how)
    with pytest.raises(DamagedVectors, match=r"part-00000.*damaged.*materialise clip_embeddings for drop a__1"):
        stored(store, "a__1")

    other = embed(range(7), encoder, store, drop="b__1")
    assert (other.summary.computed, other.summary.reused) == (3, 4)  # the two of the part, and one that is new
    (said,) = other.damaged
    assert str(path) in said and "materialise clip_embeddings for drop a__1" in said
    assert {name: stored(store, "b__1")[name] for name in before} == before
    store.remove("b__1")

    mended = embed(range(6), encoder, store, shard_bytes=TWO_ROWS)
    assert mended.changed and mended.summary.computed == 2
    (said,) = mended.damaged
    assert str(path) in said and "made anew" in said
    assert stored(store, "a__1") == before
    again = embed(range(6), encoder, store, shard_bytes=TWO_ROWS)
    assert not again.changed and not again.damaged


@pytest.mark.parametrize("how", DAMAGES)
def test_a_drop_whose_contents_changed_meanwhile_mends_itself_too(
    store: EmbeddingStore, how: Callable[[bytes], bytes]
) -> None:
    encoder = CountingEncoder()
    embed(range(6), encoder, store)
    damage(store, how)
    report = embed(range(1, 7), encoder, store)
    assert report.summary.computed == 6
    assert len(stored(store, "a__1")) == 6


def test_a_part_that_was_cut_shows_without_being_opened(store: EmbeddingStore) -> None:
    """That is how the night finds the drop: reading all vectors of a library would take too long."""
    ids = embed(range(6), CountingEncoder(), store) and sorted(content_id(n) for n in range(6))
    assert store.holds("fake-1", "a__1", ids)
    damage(store, cut)
    assert not store.holds("fake-1", "a__1", ids)


def test_what_a_killed_run_left_damaged_is_written_again(store: EmbeddingStore) -> None:
    """No `_SUCCESS.json` says yet how large its parts are."""
    encoder = CountingEncoder(batch_size=1, workers=1)
    embed(range(6), encoder, store, shard_bytes=TWO_ROWS)
    (store.folder("fake-1", "a__1") / "_SUCCESS.json").unlink()
    damage(store, cut)
    assert embed(range(6), encoder, store, shard_bytes=TWO_ROWS).summary.computed == 2
    assert len(stored(store, "a__1")) == 6


def test_what_is_damaged_among_the_departed_is_passed_over(store: EmbeddingStore) -> None:
    embed([1, 2], CountingEncoder(), store)
    embed([2], CountingEncoder(), store)  # 1 departs
    (kept,) = (store.root("fake-1") / FOLDER).glob("*.parquet")
    kept.write_bytes(cut(kept.read_bytes()))
    report = embed([1, 3], CountingEncoder(), store, drop="b__1")
    (said,) = report.damaged
    assert report.summary.computed == 2 and f"{kept} are damaged" in said and "delete that file" in said


def test_a_store_that_does_not_answer_is_no_damage(store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a bucket that is away for a minute would have everything embedded again."""
    embed([1, 2], CountingEncoder(), store)
    path = damage(store, lambda data: data)
    before = path.read_bytes()
    ids = sorted(content_id(n) for n in (1, 2))
    known = KnownVectors(store.root("fake-1"), ids, dim=DIM)

    def away(*args, **options):
        raise OSError("the endpoint does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(type(path), "read_bytes", away)
        path.write_bytes(b"")  # what a reader sees looks damaged, and can't be looked at again
        with pytest.raises(OSError, match="does not answer"):
            known.read(ids)
        with pytest.raises(OSError, match="does not answer"):
            KnownVectors(store.root("fake-1"), ids, dim=DIM)
        with pytest.raises(OSError, match="does not answer"):
            embed([1, 2], CountingEncoder(), store, drop="b__1")
        path.write_bytes(before)
    assert not np.isnan(known.read(ids)).any() and not known.damaged
