"""`nightly_reindex`: from what is in the store to what everyone searches, and how good that is."""

import dagster as dg

from mmrag_pipeline.defs.failures import HOOKS
from mmrag_pipeline.defs.index.assets import media_index, staged_media_index
from mmrag_pipeline.defs.pods import pod_tags
from mmrag_pipeline.defs.quality.assets import library_health, near_duplicates, retrieval_quality

nightly_reindex = dg.define_asset_job(
    "nightly_reindex",
    selection=dg.AssetSelection.assets(
        staged_media_index, media_index, near_duplicates, retrieval_quality, library_health
    ),
    description="Compare the live collection with the library, stage what should be live, check it, publish it, "
    "and measure how good search is.",
    hooks=HOOKS,
    tags=pod_tags("nightly_reindex"),
)
