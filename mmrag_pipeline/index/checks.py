"""Is the staged collection what the manifests say? Each check fails on its own and never changes anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmrag_pipeline.index.ann_recall import check_recall
from mmrag_pipeline.index.changes import Changes, DropRows, compare, gather_for
from mmrag_pipeline.index.filter import equals
from mmrag_pipeline.index.layout import SAME_COSINE
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.results import CheckResult
from mmrag_pipeline.index.rows import WantedRows
from mmrag_pipeline.index.schema import SCHEMA_VERSION
from mmrag_pipeline.index.staged import StagedIndex
from mmrag_pipeline.index.vectors import VectorBlock

_SAMPLE_DROPS = 20
_SAMPLE_ROWS = 200
_SAMPLE_SEARCHES = 20


@dataclass(frozen=True)
class _Sample:
    """Ids, where they come from and the vector that the parquet holds for them."""

    ids: list[str]
    content_ids: list[str]
    vectors: np.ndarray


def check_staged(
    milvus: Milvus,
    staged: StagedIndex,
    expected: Iterable[DropRows],
    *,
    encode: Callable[[Sequence[str]], np.ndarray],
    seed: int = 0,
) -> list[CheckResult]:
    """Compare the staged collection with manifests and parquet, and search it.

    The checks are model, rows, ids, fields, vectors, self_search and recall; where model fails, only the first two are
    made, because nothing further can be compared. A failed one must keep the collection unpublished. `encode` makes
    unit vectors [n, dim] of texts; it is only called where the index is not an exact one.
    """
    drops = {source.drop.key: source for source in expected}
    wanted = {key: WantedRows(source.drop, source.manifest) for key, source in drops.items()}
    total = sum(map(len, wanted.values()))
    results = [_check_model(milvus, staged), _check_rows(milvus, staged, wanted)]
    if not results[0].passed:
        return results
    changes = compare(milvus, staged.collection, wanted)
    results += [_check_ids(wanted, changes, total), _check_fields(wanted, changes)]
    sample = _sample(drops, wanted, fingerprint=staged.fingerprint, dim=staged.dim, seed=seed)
    results += [_check_vectors(milvus, staged, sample), _check_self_search(milvus, staged, sample)]
    results.append(check_recall(milvus, staged, drops, wanted, encode=encode, seed=seed))
    return results


def _check_model(milvus: Milvus, staged: StagedIndex) -> CheckResult:
    info = milvus.info(staged.collection)
    passed = info is not None and info.fits(fingerprint=staged.fingerprint, dim=staged.dim)
    wanted = (staged.fingerprint, staged.dim, SCHEMA_VERSION)
    said = (info.fingerprint, info.dim, info.schema_version) if info else "nothing"
    detail = f"{staged.collection} says (model, dimensions, schema) {said}; expected {wanted}."
    return CheckResult("model", passed, detail, expected=1, found=int(passed))


def _check_rows(milvus: Milvus, staged: StagedIndex, wanted: dict[str, WantedRows]) -> CheckResult:
    """By product line too where that is the partition key: a row in a wrong partition is there and is not found."""
    total = sum(map(len, wanted.values()))
    found = milvus.count(staged.collection)
    detail = f"{found} rows in {staged.collection}, {total} ok rows in the manifests."
    info = milvus.info(staged.collection)
    if found == total and info is not None and info.partition_key:
        lines: Counter[str] = Counter()
        for rows in wanted.values():
            lines[rows.drop.product_line] += len(rows)
        found = sum(milvus.count(staged.collection, equals("product_line", line)) for line in lines)
        detail += f" Filtered by product line, {found}."
    return CheckResult("rows", found == total, detail, expected=total, found=found)


def _check_ids(wanted: dict[str, WantedRows], changes: Changes, total: int) -> CheckResult:
    present = changes.stored - len(changes.delete)
    missing, foreign = total - present, len(changes.delete)
    detail = f"{missing} ids of the manifests are missing, {foreign} are in no manifest."
    return CheckResult("ids", not missing and not foreign, detail, expected=total, found=present)


def _check_fields(wanted: dict[str, WantedRows], changes: Changes) -> CheckResult:
    present = changes.stored - len(changes.delete)
    detail = f"{present - changes.unchanged} of {present} rows differ from their manifest row."
    return CheckResult("fields", present == changes.unchanged, detail, expected=present, found=changes.unchanged)


def _check_vectors(milvus: Milvus, staged: StagedIndex, sample: _Sample) -> CheckResult:
    stored = milvus.get(staged.collection, sample.ids, ("embedding",))
    same = sum(
        media_id in stored and float(np.dot(_unit(stored[media_id]["embedding"]), vector)) >= SAME_COSINE
        for media_id, vector in zip(sample.ids, sample.vectors, strict=True)
    )
    detail = f"{same} of {len(sample.ids)} sampled vectors equal the parquet (cosine >= {SAME_COSINE})."
    return CheckResult("vectors", same == len(sample.ids), detail, expected=len(sample.ids), found=same)


def _check_self_search(milvus: Milvus, staged: StagedIndex, sample: _Sample) -> CheckResult:
    asked = min(_SAMPLE_SEARCHES, len(sample.ids))
    found = 0
    info = milvus.info(staged.collection)
    same = info.layout.same if info else SAME_COSINE
    for media_id, content_id, vector in zip(
        sample.ids[:asked], sample.content_ids[:asked], sample.vectors[:asked], strict=True
    ):
        hits = milvus.search(staged.collection, vector, limit=10, fields=("content_id",))
        found += any(
            score >= same and (hit == media_id or fields["content_id"] == content_id) for hit, score, fields in hits
        )
    detail = f"{found} of {asked} sampled items find themselves among the first 10."
    return CheckResult("self_search", found == asked, detail, expected=asked, found=found)


def _sample(
    drops: dict[str, DropRows], wanted: dict[str, WantedRows], *, fingerprint: str, dim: int, seed: int
) -> _Sample:
    """Rows from up to 20 drops, the same for the same library and seed."""
    random = np.random.default_rng(seed)
    keys = [key for key in sorted(wanted) if len(wanted[key])]
    chosen = sorted(random.choice(len(keys), size=min(_SAMPLE_DROPS, len(keys)), replace=False)) if keys else []
    each = -(-_SAMPLE_ROWS // max(1, len(chosen)))
    picked: list[tuple[str, str, np.ndarray]] = []
    for at in chosen:
        rows = wanted[keys[at]]
        positions = sorted(random.choice(len(rows), size=min(each, len(rows)), replace=False).tolist())
        block = gather_for(rows, positions, drops[keys[at]].vectors(), dim=dim, fingerprint=fingerprint)
        picked += _with_vectors(rows, positions, block)
    order = random.permutation(len(picked))
    ids, content_ids, vectors = zip(*(picked[at] for at in order), strict=True) if picked else ((), (), ())
    return _Sample(list(ids), list(content_ids), np.array(vectors, dtype=np.float32))


def _with_vectors(
    rows: WantedRows, positions: Sequence[int], block: VectorBlock
) -> Iterator[tuple[str, str, np.ndarray]]:
    for row in rows.take(positions):
        yield row["id"], row["content_id"], block[row["content_id"]]


def _unit(values: Sequence[float]) -> np.ndarray:
    vector = np.asarray(values, dtype=np.float32)
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
