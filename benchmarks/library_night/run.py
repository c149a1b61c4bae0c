"""Nights of a library of 1,000 drops of 100 pictures: the first, one without a change, one with 1% changed.

Vectors are synthetic, written by the store's own writers; the night is the job `nightly_reindex` in a fresh process,
against the packaged Milvus server: it reads every manifest, compares it with the live collection, mends that in place,
checks it and publishes it. The next changed night goes the same way back. All figures include the start of Python and
Dagster. There is no golden set: asking one takes the model besides.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks import index_library, index_place
from benchmarks.index_library import DIM, Library
from benchmarks.index_place import NoServer, Place
from benchmarks.options import Options
from benchmarks.processes import Cost, run_ours
from benchmarks.report import Result, held_against
from mmrag_pipeline import wiring
from mmrag_pipeline.settings import load_settings
from mmrag_pipeline.store import Store

DROPS, QUICK_DROPS, EACH = 1_000, 20, 100
FIRST, QUIET, CHANGED = "first night", "nothing changed", "1% changed"
_ROUNDS = 3
_TOKEN = "MMRAG_MILVUS_TOKEN"


def run(options: Options) -> Result:
    drops = QUICK_DROPS if options.quick else DROPS
    rows = drops * EACH
    about = f"nightly_reindex of {drops:,} drops, {rows:,} vectors of {DIM}, on a server, seconds"
    result = Result("library_night", about)
    encoder = wiring.encoder(load_settings(), Store(options.data / "night-model"))
    given = {"fingerprint": encoder.fingerprint, "drops": drops}
    states = [index_library.make(options.data, rows, **given), index_library.make_changed(options.data, rows, **given)]
    for state in states:
        _note(state)
    nights: dict[str, list[Cost]] = {FIRST: [], QUIET: [], CHANGED: []}
    try:
        with index_place.server(options.data) as place, tempfile.TemporaryDirectory(dir=options.data) as home:
            nights[FIRST].append(_night(place, states[0], Path(home), "rebuild", rows))
            for round_ in range(options.rounds(_ROUNDS)):
                nights[QUIET].append(_night(place, states[round_ % 2], Path(home), "unchanged", 0))
                mode = "rebuild" if options.quick else "reconcile"  # a small library is built anew
                wanted = rows if options.quick else index_library.changes(rows)[0]
                nights[CHANGED].append(_night(place, states[(round_ + 1) % 2], Path(home), mode, wanted))
    except NoServer as why:
        result.not_measured.append(str(why))
        return result
    case = f"{drops:,} drops"
    wall = result.add(case, "s wall", {side: [cost.wall_s for cost in costs] for side, costs in nights.items()})
    result.add(case, "s CPU", {side: [cost.cpu_s for cost in costs] for side, costs in nights.items()})
    memory = result.add(case, "MB", {side: [cost.peak_mb() for cost in costs] for side, costs in nights.items()})
    result.figures = [
        held_against(wall[QUIET], what=QUIET),
        held_against(wall[CHANGED], what=CHANGED),
        held_against(memory[CHANGED], what=f"{CHANGED}, peak memory of the run", reduce=max),
    ]
    upserts, deletes = index_library.changes(rows)
    result.notes["a changed night"] = f"{upserts:,} rows to write, {deletes:,} to delete"
    return result


def _note(state: Library) -> None:
    """Let the store know the model's fingerprint, as a running pipeline's does, so that no night has to load it."""
    encoder = wiring.encoder(load_settings(), Store(state.root))
    if encoder.noted_fingerprint() is None:
        encoder.load()


def _night(place: Place, state: Library, home: Path, mode: str, upserted: int) -> Cost:
    environment = {
        "MMRAG_STORE": str(state.root),
        "MMRAG_MEDIA": str(state.root / "media"),  # not the demo's, which has a golden set
        "MMRAG_MILVUS_URI": place.uri,
        _TOKEN: place.token,
        "DAGSTER_HOME": str(home),
    }
    cost = run_ours("benchmarks.library_night.job", env=environment)
    found, meant = (cost.report["mode"], cost.report["upserted"], cost.report["rows"]), (mode, upserted, state.rows)
    if found != meant:
        raise AssertionError(f"the night did {found}, {meant} were meant")
    return cost
