"""A measurement as Dagster shows it: numbers that plot over time, tables, and checks that say what to do."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from mmrag_pipeline.defs.index.golden import strata_table
from mmrag_pipeline.defs.verdict import verdict
from mmrag_pipeline.embedding.drift import LEAST_COSINE
from mmrag_pipeline.index.ann_recall import LEAST_RECALL
from mmrag_pipeline.media.health import TO_DO, Concern
from mmrag_pipeline.quality.figures import LABELS
from mmrag_pipeline.quality.health import count_concerns
from mmrag_pipeline.quality.measurement import Measurement
from mmrag_pipeline.quality.weak import WEAK

_NAMED = 50


def measurement_metadata(measurement: Measurement) -> dict[str, Any]:
    """Numbers under names that stay, so that the UI plots them; what was not measured is not there."""
    metadata: dict[str, Any] = {
        "collection": measurement.collection,
        "fingerprint": measurement.fingerprint,
        "queries_are": _queries_are(measurement.labels),
        "measured_at": measurement.measured_at,
    }
    if measurement.strata:
        every = measurement.strata[0]
        metadata |= {name: every.means[name] for name in LABELS}
        metadata["ndcg10_low"], metadata["ndcg10_high"] = every.intervals["ndcg10"]
        metadata["queries"] = every.queries
        metadata["near_duplicates_in_top10"] = measurement.copies
        metadata["strata"] = strata_table(measurement.strata)
        metadata["worst_queries"] = dg.MetadataValue.json([list(each) for each in measurement.worst])
    for k in sorted({recall.k for recall in measurement.recalls}):
        recalls = [recall for recall in measurement.recalls if recall.k == k]
        metadata[f"ann_recall{k}"] = recalls[0].share
        if len(recalls) > 1:
            metadata[f"ann_recall{k}_filtered"] = min(recall.share for recall in recalls[1:])
    if measurement.drift is not None and measurement.drift.pictures:
        metadata["drift_cosine_mean"], metadata["drift_cosine_least"] = measurement.drift.mean, measurement.drift.least
    return metadata


def recall_result(measurement: Measurement) -> dg.AssetCheckResult:
    to_do = ""
    if not measurement.recalls:
        said = "There is nothing to ask for: set MMRAG_GOLDEN, or give pictures titles in the catalogue."
    elif measurement.recall_passed:
        said = "The index finds what exact search finds."
    else:
        said = f"Recall@10 is under {LEAST_RECALL} where the table says so."
        to_do = "set MMRAG_MILVUS_INDEX to FLAT, or to another index, and run nightly_reindex"
    table = [
        dg.TableRecord({"among": each.product_line or "all", "k": each.k, "recall": round(each.share, 4)})
        for each in measurement.recalls
    ]
    metadata = {"recall": dg.MetadataValue.table(table)} if table else {}
    return verdict(to_do, metadata, name="ann_recall", detail=said)


def drift_result(measurement: Measurement) -> dg.AssetCheckResult:
    drift = measurement.drift
    if drift is None:
        return verdict("", {}, name="embedding_drift", detail="There is no picture to embed anew.")
    if not drift.pictures:
        return verdict(
            "materialise drop_manifest for these drops, then run nightly_reindex",
            {"unread": dg.MetadataValue.json(list(drift.unread))},
            name="embedding_drift",
            detail=f"No picture could be embedded anew: {len(drift.unread)} drops could not be read.",
        )
    said = f"{drift.pictures} pictures embedded anew: cosine to what is stored {drift.least:.4f} and more."
    to_do = ""
    if not drift.passed:
        said += f" Under {LEAST_COSINE} ({drift.furthest}) a library or processor changed what the model makes."
        to_do = (
            f"delete embeddings/{measurement.fingerprint} in the store, materialise clip_embeddings for all drops, and "
            f"run nightly_reindex with mode rebuild"
        )
    if drift.unread:
        said += f" {len(drift.unread)} drops could not be read."
    metadata: dict[str, Any] = {
        "cosine_mean": drift.mean,
        "cosine_least": drift.least,
        "furthest": drift.furthest,
    }
    if drift.unread:
        metadata["unread"] = dg.MetadataValue.json(list(drift.unread))
    return verdict(to_do, metadata, name="embedding_drift", detail=said)


def health_metadata(tables: Mapping[str, pa.Table], anew: Sequence[str]) -> dict[str, Any]:
    """Pictures by concern, over all and by drop."""
    by_drop = {drop: count_concerns(table) for drop, table in tables.items()}
    totals = {concern.value: sum(counts[concern.value] for counts in by_drop.values()) for concern in Concern}
    records = [
        dg.TableRecord({"drop": drop, "pictures": tables[drop].num_rows, **counts}) for drop, counts in by_drop.items()
    ]
    metadata: dict[str, Any] = totals | {"pictures": sum(table.num_rows for table in tables.values())}
    metadata["drops_examined_now"] = len(anew)
    return metadata | ({"by_drop": dg.MetadataValue.table(records)} if records else {})


def health_result(tables: Mapping[str, pa.Table]) -> dg.AssetCheckResult:
    """A warning that names up to `_NAMED` pictures, and says what to do about each concern that there is."""
    found = [(drop, row) for drop, table in sorted(tables.items()) for row in table.to_pylist() if row["concerns"]]
    concerns = [concern for concern in Concern if any(concern.value in row["concerns"] for _, row in found)]
    to_do = "; ".join(f"{concern.value}: {TO_DO[concern]}" for concern in concerns)
    records = [
        dg.TableRecord({"picture": f"{drop}/{row['path']}", "concerns": ", ".join(row["concerns"])})
        for drop, row in found[:_NAMED]
    ]
    metadata: dict[str, Any] = {"pictures": len(found)}
    if records:
        metadata["look_at"] = dg.MetadataValue.table(records)
    said = f"{len(found)} pictures to look at; all are indexed." if found else ""
    return verdict(to_do, metadata, name="health", detail=said)


def _queries_are(labels: str) -> str:
    if labels == WEAK:
        return "titles of the catalogue: weak labels, good for comparing nights, not for saying how good search is"
    return labels or "none: set MMRAG_GOLDEN, or give pictures titles in the catalogue"
