"""Is what was ingested sound? Blocking where going on would spread the fault, a warning where people should look."""

from collections.abc import Iterable
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmrag_pipeline.defs.ingest.assets import clip_embeddings, drop_manifest
from mmrag_pipeline.defs.ingest.each_drop import CheckEvents, check_each_drop
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.defs.verdict import verdict
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.resources import ClipEncoderResource, StoreResource

QUARANTINE_RATE = 0.2
"""Above this share of a drop's files somebody should look: a broken export spoils many files at once."""

SCAN_AGAIN = "materialise drop_manifest again"
EMBED_ANEW = "delete the drop's folder under embeddings/ and materialise clip_embeddings again"


@dg.asset_check(asset=drop_manifest, partitions_def=media_drops)
def quarantine_rate(context: dg.AssetCheckExecutionContext, store: StoreResource) -> CheckEvents:
    """Few of the drop's files are unusable; the metadata lists them with the reason."""
    manifests = ManifestStore(store.open())
    yield from check_each_drop(context, lambda key: _quarantine_rate(manifests.read(key)), unread=SCAN_AGAIN)


def _quarantine_rate(manifest: pa.Table) -> dg.AssetCheckResult:
    bad = manifest.filter(pc.equal(manifest["status"], "quarantined"))
    files = len(pc.unique(manifest.filter(pc.not_equal(manifest["status"], "ignored"))["path"]))
    rate = bad.num_rows / files if files else 0.0
    listed = [dg.TableRecord(record) for record in bad.select(["path", "reason", "detail"]).to_pylist()[:50]]
    metadata: dict[str, Any] = {"rate": rate, "quarantined": bad.num_rows, "files": files}
    if listed:
        metadata["quarantine"] = dg.MetadataValue.table(listed)
    to_do = "ask whoever delivered the drop for the files listed below" if rate > QUARANTINE_RATE else ""
    return verdict(to_do, metadata)


@dg.asset_check(asset=clip_embeddings, partitions_def=media_drops, blocking=True)
def embeddings_complete(
    context: dg.AssetCheckExecutionContext, store: StoreResource, clip_encoder: ClipEncoderResource
) -> CheckEvents:
    """Every ok content of the manifest has one finite vector of unit norm, and nothing else has."""
    opened = store.open()

    def judge(key: str) -> dg.AssetCheckResult:
        vectors = EmbeddingStore(opened).batches(clip_encoder.encoder(opened).fingerprint, key)
        return _complete(ManifestStore(opened).read(key), vectors)

    yield from check_each_drop(context, judge, unread=EMBED_ANEW, blocking=True)


def _complete(manifest: pa.Table, vectors: Iterable[pa.RecordBatch]) -> dg.AssetCheckResult:
    wanted = set(manifest.filter(pc.equal(manifest["status"], "ok"))["content_id"].to_pylist())
    stored: set[str] = set()
    bad_norms = 0
    for batch in vectors:
        stored.update(batch["content_id"].to_pylist())
        bad_norms += _not_unit(batch["embedding"])
    passed = stored == wanted and bad_norms == 0
    return verdict(
        "" if passed else EMBED_ANEW,
        {"missing": len(wanted - stored), "surplus": len(stored - wanted), "not_unit_norm": bad_norms},
        severity=dg.AssetCheckSeverity.ERROR,
    )


def _not_unit(vectors: pa.FixedSizeListArray) -> int:
    """How many vectors are not finite or not of length 1 (tolerance 1e-3)."""
    matrix = vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(vectors), -1)
    return int((~(np.abs(np.linalg.norm(matrix, axis=1) - 1.0) < 1e-3)).sum())
