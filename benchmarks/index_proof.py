"""What must hold for a side's time to count: it finds what it was given, and what the other sides find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmrag_pipeline.index.layout import SAME_COSINE
from mmrag_pipeline.index.schema import METRIC

if TYPE_CHECKING:
    from pymilvus import MilvusClient

K = 10
TIE = 1e-4  # what float32 sums differ by between a numpy and a C++ index

Nearest = list[tuple[str, float]]
"""(id, cosine), best first."""


@dataclass(frozen=True)
class Collection:
    """A collection that some side filled, and how it names the two fields that all have."""

    client: MilvusClient
    name: str
    key: str = "id"
    vector: str = "embedding"

    def count(self) -> int:
        """Rows, every finished write included."""
        found = self.client.query(self.name, "", output_fields=["count(*)"], consistency_level="Strong")
        return int(found[0]["count(*)"])

    def nearest(self, vector: np.ndarray) -> Nearest:
        """The first `K`, every finished write included."""
        found = self.client.search(
            self.name,
            data=[vector],
            anns_field=self.vector,
            limit=K,
            output_fields=[self.key],
            search_params={"metric_type": METRIC, "params": {}},
            consistency_level="Strong",
        )
        return [(hit["entity"][self.key], float(hit["distance"])) for hit in found[0]]

    def prove(self, media_id: str, vector: np.ndarray) -> None:
        """Search for a row that was written; the end of every side's clock."""
        best, score = self.nearest(vector)[0]
        if best != media_id or score < SAME_COSINE:
            raise AssertionError(f"{self.name} does not find {media_id}, which was written to it: {best}, {score:.5f}")


def require_same(answers: Mapping[str, Sequence[Nearest]]) -> None:
    """The same ids for every query from all sides; where they differ, the scores must be those of a tie.

    Raises:
        AssertionError: two sides found different things.
    """
    first, *others = answers
    for other in others:
        for number, (a, b) in enumerate(zip(answers[first], answers[other], strict=True)):
            if not _same(a, b):
                raise AssertionError(f"query {number}: {first} found {a}, {other} found {b}")


def _same(a: Nearest, b: Nearest) -> bool:
    scores = [[score for _, score in side] for side in (a, b)]
    if len(a) != len(b) or not np.allclose(*scores, atol=TIE):
        return False
    only_one = {media_id for media_id, _ in a} ^ {media_id for media_id, _ in b}
    return all(score <= a[-1][1] + TIE for media_id, score in [*a, *b] if media_id in only_one)
