"""The ways to fill a collection. Each starts from the files of the library and ends when it holds all of them.

A further way is one more function and its line in `SIDES`; run.py says which of them are measured where.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import pyarrow.parquet as pq

from benchmarks.fiftyone import filled
from benchmarks.index_library import DIM, NOW, Library, vectors_of
from benchmarks.index_place import Place, client_of, layout
from benchmarks.index_proof import Collection
from mmrag_pipeline.index.layout import INDEXES
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.index.rebuild import stage
from mmrag_pipeline.index.schema import LIBRARY, METRIC, STILL, build_schema

Side = Callable[[Library, Place, str], contextlib.AbstractContextManager[Collection]]
"""Fills a new collection with the library under (or, ours, as an alias of) a name, and drops it on leaving."""
Row = dict[str, Any]


@contextlib.contextmanager
def ours(library: Library, place: Place, name: str, *, bulk: bool = False) -> Iterator[Collection]:
    """What the nightly job does when it rebuilds; `bulk`: with a folder that the server imports from."""
    with connect(place.config(name, import_folder=library.root / "import" if bulk else None)) as milvus:
        staged = stage(milvus, drops=library.drops(), fingerprint=library.fingerprint, dim=DIM, now=NOW, mode="rebuild")
        yield Collection(client_of(milvus), staged.collection)
        milvus.drop(staged.collection)


@contextlib.contextmanager
def rows(
    library: Library, place: Place, name: str, *, lists: bool, batch: int, method: str, flush: bool
) -> Iterator[Collection]:
    """Dicts, `batch` of them a call, into the same fields as ours; vectors as Python lists or as numpy rows."""
    client = place.client()
    plan = layout(library.rows)
    params = client.prepare_index_params()
    params.add_index("embedding", index_type=plan.index, metric_type=METRIC, params=dict(INDEXES[plan.index].build))
    client.create_collection(name, schema=build_schema(DIM, plan), index_params=params)
    for of_drop in _drops(library):
        for start in range(0, len(of_drop), batch):
            some = of_drop[start : start + batch]
            if lists:
                some = [row | {"embedding": row["embedding"].tolist()} for row in some]
            getattr(client, method)(name, some)
    if flush:
        client.flush(name)
    yield Collection(client, name)
    client.drop_collection(name)


@contextlib.contextmanager
def fiftyone(library: Library, place: Place, name: str) -> Iterator[Collection]:
    """As fiftyone-brain writes, with the index and the metric of the others instead of its own."""
    index = layout(library.rows).index
    params = {"metric_type": METRIC, "index_type": index, "params": dict(INDEXES[index].build)}
    with filled(library, place, name, params):
        yield Collection(place.client(), name, key="pk", vector="vector")


def _drops(library: Library) -> Iterator[list[Row]]:
    """The rows of each drop, with the fields that ours have; made with as little as will do."""
    for manifest, parts in library.files():
        line = manifest.stem.partition("__")[0]
        vectors = vectors_of(parts)
        of_drop = []
        for row in pq.ParquetFile(manifest).read().to_pylist():
            if row["status"] != "ok":
                continue
            frame_ms = row["frame_ms"]
            of_drop.append(
                {
                    "id": row["media_id"],
                    "content_id": row["content_id"],
                    "product_line": line,
                    "drop": manifest.stem,
                    "path": row["path"],
                    "filename": PurePosixPath(row["path"]).name,
                    "media_type": row["media_type"],
                    "frame_ms": STILL if frame_ms is None else frame_ms,
                    "width": row["width"],
                    "height": row["height"],
                    "origin": LIBRARY,
                    "sku": row["sku"],
                    "title": row["title"],
                    "ingested_at": int(row["first_seen"].timestamp() * 1000),
                    "row_digest": len(of_drop),
                    "tags": row["tags"],
                    "embedding": vectors[row["content_id"]],
                    **json.loads(row["extra"]),
                }
            )
        yield of_drop


SIDES: dict[str, Side] = {
    "ours": ours,
    "ours-bulk": partial(ours, bulk=True),
    "tutorial": partial(rows, lists=True, batch=1000, method="insert", flush=False),
    "fiftyone": fiftyone,
    "hundreds": partial(rows, lists=True, batch=100, method="insert", flush=True),
    "numpy-insert": partial(rows, lists=False, batch=2000, method="insert", flush=True),
    "numpy-upsert": partial(rows, lists=False, batch=2000, method="upsert", flush=True),
}
