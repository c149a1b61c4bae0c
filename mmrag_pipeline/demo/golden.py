"""The demo library's golden queries, asked of the live index as a person would ask them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from mmrag_pipeline import wiring
from mmrag_pipeline.index.filter import Filter
from mmrag_pipeline.index.hit import Hit
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.index.search import SearchRequest, items, search
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.quality.golden import ASKED_FOR, golden_queries
from mmrag_pipeline.quality.recall import recall_at
from mmrag_pipeline.settings import Settings

GOLDEN = Path(__file__).with_name("golden.csv")


@dataclass(frozen=True)
class GoldenScores:
    """Means over `queries`: the share whose first hit is right, and R@10."""

    queries: int
    first: float
    ten: float


def ask_golden(settings: Settings) -> GoldenScores:
    """Ask all of them of the still pictures that are live.

    Raises:
        UserError: nothing is live.
        ValueError: a query has no right answer among what is live.
    """
    encoder = wiring.encoder(settings)
    encoder.load_for_words()
    first, ten = [], []
    with connect(wiring.milvus(settings)) as milvus:
        library = [hit for hit in items(milvus, limit=100_000) if hit.media_type == "image"]
        rows = {hit.media_id: row for row, hit in enumerate(library)}
        for query in golden_queries(GOLDEN):
            right = [row for row, hit in enumerate(library) if query.grade(_described(hit)) == ASKED_FOR]
            hits = search(milvus, encoder, SearchRequest(text=query.query, k=10, where=Filter(media_type="image")))
            ranked = [rows[hit.media_id] for hit in hits]
            first.append(recall_at(1, ranked, right))
            ten.append(recall_at(10, ranked, right))
    return GoldenScores(queries=len(first), first=fmean(first), ten=fmean(ten))


def _described(hit: Hit) -> dict[str, str]:
    """The hit under the names that judgements use."""
    drop = Drop.parse(hit.drop)
    path = f"{drop.product_line}/{drop.name}/{hit.path}"
    return {"path": path, "product_line": hit.product_line, "sku": hit.sku, "tags": ";".join(hit.tags)}
