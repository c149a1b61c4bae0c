"""Is the staged collection what the manifests say? Each check fails on its own and never changes anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mmrag_pipeline.index.ann_recall import check_recall
from mmrag_pipeline.index.changes import Changes, DropRows, compare, gather_for
from mmrag_pipeline.index.filter import equals
from mmrag_pipeline.index.layout import SAME_COSINE
from mmrag_pipeline.index.milvus import Milvus
from mmrag_pipeline.index.results import CheckResult
from mmrag_pipeline.index.rows import Row, WantedRows, differs
from mmrag_pipeline.index.schema import DYNAMIC, SCALAR_FIELDS, SCHEMA_VERSION
from mmrag_pipeline.index.staged import StagedIndex

_SAMPLE_DROPS = 20
_SAMPLE_ROWS = 200
_SAMPLE_SEARCHES = 20


@dataclass(frozen=True)
class _Sample:
    """Wanted rows, in random order, and the vectors [n, dim] that the parquet holds for them."""

    rows: list[Row]
    vectors: np.ndarray

    @property
    def ids(self) -> list[str]:
        return [row["id"] for row in self.rows]


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
    sample = _sample(drops, wanted, fingerprint=staged.fingerprint, dim=staged.dim, seed=seed)
    results += [_check_ids(changes, total), _check_fields(milvus, staged, changes, sample)]
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


def _check_ids(changes: Changes, total: int) -> CheckResult:
    present = changes.stored - len(changes.delete)
    missing, foreign = total - present, len(changes.delete)
    detail = f"{missing} ids of the manifests are missing, {foreign} are in no manifest."
    return CheckResult("ids", not missing and not foreign, detail, expected=total, found=present)


def _check_fields(milvus: Milvus, staged: StagedIndex, changes: Changes, sample: _Sample) -> CheckResult:
    """The digest of every row, and every field of the sampled ones: a digest only says what was meant to be written."""
    present = changes.stored - len(changes.delete)
    stored = milvus.get(staged.collection, sample.ids, (*SCALAR_FIELDS, DYNAMIC))
    wrong = sum(row["id"] in stored and differs(row, stored[row["id"]]) for row in sample.rows)
    detail = (
        f"{present - changes.unchanged} of {present} rows have another digest than their manifest row; {wrong} of "
        f"{len(sample.rows)} sampled ones differ from it in a field."
    )
    return CheckResult(
        "fields", present == changes.unchanged and not wrong, detail, expected=present, found=changes.unchanged - wrong
    )


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
    for row, vector in zip(sample.rows[:asked], sample.vectors[:asked], strict=True):
        hits = milvus.search(staged.collection, vector, limit=10, fields=("content_id",))
        found += any(
            score >= same and (hit == row["id"] or fields["content_id"] == row["content_id"])
            for hit, score, fields in hits
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
    picked: list[tuple[Row, np.ndarray]] = []
    for at in chosen:
        rows = wanted[keys[at]]
        positions = sorted(random.choice(len(rows), size=min(each, len(rows)), replace=False).tolist())
        block = gather_for(rows, positions, drops[keys[at]].vectors(), dim=dim, fingerprint=fingerprint)
        picked += [(row, block[row["content_id"]]) for row in rows.take(positions)]
    order = random.permutation(len(picked))
    vectors = np.array([picked[at][1] for at in order], dtype=np.float32)
    return _Sample([picked[at][0] for at in order], vectors)


def _unit(values: Sequence[float]) -> np.ndarray:
    vector = np.asarray(values, dtype=np.float32)
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
