"""After publishing: which pictures are copies of one another, and how good search is tonight."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import dagster as dg
import numpy as np
import pyarrow as pa

from mmrag_pipeline.defs.failures import HOOKS, WAIT_FOR_MILVUS, WAIT_FOR_STORE, user_errors_as_failures
from mmrag_pipeline.defs.index.assets import media_index
from mmrag_pipeline.defs.index.golden import library_hash
from mmrag_pipeline.defs.index.handover import manifest_hashes
from mmrag_pipeline.defs.ingest.assets import clip_embeddings, drop_manifest
from mmrag_pipeline.defs.progress import log_progress
from mmrag_pipeline.defs.quality.shown import (
    drift_result,
    health_metadata,
    health_result,
    measurement_metadata,
    recall_result,
)
from mmrag_pipeline.embedding.reuse import KnownVectors
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.index.as_live import manifest_as_live
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest import generated_in
from mmrag_pipeline.media.manifest_store import DamagedManifest, ManifestStore
from mmrag_pipeline.media.sheet import inline_markdown
from mmrag_pipeline.quality.health import HealthStore, examine_library
from mmrag_pipeline.quality.near_duplicates import NearDuplicateStore, find_near_duplicates, is_made_of, made_of
from mmrag_pipeline.quality.tonight import Library, measure_tonight, sheet_of_worst
from mmrag_pipeline.resources import (
    ClipEncoderResource,
    GoldenResource,
    MediaLibraryResource,
    MilvusResource,
    StoreResource,
)
from mmrag_pipeline.store import Store

HEALTH = "No picture has a concern: each is named with what to do, and none is left out for it."
CHECKS = {
    "ann_recall": "The index finds what exact search finds: recall@10 at least 0.99, with and without a filter.",
    "embedding_drift": "Sampled pictures, embedded anew, give the vectors that are stored.",
}


# What only looks at the library comes after publishing: on a large one it takes long, and nothing waits for it.
@dg.asset(
    deps=[clip_embeddings, media_index],
    hooks=HOOKS,
    group_name="quality",
    kinds={"parquet"},
    retry_policy=WAIT_FOR_STORE,
)
def near_duplicates(
    context: dg.AssetExecutionContext, store: StoreResource, clip_encoder: ClipEncoderResource
) -> dg.MaterializeResult:
    """Groups of pictures that show the same thing in the same way; search and references use one of each.

    `mmrag duplicates` shows them. Nothing is removed.
    """
    with user_errors_as_failures():
        opened, kept = store.open(), NearDuplicateStore(store.open())
        fingerprint, dim = clip_encoder.encoder(opened).fingerprint, clip_encoder.encoder(opened).dim
        what, table = made_of(library_hash(manifest_hashes(opened)), fingerprint), kept.read()
        changed = not is_made_of(table, what)
        if changed:
            embeddings = EmbeddingStore(opened)

            def vectors(ids: Sequence[str]) -> np.ndarray:
                known = KnownVectors(embeddings.root(fingerprint), ids, dim=dim)
                found = known.read(ids)
                for path, why in known.damaged.items():
                    context.log.warning("%s", embeddings.mark_damaged(path, why))
                return found

            table = find_near_duplicates(_manifests(context, opened), vectors, before=table, made_of=what)
            kept.write(table)
    return dg.MaterializeResult(
        metadata={
            "groups": len(set(table["group"].to_pylist())),
            "pictures": table.num_rows,
            "spare": table.num_rows - len(set(table["group"].to_pylist())),
            "changed": changed,
            "table": dg.MetadataValue.path(str(kept.path)),
        }
    )


@dg.asset(
    deps=[drop_manifest, media_index],
    hooks=HOOKS,
    group_name="quality",
    kinds={"parquet", "pillow"},
    retry_policy=WAIT_FOR_STORE,
    check_specs=[dg.AssetCheckSpec("health", asset="library_health", description=HEALTH)],
)
def library_health(
    context: dg.AssetExecutionContext, store: StoreResource, media_library: MediaLibraryResource
) -> dg.MaterializeResult:
    """What somebody should look at in each drop: blurred, dark, empty, small or odd pictures; people without a release.

    Warnings only: nothing is shut out. Pictures are opened once, those that came since the last time.
    """
    with user_errors_as_failures():
        opened, library = store.open(), media_library.library()
        hashes, manifests = manifest_hashes(opened), _manifests(context, opened)
        found = {key: (manifests[key], digest) for key, digest in hashes.items() if key in manifests}
        tables, anew = examine_library(
            {key: each for key, each in found.items() if generated_in(each[0]) is None},
            lambda drop: library.folder(Drop.parse(drop)),
            media_library.limits(),
            HealthStore(opened),
            unread=hashes.keys() - manifests.keys(),
            progress=log_progress(context, "drops"),
        )
    return dg.MaterializeResult(metadata=health_metadata(tables, anew), check_results=[health_result(tables)])


@dg.asset(
    deps=[media_index, near_duplicates],
    hooks=HOOKS,
    group_name="quality",
    kinds={"milvus"},
    pool="milvus",
    retry_policy=WAIT_FOR_MILVUS,
    check_specs=[
        dg.AssetCheckSpec(name, asset="retrieval_quality", description=description)
        for name, description in CHECKS.items()
    ],
)
def retrieval_quality(
    context: dg.AssetExecutionContext,
    store: StoreResource,
    media_library: MediaLibraryResource,
    clip_encoder: ClipEncoderResource,
    milvus: MilvusResource,
    golden: GoldenResource,
) -> dg.MaterializeResult:
    """How good search is: golden queries, recall of the index, copies among the answers, drift of the vectors.

    The same queries decide before publishing whether search got worse: the check `golden` of `staged_media_index`.
    """
    with user_errors_as_failures():
        opened = store.open()

        def as_live(key: str) -> pa.Table | None:
            with milvus.connect() as connection:
                live = connection.live()
                return manifest_as_live(connection, live.name, Drop.parse(key)) if live else None

        library = Library(
            manifests=_manifests(context, opened, instead=as_live),
            folder=media_library.library().folder,
            limits=media_library.limits(),
            digest=library_hash(manifest_hashes(opened)),
        )
        encoder, golden_set = clip_encoder.encoder(opened), golden.read()
        tonight = measure_tonight(milvus.connect, encoder, opened, library, golden_set, now=datetime.now(UTC))
        sheet = sheet_of_worst(tonight, library)
    shown = {"worst_queries_shown": dg.MetadataValue.md(inline_markdown(sheet, alt="worst queries"))} if sheet else {}
    return dg.MaterializeResult(
        metadata=measurement_metadata(tonight.measurement) | {"measured_now": tonight.figures is not None} | shown,
        check_results=[recall_result(tonight.measurement), drift_result(tonight.measurement)],
    )


def _manifests(
    context: dg.AssetExecutionContext, store: Store, *, instead: Callable[[str], pa.Table | None] = lambda key: None
) -> dict[str, pa.Table]:
    """Of all drops but those that are removed meanwhile; of one that can't be read what there is `instead`, if any."""
    manifests, found = ManifestStore(store), {}
    for key in manifests.drops():
        try:
            table = manifests.find(key)
        except DamagedManifest as error:
            context.log.warning("%s", error)
            table = instead(key)
        if table is not None:
            found[key] = table
    return found
