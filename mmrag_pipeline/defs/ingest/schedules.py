"""What the drop sensor missed or asked for in vain is asked for again: every night."""

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from mmrag_pipeline.defs.ingest.assets import clip_embeddings, drop_manifest
from mmrag_pipeline.defs.ingest.each_drop import partitions_of
from mmrag_pipeline.defs.ingest.jobs import ingest_drop
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.drift import Drift, find_drift
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.readiness import readiness
from mmrag_pipeline.resources import ClipEncoderResource, MediaLibraryResource, MilvusResource, StoreResource
from mmrag_pipeline.settings import load_settings

MOST_A_NIGHT = 200
"""More at once is a backfill, and for a person to decide."""
MAX_TICK_S = 40.0
"""Dagster ends a tick after 60 s, and then nothing of it counts."""

PATIENCE_S = 5.0
"""For Milvus, within a tick."""


def find_drifted(
    context: dg.ScheduleEvaluationContext,
    media_library: MediaLibraryResource,
    store: StoreResource,
    clip_encoder: ClipEncoderResource,
    milvus: MilvusResource,
) -> list[dg.RunRequest] | dg.SkipReason:
    """One run for each drop whose files, manifest and vectors are not of one mind, and that no run is at work on.

    Where the live collection is of another model, the runs end with the vectors: nothing more can be done before
    nightly_reindex has swapped in a collection of this one.

    Raises:
        UserError: the library can't be listed; a tick that fails is seen, one that is skipped is not.
    """
    now = context.scheduled_execution_time
    found = _in_time(context, _drifts(now, media_library, store, clip_encoder))
    runs = context.instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
    under_way = {key for run in runs for key in partitions_of(context.instance, run)}
    asked = [drift for drift in found if drift.drop.key not in under_way]
    for drift in asked[:MOST_A_NIGHT]:
        context.log.warning("%s %s", drift.drop.key, drift.why)
    if len(asked) > MOST_A_NIGHT:
        context.log.warning(
            "%d drops have drifted, %d of them are ingested tonight: run mmrag backfill '*' for all",
            len(asked),
            MOST_A_NIGHT,
        )
    keys = [drift.drop.key for drift in asked[:MOST_A_NIGHT]]
    if not keys:
        return dg.SkipReason("every drop is what its folder holds, or a run is at work on it")
    context.instance.add_dynamic_partitions(media_drops.name, keys)
    beside = [drop_manifest.key, clip_embeddings.key] if _other_model_is_live(store, clip_encoder, milvus) else None
    return [
        dg.RunRequest(run_key=f"{key}@night {now:%Y-%m-%d}", partition_key=key, asset_selection=beside) for key in keys
    ]


def _other_model_is_live(store: StoreResource, clip_encoder: ClipEncoderResource, milvus: MilvusResource) -> bool:
    """As far as a moment tells, and without loading the model: one that was never loaded is not the live one."""
    try:
        with milvus.model_copy(update={"wait_s": PATIENCE_S, "timeout_s": PATIENCE_S}).connect() as connection:
            live = connection.live()
    except UserError:
        return False  # the runs say so, and wait longer for an answer
    return live is not None and live.fingerprint != clip_encoder.encoder(store.open()).noted_fingerprint()


def _drifts(
    now: datetime, media_library: MediaLibraryResource, store: StoreResource, clip_encoder: ClipEncoderResource
) -> Iterator[Drift | None]:
    """One for each drop of the library, None where it has not drifted; from where the night's lot falls, and round."""
    library, opened, at = media_library.library(), store.open(), datetime.now(UTC)
    drops = library.drops().drops
    # Where a night's time, or its share of runs, does not suffice for all, another night begins elsewhere.
    first = random.Random(now.toordinal()).randrange(len(drops))
    fingerprint, limits = clip_encoder.encoder(opened).noted_fingerprint(), media_library.limits()
    quiet_s, marker = media_library.quiet_s, media_library.ready_marker
    for drop in drops[first:] + drops[:first]:
        drifts = find_drift(
            [drop],
            library=library,
            store=opened,
            fingerprint=fingerprint,
            limits=limits,
            ready=lambda entries: readiness(entries, now=at, quiet_s=quiet_s, marker_required=marker).ready,
        )
        yield next(drifts, None)


def _in_time(context: dg.ScheduleEvaluationContext, drifts: Iterator[Drift | None]) -> list[Drift]:
    started, found = time.monotonic(), []
    for number, drift in enumerate(drifts, start=1):
        if drift is not None:
            found.append(drift)
        if time.monotonic() - started > MAX_TICK_S:
            context.log.warning("time for %d drops only; another night begins with others", number)
            break
    return found


@dg.definitions
def schedules() -> dg.Definitions:
    """The nightly schedule, when nightly_reindex is due too; that takes along what is ingested while it works."""
    settings = load_settings()
    nightly_ingest = dg.schedule(
        name="nightly_ingest",
        job=ingest_drop,
        cron_schedule=settings.nightly_cron,
        execution_timezone=settings.timezone,
        description="Ingests drops that the sensor missed, or whose last run failed.",
        default_status=dg.DefaultScheduleStatus.RUNNING if settings.autostart else dg.DefaultScheduleStatus.STOPPED,
    )(find_drifted)
    return dg.Definitions(schedules=[nightly_ingest])
