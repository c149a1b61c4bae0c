"""When the index is compared with the library: every night."""

import dagster as dg

from mmrag_pipeline.defs.index.jobs import nightly_reindex
from mmrag_pipeline.settings import load_settings


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
