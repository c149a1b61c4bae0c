"""Finds new, changed and vanished drops. It lists folders and never opens a file: reading is the run's work."""

import json

import dagster as dg

from mmrag_pipeline.defs.ingest.jobs import ingest_drop
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.resources import MediaLibraryResource
from mmrag_pipeline.settings import load_settings

MAX_DROPS_A_TICK = 25
"""Keeps a tick far below Dagster's 60 s, and the run queue readable; the rest follows in the next ticks."""


def find_drops(context: dg.SensorEvaluationContext, media_library: MediaLibraryResource) -> dg.SensorResult:
    """Cursor: JSON {drop: [signature of its listing, how many times it was delivered]}."""
    library = media_library.library()
    seen: dict[str, list] = json.loads(context.cursor) if context.cursor else {}
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

    requests = []
    for drop in listing.drops:
        try:
            signature = library.signature(drop)
        except UserError as error:
            context.log.warning("%s", error)  # one drop that can't be listed must not keep the others waiting
            continue
        known, deliveries = seen.get(drop.key, [None, 0])
        if signature == known:
            continue
        seen[drop.key] = [signature, deliveries + 1]
        # The count keeps a drop that returns to an earlier state from being taken for a run that was made already:
        # Dagster never repeats a run key.
        requests.append(dg.RunRequest(run_key=f"{drop.key}@{deliveries + 1}:{signature}", partition_key=drop.key))
        if len(requests) == MAX_DROPS_A_TICK:
            break
    known_keys = set(context.instance.get_dynamic_partitions(media_drops.name))
    added = [request.partition_key for request in requests if request.partition_key not in known_keys]
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[media_drops.build_add_request(added)] if added else [],
        cursor=json.dumps(seen, separators=(",", ":")),
        skip_reason=None if requests else f"{len(listing.drops)} drops, none new or changed",
    )


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
