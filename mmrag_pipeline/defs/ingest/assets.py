"""A drop becomes a manifest, the manifest becomes vectors, the vectors become rows of the live collection."""

from datetime import UTC, datetime

import dagster as dg

from mmrag_pipeline.defs.failures import HOOKS, WAIT_FOR_MILVUS, WAIT_FOR_STORE
from mmrag_pipeline.defs.ingest.each_drop import Events, Metadata, for_each_drop, in_portions
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.defs.progress import log_progress
from mmrag_pipeline.embedding.manifest import embed_manifest
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.index.sync import sync_drop
from mmrag_pipeline.media.catalogue import SHOWN_PROBLEMS
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.media.overview import drop_sheet
from mmrag_pipeline.media.scan import scan_drop
from mmrag_pipeline.media.sheet import inline_markdown
from mmrag_pipeline.resources import ClipEncoderResource, MediaLibraryResource, MilvusResource, StoreResource


class DropManifestConfig(dg.Config):
    """Switches for one materialisation."""

    allow_mass_deletion: bool = False


@dg.asset(
    partitions_def=media_drops,
    backfill_policy=in_portions(),
    hooks=HOOKS,
    group_name="ingest",
    kinds={"parquet", "pillow"},
    retry_policy=WAIT_FOR_STORE,
)
def drop_manifest(
    context: dg.AssetExecutionContext,
    config: DropManifestConfig,
    media_library: MediaLibraryResource,
    store: StoreResource,
) -> Events:
    """One row for every file of the drop, the bad ones too, joined with its catalogue metadata.

    A drop that lost more than half of its pictures stops here, because an unmounted share looks the same;
    materialise it with `allow_mass_deletion: true` if the deletion is meant.
    """
    library, limits, manifests = media_library.library(), media_library.limits(), ManifestStore(store.open())

    def scan(key: str) -> Metadata:
        drop = Drop.parse(key)
        previous, warning = manifests.find_usable(key)
        if warning:
            context.log.warning("%s: %s", key, warning)
        report = scan_drop(
            library,
            drop,
            previous=previous,
            limits=limits,
            now=datetime.now(UTC),
            allow_mass_deletion=config.allow_mass_deletion,
            progress=log_progress(context, "files"),
        )
        if report.changed:
            manifests.replace(key, previous, report.table)
        for problem in report.problems[:SHOWN_PROBLEMS]:
            context.log.warning("%s: %s", key, problem)
        if len(report.problems) > SHOWN_PROBLEMS:
            more = len(report.problems) - SHOWN_PROBLEMS
            context.log.warning("%s: and %d more problems of its catalogue", key, more)
        # A quiet night opens no picture; the sheet of the last change stays in the asset's history.
        sheet = drop_sheet(library.folder(drop), report.table, limits=limits) if report.changed else None
        return {
            **report.counts,
            "files_hashed": report.hashed,
            "changed": report.changed,
            "manifest": dg.MetadataValue.path(str(manifests.path(key))),
            "catalogue_problem_count": len(report.problems),
            "catalogue_problems": dg.MetadataValue.json(report.problems[:SHOWN_PROBLEMS]),
            **({"pictures": dg.MetadataValue.md(inline_markdown(sheet, alt=key))} if sheet else {}),
        }

    yield from for_each_drop(context, scan)


@dg.asset(
    partitions_def=media_drops,
    backfill_policy=in_portions(),
    deps=[drop_manifest],
    hooks=HOOKS,
    group_name="ingest",
    kinds={"parquet", "pytorch"},
    pool="encoder",
    retry_policy=WAIT_FOR_STORE,
)
def clip_embeddings(
    context: dg.AssetExecutionContext,
    media_library: MediaLibraryResource,
    store: StoreResource,
    clip_encoder: ClipEncoderResource,
) -> Events:
    """Unit vectors for the pictures of the drop, as parquet; only content never embedded before is computed."""
    library, opened = media_library.library(), store.open()

    def embed(key: str) -> Metadata:
        report = embed_manifest(
            ManifestStore(opened).read(key),
            library.folder(Drop.parse(key)),
            drop=key,
            encoder=clip_encoder.encoder(opened),
            store=EmbeddingStore(opened),
            limits=media_library.limits(),
            progress=log_progress(context, "pictures"),
        )
        for sentence in report.damaged:
            context.log.warning("%s", sentence)
        summary = report.summary
        return {
            "rows": summary.rows,
            "computed": summary.computed if report.changed else 0,
            "reused": summary.reused if report.changed else summary.rows,
            "images_per_second": round(report.images_per_second, 1),
            "thread_seconds_by_stage": dg.MetadataValue.json(summary.stage_seconds if report.changed else {}),
            "dimensions": summary.dim,
            "fingerprint": summary.fingerprint,
            "folder": dg.MetadataValue.path(str(EmbeddingStore(opened).folder(summary.fingerprint, key))),
        }

    yield from for_each_drop(context, embed)


@dg.asset(
    partitions_def=media_drops,
    backfill_policy=in_portions(),
    deps=[clip_embeddings],
    hooks=HOOKS,
    group_name="ingest",
    kinds={"milvus"},
    pool="milvus",
    retry_policy=WAIT_FOR_MILVUS,
)
def drop_vectors(
    context: dg.AssetExecutionContext,
    store: StoreResource,
    clip_encoder: ClipEncoderResource,
    milvus: MilvusResource,
) -> Events:
    """The live collection holds exactly this drop's manifest: new rows upserted, gone ones deleted."""
    opened = store.open()

    def sync(key: str) -> Metadata:
        encoder = clip_encoder.encoder(opened)
        with milvus.connect() as connection:
            report = sync_drop(
                connection,
                drop=Drop.parse(key),
                manifest=ManifestStore(opened).read(key),
                vectors=EmbeddingStore(opened).batches(encoder.fingerprint, key),
                fingerprint=encoder.fingerprint,
                dim=encoder.dim,
                now=datetime.now(UTC),
            )
        return {
            "collection": report.collection,
            "upserted": report.upserted,
            "deleted": report.deleted,
            "unchanged": report.unchanged,
            "rows": report.rows,
        }

    yield from for_each_drop(context, sync)
