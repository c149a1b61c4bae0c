"""Search, as the CLI, the assets and the campaigns all do it: a request in, hits with cosine scores out."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.failures import is_gone
from mmrag_pipeline.index.filter import both, equals
from mmrag_pipeline.index.hit import HIT_FIELDS, Hit, to_hit
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.schema import LIBRARY, CollectionInfo

if TYPE_CHECKING:
    from PIL import Image

    from mmrag_pipeline.embedding.model import Encoder

MAX_K = 1000
_WINDOW = 16_384  # most rows a server returns for one search
_SAME = 1e-6  # scores closer than this are equal: float32 noise must not decide an order


@dataclass(frozen=True)
class SearchRequest:
    """What to look for (words, a picture, or both) and where; a filter that is None does not filter.

    `image_weight` is the picture's share, 0 to 1, when there are words too. `one_per_content` keeps the first
    of items with equal bytes. Generated pictures are only found with `origin="generated"`, or with all others
    when `origin` is None.
    """

    text: str | None = None
    image: Image.Image | None = None
    k: int = 3
    product_line: str | None = None
    drop: str | None = None
    sku: str | None = None
    media_type: str | None = None
    origin: str | None = LIBRARY
    min_score: float | None = None
    one_per_content: bool = True
    image_weight: float = 0.5

    def filter(self) -> str:
        """The Milvus expression; "" for none. Raises UserError for a value that no row can have."""
        return attribute_filter(
            product_line=self.product_line,
            drop=self.drop,
            sku=self.sku,
            media_type=self.media_type,
            origin=self.origin,
        )


def attribute_filter(**values: str | None) -> str:
    return both(*(equals(name, value) for name, value in values.items() if value is not None))


def search(milvus: Milvus, encoder: Encoder, request: SearchRequest) -> list[Hit]:
    """The `k` most similar items, by score and then by drop, path and frame.

    Raises:
        UserError: nothing to look for, no live collection yet, or one of another model.
    """
    expression = request.filter()
    if not 1 <= request.k <= MAX_K:
        raise UserError(f"k is {request.k}: ask for 1 to {MAX_K} results.")
    if not (request.text and request.text.strip()) and request.image is None:
        raise UserError("there is nothing to look for: give words or a picture.")
    live = _require_live(milvus)
    if (live.fingerprint, live.dim) != (encoder.fingerprint, encoder.dim):
        raise UserError(
            f"the live collection {live.name} was made with model {live.fingerprint}, the model in force is "
            f"{encoder.fingerprint}: materialise clip_embeddings for every drop and run the nightly_reindex job, "
            f"or set MMRAG_CLIP_MODEL back."
        )
    vector = query_vector(encoder, request)
    while True:
        try:
            return _nearest(milvus, live.name, vector, expression, request)
        except Exception as error:
            again = _require_live(milvus) if is_gone(error) else live
            if again.name == live.name or again.fingerprint != live.fingerprint:
                raise
            live = again  # swapped and dropped between looking up the alias and searching


def query_vector(encoder: Encoder, request: SearchRequest) -> np.ndarray:
    """Unit vector float32 [dim] of the request's words, picture, or their weighted sum."""
    parts = []
    if request.text and request.text.strip():
        share = 1.0 if request.image is None else 1.0 - request.image_weight
        parts.append(share * np.asarray(encoder.encode_texts([request.text.strip()])[0], dtype=np.float32))
    if request.image is not None:
        share = request.image_weight if parts else 1.0
        parts.append(share * np.asarray(encoder.encode_images([request.image])[0], dtype=np.float32))
    vector = np.sum(parts, axis=0)
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
    limit: int,
    one_per_content: bool = True,
) -> list[Hit]:
    """Library items with these attributes, in order of drop, path and frame; nothing is ranked.

    Their score is 1.0: the attributes match exactly, and no similarity was asked for.

    Raises:
        UserError: no live collection yet, or a value that no item can have.
    """
    live = _require_live(milvus)
    expression = attribute_filter(sku=sku, product_line=product_line, drop=drop, origin=LIBRARY)
    found = (to_hit(row["id"], 1.0, row) for page in milvus.rows(live.name, HIT_FIELDS, expression) for row in page)
    if one_per_content:
        ordered: Iterable[Hit] = _first_of_content(sorted(found, key=lambda hit: hit.place))
    else:
        ordered = heapq.nsmallest(limit, found, key=lambda hit: hit.place)
    return _ranked(ordered, limit)


def why_empty(milvus: Milvus, request: SearchRequest) -> str:
    """Why this request found nothing, in a sentence."""
    live = milvus.live()
    if live is None:
        return _nothing_live(milvus)
    if not milvus.count(live.name):
        return f"the live collection {live.name} holds no items: ingest a drop."
    named = {
        name: value
        for name in ("product_line", "drop", "sku", "media_type", "origin")
        if (value := getattr(request, name)) is not None
    }
    if named and not milvus.count(live.name, request.filter()):
        filters = ", ".join(f"{name} {value!r}" for name, value in named.items())
        return f"no item has {filters}: widen the filter."
    if request.min_score is not None:
        return f"no item reaches a score of {request.min_score:g}: lower it."
    return "the items were deleted meanwhile: search again."


def _require_live(milvus: Milvus) -> CollectionInfo:
    live = milvus.live()
    if live is None:
        raise UserError(_nothing_live(milvus))
    return live


def _nothing_live(milvus: Milvus) -> str:
    where = f"no alias {milvus.alias} in {milvus.address}"
    return f"nothing is indexed yet ({where}): run `mmrag demo`, or ingest a drop."


def _nearest(milvus: Milvus, collection: str, vector: np.ndarray, expression: str, request: SearchRequest) -> list[Hit]:
    """Fetch more until k distinct items are found and no item outside ties with the last of them."""
    limit = 2 * request.k + 8
    while True:
        found = milvus.search(collection, vector, limit=limit, fields=HIT_FIELDS, filter=expression)
        hits = sorted(
            (to_hit(media_id, score, fields) for media_id, score, fields in found),
            key=lambda hit: (-round(hit.score / _SAME), hit.place),
        )
        kept = [hit for hit in hits if request.min_score is None or hit.score >= request.min_score]
        distinct = list(_first_of_content(kept)) if request.one_per_content else kept
        complete = len(found) < limit or limit >= _WINDOW or len(kept) < len(hits)
        if complete or (len(distinct) >= request.k and distinct[request.k - 1].score - hits[-1].score > 2 * _SAME):
            return _ranked(distinct, request.k)
        limit = min(4 * limit, _WINDOW)


def _first_of_content(hits: Iterable[Hit]) -> Iterator[Hit]:
    seen: set[str] = set()
    for hit in hits:
        if hit.content_id not in seen:
            seen.add(hit.content_id)
            yield hit


def _ranked(hits: Iterable[Hit], limit: int) -> list[Hit]:
    return [hit.ranked(rank) for rank, hit in zip(range(1, limit + 1), hits, strict=False)]
