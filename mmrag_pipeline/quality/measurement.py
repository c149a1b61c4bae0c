"""How good the live collection is, in numbers: what `retrieval_quality` measures, and where it is kept.

`quality/retrieval.json` in the store holds the last measurement. While nothing that it depends on has changed it is
taken as it is, so that a quiet night loads no model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from mmrag_pipeline.embedding.drift import Drift
from mmrag_pipeline.index.ann_recall import LEAST_RECALL, DropRows, Recall, measure_recall
from mmrag_pipeline.index.copies import Copies
from mmrag_pipeline.quality.figures import QueryFigures
from mmrag_pipeline.quality.golden import GoldenQuery
from mmrag_pipeline.quality.summary import Summary
from mmrag_pipeline.store import Store, write_json

if TYPE_CHECKING:
    from mmrag_pipeline.embedding.model import Encoder
    from mmrag_pipeline.index.milvus import Milvus

ASKED = 50
"""Queries that the index is compared with exact search for."""
WORST = 4
_UNDER = ("torch", "torchvision", "open-clip-torch", "pillow", "simplejpeg", "av", "numpy")
"""What a vector depends on besides its fingerprint: with another version of these, measure anew."""


@dataclass(frozen=True)
class Measurement:
    """`labels` says what the queries are: the path of a golden set, `weak.WEAK`, or "" where there are none.

    `copies` is the share of the first ten answers that show what one above them shows: what search leaves out. `worst`
    are the queries that are answered worst, with their nDCG@10.
    """

    made_of: str
    collection: str
    fingerprint: str
    labels: str
    measured_at: str
    strata: tuple[Summary, ...]
    recalls: tuple[Recall, ...]
    copies: float
    worst: tuple[tuple[str, float], ...]
    drift: Drift | None

    @property
    def recall_passed(self) -> bool:
        return all(recall.share >= LEAST_RECALL for recall in self.recalls if recall.k == 10)


def made_of(*, collection: str, held: str, fingerprint: str, library: str, golden: str, copies: str) -> str:
    """A hash of everything that a measurement depends on; `held` says what the collection really holds, which is not
    what the manifests say where a drop was left out.
    """
    under = [f"{name} {version(name)}" for name in _UNDER]
    return hashlib.sha256(
        json.dumps([collection, held, fingerprint, library, golden, copies, *under]).encode()
    ).hexdigest()


def recalls_of(
    milvus: Milvus, encoder: Encoder, collection: str, drops: Mapping[str, DropRows], queries: Sequence[GoldenQuery]
) -> tuple[Recall, ...]:
    """Recall of the index for up to `ASKED` of the queries, spread over all of them."""
    every = max(1, len(queries) // ASKED)
    words = [query.query for query in queries[::every][:ASKED]]
    if not words:
        return ()
    vectors = np.concatenate([encoder.encode_texts([text]) for text in words])
    return tuple(measure_recall(milvus, collection, drops, vectors))


def copies_share(figures: Mapping[str, QueryFigures], contents: Mapping[str, str], copies: Copies) -> float:
    """The share of first answers that are near-duplicates of one above; `contents` is content id by media id."""
    shown = repeated = 0
    for each in figures.values():
        answers = [contents[media_id] for media_id in each.top if media_id in contents]
        shown += len(answers)
        repeated += copies.count_again(answers)
    return repeated / shown if shown else 0.0


def worst_of(figures: Mapping[str, QueryFigures], count: int = WORST) -> tuple[tuple[str, float], ...]:
    ordered = sorted(figures, key=lambda query: (figures[query].ndcg10, figures[query].mrr10, query))
    return tuple((query, figures[query].ndcg10) for query in ordered[:count])


class MeasurementStore:
    """The last measurement."""

    def __init__(self, store: Store):
        self._path = store.root / "quality" / "retrieval.json"

    def read(self) -> Measurement | None:
        """None when nothing was measured yet, or by another version of this program."""
        try:
            values = json.loads(self._path.read_text())
            drift = values["drift"]
            return Measurement(
                **values
                | {
                    "strata": tuple(_summary(each) for each in values["strata"]),
                    "recalls": tuple(Recall(**each) for each in values["recalls"]),
                    "worst": tuple((query, ndcg) for query, ndcg in values["worst"]),
                    "drift": Drift(**drift | {"unread": tuple(drift["unread"])}) if drift else None,
                }
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def keep(self, measurement: Measurement) -> None:
        write_json(self._path, asdict(measurement))


def _summary(values: dict) -> Summary:
    intervals = {name: (low, high) for name, (low, high) in values["intervals"].items()}
    return Summary(**values | {"intervals": intervals})
