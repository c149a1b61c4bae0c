"""`nightly_reindex`: from what is in the store to what everyone searches."""

import dagster as dg

from mmrag_pipeline.defs.index.assets import media_index, staged_media_index
from mmrag_pipeline.defs.pods import pod_tags

nightly_reindex = dg.define_asset_job(
    "nightly_reindex",
    selection=dg.AssetSelection.assets(staged_media_index, media_index),
    description="Compare the live collection with the library, stage what should be live, check it, publish it.",
    tags=pod_tags("nightly_reindex"),
)
