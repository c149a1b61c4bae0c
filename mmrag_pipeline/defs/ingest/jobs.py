"""`ingest_drop`: one drop from files to searchable, in one run, so that the model is loaded once."""

import dagster as dg

from mmrag_pipeline.defs.ingest.assets import clip_embeddings, drop_manifest, drop_vectors

ingest_drop = dg.define_asset_job(
    "ingest_drop",
    selection=dg.AssetSelection.assets(drop_manifest, clip_embeddings, drop_vectors),
    description="Scan, embed and index one drop. The drop sensor requests it; backfills run it for many drops.",
)
