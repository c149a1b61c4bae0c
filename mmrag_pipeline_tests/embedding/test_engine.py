"""The engine computes what is new, copies what is known, and leaves deterministic files."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmrag_pipeline.embedding.departed import FOLDER, KEPT_FOR, keep_departed
from mmrag_pipeline.embedding.engine import EmbedReport, embed_drop
from mmrag_pipeline.embedding.reuse import KnownVectors
from mmrag_pipeline.embedding.store import SUCCESS, EmbeddingStore
from mmrag_pipeline.errors import Unavailable
from mmrag_pipeline.media.decode import Pixels
from mmrag_pipeline.store import Store

DIM = 8
TWO_ROWS = 4 * DIM * 2


class CountingEncoder:
    """A deterministic stand-in for a model: the vector is a hash of the pixels. Counts what it computes."""

    dim = DIM
    short_side = None

    def __init__(self, fingerprint: str = "fake-1", *, batch_size: int = 3, workers: int = 2, lanes: int = 2):
        self.fingerprint, self.batch_size, self.workers, self.lanes = fingerprint, batch_size, workers, lanes
        self.computed = 0
        self.threads: set[int] = set()
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def start_worker(self) -> None:
        self.threads.add(threading.get_ident())

    def prepare(self, pixels: Pixels) -> bytes:
        return pixels.rgb.tobytes()

    def encode_prepared(self, prepared: Sequence[bytes]) -> np.ndarray:
        with self._lock:
            self.computed += len(prepared)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        seeds = [int.from_bytes(hashlib.sha256(pixels).digest()[:8]) for pixels in prepared]
        vectors = np.stack([np.random.default_rng(seed).normal(size=DIM) for seed in seeds])
        with self._lock:
            self._at_once -= 1
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def content_id(n: int) -> str:
    return f"{n * 7919 % 100_003:064x}"


class Numbers:
    """Pictures whose content is a number; `broken` ones raise what they are given."""

    def __init__(self, contents: Iterable[int], broken: Mapping[int, Callable[[], BaseException]] | None = None):
        self._number = {content_id(n): n for n in contents}
        self.content_ids = sorted(self._number)
        self._broken = broken or {}

    def pixels(self, positions: Sequence[int], *, short_side: int | None, times) -> Iterator[tuple[int, Pixels]]:
        for position in reversed(positions):  # any order will do
            number = self._number[self.content_ids[position]]
            if number in self._broken:
                raise self._broken[number]()
            with times.measure("read"):
                yield position, Pixels(np.full((2, 2, 3), [number % 256, number // 256 % 256, 7], np.uint8), 2, 2)


def embed(contents: Iterable[int] | Numbers, encoder: CountingEncoder, store: EmbeddingStore, **options) -> EmbedReport:
    pictures = contents if isinstance(contents, Numbers) else Numbers(contents)
    return embed_drop(pictures, **{"drop": "a__1", "encoder": encoder, "store": store, **options})


def files(store: EmbeddingStore, fingerprint: str, drop: str) -> dict[str, bytes]:
    folder = Path(str(store.folder(fingerprint, drop)))
    return {path.name: path.read_bytes() for path in folder.glob("part-*")}


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore(Store(tmp_path))


def test_rows_are_sorted_unit_vectors_that_everybody_opens(store: EmbeddingStore) -> None:
    report = embed([3, 1, 2], CountingEncoder(), store)
    part = str(store.folder("fake-1", "a__1") / report.summary.parts[0])
    ids = sorted(content_id(n) for n in (1, 2, 3))
    frames = [
        pd.read_parquet(part),
        pl.read_parquet(part).to_pandas(),
        duckdb.sql(f"select * from '{part}'").df(),
        pq.read_table(part).to_pandas(),
    ]
    for frame in frames:
        assert frame["content_id"].tolist() == ids
        assert np.linalg.norm(np.stack(frame["embedding"]), axis=1) == pytest.approx(1, abs=1e-6)
    field = pq.read_schema(part).field("embedding").type
    assert (str(field.value_type), field.list_size) == ("float", DIM)
    assert report.summary.rows == report.summary.computed == 3
    assert set(report.summary.stage_seconds) == {"read", "decode", "model", "write"}


def test_a_vector_lies_beside_its_own_id(store: EmbeddingStore) -> None:
    """Batches come back from many threads; each vector must be the one of its content."""
    encoder = CountingEncoder(batch_size=3, workers=4, lanes=4)
    embed(range(100), encoder, store, shard_bytes=4 * DIM * 16)
    seen = 0
    for batch in store.batches("fake-1", "a__1"):
        for name, vector in zip(batch["content_id"].to_pylist(), batch["embedding"].to_pylist(), strict=True):
            number = next(n for n in range(100) if content_id(n) == name)
            pixels = np.full((2, 2, 3), [number % 256, number // 256 % 256, 7], np.uint8)
            assert vector == encoder.encode_prepared([pixels.tobytes()])[0].tolist()
            seen += 1
    assert seen == 100


def test_no_more_threads_are_in_the_model_than_it_has_lanes(store: EmbeddingStore) -> None:
    encoder = CountingEncoder(batch_size=1, workers=6, lanes=2)
    embed(range(60), encoder, store)
    assert encoder.most_at_once <= 2
    assert 1 < len(encoder.threads) <= 6


def test_second_run_computes_and_writes_nothing(store: EmbeddingStore) -> None:
    encoder = CountingEncoder()
    embed([1, 2], encoder, store)
    before = {path: path.stat().st_mtime_ns for path in Path(str(store.folder("fake-1", "a__1"))).iterdir()}
    report = embed([2, 1], encoder, store)
    after = {path: path.stat().st_mtime_ns for path in Path(str(store.folder("fake-1", "a__1"))).iterdir()}
    assert not report.changed
    assert encoder.computed == 2
    assert after == before


def test_known_contents_ask_nothing_of_the_model(store: EmbeddingStore) -> None:
    """Asking for the batch size or the device would load it."""

    class Unloaded(CountingEncoder):
        batch_size = workers = lanes = short_side = property(lambda self: pytest.fail("the model was loaded"))

        def __init__(self) -> None:
            self.fingerprint = "fake-1"

    embed(range(5), CountingEncoder(), store)
    report = embed([1, 2, 4], Unloaded(), store, drop="b__1")
    assert (report.summary.computed, report.summary.reused) == (0, 3)


def test_content_of_another_drop_is_copied_not_computed(store: EmbeddingStore) -> None:
    encoder = CountingEncoder()
    embed([1, 2], encoder, store)
    report = embed([2, 3], encoder, store, drop="b__1")
    assert (report.summary.computed, report.summary.reused, encoder.computed) == (1, 1, 3)


@pytest.mark.parametrize("first", ["a__1", "b__1"])
def test_a_move_between_drops_computes_nothing_in_either_order(store: EmbeddingStore, first: str) -> None:
    encoder = CountingEncoder()
    embed([1, 2, 3], encoder, store, drop="a__1")
    embed([4], encoder, store, drop="b__1")
    moved = {"a__1": [1, 3], "b__1": [2, 4]}
    for drop in sorted(moved, key=lambda drop: drop != first):
        embed(moved[drop], encoder, store, drop=drop)
    assert encoder.computed == 4
    rows = [batch["content_id"].to_pylist() for batch in store.batches("fake-1", "b__1")]
    assert rows == [sorted(content_id(n) for n in (2, 4))]


def test_what_a_kill_left_among_the_departed_stops_nobody(store: EmbeddingStore) -> None:
    folder = Path(str(store.root("fake-1") / FOLDER))
    embed([1, 2], CountingEncoder(), store)
    embed([2], CountingEncoder(), store)  # 1 departs
    (kept,) = folder.glob("*.parquet")
    half = [folder / f".tmp-{host}-{kept.name}" for host in (f"{socket.gethostname()}-{2**22 + 1}", "elsewhere-7")]
    for path in half:
        path.write_bytes(kept.read_bytes()[:100])
    encoder = CountingEncoder()
    embed([1, 3], encoder, store, drop="b__1")
    assert encoder.computed == 1
    embed([3], CountingEncoder(), store, drop="b__1")  # 1 departs again
    assert [path.exists() for path in half] == [False, True]  # of another machine nobody knows whether it still writes


def test_the_frames_of_a_file_are_read_in_one_batch(store: EmbeddingStore) -> None:
    numbers = Numbers(range(20))
    numbers.content_ids = [f"{number // 7:064x}#{number:02d}" for number in range(20)]  # three files
    numbers._number = {name: number for number, name in enumerate(numbers.content_ids)}
    asked: list[list[int]] = []
    honest = numbers.pixels
    numbers.pixels = lambda positions, **options: asked.append(list(positions)) or honest(positions, **options)
    embed(numbers, CountingEncoder(batch_size=3), store)
    assert sorted(asked) == [list(range(0, 7)), list(range(7, 14)), list(range(14, 20))]


def test_departed_vectors_go_after_a_while(store: EmbeddingStore) -> None:
    encoder = CountingEncoder()
    embed([1, 2], encoder, store)
    embed([1], encoder, store)
    departed = Path(str(store.root("fake-1"))) / FOLDER
    assert len(list(departed.iterdir())) == 1
    assert store.drops("fake-1") == ["a__1"]
    for later, left in ((KEPT_FOR - timedelta(days=2), 1), (KEPT_FOR + timedelta(days=2), 0)):
        keep_departed(store.root("fake-1"), "a__1", [], now=datetime.now(UTC) + later)
        assert len(list(departed.iterdir())) == left


def test_another_fingerprint_lies_beside_and_shares_nothing(store: EmbeddingStore) -> None:
    embed([1], CountingEncoder(), store)
    other = CountingEncoder("fake-2")
    embed([1], other, store)
    assert other.computed == 1
    assert store.drops("fake-1") == store.drops("fake-2") == ["a__1"]


def test_a_stopped_run_leaves_no_half_drop_and_keeps_its_shards(store: EmbeddingStore, tmp_path: Path) -> None:
    last = max(range(6), key=content_id)
    encoder = CountingEncoder(batch_size=1, workers=1)
    with pytest.raises(KeyboardInterrupt):
        embed(Numbers(range(6), {last: KeyboardInterrupt}), encoder, store, shard_bytes=TWO_ROWS)
    assert store.summary("fake-1", "a__1") is None
    assert list(store.batches("fake-1", "a__1")) == []

    resumed = embed(range(6), encoder, store, shard_bytes=TWO_ROWS)
    assert resumed.summary.computed == 2  # the shard that was cut off, nothing before it
    undisturbed = EmbeddingStore(Store(tmp_path / "undisturbed"))
    embed(range(6), CountingEncoder(), undisturbed, shard_bytes=TWO_ROWS)
    assert files(store, "fake-1", "a__1") == files(undisturbed, "fake-1", "a__1")


def test_what_a_kill_left_beside_the_parts_goes_the_next_night(store: EmbeddingStore) -> None:
    """`_SUCCESS.json` was there already, the old part and a temporary file not yet gone."""
    encoder = CountingEncoder()
    embed([1, 2], encoder, store)
    folder = Path(str(store.folder("fake-1", "a__1")))
    (folder / "part-00007-0badcafe.parquet").write_bytes(b"of an earlier state")
    (folder / ".tmp-host-1-part-00000-12345678.parquet").write_bytes(b"half")
    assert not embed([1, 2], encoder, store).changed
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".parquet"]
    assert encoder.computed == 2


def test_a_part_that_is_gone_is_made_again(store: EmbeddingStore) -> None:
    encoder = CountingEncoder()
    (part,) = embed([1, 2], encoder, store).summary.parts
    (store.folder("fake-1", "a__1") / part).unlink()
    with pytest.raises(Unavailable, match="materialise clip_embeddings"):
        list(store.batches("fake-1", "a__1"))
    assert embed([1, 2], encoder, store).changed
    assert sum(batch.num_rows for batch in store.batches("fake-1", "a__1")) == 2


def test_a_failure_in_a_thread_is_raised_and_ends_the_others(store: EmbeddingStore) -> None:
    encoder = CountingEncoder(batch_size=2, workers=3)
    with pytest.raises(OSError, match="disk"):
        embed(Numbers(range(500), {7: lambda: OSError("disk")}), encoder, store)
    assert encoder.computed < 500
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("embed")]


def test_parts_that_another_run_takes_away_are_looked_for_again(store: EmbeddingStore) -> None:
    encoder = CountingEncoder()
    embed([1, 2], encoder, store)
    ids = sorted(content_id(n) for n in (1, 2))
    known = KnownVectors(store.root("fake-1"), ids, dim=DIM)
    embed([1, 2, 3], encoder, store)  # the part that was found is gone, another one holds the same
    assert not np.isnan(known.read(ids)).any()


def test_an_empty_drop_is_embedded_as_nothing(store: EmbeddingStore) -> None:
    report = embed([], CountingEncoder(), store)
    assert (report.summary.rows, report.summary.parts) == (0, [])
    assert store.summary("fake-1", "a__1") is not None


def test_progress_counts_every_content_once(store: EmbeddingStore) -> None:
    encoder = CountingEncoder()
    embed(range(10), encoder, store)
    said: list[tuple[int, int]] = []
    embed(range(25), encoder, store, drop="b__1", progress=lambda done, total: said.append((done, total)))
    assert [done for done, _ in said] == sorted(done for done, _ in said)
    assert said[-1] == (25, 25)


def test_a_summary_of_an_older_version_is_read(store: EmbeddingStore) -> None:
    embed([1], CountingEncoder(), store)
    path = Path(str(store.folder("fake-1", "a__1"))) / SUCCESS
    old = json.loads(path.read_text())
    del old["stage_seconds"]
    path.write_text(json.dumps(old))
    assert store.summary("fake-1", "a__1").stage_seconds == {}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.integers(0, 40), max_size=12), min_size=1, max_size=5))
def test_any_history_ends_in_the_bytes_of_the_last_state(
    tmp_path_factory: pytest.TempPathFactory, history: list[set[int]]
) -> None:
    store = EmbeddingStore(Store(tmp_path_factory.mktemp("history")))
    encoder = CountingEncoder()
    for contents in history:
        embed(contents, encoder, store, shard_bytes=TWO_ROWS)
    fresh = EmbeddingStore(Store(tmp_path_factory.mktemp("fresh")))
    embed(history[-1], CountingEncoder(), fresh, shard_bytes=TWO_ROWS)
    assert files(store, "fake-1", "a__1") == files(fresh, "fake-1", "a__1")
    assert encoder.computed == len(set().union(*history))  # what comes back is not computed again
