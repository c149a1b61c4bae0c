"""A tiny brand library without files, and an encoder without a model: deterministic, with real cosines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from PIL import Image

from mmrag_pipeline.index.rebuild import DropRows
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest import MANIFEST_SCHEMA, media_id

DIM = 16
FINGERPRINT = "fake-0001"
NOW = datetime(2026, 9, 1, 2, 0, tzinfo=UTC)


class FakeEncoder:
    """A sentence is the sum of its words' vectors; a picture is the words in `image.info["words"]`."""

    def __init__(self, fingerprint: str = FINGERPRINT, dim: int = DIM):
        self.fingerprint = fingerprint
        self.dim = dim

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self._vector(text) for text in texts])

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        return self.encode_texts([image.info["words"] for image in images])

    def _vector(self, text: str) -> np.ndarray:
        total = np.zeros(self.dim)
        for word in text.split():
            seed = hashlib.sha256(f"{self.fingerprint}/{word}".encode()).digest()[:8]
            total += np.random.default_rng(int.from_bytes(seed)).normal(size=self.dim)
        return (total / np.linalg.norm(total)).astype(np.float32)


def picture(words: str) -> Image.Image:
    image = Image.new("RGB", (8, 8))
    image.info["words"] = words
    return image


@dataclass(frozen=True)
class Item:
    """One file: what its picture shows, and its catalogue entry."""

    words: str
    sku: str = ""
    title: str = ""
    tags: tuple[str, ...] = ()
    extra: dict[str, object] = field(default_factory=dict)
    frame_ms: int | None = None
    status: str = "ok"
    first_seen: datetime = NOW

    @property
    def content_id(self) -> str:
        digest = hashlib.sha256(self.words.encode()).hexdigest()
        return digest if self.frame_ms is None else f"{digest}#{self.frame_ms}"


@dataclass(frozen=True)
class FakeDrop:
    """A drop as a dict of path -> Item; change it with `with_items` and `without`."""

    key: str
    items: dict[str, Item]
    encoder: FakeEncoder = field(default_factory=FakeEncoder)

    @property
    def drop(self) -> Drop:
        return Drop.parse(self.key)

    @property
    def ids(self) -> set[str]:
        return {media_id(self.key, path, item.frame_ms) for path, item in self.items.items() if item.status == "ok"}

    def id_of(self, path: str) -> str:
        return media_id(self.key, path, self.items[path].frame_ms)

    def with_items(self, **items: Item) -> FakeDrop:
        return replace(self, items=self.items | items)

    def add(self, items: dict[str, Item]) -> FakeDrop:
        return replace(self, items=self.items | items)

    def without(self, *paths: str) -> FakeDrop:
        return replace(self, items={path: item for path, item in self.items.items() if path not in paths})

    def embedded_by(self, encoder: FakeEncoder) -> FakeDrop:
        return replace(self, encoder=encoder)

    @property
    def manifest(self) -> pa.Table:
        rows = [
            {
                "path": path,
                "media_id": media_id(self.key, path, item.frame_ms),
                "content_id": item.content_id if item.status == "ok" else None,
                "media_type": "image" if item.frame_ms is None else "video",
                "bytes": 1000,
                "mtime_ns": 1,
                "format": "jpeg",
                "width": 640,
                "height": 480,
                "frames": 1,
                "frame_ms": item.frame_ms,
                "status": item.status,
                "reason": "" if item.status == "ok" else "corrupt",
                "detail": "",
                "first_seen": item.first_seen,
                "sku": item.sku,
                "title": item.title,
                "tags": list(item.tags),
                "extra": json.dumps(item.extra),
            }
            for path, item in sorted(self.items.items())
        ]
        return pa.Table.from_pylist(rows, MANIFEST_SCHEMA)

    def batches(self, rows: int = 3) -> Iterator[pa.RecordBatch]:
        """As `EmbeddingStore.batches` gives them: sorted by content id, one row for each content."""
        contents = {item.content_id: item.words for item in self.items.values() if item.status == "ok"}
        if not contents:
            return
        ids = sorted(contents)
        vectors = self.encoder.encode_texts([contents[content_id] for content_id in ids])
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), self.encoder.dim)
        yield from pa.table({"content_id": ids, "embedding": column}).to_batches(max_chunksize=rows)

    @property
    def rows(self) -> DropRows:
        return DropRows(self.drop, self.manifest, self.batches)


WATCHES = FakeDrop(
    "lunar__2026-09",
    {
        "gold.jpg": Item(
            "golden watch", sku="L-1", title="Golden watch", tags=("gold", "metal"), extra={"season": "fall"}
        ),
        "gold-side.jpg": Item("golden watch side", sku="L-1", title="Golden watch, side"),
        "silver.jpg": Item("silver watch", sku="L-2", title="Silver watch"),
        "promo.mp4": Item("watch film", title="Promo", frame_ms=1500),
        "broken.jpg": Item("", status="quarantined"),
    },
)
BAGS = FakeDrop(
    "vela__spring",
    {
        "red.jpg": Item("red bag", sku="V-1", title="Red bag"),
        "blue.jpg": Item("blue bag", sku="V-2", title='Blue "bag" \\ two\nlines'),
        "copy-of-gold.jpg": Item("golden watch", title="The same bytes as lunar's gold.jpg"),
    },
)
