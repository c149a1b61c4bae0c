"""The `golden` check as Dagster shows it."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import dagster as dg

from mmrag_pipeline.defs.verdict import verdict
from mmrag_pipeline.quality.check import GoldenCheck


def library_hash(manifests: Mapping[str, str]) -> str:
    """One hash of the hashes of all manifests."""
    return hashlib.sha256(json.dumps(manifests, sort_keys=True).encode()).hexdigest()[:16]


def golden_metadata(check: GoldenCheck | None) -> dict[str, float]:
    """The staged collection's figures, where it was measured."""
    if check is None or check.figures is None or not check.figures.queries:
        return {}
    return {f"golden_{name}": check.figures.mean(name) for name in ("ndcg10", "r1", "r10")}


def golden_result(check: GoldenCheck) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {}
    if check.figures is not None and check.figures.queries:
        metadata = {"staged": check.figures.mean("ndcg10"), "queries": len(check.figures.queries)}
    if check.figures is not None:
        metadata["left_out"] = check.left_out
    if check.comparison is not None:
        metadata |= {
            "staged": check.comparison.after,
            "live": check.comparison.before,
            "difference": check.comparison.difference,
            "interval": dg.MetadataValue.json(list(check.comparison.interval)),
            "queries": check.comparison.queries,
        }
    if check.lost_most:
        metadata["lost_most"] = dg.MetadataValue.json(
            [{"query": query, "live": live, "staged": staged} for query, live, staged in check.lost_most]
        )
    to_do = (
        "see which queries lost most and what changed since; to publish it all the same run nightly_reindex with "
        "allow_worse_search: true"
    )
    return verdict(
        "" if check.passed else to_do,
        metadata,
        name="golden",
        severity=dg.AssetCheckSeverity.ERROR,
        detail=check.sentence,
    )
