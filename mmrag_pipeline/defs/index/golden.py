"""The `golden` check as Dagster shows it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from mmrag_pipeline.defs.verdict import verdict
from mmrag_pipeline.quality.check import GoldenCheck
from mmrag_pipeline.quality.figures import LABELS
from mmrag_pipeline.quality.summary import Summary


def library_hash(manifests: Mapping[str, str]) -> str:
    """One hash of the hashes of all manifests."""
    return hashlib.sha256(json.dumps(manifests, sort_keys=True).encode()).hexdigest()[:16]


def golden_metadata(check: GoldenCheck | None) -> dict[str, float]:
    """The staged collection's figures, where it was measured."""
    if check is None or check.figures is None or not check.figures.queries:
        return {}
    return {f"golden_{name}": check.figures.mean(name) for name in LABELS}


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
    if check.strata:
        metadata["strata"] = strata_table(check.strata)
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


def strata_table(strata: Sequence[Summary]) -> dg.TableMetadataValue:
    """A row for all queries and one for each stratum; nDCG@10 with its 95% interval."""
    records = []
    for each in strata:
        low, high = each.intervals["ndcg10"]
        figures = {label: round(each.means[name], 3) for name, label in LABELS.items()}
        interval = f"{low:.3f} to {high:.3f}"
        row = {"stratum": each.stratum, "queries": each.queries, **figures, "95% interval of nDCG@10": interval}
        records.append(dg.TableRecord(row))
    return dg.MetadataValue.table(records)
