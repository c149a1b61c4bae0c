"""Is what was ingested sound? Blocking where going on would spread the fault, a warning where people should look."""

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmrag_pipeline.defs.ingest.assets import clip_embeddings, drop_manifest
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.resources import ClipEncoderResource, StoreResource

QUARANTINE_RATE = 0.2
"""Above this share of a drop's files somebody should look: a broken export spoils many files at once."""


@dg.asset_check(asset=drop_manifest, partitions_def=media_drops)
def quarantine_rate(context: dg.AssetCheckExecutionContext, store: StoreResource) -> dg.AssetCheckResult:
    """Few of the drop's files are unusable; the metadata lists them with the reason."""
    table = ManifestStore(store.open()).read(context.partition_key)
    bad = table.filter(pc.equal(table["status"], "quarantined"))
    files = len(pc.unique(table.filter(pc.not_equal(table["status"], "ignored"))["path"]))
    rate = bad.num_rows / files if files else 0.0
    listed = [dg.TableRecord(record) for record in bad.select(["path", "reason", "detail"]).to_pylist()[:50]]
    return dg.AssetCheckResult(
        passed=rate <= QUARANTINE_RATE,
        severity=dg.AssetCheckSeverity.WARN,
        description="" if rate <= QUARANTINE_RATE else "Ask whoever delivered the drop for the files listed below.",
        metadata={"rate": rate, "quarantined": bad.num_rows, "files": files}
        | ({"quarantine": dg.MetadataValue.table(listed)} if listed else {}),
    )


@dg.asset_check(asset=clip_embeddings, partitions_def=media_drops, blocking=True)
def embeddings_complete(
    context: dg.AssetCheckExecutionContext, store: StoreResource, clip_encoder: ClipEncoderResource
) -> dg.AssetCheckResult:
    """Every ok content of the manifest has one finite vector of unit norm, and nothing else has."""
    opened = store.open()
    table = ManifestStore(opened).read(context.partition_key)
    wanted = set(table.filter(pc.equal(table["status"], "ok"))["content_id"].to_pylist())
    stored: set[str] = set()
    bad_norms = 0
    for batch in EmbeddingStore(opened).batches(clip_encoder.encoder(opened).fingerprint, context.partition_key):
        stored.update(batch["content_id"].to_pylist())
        bad_norms += _not_unit(batch["embedding"])
    passed = stored == wanted and bad_norms == 0
    return dg.AssetCheckResult(
        passed=passed,
        description=""
        if passed
        else "Delete the drop's folder under embeddings/ and materialise clip_embeddings again.",
        metadata={
            "missing": len(wanted - stored),
            "surplus": len(stored - wanted),
            "not_unit_norm": bad_norms,
        },
    )


def _not_unit(vectors: pa.FixedSizeListArray) -> int:
    """How many vectors are not finite or not of length 1 (tolerance 1e-3)."""
    matrix = vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(vectors), -1)
    return int((~(np.abs(np.linalg.norm(matrix, axis=1) - 1.0) < 1e-3)).sum())
