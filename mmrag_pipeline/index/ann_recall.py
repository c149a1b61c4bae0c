"""Does an approximate index find what comparing with every vector finds?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mmrag_pipeline.index.changes import DropRows
from mmrag_pipeline.index.layout import INDEXES
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.results import CheckResult
from mmrag_pipeline.index.rows import WantedRows
from mmrag_pipeline.index.staged import StagedIndex
from mmrag_pipeline.index.vectors import to_numpy

LEAST_RECALL = 0.99
K = 10
QUERIES = 50
_SAME_SCORE = 1e-4  # what float32 and an index's own arithmetic differ by


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
        hits = milvus.search(staged.collection, vector, limit=K, fields=("id",))
        rows = milvus.get(staged.collection, [media_id for media_id, _, _ in hits], ("embedding",))
        # their true cosines: a quantised index's own scores are off by more than neighbours differ
        found += sum(_cosine(vector, row["embedding"]) >= float(bound) - _SAME_SCORE for row in rows.values())
        expected += min(K, staged.rows)
    recall = found / expected
    detail = f"recall@{K} of {len(queries)} titles is {recall:.3f} against exact search (at least {LEAST_RECALL})."
    return CheckResult("recall", recall >= LEAST_RECALL, detail, expected=expected, found=found)


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
