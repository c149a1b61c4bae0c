"""Bar: at 10,000 drops a tick of the drop sensor takes under 5 s, whatever has happened.

The sensor's own function, with a real Dagster instance, on a local tree of drops of five small files each. "All new" is
the first tick: it stops at 25 drops. "Nothing new" and "25 changed" look at every drop, with the cursor of a library
that was seen before; the changed ones lie at the end, so that the whole library is listed before they are all found.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import dagster as dg

from benchmarks.options import Options
from benchmarks.report import Result, held_against, taking_turns
from mmrag_pipeline.defs.ingest import sensors
from mmrag_pipeline.defs.partitions import media_drops
from mmrag_pipeline.media.library import MediaLibrary
from mmrag_pipeline.media.listing import signature_of
from mmrag_pipeline.resources import MediaLibraryResource

DROPS, QUICK_DROPS = 10_000, 200
FILES, LINES, CHANGED = 5, 20, 25
BAR_S = 5.0
NEW, QUIET, SOME = "all new", "nothing new", f"{CHANGED} changed"


def run(options: Options) -> Result:
    drops = QUICK_DROPS if options.quick else DROPS
    root = _tree(options.data / f"drops-{drops}", drops)
    result = Result("drop_sensor", f"one tick at {drops:,} drops of {FILES} files, seconds")
    with dg.instance_for_test() as instance:
        sensor = _Sensor(instance, root)
        known = sensor.known()
        sides = {
            NEW: lambda: sensor.tick(None, CHANGED),
            QUIET: lambda: sensor.tick(known, 0),
            SOME: lambda: sensor.tick(sensor.without_last(known, CHANGED), CHANGED),
        }
        found = taking_turns(sides, options.rounds())
    wall = result.add(f"{drops:,}", "s", {side: [seconds for seconds, _ in each] for side, each in found.items()})
    bar = None if options.quick else BAR_S
    result.figures = [held_against(wall[side], what=side, bar=bar, at_most=True) for side in (NEW, QUIET, SOME)]
    result.notes["cursor"] = f"{found[QUIET][0][1]:,} bytes"
    return result


class _Sensor:
    """The sensor and what the daemon keeps for it."""

    def __init__(self, instance: dg.DagsterInstance, root: Path):
        self._instance, self._library = instance, MediaLibraryResource(root=str(root), quiet_s=0.0)
        self._root = root

    def tick(self, cursor: str | None, wanted: int) -> tuple[float, int]:
        """(seconds, bytes of the new cursor); `wanted` runs have to be asked for."""
        with dg.build_sensor_context(instance=self._instance, cursor=cursor) as context:
            started = time.perf_counter()
            result = sensors.find_drops(context, media_library=self._library)
            seconds = time.perf_counter() - started
        asked = len(result.run_requests or [])
        if asked != wanted:
            raise AssertionError(f"the tick asked for {asked} runs, {wanted} were meant")
        return seconds, len(result.cursor or "")

    def known(self) -> str:
        """The cursor of a sensor that has seen every drop; the drops have their partitions."""
        library = MediaLibrary(str(self._root))
        seen = {drop.key: [signature_of(library.entries(drop)), 1] for drop in library.drops().drops}
        self._instance.add_dynamic_partitions(media_drops.name, list(seen))
        return sensors._packed(seen)

    def without_last(self, cursor: str, count: int) -> str:
        """The same with another signature for the last drops, as if they had changed since."""
        seen = sensors._unpacked(cursor)
        for key in itertools.islice(reversed(sorted(seen)), count):
            seen[key] = ["another", 1]
        return sensors._packed(seen)


def _tree(root: Path, drops: int) -> Path:
    done = root.with_suffix(".done")
    if not done.exists():
        for number in range(drops):
            folder = root / f"line-{number % LINES:02d}" / f"d{number:05d}"
            os.makedirs(folder, exist_ok=True)
            for file in range(FILES):
                (folder / f"p{file:02d}.jpg").write_bytes(b"x" * (100 + file))
        done.touch()
    return root
