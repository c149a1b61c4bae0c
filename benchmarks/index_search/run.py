"""Bars: p95 of the ten best with a filter and all fields at most 1.15 times that of pymilvus' own search call, on a
server with 10,000 and 100,000 rows and on Lite with 10,000; a text query at most 1.2 times model and call (p50).

Ours is `answer`, all that `mmrag search` does once the model is loaded and the connection open. The raw call has the
same client, filter, fields, limit and consistency. Both get the same queries and take turns query by query.
Beside them, without a bar, are the references of references.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks import index_library, index_place
from benchmarks.index_library import DIM, NOW, PRODUCT_LINES, Library
from benchmarks.index_place import NoServer, Place, client_of
from benchmarks.index_proof import K, Nearest, require_same
from benchmarks.index_search import references
from benchmarks.index_search.references import Ask, Exact
from benchmarks.options import Options
from benchmarks.report import Result, Samples, taking_turns, times_as_much
from mmrag_pipeline.embedding.clip import ClipEncoder
from mmrag_pipeline.embedding.model import DEMO, Encoder, ModelSpec
from mmrag_pipeline.index.filter import Filter
from mmrag_pipeline.index.hit import HIT_FIELDS
from mmrag_pipeline.index.milvus import Milvus, connect
from mmrag_pipeline.index.rebuild import publish, stage
from mmrag_pipeline.index.schema import METRIC
from mmrag_pipeline.index.search import SearchRequest, answer
from mmrag_pipeline.store import Store

SERVER = "server"
SMALL, LARGE, QUICK_ROWS = 10_000, 100_000, 2_000
OURS, RAW, MODEL_AND_RAW = "ours", "pymilvus' search call", "the model and pymilvus' search call"
_QUERIES, _QUICK_QUERIES, _WARM_UP = 300, 30, 20
_THINGS = ("bag", "boot", "clock", "coat", "lamp", "scarf", "shoe", "watch", "belt", "vase")
_LOOKS = (
    "red",
    "black leather",
    "golden",
    "striped",
    "wooden",
    "pale blue",
    "plain white",
    "floral",
    "quilted",
    "glass",
)
_PLACES = ("on a table", "outdoors", "on white")


class Ready:
    """An encoder that costs nothing: the text is the number of a vector."""

    def __init__(self, fingerprint: str, vectors: np.ndarray):
        self.fingerprint, self.dim = fingerprint, vectors.shape[1]
        self._vectors = vectors

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._vectors[[int(text) for text in texts]]

    def encode_images(self, images: Sequence[object]) -> np.ndarray:
        raise NotImplementedError


@dataclass(frozen=True)
class _Filled:
    """A filled collection, live in an open connection."""

    milvus: Milvus
    collection: str

    def ours(self, encoder: Encoder, texts: Sequence[str], number: int, *, filtered: bool = True) -> Nearest:
        request = SearchRequest(text=texts[number], k=K, where=_where(number) if filtered else Filter())
        return [(hit.media_id, hit.score) for hit in answer(self.milvus, encoder, request).hits]

    def raw(self, vector: np.ndarray, number: int) -> Nearest:
        found = client_of(self.milvus).search(
            self.collection,
            data=[vector],
            anns_field="embedding",
            limit=K,
            filter=_where(number).expression(),
            output_fields=list(HIT_FIELDS),
            search_params={"metric_type": METRIC, "params": {}},
            consistency_level="Bounded",
        )
        return [(hit["id"], float(hit["distance"])) for hit in found[0]]


def run(options: Options) -> Result:
    """Measure all places and sizes; fails when the sides found different things."""
    result = Result("index_search", f"the {K} best with a filter and {len(HIT_FIELDS)} fields, ms a query")
    small, large = (QUICK_ROWS, QUICK_ROWS) if options.quick else (SMALL, LARGE)
    encoder = ClipEncoder(ModelSpec.parse(DEMO), Store(options.data / "index-search-store"))
    encoder.load_for_words()
    library = index_library.make(options.data, small, fingerprint=encoder.fingerprint)
    try:
        with index_place.server(options.data) as place:
            _measure(result, SERVER, place, library, options, encoder)
            if large != small:
                _measure(result, SERVER, place, index_library.make(options.data, large), options)
    except NoServer as why:
        result.not_measured.append(str(why))
    with index_place.lite(options.data) as place:
        _measure(result, "Lite", place, library, options, encoder)
    result.notes["queries"] = (
        f"{_count(options)} a side and round after {_WARM_UP} to warm up, one product line of {len(PRODUCT_LINES)} each"
    )
    result.notes["references"] = (
        "they return ids and scores, ours and pymilvus' call all fields; FiftyOne's searches with a list of ids are "
        f"{references.FEW} a round; recall against exact search"
    )
    result.notes["index"] = ", ".join(
        f"{index_place.layout(rows).index} for {rows:,} rows" for rows in sorted({small, large})
    )
    return result


def _measure(
    result: Result, where: str, place: Place, library: Library, options: Options, encoder: Encoder | None = None
) -> None:
    """Vectors, and with an `encoder` texts too, in one collection of the library."""
    count = _count(options)
    vectors = library.queries(count)
    ready, numbers = Ready(library.fingerprint, vectors), [str(number) for number in range(count)]
    with connect(place.config(f"bench_{library.rows}")) as milvus:
        staged = stage(milvus, drops=library.drops(), fingerprint=library.fingerprint, dim=DIM, now=NOW, mode="rebuild")
        publish(milvus, staged)
        filled = _Filled(milvus, staged.collection)
        case = f"{where}, {library.rows:,}"
        sides: dict[str, Ask] = {
            OURS: partial(filled.ours, ready, numbers),
            RAW: lambda number: filled.raw(vectors[number], number),
        }
        times = _in_turns(result, case, sides, options)
        result.figures += [
            times_as_much(*times["p95"], what="p95 over that of pymilvus' search call", bar=1.15),
            times_as_much(*times["p50"], what="p50 over that of pymilvus' search call"),
        ]
        references.measure(
            result,
            case,
            Exact.of(library),
            vectors,
            ours=(partial(filled.ours, ready, numbers, filtered=False), partial(filled.ours, ready, numbers)),
            fiftyone_at=(library, place) if where == SERVER else None,
            rounds=options.rounds(),
        )
        if encoder is None:
            return
        texts = _texts(count)
        sides = {
            OURS: partial(filled.ours, encoder, texts),
            MODEL_AND_RAW: lambda number: filled.raw(encoder.encode_texts([texts[number]])[0], number),
        }
        times = _in_turns(result, f"{case}, text", sides, options)
        result.figures += [
            times_as_much(*times["p50"], what="p50 over the model and pymilvus' search call", bar=1.2),
            times_as_much(*times["p95"], what="p95 over the model and pymilvus' search call"),
        ]


def _in_turns(result: Result, case: str, sides: dict[str, Ask], options: Options) -> dict[str, list[Samples]]:
    """Percentiles of each round by name ("p50", "p95"): ours, then theirs."""
    count = _count(options)
    taking_turns({side: partial(next, _asking(ask, count)) for side, ask in sides.items()}, min(_WARM_UP, count))
    seconds: dict[str, list[list[float]]] = {side: [] for side in sides}
    for _ in range(options.rounds()):
        asked = taking_turns({side: partial(next, _asking(ask, count)) for side, ask in sides.items()}, count)
        require_same({side: [nearest for _, nearest in answers] for side, answers in asked.items()})
        for side, answers in asked.items():
            seconds[side].append([taken for taken, _ in answers])

    def percentile(share: float) -> list[Samples]:
        name = f"ms, p{share:g}"
        values = {
            side: [1000 * float(np.percentile(each, share)) for each in rounds] for side, rounds in seconds.items()
        }
        return list(result.add(case, name, values).values())

    return {f"p{share}": percentile(share) for share in (50, 95)}


def _asking(ask: Ask, count: int) -> Iterator[tuple[float, Nearest]]:
    """Seconds and answer of each query."""
    for number in range(count):
        started = time.perf_counter()
        nearest = ask(number)
        yield time.perf_counter() - started, nearest


def _where(number: int) -> Filter:
    return Filter(product_line=references.line_of(number))


def _texts(count: int) -> list[str]:
    """Different short texts, as people type them."""
    every = [f"{look} {thing} {place}" for place in _PLACES for look in _LOOKS for thing in _THINGS]
    return every[:count]


def _count(options: Options) -> int:
    return _QUICK_QUERIES if options.quick else _QUERIES
