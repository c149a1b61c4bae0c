"""One schedule for each brief, by the brief's own cron and timezone; each can be switched on by itself."""

import logging

import dagster as dg

from mmrag_pipeline.campaigns.backends.base import backend_info
from mmrag_pipeline.campaigns.brief import Brief
from mmrag_pipeline.campaigns.brief_folder import load_briefs
from mmrag_pipeline.defs.campaigns.jobs import run_campaign, submit_campaign
from mmrag_pipeline.defs.partitions import campaign_occurrences
from mmrag_pipeline.settings import load_settings

log = logging.getLogger(__name__)


@dg.definitions
def schedules() -> dg.Definitions:
    """The briefs that lie in the folder when the code location loads; reload it after adding one."""
    settings = load_settings()
    briefs = load_briefs(settings.campaigns_root, model=settings.gemini_model)
    for problem in briefs.problems if settings.campaigns else ():
        log.warning("%s", problem.sentence)
    status = dg.DefaultScheduleStatus.RUNNING if settings.autostart else dg.DefaultScheduleStatus.STOPPED
    due = [brief for brief in briefs.good if brief.schedule]
    return dg.Definitions(schedules=[_schedule(brief, settings.image_backend, status) for brief in due])


def _schedule(brief: Brief, backend: str, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    assert brief.schedule is not None
    in_batches = brief.mode == "batch" and backend_info(brief.backend or backend).batches

    @dg.schedule(
        name=f"campaign_{brief.campaign.replace('-', '_')}",
        job=submit_campaign if in_batches else run_campaign,
        cron_schedule=brief.schedule.cron,
        execution_timezone=brief.schedule.timezone,
        description=f"{brief.title}: {brief.objective}",
        default_status=status,
    )
    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        key = brief.occurrence(context.scheduled_execution_time).key
        context.instance.add_dynamic_partitions(campaign_occurrences.name, [key])
        return dg.RunRequest(run_key=key, partition_key=key)

    return tick
