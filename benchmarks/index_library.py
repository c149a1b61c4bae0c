"""A library that was scanned and embedded, without its pictures: 20 drops of manifests and parquet in a real store.

The vectors lie in clusters, as those of real pictures do; vectors spread evenly over the sphere have no neighbours, and
no index finds much among them. Equal sizes give equal files.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmrag_pipeline.embedding.store import DropEmbeddings, EmbeddingStore, content_hash, vector_table
from mmrag_pipeline.index.rebuild import DropRows
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest import MANIFEST_SCHEMA, media_id
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.store import Store

DIM = 512
FINGERPRINT = "bench-0001"
NOW = datetime(2026, 9, 1, 2, 0, tzinfo=UTC)
PRODUCT_LINES = ("bags", "coats", "lamps", "shoes", "watches")
DROPS = tuple(Drop(line, f"2026-0{month}") for line in PRODUCT_LINES for month in range(1, 5))
SAMPLE = 300
"""So many rows are kept aside with their vectors: they exist in every state of the library."""

_CENTRES = 200
_NOISE = 0.6  # length of what is added to a centre: cosines within a cluster are about 0.74
_PART_ROWS = 4096
_RETITLED = _REPLACED = _NEW = _GONE = 0.0025  # shares of all rows, in `make_changed`
_COLOURS = ("black", "blue", "brown", "green", "red", "silver", "white", "yellow")


@dataclass(frozen=True)
class Library:
    """One state of the library in the store folder `root`."""

    root: Path
    rows: int
    fingerprint: str
    keys: tuple[Drop, ...] = DROPS

    def drops(self) -> list[DropRows]:
        """As the pipeline reads them: manifests now, vectors when they are asked for."""
        store = Store(self.root)
        manifests, embeddings = ManifestStore(store), EmbeddingStore(store)
        return [
            DropRows(drop, manifests.read(drop.key), partial(embeddings.batches, self.fingerprint, drop.key))
            for drop in self.keys
        ]

    def files(self) -> Iterator[tuple[Path, list[Path]]]:
        """The same as plain files, for the peers: the manifest and the parts of the vectors of each drop."""
        for drop in self.keys:
            parts = self.root / "embeddings" / self.fingerprint / drop.key
            yield self.root / "manifests" / f"{drop.key}.parquet", sorted(parts.glob("part-*.parquet"))

    def matrix(self) -> tuple[list[str], list[str], np.ndarray]:
        """Media ids, their product lines and their vectors [n, dim], for who wants all of them in memory."""
        ids, lines, chosen = [], [], []
        for manifest, parts in self.files():
            vectors = vectors_of(parts)
            table = pq.ParquetFile(manifest).read(columns=["media_id", "content_id", "status"])
            ok = [row for row in table.to_pylist() if row["status"] == "ok"]
            ids += [row["media_id"] for row in ok]
            chosen += [vectors[row["content_id"]] for row in ok]
            lines += [manifest.stem.partition("__")[0]] * len(ok)
        return ids, lines, np.stack(chosen)

    def sample(self) -> tuple[list[str], np.ndarray]:
        """Ids, and their vectors [n, dim], of up to `SAMPLE` rows of all drops."""
        with np.load(self.root / "sample.npz") as kept:
            return kept["ids"].tolist(), kept["vectors"]

    def witness(self) -> tuple[str, np.ndarray]:
        """Id and vector [dim] of a row that the other state (of `make` and `make_changed`) has not."""
        with np.load(self.root / "sample.npz") as kept:
            return str(kept["witness"]), kept["witness_vector"]

    def queries(self, count: int) -> np.ndarray:
        """Unit vectors [count, dim] near sampled rows but equal to none."""
        vectors = np.resize(self.sample()[1], (count, DIM))
        noise = np.random.default_rng(count).standard_normal(vectors.shape, dtype=np.float32)
        return _unit(vectors + 0.3 * _unit(noise))


def make(data: Path, rows: int, *, fingerprint: str = FINGERPRINT, drops: int = len(DROPS)) -> Library:
    """A library of this many rows; made once."""
    library = _library(data, rows, fingerprint, drops, "")
    _write(library, changed=False)
    return library


def vectors_of(parts: list[Path]) -> dict[str, np.ndarray]:
    """Vector by content id, as views of one block a part."""
    tables = [pq.ParquetFile(part).read() for part in parts]
    blocks = [table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, DIM) for table in tables]
    ids = itertools.chain.from_iterable(table["content_id"].to_pylist() for table in tables)
    return dict(zip(ids, itertools.chain.from_iterable(blocks), strict=True))


def changes(rows: int) -> tuple[int, int]:
    """Rows to write and rows to delete from either state to the other."""
    return 3 * int(rows * _NEW + 1e-9), int(rows * _GONE + 1e-9)


def make_changed(data: Path, rows: int, *, fingerprint: str = FINGERPRINT, drops: int = len(DROPS)) -> Library:
    """The same library a night later: 0.25% with another title, 0.25% with other bytes, 0.25% new and 0.25% gone."""
    library = _library(data, rows, fingerprint, drops, "-changed")
    _write(library, changed=True)
    return library


def _library(data: Path, rows: int, fingerprint: str, drops: int, state: str) -> Library:
    if drops == len(DROPS):
        return Library(data / f"index-{rows}-{fingerprint}{state}", rows, fingerprint)
    keys = sorted(Drop(PRODUCT_LINES[number % len(PRODUCT_LINES)], f"d{number:05d}") for number in range(drops))
    return Library(data / f"index-{rows}-in-{drops}-{fingerprint}{state}", rows, fingerprint, tuple(keys))


def _write(library: Library, *, changed: bool) -> None:
    done = library.root.with_suffix(".done")
    if done.exists():
        return
    store = Store(library.root)
    if library.rows % len(library.keys):
        raise ValueError(f"{library.rows} rows don't spread over {len(library.keys)} drops")
    each = library.rows // len(library.keys)
    ids, vectors, witness = [], [], {}
    for number, drop in enumerate(library.keys):
        numbers, salts, titles = _state(number * each, each, number, changed=changed)
        ManifestStore(store).write(drop.key, _manifest(drop, numbers, salts, titles))
        unit = _vectors(numbers, salts)
        _embed(store, library.fingerprint, drop, [*map(_content_id, numbers, salts)], unit)
        sampled = min(each // 4, max(1, SAMPLE // len(library.keys)))
        kept = slice(each // 2, each // 2 + sampled)  # see _state: what never changes
        ids += [media_id(drop.key, _path(at), None) for at in numbers[kept]]
        vectors.append(unit[kept])
        witness = {"witness": media_id(drop.key, _path(numbers[-1]), None), "witness_vector": unit[-1]}
    order = np.random.default_rng(0).permutation(len(ids))
    kept_ids, kept_vectors = np.array(ids)[order], np.concatenate(vectors)[order]
    np.savez(library.root / "sample.npz", ids=kept_ids, vectors=kept_vectors, **witness)
    done.touch()


def _state(first: int, each: int, drop: int, *, changed: bool) -> tuple[list[int], list[int], list[str]]:
    """Numbers of a drop's rows, a salt each for the bytes, and a title each; changes are in the first and last few.

    The shares are of the whole library, so a small drop has a change more or less than its neighbour.
    """

    def share(part: float) -> int:
        return int((drop + 1) * each * part + 1e-9) - int(drop * each * part + 1e-9)

    numbers = list(range(first, first + each))
    salts, titles = [0] * each, [_title(number) for number in numbers]
    if changed:
        replaced, retitled = share(_REPLACED), share(_RETITLED)
        salts[:replaced] = [1] * replaced
        revised = slice(replaced, replaced + retitled)
        titles[revised] = [f"{title}, revised" for title in titles[revised]]
        gone, new = share(_GONE), share(_NEW)
        numbers = numbers[: each - gone] + [10_000_000 + first + at for at in range(new)]
        salts = salts[: each - gone] + [0] * new
        titles = titles[: each - gone] + [_title(number) for number in numbers[each - gone :]]
    return numbers, salts, titles


def _manifest(drop: Drop, numbers: list[int], salts: list[int], titles: list[str]) -> pa.Table:
    count = len(numbers)
    paths = [_path(number) for number in numbers]
    columns: dict[str, Any] = {
        "path": paths,
        "media_id": [media_id(drop.key, path, None) for path in paths],
        "content_id": [*map(_content_id, numbers, salts)],
        "media_type": ["image"] * count,
        "bytes": [240_000 + number % 1000 for number in numbers],
        "mtime_ns": [1_788_000_000_000_000_000 + number for number in numbers],
        "format": ["jpeg"] * count,
        "width": [1152 + number % 7 for number in numbers],
        "height": [864 + number % 5 for number in numbers],
        "frames": [1] * count,
        "frame_ms": [None] * count,
        "status": ["ok"] * count,
        "reason": [""] * count,
        "detail": [""] * count,
        "first_seen": [NOW] * count,
        "look": [None] * count,
        "sku": [f"{drop.product_line[0].upper()}-{number // 4:06d}" for number in numbers],
        "title": titles,
        "tags": [[_COLOURS[number % 8], _COLOURS[number // 8 % 8], drop.product_line] for number in numbers],
        "extra": [json.dumps({"price": number % 400 + 0.95, "season": "fall"}) for number in numbers],
    }
    return pa.table(columns, schema=MANIFEST_SCHEMA)


def _embed(store: Store, fingerprint: str, drop: Drop, content_ids: list[str], vectors: np.ndarray) -> None:
    embeddings = EmbeddingStore(store)
    order = np.argsort(content_ids)
    ids = [content_ids[at] for at in order]
    parts = []
    for start in range(0, len(ids), _PART_ROWS):
        table = vector_table(ids[start : start + _PART_ROWS], vectors[order[start : start + _PART_ROWS]])
        parts.append(embeddings.write_part(fingerprint, drop.key, len(parts), table))
    counts = {"rows": len(ids), "computed": len(ids), "reused": 0}
    summary = DropEmbeddings(
        fingerprint, drop.key, DIM, content_hash=content_hash(ids), parts=parts, seconds=0.0, **counts
    )
    embeddings.finish(summary, now=NOW)


def _vectors(numbers: list[int], salts: list[int]) -> np.ndarray:
    """The same vector for the same number and salt, whatever else is asked for."""
    noise = np.stack(
        [
            np.random.default_rng([number, salt]).standard_normal(DIM, dtype=np.float32)
            for number, salt in zip(numbers, salts, strict=True)
        ]
    )
    centres = _unit(np.random.default_rng(20261121).standard_normal((_CENTRES, DIM), dtype=np.float32))
    return _unit(centres[np.array(numbers) * 7919 % _CENTRES] + _NOISE * _unit(noise))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _path(number: int) -> str:
    return f"{number // 500:04d}/{number:08d}.jpg"


def _title(number: int) -> str:
    return f"{_COLOURS[number % 8].capitalize()} number {number}"


def _content_id(number: int, salt: int) -> str:
    return hashlib.sha256(f"{number}/{salt}".encode()).hexdigest()
