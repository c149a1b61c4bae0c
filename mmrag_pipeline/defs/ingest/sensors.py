"""Finds new, changed and vanished drops. It lists folders and never opens a file: reading is the run's work."""

import base64
import json
import time
import zlib
from collections.abc import Set
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mmrag_pipeline.defs.ingest.jobs import ingest_drop, remove_drop
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
NEXT, HELD = "next", "held"
"""Where in the cursor that is noted, and why no vanished drop is removed; no drop's key lacks a double underscore."""
SHOWN = 10
"""Drops that a tick names when they are not ready; of the others it gives the number."""
PLAIN_CURSOR, PACKED = 20_000, "zlib:"
"""A longer cursor is packed: Dagster keeps a copy of it with every tick, 2,880 a day."""
FEW, MASS_SHARE = 3, 0.2
"""So many drops, or such a part of all, may vanish and be removed by themselves; more look like a lost share."""


NAME = "drop_sensor"


def find_drops(context: dg.SensorEvaluationContext, media_library: MediaLibraryResource) -> dg.SensorResult:
    """Cursor: JSON (packed where it is long) {drop: [signature of its listing, how many times it was delivered]}, and
    where to go on; for a drop that has vanished [null, deliveries, when that was seen], without the time once it is
    removed; and why none of those is removed, where they are too many, for the sensor `alerts` to say.

    A drop that is still being delivered keeps its old signature here, so the next tick looks at it again.
    """
    started = time.monotonic()
    library = media_library.library()
    seen = _unpacked(context.cursor) if context.cursor else {}
    go_on_at, held_before = seen.pop(NEXT, ""), seen.pop(HELD, "")
    listing = library.drops()
    for name in listing.malformed:
        context.log.warning("folder %s is no drop: names are lower-case letters, digits and hyphens", name)
    for name in listing.unreadable:
        context.log.warning("product line %s can't be read; its drops stay as they are", name)
    known_keys = set(context.instance.get_dynamic_partitions(media_drops.name))
    unreadable = tuple(f"{name}__" for name in listing.unreadable)
    gone = seen.keys() - {drop.key for drop in listing.drops}
    requests, held_back = _removals(
        context, seen, {key for key in gone if not key.startswith(unreadable)}, known_keys, media_library
    )
    if held_back or (held_before and listing.unreadable):  # what can't be seen is not back
        seen[HELD] = held_back or held_before
    waiting: list[str] = []
    # From where the last tick stopped, and round again.
    for number, drop in enumerate(sorted(listing.drops, key=lambda drop: (drop.key < go_on_at, drop.key))):
        full = len(requests) >= MAX_DROPS_A_TICK or time.monotonic() - started > MAX_TICK_S
        if full and number:  # one drop at least, however slow the library is
            seen[NEXT] = drop.key
            break
        try:
            entries = library.entries(drop)
        except UserError as error:
            context.log.warning("%s", error)  # one drop that can't be listed must not keep the others waiting
            continue
        signature = signature_of(entries)
        known, deliveries, *_ = seen.get(drop.key, [None, 0])
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
        run_key = f"{drop.key}@{deliveries + 1}:{signature}"
        requests.append(dg.RunRequest(run_key=run_key, partition_key=drop.key, job_name=ingest_drop.name))
    if waiting and requests:  # else the skip reason says so
        context.log.info("%s", _waiting(waiting))
    added = [request.partition_key for request in requests if request.partition_key not in known_keys]
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[media_drops.build_add_request(added)] if added else [],
        cursor=_packed(seen),
        skip_reason=None
        if requests
        else held_back or _waiting(waiting) or f"{len(listing.drops)} drops, none new or changed",
    )


def held_back_in(cursor: str) -> str:
    """Why vanished drops are not removed, as of the tick that left this cursor; empty where none is held back.

    Raises:
        UserError: the cursor is none of this sensor's.
    """
    return str(_unpacked(cursor).get(HELD, ""))


def _packed(seen: dict[str, Any]) -> str:
    text = json.dumps(seen, separators=(",", ":"))
    if len(text) <= PLAIN_CURSOR:
        return text
    return PACKED + base64.b85encode(zlib.compress(text.encode())).decode()


def _unpacked(cursor: str) -> dict[str, Any]:
    try:
        if cursor.startswith(PACKED):
            cursor = zlib.decompress(base64.b85decode(cursor.removeprefix(PACKED))).decode()
        seen = json.loads(cursor)
    except (ValueError, zlib.error):
        seen = None
    if not isinstance(seen, dict):
        raise UserError(
            f"the cursor of {NAME} ({cursor[:40]}) is none that it wrote: clear it in the UI (Automation, {NAME}, "
            f"reset cursor); every drop is asked for once then, and only what changed is embedded."
        )
    return seen


def _removals(
    context: dg.SensorEvaluationContext,
    seen: dict[str, list],
    gone: Set[str],
    partitions: Set[str],
    media_library: MediaLibraryResource,
) -> tuple[list[dg.RunRequest], str]:
    """Requests for the drops that vanished long enough ago, and why there are none although there could be; `seen` is
    told who vanished and who was removed.
    """
    now = datetime.now(UTC)
    grace_s = media_library.vanished_grace_h * 3600
    missing, due = 0, []
    for key in sorted(gone):
        signature, deliveries, *since = seen[key]
        if key not in partitions:
            seen[key] = [None, deliveries]  # removed; its deliveries are counted on, should it ever come back
            continue
        missing += 1
        if signature is not None or not since:
            context.log.warning(
                "drop %s has vanished from the library; its rows stay for %g hours, then it is removed",
                key,
                media_library.vanished_grace_h,
            )
            since = [now.timestamp()]
            seen[key] = [None, deliveries, *since]
        if now.timestamp() - since[0] >= grace_s:
            due.append(key)
    if due and missing > max(FEW, MASS_SHARE * (len(seen) - len(gone) + missing)):
        return [], (
            f"{missing} drops have vanished, {len(due)} of them more than {media_library.vanished_grace_h:g} hours "
            f"ago ({', '.join(due[:SHOWN])}{' ...' if len(due) > SHOWN else ''}): so many look like a share that is "
            f"gone, so none is removed. If they are meant to go, run the job {remove_drop.name} for them."
        )
    return [
        # Once a day until its partition is gone: a run that failed is no reason to forget it.
        dg.RunRequest(
            run_key=f"remove {key}@{seen[key][1]} {now:%Y-%m-%d}", partition_key=key, job_name=remove_drop.name
        )
        for key in due[:MAX_DROPS_A_TICK]
    ], ""


def _waiting(drops: list[str]) -> str:
    """One sentence on the drops that are new or changed but not ready; '' when there are none."""
    if not drops:
        return ""
    more = f"; and {len(drops) - SHOWN} more" if len(drops) > SHOWN else ""
    return f"{len(drops)} new or changed drops are not ready: {'; '.join(drops[:SHOWN])}{more}"


@dg.definitions
def sensors() -> dg.Definitions:
    """The drop sensor, started with the deployment when MMRAG_AUTOSTART says so."""
    settings = load_settings()
    drop_sensor = dg.sensor(
        name=NAME,
        jobs=[ingest_drop, remove_drop],
        minimum_interval_seconds=settings.sensor_interval_s,
        description="Requests one ingest_drop run for each new or changed drop, remove_drop for one long gone.",
        default_status=dg.DefaultSensorStatus.RUNNING if settings.autostart else dg.DefaultSensorStatus.STOPPED,
    )(find_drops)
    return dg.Definitions(sensors=[drop_sensor])
