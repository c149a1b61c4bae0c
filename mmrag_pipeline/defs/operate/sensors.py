"""`alerts`: tells people about failed runs, failing sensors and schedules, drops that vanished in numbers, and an index
that nobody has renewed.

One sensor with one cursor, not Dagster's run_failure_sensor: that one has no memory, and forty drops that fail because
Milvus is down are one incident.
"""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import dagster as dg
from dagster import DagsterEventType

from mmrag_pipeline.alerts import Alert, Incidents, post
from mmrag_pipeline.defs.index.assets import media_index, staged_media_index
from mmrag_pipeline.defs.ingest import sensors as drop_sensor
from mmrag_pipeline.defs.ingest.each_drop import done_by, failures_in, partitions_of
from mmrag_pipeline.defs.operate.ticks import LastTick, cursor_of, last_ticks, sentence_of
from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.settings import Settings, load_settings

NAME = "alerts"
MAX_RUNS_A_TICK = 200
OVERLAP_S = 60.0
"""A run's end may be written a little after that of a later one: so much is looked at twice."""
RUNBOOK = "docs/runbook.md"
WILL_RETRY = "dagster/will_retry"
_INDEX = {asset.key.to_user_string() for asset in (staged_media_index, media_index)}
"""Steps whose failure is said first: without them nothing new is found."""
_ENDED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]


def watch(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Cursor: JSON {runs looked at until, their ids in the last minute, incidents, the publication said to be old}."""
    settings, now = load_settings(), datetime.now(UTC)
    # What failed before it was switched on is known, or too old to wake anybody for.
    state = json.loads(context.cursor) if context.cursor else {"until": now.timestamp() + OVERLAP_S}
    seen, incidents = set(state.get("seen", ())), Incidents(state.get("incidents", {}))
    records = context.instance.get_run_records(
        dg.RunsFilter(statuses=_ENDED, updated_after=datetime.fromtimestamp(state["until"] - OVERLAP_S, UTC)),
        limit=MAX_RUNS_A_TICK,
        order_by="update_timestamp",
        ascending=True,
    )
    sent, looked_at, trouble = 0, [], None
    for record in records:
        known, run = copy.deepcopy(incidents.known), record.dagster_run
        try:
            if run.run_id not in seen:
                for alert in _about_run(context.instance, run, incidents, settings, now):
                    _say(context, settings, alert)
                    sent += 1
        except Unavailable as error:
            incidents.known, trouble = known, error  # the next tick begins with this run
            break
        looked_at.append(record)
    looks = [partial(_about_tick, tick) for tick in last_ticks(context.instance, but=NAME)]
    looks.append(partial(_about_vanished, cursor_of(context.instance, drop_sensor.NAME)))
    for look in looks if trouble is None else ():
        known = copy.deepcopy(incidents.known)
        try:
            for alert in look(incidents, settings, now):
                _say(context, settings, alert)
                sent += 1
        except Unavailable as error:
            incidents.known, trouble = known, error
            break
    until = max([state["until"], *(_ended_at(record) for record in looked_at)])
    recent = [record.dagster_run.run_id for record in looked_at if _ended_at(record) >= until - OVERLAP_S]
    said_stale, published = state.get("stale", ""), _published_at(context.instance)
    stale = published if published and now - published > timedelta(hours=settings.alert_stale_h) else None
    if trouble is None and stale and said_stale != stale.isoformat():
        try:
            _say(context, settings, _about_stale_index(stale, now, settings))
            sent += 1
        except Unavailable as error:
            trouble = error
    if trouble is None:
        said_stale = stale.isoformat() if stale else ""
    elif not sent:
        raise trouble  # a failed tick is seen; one that has sent something must keep that in its cursor
    context.update_cursor(
        json.dumps({"until": until, "seen": recent, "incidents": incidents.known, "stale": said_stale})
    )
    return dg.SkipReason(
        f"{len(records)} runs ended lately, {sent} alerts, {len(incidents.known)} open incidents"
        + (f"; {trouble}" if trouble else "")
    )


def _say(context: dg.SensorEvaluationContext, settings: Settings, alert: Alert) -> None:
    context.log.error("%s", alert)
    if settings.alert_webhook is not None:
        post(alert, settings.alert_webhook.get_secret_value())


def _about_run(
    instance: dg.DagsterInstance, run: dg.DagsterRun, incidents: Incidents, settings: Settings, now: datetime
) -> Iterator[Alert]:
    if run.status == dg.DagsterRunStatus.SUCCESS:
        for partition in partitions_of(instance, run):
            incidents.succeeded(run.job_name, partition)
    elif run.tags.get(WILL_RETRY) != "true":
        failed = _why_failed(instance, run)
        for partition in set(partitions_of(instance, run)) - failed.keys():
            incidents.succeeded(run.job_name, partition)
        for partition, sentence in failed.items():
            if incidents.failed(run.job_name, partition, sentence, now=now):
                yield Alert(
                    title=f"{_shown(run.job_name)} failed{f' for {partition}' if partition else ''}",
                    text=sentence,
                    action=f"{_what_is_live(instance, run)} What to do: {RUNBOOK}.",
                    link=_link(settings, run.run_id),
                )


def _about_tick(tick: LastTick, incidents: Incidents, settings: Settings, now: datetime) -> Iterator[Alert]:
    name = f"tick {tick.name}"  # a schedule may be called like its job
    if not tick.trouble:
        incidents.succeeded(name, "")
    elif incidents.failed(name, "", tick.trouble, now=now):
        yield Alert(
            title=f"{tick.name} fails its ticks",
            text=tick.trouble,
            action=f"It asks for no run until that is mended. What to do: {RUNBOOK}.",
            link=settings.dagster_url or "",
        )


def _about_vanished(cursor: str | None, incidents: Incidents, settings: Settings, now: datetime) -> Iterator[Alert]:
    """Of the drop sensor's cursor: its ticks succeed, and who looks only at runs never hears of it."""
    name = f"vanished {drop_sensor.NAME}"
    try:
        held = drop_sensor.held_back_in(cursor) if cursor else ""
    except UserError:
        return  # its ticks fail for that, which `_about_tick` says
    if cursor is not None and not held:
        incidents.succeeded(name, "")
    elif held and incidents.failed(name, "", "", now=now):  # their number may change: that is no other incident
        yield Alert(
            title="many drops have vanished",
            text=held,
            action=f"What is live stays as it is, theirs too. What to do: {RUNBOOK}.",
            link=settings.dagster_url or "",
        )


def _why_failed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, str]:
    """Sentences by partition that failed: its own where the run names it, else those of the failed steps (of the index
    first) or the run's.
    """
    index: list[str] = []
    others: list[str] = []
    for record in instance.get_records_for_run(run.run_id, of_type=DagsterEventType.STEP_FAILURE).records:
        step, data = record.event_log_entry.step_key, record.event_log_entry.dagster_event.step_failure_data
        said = index if step in _INDEX else others
        if data.user_failure_data is not None:
            if named := failures_in(data.user_failure_data.metadata):
                return named  # all the others are done
            said.append(str(data.user_failure_data.description))
        elif data.error is not None:
            said.append(f"{step}: {sentence_of(data.error.cause or data.error)}")
    sentence = "\n".join(dict.fromkeys(index + others))
    if not sentence:
        sentence = "the run failed without a word"
        for record in instance.get_records_for_run(run.run_id, of_type=DagsterEventType.RUN_FAILURE).records:
            sentence = record.event_log_entry.dagster_event.message or sentence
    partitions = partitions_of(instance, run) or [""]
    done = done_by(instance, run) if len(partitions) > 1 else set()
    return {partition: sentence for partition in partitions if partition not in done}


def _what_is_live(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    for record in instance.get_records_for_run(run.run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION).records:
        if record.event_log_entry.dagster_event.asset_key == media_index.key:
            return "The new index is live all the same."
    return "What is live stays as it is."


def _about_stale_index(published: datetime, now: datetime, settings: Settings) -> Alert:
    hours = (now - published).total_seconds() / 3600
    return Alert(
        title="the live index is old",
        text=f"media_index was last materialised {hours:.0f} hours ago ({published:%Y-%m-%d %H:%M} UTC); "
        f"{settings.alert_stale_h:g} hours is the limit (MMRAG_ALERT_STALE_H).",
        action=f"See why nightly_reindex did not run or did not finish. What to do: {RUNBOOK}.",
        link=settings.dagster_url or "",
    )


def _published_at(instance: dg.DagsterInstance) -> datetime | None:
    event = instance.get_latest_materialization_event(media_index.key)
    return datetime.fromtimestamp(event.timestamp, UTC) if event else None


def _ended_at(record: dg.RunRecord) -> float:
    return record.update_timestamp.replace(tzinfo=UTC).timestamp()


def _shown(job: str) -> str:
    return "a materialisation" if job.startswith("__ASSET_JOB") else job


def _link(settings: Settings, run_id: str) -> str:
    return f"{settings.dagster_url.rstrip('/')}/runs/{run_id}" if settings.dagster_url else f"run {run_id}"


@dg.definitions
def sensors() -> dg.Definitions:
    """The sensor of alerts, started with the deployment when MMRAG_AUTOSTART says so."""
    settings = load_settings()
    return dg.Definitions(
        sensors=[
            dg.SensorDefinition(
                name=NAME,
                evaluation_fn=watch,
                minimum_interval_seconds=settings.sensor_interval_s,
                description="One message an incident (a failed run, a failing sensor, vanished drops, an old index) to "
                "MMRAG_ALERT_WEBHOOK or the log.",
                default_status=dg.DefaultSensorStatus.RUNNING if settings.autostart else dg.DefaultSensorStatus.STOPPED,
            )
        ]
    )
