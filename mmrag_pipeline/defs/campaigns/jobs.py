"""`run_campaign`: one occurrence of one brief, from plan to gallery."""

import dagster as dg

from mmrag_pipeline.defs.campaigns.assets import campaign_gallery, campaign_images, campaign_plan

run_campaign = dg.define_asset_job(
    "run_campaign",
    selection=dg.AssetSelection.assets(campaign_plan, campaign_images, campaign_gallery),
    description="Plan one occurrence, make the pictures that are missing, write its gallery.",
)
