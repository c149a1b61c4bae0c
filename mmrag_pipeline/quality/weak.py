"""Queries out of catalogue titles, for a library that nobody has written golden queries for.

They are weak labels: a title is not what a person types, and a picture of another product that fits the words as well
counts as wrong. Good enough to compare two models on the same library, never to say how good search is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import zip_longest

import pyarrow as pa
import pyarrow.compute as pc

from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest import generated_in
from mmrag_pipeline.quality.golden import ASKED_FOR, GoldenQuery, GoldenSet, Judgement

WEAK = "catalogue titles"
MOST = 200
_SKUS = 20  # a title that more products share is a category: its pictures are right by the title alone


def weak_labels(manifests: Mapping[str, pa.Table], *, most: int = MOST) -> GoldenSet | None:
    """Up to `most` titles as queries, the same ones for the same library, from every product line in turn; None when
    the catalogue has no titles.

    Right is every picture with that title, and every other one of the same product (sku). The stratum is the product
    line.
    """
    by_line: dict[str, dict[str, set[str]]] = {}
    for key in sorted(manifests):
        if generated_in(manifests[key]) is None:
            titles = by_line.setdefault(Drop.parse(key).product_line, {})
            for title, sku in _titled(manifests[key]):
                titles.setdefault(title, set()).add(sku)
    found: dict[str, GoldenQuery] = {}
    lines = [[(line, title) for title in sorted(by_line[line], key=_draw)] for line in sorted(by_line)]
    for turn in zip_longest(*lines):
        for line, title in filter(None, turn):
            skus = sorted(by_line[line][title] - {""})
            named = [Judgement(ASKED_FOR, "sku", sku) for sku in skus] if len(skus) <= _SKUS else []
            query = GoldenQuery(title, line, (Judgement(ASKED_FOR, "title", title), *named))
            if len(found) < most:
                found.setdefault(title, query)
    if not found:
        return None
    digest = hashlib.sha256(repr(sorted(found.values(), key=lambda query: query.query)).encode()).hexdigest()[:16]
    return GoldenSet(WEAK, digest, tuple(found.values()))


def _titled(manifest: pa.Table) -> Iterator[tuple[str, str]]:
    usable = manifest.filter(pc.equal(manifest["status"], "ok"))
    for title, sku in zip(usable["title"].to_pylist(), usable["sku"].to_pylist(), strict=True):
        if title.strip():
            yield title, sku


def _draw(title: str) -> str:
    """An order that has nothing to do with what the titles say, and that further titles do not change."""
    return hashlib.sha256(title.encode()).hexdigest()
