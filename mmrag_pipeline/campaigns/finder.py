"""The index as a plan asks it."""

from __future__ import annotations

from mmrag_pipeline.embedding.model import Encoder
from mmrag_pipeline.index.filter import Filter
from mmrag_pipeline.index.hit import Hit
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.search import SearchRequest, items, search, spread
from mmrag_pipeline.index.status import product_lines


class MilvusReferenceFinder:
    """A `ReferenceFinder` on the live collection; generated pictures are never found."""

    def __init__(self, milvus: Milvus, encoder: Encoder):
        self._milvus = milvus
        self._encoder = encoder

    def by_text(self, text: str, *, product_line: str | None, min_score: float | None, limit: int) -> list[Hit]:
        request = SearchRequest(text=text, where=Filter(product_line=product_line), min_score=min_score, k=limit)
        return search(self._milvus, self._encoder, request)

    def by_sku(self, sku: str, *, product_line: str | None, limit: int) -> list[Hit]:
        return spread(self._milvus, items(self._milvus, sku=sku, product_line=product_line, limit=limit))

    def product_lines(self) -> list[str]:
        return product_lines(self._milvus)
