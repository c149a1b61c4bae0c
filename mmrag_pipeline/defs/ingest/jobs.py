"""`ingest_drop`: one drop from files to searchable, in one run, so that the model is loaded once. `remove_drop`: the
way back.
"""

from datetime import UTC, datetime

import dagster as dg

from mmrag_pipeline.defs.failures import HOOKS, WAIT_FOR_MILVUS, user_errors_as_failures
from mmrag_pipeline.defs.ingest.assets import clip_embeddings, drop_manifest, drop_vectors
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.defs.pods import pod_tags
from mmrag_pipeline.media.library import Drop
from mmrag_pipeline.removal import remove_drop as remove
from mmrag_pipeline.resources import ClipEncoderResource, MediaLibraryResource, MilvusResource, StoreResource

ingest_drop = dg.define_asset_job(
    "ingest_drop",
    selection=dg.AssetSelection.assets(drop_manifest, clip_embeddings, drop_vectors),
    description="Scan, embed and index one drop. The drop sensor requests it; backfills run it for many drops.",
    hooks=HOOKS,
    tags=pod_tags("ingest_drop"),
)


@dg.op(pool="milvus", retry_policy=WAIT_FOR_MILVUS)
def remove_vanished_drop(
    context: dg.OpExecutionContext,
    media_library: MediaLibraryResource,
    store: StoreResource,
    clip_encoder: ClipEncoderResource,
    milvus: MilvusResource,
) -> None:
    """Rows, vectors and manifest go, then the partition: as long as that is there, the sensor asks again."""
    with user_errors_as_failures():
        opened = store.open()
        with milvus.connect() as connection:
            removal = remove(
                Drop.parse(context.partition_key),
                library=media_library.library(),
                store=opened,
                milvus=connection,
                encoder=clip_encoder.encoder(opened),
                now=datetime.now(UTC),
            )
    context.log.info(
        "%s: %d rows left the live collection, %d files the manifest",
        context.partition_key,
        removal.rows,
        removal.files,
    )
    context.instance.delete_dynamic_partition(media_drops.name, context.partition_key)


@dg.job(partitions_def=media_drops, hooks=HOOKS, tags=pod_tags("remove_drop"))
def remove_drop():
    """Remove a drop whose folder is gone from index, store and partitions. The drop sensor requests it after the grace
    period; for many drops at once it wants a person to.
    """
    remove_vanished_drop()
