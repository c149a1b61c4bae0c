"""Search, as the CLI, the assets and the campaigns all do it: a request in, hits with cosine scores out."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.copies import NO_COPIES, Copies
from mmrag_pipeline.index.failures import is_gone
from mmrag_pipeline.index.filter import IN_LIBRARY, Filter
from mmrag_pipeline.index.hit import HIT_FIELDS, Hit, to_hit
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.schema import CollectionInfo

if TYPE_CHECKING:
    from PIL import Image

    from mmrag_pipeline.embedding.model import Encoder

MAX_K = 1000
MAX_OFFSET = 4000
POOL = 100
"""Among how many of the nearest a diverse answer is chosen."""
_WINDOW = 16_384  # most rows a server returns for one search
_SAME = 1e-6  # scores closer than this are equal: float32 noise must not decide an order


@dataclass(frozen=True)
class SearchRequest:
    """What to look for (words, a picture, or both) and among what.

    `image_weight` is the picture's share, 0 to 1, when there are words too. `one_per_content` keeps the first of items
    with equal bytes, and of those that are near-duplicates by `copies`. `offset` leaves out that many of the best.
    `diversity`, 0 to 1, is how much unlikeness to the hits before it counts against likeness to the query (see `mmr`);
    scores stay cosines to the query.
    """

    text: str | None = None
    image: Image.Image | None = None
    k: int = 3
    offset: int = 0
    where: Filter = IN_LIBRARY
    min_score: float | None = None
    one_per_content: bool = True
    copies: Copies = NO_COPIES
    image_weight: float = 0.5
    diversity: float = 0.0


@dataclass(frozen=True)
class Explanation:
    """How an answer came about; times in seconds, `candidates` are the rows that Milvus was asked for in the end."""

    fingerprint: str
    collection: str
    index: str
    filter: str
    candidates: int
    encode_s: float
    search_s: float


@dataclass(frozen=True)
class Answer:
    """The hits, best first, and how they were found."""

    hits: list[Hit]
    explanation: Explanation


def search(
    milvus: Milvus, encoder: Encoder, request: SearchRequest, *, collection: CollectionInfo | None = None
) -> list[Hit]:
    """The hits of `answer`."""
    return answer(milvus, encoder, request, collection=collection).hits


def answer(
    milvus: Milvus, encoder: Encoder, request: SearchRequest, *, collection: CollectionInfo | None = None
) -> Answer:
    """The `k` most similar items after the first `offset`, by score and then by drop, path and frame.

    They are looked for in `collection`; None is what is live, which everybody searches.

    Raises:
        UserError: nothing to look for, a filter that no row can satisfy, no live collection yet, or one of another
            model.
    """
    expression = request.where.expression()
    _require_sense(request)
    live = collection or _require(milvus.lately_live(), milvus)
    if collection is None and live.fingerprint != encoder.fingerprint:
        live = _require(milvus.live(), milvus)  # the model may have changed within this second
    if (live.fingerprint, live.dim) != (encoder.fingerprint, encoder.dim):
        raise UserError(
            f"the live collection {live.name} was made with model {live.fingerprint}, the model in force is "
            f"{encoder.fingerprint}: materialise clip_embeddings for every drop and run the nightly_reindex job, "
            f"or set MMRAG_CLIP_MODEL back."
        )
    started = time.perf_counter()
    vector = query_vector(encoder, request)
    encoded = time.perf_counter()
    while True:
        try:
            hits, candidates = _nearest(milvus, live.name, vector, expression, request)
            again = live if hits or collection else _require(milvus.live(), milvus)
            if again.name == live.name or again.fingerprint != live.fingerprint:
                break
            live = again  # a server finds nothing in a collection that is dropped at this moment
        except Exception as error:
            again = _require(milvus.live(), milvus) if collection is None and is_gone(error) else live
            if again.name == live.name or again.fingerprint != live.fingerprint:
                raise
            live = again  # swapped and dropped between looking up the alias and searching
    times = {"encode_s": encoded - started, "search_s": time.perf_counter() - encoded}
    explanation = Explanation(live.fingerprint, live.name, live.index, expression, candidates, **times)
    return Answer(hits, explanation)


def _require_sense(request: SearchRequest) -> None:
    if not 1 <= request.k <= MAX_K:
        raise UserError(f"k is {request.k}: ask for 1 to {MAX_K} results.")
    if not 0 <= request.offset <= MAX_OFFSET:
        raise UserError(f"offset is {request.offset}: leave out 0 to {MAX_OFFSET} results; narrow the filter instead.")
    if request.diversity and request.offset + request.k > POOL:
        raise UserError(f"with diversity the answer is chosen among the nearest {POOL}: ask for no more than these.")
    for name in ("diversity", "image_weight"):
        if not 0 <= getattr(request, name) <= 1:
            raise UserError(f"{name} is {getattr(request, name):g}: give 0 to 1.")
    if not (request.text and request.text.strip()) and request.image is None:
        raise UserError("there is nothing to look for: give words or a picture.")


def query_vector(encoder: Encoder, request: SearchRequest) -> np.ndarray:
    """Unit vector float32 [dim] of the request's words, picture, or their weighted sum."""
    parts = []
    if request.text and request.text.strip():
        share = 1.0 if request.image is None else 1.0 - request.image_weight
        parts.append(share * np.asarray(encoder.encode_texts([request.text.strip()])[0], dtype=np.float32))
    if request.image is not None:
        share = request.image_weight if parts else 1.0
        parts.append(share * np.asarray(encoder.encode_images([request.image])[0], dtype=np.float32))
    vector = parts[0] if len(parts) == 1 else np.sum(parts, axis=0)
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length < _SAME:
        raise UserError("the words and the picture cancel each other out: choose another image weight.")
    return (vector / length).astype(np.float32)


def items(
    milvus: Milvus,
    *,
    sku: str | None = None,
    product_line: str | None = None,
    drop: str | None = None,
    tags: tuple[str, ...] = (),
    limit: int,
    one_per_content: bool = True,
) -> list[Hit]:
    """Library items with these attributes, in order of drop, path and frame; nothing is ranked.

    Their score is 1.0: the attributes match exactly, and no similarity was asked for.

    Raises:
        UserError: no live collection yet, or a value that no item can have.
    """
    live = _require(milvus.live(), milvus)
    expression = Filter(sku=sku, product_line=product_line, drop=drop, tags=tags).expression()
    found = (to_hit(row["id"], 1.0, row) for page in milvus.rows(live.name, HIT_FIELDS, expression) for row in page)
    if one_per_content:
        ordered: Iterable[Hit] = _first_of_content(sorted(found, key=lambda hit: hit.place))
    else:
        ordered = heapq.nsmallest(limit, found, key=lambda hit: hit.place)
    return _ranked(ordered, limit)


def spread(milvus: Milvus, hits: Sequence[Hit]) -> list[Hit]:
    """The same hits, the first where it was and each next one the least like any before it, so that the first few are
    different views (farthest-first traversal, Gonzalez 1985).
    """
    live = _require(milvus.live(), milvus)
    rows = milvus.get(live.name, [hit.media_id for hit in hits], ("embedding",))
    there = [hit for hit in hits if hit.media_id in rows]
    vectors = np.array([rows[hit.media_id]["embedding"] for hit in there], dtype=np.float32)
    ordered = mmr(there, vectors, diversity=1.0, count=len(there)) if there else []
    gone = [hit for hit in hits if hit.media_id not in rows]  # deleted meanwhile, or in another collection by now
    return _ranked(ordered + gone, len(hits))


def why_empty(milvus: Milvus, request: SearchRequest) -> str:
    """Why this request found nothing, in a sentence."""
    live = milvus.live()
    if live is None:
        return _nothing_live(milvus)
    if not milvus.count(live.name):
        return f"the live collection {live.name} holds no items: ingest a drop."
    expression = request.where.expression()
    found = milvus.count(live.name, expression) if expression else 0
    if expression and not found:
        return f"no item has {request.where}: widen the filter."
    if request.offset:
        return f"there are no more than {request.offset} results: ask for an earlier page."
    if request.min_score is not None:
        return f"no item reaches a score of {request.min_score:g}: lower it."
    return "the items were deleted meanwhile: search again."


def _require(live: CollectionInfo | None, milvus: Milvus) -> CollectionInfo:
    if live is None:
        raise UserError(_nothing_live(milvus))
    return live


def _nothing_live(milvus: Milvus) -> str:
    where = f"no alias {milvus.alias} in {milvus.address}"
    return f"nothing is indexed yet ({where}): run `mmrag demo`, or ingest a drop."


def _nearest(
    milvus: Milvus, collection: str, vector: np.ndarray, expression: str, request: SearchRequest
) -> tuple[list[Hit], int]:
    """Fetch more until enough distinct items are found and no item outside ties with the last of them."""
    wanted = POOL if request.diversity else request.offset + request.k
    limit = min(wanted + wanted // 4 + 2, _WINDOW)  # as a rule few are copies
    while True:
        found = milvus.search(collection, vector, limit=limit, fields=HIT_FIELDS, filter=expression)
        hits = sorted(
            (to_hit(media_id, score, fields) for media_id, score, fields in found),
            key=lambda hit: (-round(hit.score / _SAME), hit.place),
        )
        kept = [hit for hit in hits if request.min_score is None or hit.score >= request.min_score]
        distinct = list(_first_of_content(kept, request.copies)) if request.one_per_content else kept
        complete = len(found) < limit or limit >= _WINDOW or len(kept) < len(hits)
        if complete or (len(distinct) >= wanted and distinct[wanted - 1].score - hits[-1].score > 2 * _SAME):
            break
        limit = min(4 * limit, _WINDOW)
    if request.diversity:
        rows = milvus.get(collection, [hit.media_id for hit in distinct[:wanted]], ("embedding",))
        pool = [hit for hit in distinct[:wanted] if hit.media_id in rows]  # deleted meanwhile
        vectors = np.array([rows[hit.media_id]["embedding"] for hit in pool], dtype=np.float32)
        distinct = mmr(pool, vectors, diversity=request.diversity, count=request.offset + request.k)
    return _ranked(distinct[request.offset :], request.k, first=request.offset + 1), limit


def mmr(hits: Sequence[Hit], vectors: np.ndarray, *, diversity: float, count: int) -> list[Hit]:
    """The first `count` of `hits` by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998).

    `vectors` [hits, dim] are their unit vectors. Each pick has the highest
    (1 - diversity) * score - diversity * (highest cosine to those picked before).
    """
    scores = np.array([hit.score for hit in hits], dtype=np.float32)
    nearest = np.full(len(hits), -np.inf, dtype=np.float32)
    picked: list[int] = []
    while len(picked) < min(count, len(hits)):
        likeness = nearest if picked else np.zeros(len(hits), dtype=np.float32)
        marginal = (1 - diversity) * scores - diversity * likeness
        marginal[picked] = -np.inf
        best = int(marginal.argmax())
        picked.append(best)
        nearest = np.maximum(nearest, vectors @ vectors[best])
    return [hits[row] for row in picked]


def _first_of_content(hits: Iterable[Hit], copies: Copies = NO_COPIES) -> Iterator[Hit]:
    seen: set[str] = set()
    for hit in hits:
        shown = copies.of(hit.content_id)
        if shown not in seen:
            seen.add(shown)
            yield hit


def _ranked(hits: Iterable[Hit], limit: int, *, first: int = 1) -> list[Hit]:
    return [hit.ranked(rank) for rank, hit in zip(range(first, first + limit), hits, strict=False)]
