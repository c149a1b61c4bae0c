"""The index as a plan asks it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mmrag_pipeline.embedding.model import Encoder
from mmrag_pipeline.index.copies import NO_COPIES, Copies
from mmrag_pipeline.index.filter import Filter
from mmrag_pipeline.index.hit import Hit
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.search import SearchRequest, items, search, spread
from mmrag_pipeline.index.status import product_lines

if TYPE_CHECKING:
    from PIL import Image


class MilvusReferenceFinder:
    """A `ReferenceFinder` on the live collection; generated pictures are never found.

    Of near-duplicates among the views of one sku it gives one. A search gives all: which product is meant is for the
    best hit to say, and a copy of that picture may be catalogued as another product, or as none.
    """

    def __init__(self, milvus: Milvus, encoder: Encoder, *, copies: Copies = NO_COPIES):
        self._milvus = milvus
        self._encoder = encoder
        self._copies = copies

    def by_text(self, text: str, *, product_line: str | None, min_score: float | None, limit: int) -> list[Hit]:
        return self._search(SearchRequest(text=text, k=limit), product_line, min_score)

    def by_picture(
        self, image: Image.Image, text: str | None, *, product_line: str | None, min_score: float | None, limit: int
    ) -> list[Hit]:
        return self._search(SearchRequest(text=text, image=image, k=limit), product_line, min_score)

    def by_sku(self, sku: str, *, product_line: str | None, limit: int) -> list[Hit]:
        found = items(self._milvus, sku=sku, product_line=product_line, limit=sys.maxsize)
        return self._copies.best_of_each(found)[:limit]

    def views(
        self, sku: str, *, product_line: str | None, text: str | None, image: Image.Image | None, limit: int
    ) -> list[Hit]:
        where = Filter(sku=sku, product_line=product_line)
        request = SearchRequest(text=text, image=image, where=where, k=limit)
        return self._copies.best_of_each(search(self._milvus, self._encoder, request))

    def by_filter(self, where: Filter) -> list[Hit]:
        named = {"sku": where.sku, "product_line": where.product_line, "drop": where.drop, "tags": where.tags}
        return items(self._milvus, **named, limit=sys.maxsize)

    def spread(self, hits: Sequence[Hit]) -> list[Hit]:
        return spread(self._milvus, hits)

    def product_lines(self) -> list[str]:
        return product_lines(self._milvus)

    def _search(self, request: SearchRequest, product_line: str | None, min_score: float | None) -> list[Hit]:
        request = replace(request, where=Filter(product_line=product_line), min_score=min_score)
        return search(self._milvus, self._encoder, request)
