"""The demo library's golden queries, asked of the live index as a person would ask them."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from mmrag_pipeline import wiring
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.filter import Filter
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.quality.asking import ask
from mmrag_pipeline.quality.golden import golden_queries
from mmrag_pipeline.settings import DEMO_GOLDEN, Settings

GOLDEN = DEMO_GOLDEN


@dataclass(frozen=True)
class GoldenScores:
    """Means over the `queries` that have a right answer: the share whose first hit is right, and R@10."""

    queries: int
    first: float
    ten: float


def ask_golden(settings: Settings) -> GoldenScores:
    """Ask all of them of the still pictures that are live.

    Raises:
        UserError: nothing is live.
    """
    encoder = wiring.encoder(settings)
    encoder.load_for_words()  # before the connection: a Milvus Lite file must not stay locked for seconds
    with connect(wiring.milvus(settings)) as milvus:
        live = milvus.live()
        if live is None:
            raise UserError("nothing is indexed yet: run `mmrag demo`.")
        found = ask(milvus, encoder, golden_queries(GOLDEN), collection=live, where=Filter(media_type="image"))
    if not found:
        raise UserError("none of the golden queries has a right answer among what is live: run `mmrag demo`.")
    return GoldenScores(
        queries=len(found),
        first=fmean(each.r1 for each in found.values()),
        ten=fmean(each.r10 for each in found.values()),
    )
