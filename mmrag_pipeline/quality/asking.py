"""Golden queries, asked of one collection through the search that everybody uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmrag_pipeline.index.filter import IN_LIBRARY, Filter
from mmrag_pipeline.index.schema import DYNAMIC, FIELDS, CollectionInfo
from mmrag_pipeline.index.search import SearchRequest, search
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.quality.figures import QueryFigures
from mmrag_pipeline.quality.golden import GoldenQuery
from mmrag_pipeline.quality.grading import Grader
from mmrag_pipeline.quality.scoring import K, is_answerable, score

if TYPE_CHECKING:
    from PIL import Image

    from mmrag_pipeline.embedding.model import Encoder
    from mmrag_pipeline.index.milvus import Milvus


def ask(
    milvus: Milvus,
    encoder: Encoder,
    queries: Sequence[GoldenQuery],
    *,
    collection: CollectionInfo,
    where: Filter = IN_LIBRARY,
) -> dict[str, QueryFigures]:
    """Figures by query, in the queries' order; one that nothing in the collection is a right answer to is left out.

    Pictures and video frames are answers alike, unless `where` says otherwise. Items with equal bytes are one answer,
    as in a search, with the highest grade of any of them.

    Raises:
        UserError: the collection was made with another model than the encoder.
    """
    graded = _graded(milvus, queries, collection, where)
    figures = {}
    for query in queries:
        grades = graded[query.query]
        if not is_answerable(grades):
            continue
        request = SearchRequest(text=query.query, k=K, where=where)
        hits = search(milvus, encoder, request, collection=collection)
        ranked, top = [hit.content_id for hit in hits], [hit.media_id for hit in hits]
        figures[query.query] = score(ranked, grades, top=top)
    return figures


class Remembering:
    """An encoder that encodes the same words once, for asking several collections the same."""

    def __init__(self, encoder: Encoder):
        self._encoder = encoder
        self._known: dict[str, np.ndarray] = {}

    @property
    def fingerprint(self) -> str:
        return self._encoder.fingerprint

    @property
    def dim(self) -> int:
        return self._encoder.dim

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """One by one, as a search does it: in a batch of another size a model may round otherwise."""
        for text in texts:
            if text not in self._known:
                self._known[text] = self._encoder.encode_texts([text])[0]
        return np.stack([self._known[text] for text in texts])

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        return self._encoder.encode_images(images)


def _graded(
    milvus: Milvus, queries: Sequence[GoldenQuery], collection: CollectionInfo, where: Filter
) -> dict[str, dict[str, int]]:
    """By query, the content ids that have a grade above 0; the rows are read once, a page at a time."""
    grader = Grader(queries)
    graded: dict[str, dict[str, int]] = defaultdict(dict)
    for row in _rows(milvus, grader.fields, collection, where):
        for query, grade in grader.grades(_described(row)).items():
            content_id = row["content_id"]
            graded[query][content_id] = max(grade, graded[query].get(content_id, 0))
    return graded


def _rows(milvus: Milvus, fields: set[str], collection: CollectionInfo, where: Filter) -> Iterator[dict[str, Any]]:
    wanted = {"content_id", "drop", "path"} | (fields & set(FIELDS) - {"embedding"})
    if fields - set(FIELDS):
        wanted.add(DYNAMIC)  # further columns of the catalogue
    for page in milvus.rows(collection.name, sorted(wanted), where.expression()):
        yield from page


def _described(row: dict[str, Any]) -> dict[str, str]:
    """The row under the names that judgements use."""
    drop = Drop.parse(row["drop"])
    described = {name: str(value) for name, value in row.items() if value is not None}
    return described | {
        "path": f"{drop.product_line}/{drop.name}/{row['path']}",
        "product_line": drop.product_line,
        "tags": ";".join(row.get("tags") or ()),
    }
