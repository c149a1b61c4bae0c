"""Watches batch jobs: what has ended is collected by a run, what could not be submitted is submitted again.

It keeps nothing itself: which jobs there are stands in the ledger, which runs were made for them in Dagster. A restart
of the daemon, or of everything, loses nothing.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

import dagster as dg

from mmrag_pipeline.campaigns.backends import batches_of, closing
from mmrag_pipeline.campaigns.batch_collect import watch_batches
from mmrag_pipeline.campaigns.batch_ledger import BatchLedger, Shard
from mmrag_pipeline.campaigns.schedule import Occurrence
from mmrag_pipeline.defs.campaigns.jobs import collect_campaign, submit_campaign
from mmrag_pipeline.defs.partitions import campaign_occurrences
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.resources import ImageBackendResource
from mmrag_pipeline.settings import load_settings

SHARDS_TAG = "mmrag/shards"
AGAIN = timedelta(minutes=10)
"""After a run that did not end its shards; twice as long after each further one, up to six hours."""
AT_MOST = timedelta(hours=6)
MOST_DOUBLINGS = 10
"""Far beyond AT_MOST; without a bound, weeks of failed runs make a number of minutes that no timedelta can hold."""


def find_batches(
    context: dg.SensorEvaluationContext, image_backend: ImageBackendResource
) -> dg.SensorResult | dg.SkipReason:
    """Asks after every open job, which costs nothing; a job that is not done yet is asked after again next time."""
    if not os.path.exists(image_backend.ledger):
        return dg.SkipReason("nothing was ever ordered")
    book, now = BatchLedger(image_backend.ledger), datetime.now(UTC)
    if not book.open_shards():
        return dg.SkipReason("no batch job is open")
    try:
        with closing(image_backend.open("gemini")) as backend:
            service = batches_of(backend)
            assert service is not None
            watch = watch_batches(book, service, now=now, deadline=image_backend.batch_deadline)
    except UserError as error:
        return dg.SkipReason(str(error))
    for problem in watch.problems:
        context.log.warning("%s", problem)
    late = [shard for shard in watch.unsent if now - shard.ordered_at > image_backend.batch_deadline]
    unsent = [shard for shard in watch.unsent if shard not in late and now - shard.ordered_at > AGAIN]
    requests = [  # a younger shard's own run is still at it; an older one is found or released by collecting
        *_requests(context.instance, collect_campaign.name, [*watch.ready, *late], now),
        *_requests(context.instance, submit_campaign.name, unsent, now),
    ]
    known = set(context.instance.get_dynamic_partitions(campaign_occurrences.name))
    added = sorted({str(request.partition_key) for request in requests} - known)
    said = f"{len(watch.running)} batch jobs run, {len(watch.ready)} have ended, {len(watch.unsent)} are not submitted"
    said += "".join(f"; {problem}" for problem in watch.problems)
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[campaign_occurrences.build_add_request(added)] if added else [],
        skip_reason=None if requests else said,
    )


def _requests(instance: dg.DagsterInstance, job: str, shards: Sequence[Shard], now: datetime) -> list[dg.RunRequest]:
    """One run an occurrence, unless one is on its way, or the last that failed was a short while ago."""

    def occurrence(shard: Shard) -> str:
        return Occurrence(shard.campaign, shard.occurrence).key

    requests = []
    for key, group in groupby(sorted(shards, key=occurrence), key=occurrence):
        token = f"{job}:{','.join(str(shard.id) for shard in group)}"
        runs = instance.get_run_records(dg.RunsFilter(tags={SHARDS_TAG: token}))
        if any(not record.dagster_run.is_finished for record in runs):
            continue
        if runs:
            ended = max(record.end_time or record.update_timestamp.timestamp() for record in runs)
            if now.timestamp() < ended + _wait(len(runs)).total_seconds():
                continue
        # The count keeps a run that failed from being the last: Dagster never repeats a run key.
        tags = {SHARDS_TAG: token}
        requests.append(dg.RunRequest(run_key=f"{token}#{len(runs)}", partition_key=key, job_name=job, tags=tags))
    return requests


def _wait(runs: int) -> timedelta:
    """How long to wait after that many runs."""
    return min(AGAIN * 2 ** min(runs - 1, MOST_DOUBLINGS), AT_MOST)


@dg.definitions
def sensors() -> dg.Definitions:
    """The sensor of batch jobs, started with the deployment when MMRAG_AUTOSTART says so."""
    running = load_settings().autostart
    campaign_batches = dg.sensor(
        name="campaign_batches",
        jobs=[collect_campaign, submit_campaign],
        minimum_interval_seconds=120,
        description="Requests a collect_campaign run where a batch job has ended.",
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
    )(find_batches)
    return dg.Definitions(sensors=[campaign_batches])
