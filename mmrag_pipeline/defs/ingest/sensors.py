"""Finds new, changed and vanished drops. It lists folders and never opens a file: reading is the run's work."""

import json
import time
from datetime import UTC, datetime

import dagster as dg

from mmrag_pipeline.defs.ingest.jobs import ingest_drop
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.listing import signature_of
from mmrag_pipeline.media.readiness import readiness
from mmrag_pipeline.resources import MediaLibraryResource
from mmrag_pipeline.settings import load_settings

MAX_DROPS_A_TICK = 25
"""Keeps the run queue readable; the rest follows in the next ticks."""
MAX_TICK_S = 30.0
"""Dagster ends a tick after 60 s, and then nothing of it counts; the next tick goes on where this one stopped."""
NEXT = "next"
"""Where in the cursor that is noted; no drop's key lacks a double underscore."""
SHOWN = 10
"""Drops that a tick names when they are not ready; of the others it gives the number."""


def find_drops(context: dg.SensorEvaluationContext, media_library: MediaLibraryResource) -> dg.SensorResult:
    """Cursor: JSON {drop: [signature of its listing, how many times it was delivered]}, and where to go on.

    A drop that is still being delivered keeps its old signature here, so the next tick looks at it again.
    """
    started = time.monotonic()
    library = media_library.library()
    seen: dict[str, list] = json.loads(context.cursor) if context.cursor else {}
    go_on_at = seen.pop(NEXT, "")
    listing = library.drops()
    for name in listing.malformed:
        context.log.warning("folder %s is no drop: names are lower-case letters, digits and hyphens", name)
    for name in listing.unreadable:
        context.log.warning("product line %s can't be read; its drops stay as they are", name)
    unreadable = tuple(f"{name}__" for name in listing.unreadable)
    for key in sorted(seen.keys() - {drop.key for drop in listing.drops}):
        signature, deliveries = seen[key]
        if signature is not None and not key.startswith(unreadable):
            context.log.warning(
                "drop %s has vanished from the library; its rows stay: to remove them, materialise it with "
                "allow_mass_deletion: true",
                key,
            )
            seen[key] = [None, deliveries]  # said once; if it comes back, it is new

    requests, waiting = [], []
    # From where the last tick stopped, and round again.
    for number, drop in enumerate(sorted(listing.drops, key=lambda drop: (drop.key < go_on_at, drop.key))):
        full = len(requests) == MAX_DROPS_A_TICK or time.monotonic() - started > MAX_TICK_S
        if full and number:  # one drop at least, however slow the library is
            seen[NEXT] = drop.key
            break
        try:
            entries = library.entries(drop)
        except UserError as error:
            context.log.warning("%s", error)  # one drop that can't be listed must not keep the others waiting
            continue
        signature = signature_of(entries)
        known, deliveries = seen.get(drop.key, [None, 0])
        if signature == known:
            continue
        state = readiness(
            entries,
            now=datetime.now(UTC),
            quiet_s=media_library.quiet_s,
            marker_required=media_library.ready_marker,
        )
        if not state.ready:
            waiting.append(f"{drop.key} {state.why}")
            continue
        seen[drop.key] = [signature, deliveries + 1]
        # The count keeps a drop that returns to an earlier state from being taken for a run that was made already:
        # Dagster never repeats a run key.
        requests.append(dg.RunRequest(run_key=f"{drop.key}@{deliveries + 1}:{signature}", partition_key=drop.key))
    if waiting and requests:  # else the skip reason says so
        context.log.info("%s", _waiting(waiting))
    known_keys = set(context.instance.get_dynamic_partitions(media_drops.name))
    added = [request.partition_key for request in requests if request.partition_key not in known_keys]
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[media_drops.build_add_request(added)] if added else [],
        cursor=json.dumps(seen, separators=(",", ":")),
        skip_reason=None if requests else _waiting(waiting) or f"{len(listing.drops)} drops, none new or changed",
    )


def _waiting(drops: list[str]) -> str:
    """One sentence on the drops that are new or changed but not ready; '' when there are none."""
    if not drops:
        return ""
    more = f"; and {len(drops) - SHOWN} more" if len(drops) > SHOWN else ""
    return f"{len(drops)} new or changed drops are not ready: {'; '.join(drops[:SHOWN])}{more}"


@dg.definitions
def sensors() -> dg.Definitions:
    """The drop sensor, started with the deployment when MMRAG_AUTOSTART says so."""
    running = load_settings().autostart
    drop_sensor = dg.sensor(
        name="drop_sensor",
        job=ingest_drop,
        minimum_interval_seconds=30,
        description="Requests one ingest_drop run for each new or changed drop.",
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
    )(find_drops)
    return dg.Definitions(sensors=[drop_sensor])
