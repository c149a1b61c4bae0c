"""Does an approximate index find what comparing with every vector finds?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmrag_pipeline.index.changes import DropRows
from mmrag_pipeline.index.filter import equals
from mmrag_pipeline.index.layout import INDEXES
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.results import CheckResult
from mmrag_pipeline.index.rows import WantedRows
from mmrag_pipeline.index.staged import StagedIndex
from mmrag_pipeline.index.vectors import to_numpy

LEAST_RECALL = 0.99
K = 10
QUERIES = 50
DEPTHS = (10, 100)
LINES = 3
_SAME_SCORE = 1e-4  # what float32 and an index's own arithmetic differ by


@dataclass(frozen=True)
class Recall:
    """How many of the `k` nearest of every query an index found, among all rows or those of one product line ("")."""

    k: int
    product_line: str
    found: int
    expected: int

    @property
    def share(self) -> float:
        return self.found / self.expected


def check_recall(
    milvus: Milvus,
    staged: StagedIndex,
    drops: Mapping[str, DropRows],
    wanted: Mapping[str, WantedRows],
    *,
    encode: Callable[[Sequence[str]], np.ndarray],
    seed: int,
) -> CheckResult:
    """Recall@10 of text queries, titles of the catalogue, against exact search of the parquet."""
    info = milvus.info(staged.collection)
    if info is not None and INDEXES[info.index].exact:
        return CheckResult("recall", True, f"{info.index} compares with every row.", expected=0, found=0)
    if staged.mode == "unchanged":
        return CheckResult("recall", True, "Nothing changed since it was looked at.", expected=0, found=0)
    queries = titles(wanted, seed=seed)
    if not queries:
        return CheckResult("recall", True, "No picture has a title to ask for.", expected=0, found=0)
    vectors = encode(queries)
    least = exact_scores(vectors, drops, wanted)[:, -1]
    expected = found = 0
    for vector, bound in zip(vectors, least, strict=True):
        cosines = _cosines_found(milvus, staged.collection, vector, k=K)
        found += sum(cosine >= float(bound) - _SAME_SCORE for cosine in cosines)
        expected += min(K, staged.rows)
    recall = found / expected
    detail = f"recall@{K} of {len(queries)} titles is {recall:.3f} against exact search (at least {LEAST_RECALL})."
    return CheckResult("recall", recall >= LEAST_RECALL, detail, expected=expected, found=found)


def measure_recall(milvus: Milvus, collection: str, drops: Mapping[str, DropRows], vectors: np.ndarray) -> list[Recall]:
    """Recall@10 and @100 of the query `vectors` [n, dim], unit ones, against exact search of the parquet: among all
    rows and, because a filter is where a graph index loses its way, within each of the largest product lines.

    Rows with the same true cosine as the last of the nearest count as found: which of equals comes first says nothing.
    """
    wanted = {key: WantedRows(source.drop, source.manifest) for key, source in drops.items()}
    lines: Counter[str] = Counter()
    for rows in wanted.values():
        lines[rows.drop.product_line] += len(rows)
    scopes = [("", lines.total()), *lines.most_common(LINES)] if len(lines) > 1 else [("", lines.total())]
    results = []
    for line, count in scopes if len(vectors) else ():
        if not count:
            continue
        within = {key: rows for key, rows in wanted.items() if not line or rows.drop.product_line == line}
        best = exact_scores(vectors, drops, within, k=DEPTHS[-1])
        filter = equals("product_line", line) if line else ""
        found = dict.fromkeys(DEPTHS, 0)
        for vector, exact in zip(vectors, best, strict=True):
            cosines = _cosines_found(milvus, collection, vector, k=DEPTHS[-1], filter=filter)
            for k in DEPTHS:
                found[k] += min(k, count, sum(cosine >= float(exact[k - 1]) - _SAME_SCORE for cosine in cosines[:k]))
        results += [Recall(k, line, found[k], len(vectors) * min(k, count)) for k in DEPTHS]
    return results


def _cosines_found(milvus: Milvus, collection: str, vector: np.ndarray, *, k: int, filter: str = "") -> list[float]:
    """The true cosines of what the index finds, in its order: a quantised index's own scores are off by more than
    neighbours differ.
    """
    ids = [media_id for media_id, _, _ in milvus.search(collection, vector, limit=k, fields=("id",), filter=filter)]
    rows = milvus.get(collection, ids, ("embedding",))
    return [_cosine(vector, rows[media_id]["embedding"]) for media_id in ids if media_id in rows]


def _cosine(query: np.ndarray, stored: Sequence[float]) -> float:
    vector = np.asarray(stored, dtype=np.float32)
    return float(query @ vector) / max(float(np.linalg.norm(vector)), 1e-12)


def titles(wanted: Mapping[str, WantedRows], *, seed: int) -> list[str]:
    """Up to 50 different titles from as many drops, the same for the same library and seed."""
    random = np.random.default_rng(seed)
    keys = [key for key in sorted(wanted) if len(wanted[key])]
    found: dict[str, None] = {}
    for at in random.permutation(len(keys))[:QUERIES].tolist():
        rows = wanted[keys[at]]
        each = -(-QUERIES // min(QUERIES, len(keys)))
        positions = random.choice(len(rows), size=min(2 * each, len(rows)), replace=False).tolist()
        named = [row["title"] for row in rows.take(positions) if row["title"].strip()]
        found.update(dict.fromkeys(named[:each]))
    return list(found)[:QUERIES]


def exact_scores(
    vectors: np.ndarray, drops: Mapping[str, DropRows], wanted: Mapping[str, WantedRows], *, k: int = K
) -> np.ndarray:
    """The `k` highest cosines of each vector [n, dim] with the wanted rows, [n, k], best first; a batch at a time.

    Where there are fewer rows, the last columns are -inf.
    """
    best = np.full((len(vectors), k), -np.inf, dtype=np.float32)
    for key, rows in wanted.items():
        count = Counter(rows.content_ids(range(len(rows))))
        for batch in drops[key].vectors() if count else ():
            times = np.array([count[content_id] for content_id in batch["content_id"].to_pylist()])
            scores = np.repeat(vectors @ to_numpy(batch["embedding"]).T, np.minimum(times, k), axis=1)
            best = -np.sort(-np.concatenate([best, scores], axis=1), axis=1)[:, :k]
    return best
