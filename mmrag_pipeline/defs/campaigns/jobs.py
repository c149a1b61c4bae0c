"""`run_campaign`: one occurrence of one brief, from plan to gallery. A brief with `mode: batch` has it in two parts:
`submit_campaign` orders, and the sensor of batch jobs asks for `collect_campaign`.
"""

import dagster as dg

from mmrag_pipeline.defs.campaigns.assets import campaign_gallery, campaign_images, campaign_plan
from mmrag_pipeline.defs.campaigns.batch import campaign_batch
from mmrag_pipeline.defs.failures import HOOKS
from mmrag_pipeline.defs.pods import pod_tags

run_campaign = dg.define_asset_job(
    "run_campaign",
    selection=dg.AssetSelection.assets(campaign_plan, campaign_images, campaign_gallery),
    description="Plan one occurrence, make the pictures that are missing, write its gallery.",
    hooks=HOOKS,
    tags=pod_tags("run_campaign"),
)

submit_campaign = dg.define_asset_job(
    "submit_campaign",
    selection=dg.AssetSelection.assets(campaign_plan, campaign_batch),
    description="Plan one occurrence and order the pictures that are missing in batches, at half price.",
    hooks=HOOKS,
    tags=pod_tags("submit_campaign"),
)

collect_campaign = dg.define_asset_job(
    "collect_campaign",
    selection=dg.AssetSelection.assets(campaign_images, campaign_gallery),
    description="Take what the batch jobs of one occurrence have made, make the rest online, write its gallery.",
    hooks=HOOKS,
    tags=pod_tags("collect_campaign"),
)
