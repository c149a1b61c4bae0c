"""FiftyOne's way with Milvus: the calls of fiftyone-brain's Milvus backend, without FiftyOne.

Columns of lists, 100 rows an insert, one flush, then a load; a key, the vector and a sample's id, which is less than
the others write. A search names the ids of all samples that may be found, also where those are all.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.index_library import DIM, Library
from benchmarks.index_place import TIMEOUT_S, Place
from benchmarks.index_proof import K, Nearest

if TYPE_CHECKING:
    from pymilvus import Collection

METRIC = "IP"
INDEX = {"metric_type": METRIC, "index_type": "HNSW", "params": {"M": 8, "efConstruction": 64}}
SEARCH = {"HNSW": {"metric_type": METRIC, "params": {"ef": 10}}}
"""As it is handed to the search; "HNSW" is no parameter that Milvus knows."""
BATCH = 100


@contextlib.contextmanager
def filled(library: Library, place: Place, name: str, index: dict[str, Any]) -> Iterator[Collection]:
    """A new collection with the library in it, in pymilvus' older interface; dropped on leaving."""
    from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections

    warnings.simplefilter("ignore", FutureWarning)  # the older interface says so each time
    connections.connect(alias=name, uri=place.uri, token=place.token)
    text = {"dtype": DataType.VARCHAR, "max_length": 64_000}
    fields = [
        FieldSchema("pk", is_primary=True, auto_id=False, **text),
        FieldSchema("vector", DataType.FLOAT_VECTOR, dim=DIM),
        FieldSchema("sample_id", **text),
    ]
    handle = Collection(name, CollectionSchema(fields), consistency_level="Session", using=name)
    handle.create_index("vector", index)
    handle.load()
    ids, _, vectors = library.matrix()
    lists = [vector.tolist() for vector in vectors]
    for start in range(0, len(ids), BATCH):
        some = slice(start, start + BATCH)
        handle.insert([ids[some], lists[some], ids[some]])
    handle.flush()
    handle.load()
    yield handle
    handle.drop()


def wait_for_index(handle: Collection) -> None:
    """Until the server has built it: before that it looks at every row, which is not what its index finds."""
    from pymilvus import utility

    utility.wait_for_index_building_complete(handle.name, "vector", timeout=TIMEOUT_S, using=handle.name)


def only(ids: Sequence[str]) -> str:
    """The filter of every search."""
    quoted = ",".join(f'"{media_id}"' for media_id in ids)
    return f"pk in [{quoted}]"


def nearest(handle: Collection, vector: np.ndarray, expression: str, params: dict[str, Any]) -> Nearest:
    """Its search, for one vector."""
    found = handle.search(data=[vector.tolist()], anns_field="vector", limit=K, expr=expression, param=params)
    return [(hit.id, float(hit.score)) for hit in found[0]]
