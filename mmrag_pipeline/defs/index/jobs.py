"""`nightly_reindex` and the schedule that runs it."""

import dagster as dg

from mmrag_pipeline.defs.index.assets import media_index, staged_media_index
from mmrag_pipeline.settings import load_settings

nightly_reindex = dg.define_asset_job(
    "nightly_reindex",
    selection=dg.AssetSelection.assets(staged_media_index, media_index),
    description="Compare the live collection with the library, stage what should be live, check it, publish it.",
)


@dg.definitions
def schedules() -> dg.Definitions:
    """The nightly schedule, at MMRAG_NIGHTLY_CRON in MMRAG_TIMEZONE."""
    settings = load_settings()
    return dg.Definitions(
        schedules=[
            dg.ScheduleDefinition(
                name="nightly_reindex",
                job=nightly_reindex,
                cron_schedule=settings.nightly_cron,
                execution_timezone=settings.timezone,
                description="The live collection is the library, every morning.",
                default_status=dg.DefaultScheduleStatus.RUNNING
                if settings.autostart
                else dg.DefaultScheduleStatus.STOPPED,
            )
        ]
    )
