"""No bar: seconds from the start of a process to its end, for drops of four small pictures, Milvus Lite, a new store.

`bare` calls scan, embed and sync for each drop in one process, which loads the model once. Dagster does the same work
in runs: one a drop, in one process; one a drop, each in a process of its own, as a daemon starts them; and
`mmrag backfill`, which has several drops in a run and publishes at the end.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from PIL import Image

from benchmarks.options import Options
from benchmarks.orchestration.job import BACKFILL, BARE, PROCESSES, RUNS
from benchmarks.processes import run_ours
from benchmarks.report import Result, taking_turns, times_as_much
from mmrag_pipeline.settings import PREFIX

DROPS, QUICK_DROPS = (1, 10, 100), (2,)
PICTURES = 4
NAMES = {
    BARE: "the bare functions",
    RUNS: "Dagster, a run a drop, in one process",
    PROCESSES: "Dagster, a run a drop, each a process",
    BACKFILL: "Dagster, mmrag backfill",
}
MOST_PROCESSES = 10
"""Drops up to which a process a run is measured: a hundred take a quarter of an hour a round."""
_ROUNDS = 3


def run(options: Options) -> Result:
    """Measure all sides; fails when one left other rows than it was given."""
    about = f"drops of {PICTURES} small pictures from delivered to searchable, seconds"
    result = Result("orchestration", about)
    for drops in QUICK_DROPS if options.quick else DROPS:
        with tempfile.TemporaryDirectory(dir=options.data) as root:
            media = Path(root) / "media"
            _deliver(media, drops)
            chosen = [side for side in NAMES if side != PROCESSES or drops <= MOST_PROCESSES]
            sides = {NAMES[side]: partial(_seconds, Path(root), media, side, drops) for side in chosen}
            case = "1 drop" if drops == 1 else f"{drops} drops"
            seconds = result.add(case, "s", taking_turns(sides, options.rounds(_ROUNDS)))
            bare = seconds[NAMES[BARE]]
            result.figures += [times_as_much(each, bare, what=name) for name, each in seconds.items() if each != bare]
    result.notes["figures"] = "how many times the bare functions' time"
    return result


def _deliver(media: Path, drops: int) -> None:
    """No two pictures are alike."""
    for drop in range(drops):
        folder = media / "line" / f"d{drop:03d}"
        folder.mkdir(parents=True)
        for number in range(PICTURES):
            colour = (drop * 2 % 256, 60 * number, 200 - drop)
            Image.new("RGB", (96, 64), colour).save(folder / f"{number}.png")


def _seconds(root: Path, media: Path, side: str, drops: int) -> float:
    with tempfile.TemporaryDirectory(dir=root) as store:
        chosen = {"MEDIA": str(media), "STORE": store, "CAMPAIGNS": f"{store}/briefs", "QUIET_S": "0"}
        environment = {PREFIX + name: value for name, value in chosen.items()}
        cost = run_ours("benchmarks.orchestration.job", "--side", side, env=environment | {"DAGSTER_HOME": ""})
    if cost.report["rows"] != drops * PICTURES:
        raise AssertionError(f"{side} left {cost.report['rows']} rows, {drops * PICTURES} were meant")
    return cost.wall_s
