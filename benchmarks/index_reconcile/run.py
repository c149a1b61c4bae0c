"""Bar: mending a live collection of 100,000 rows of which 1% changed takes at most 1/10 of a full rebuild.

0.25% of the rows have other bytes, 0.25% another title, 0.25% are new and 0.25% are gone. The next round goes the same
way back, so each mends what the last one left. Both sides connect, read manifests and vectors from the store, and end
when a strongly consistent search finds a row that was not there before. The rebuild has no live collection under its
alias, so it compares with nothing. Before each of them the server rests: nights are a day apart, and for some seconds
2.3.5 is busy with clearing away what the rebuild before dropped.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from functools import partial
from typing import Literal

from benchmarks import index_library, index_place
from benchmarks.index_library import DIM, NOW, Library
from benchmarks.index_place import NoServer, Place, client_of
from benchmarks.index_proof import Collection, Nearest, require_same
from benchmarks.options import Options
from benchmarks.report import Result, taking_turns, times_as_much
from mmrag_pipeline.index.milvus import Milvus, connect
from mmrag_pipeline.index.pymilvus_import import import_pymilvus
from mmrag_pipeline.index.rebuild import publish, stage
from mmrag_pipeline.index.staged import StagedIndex

ROWS, QUICK_ROWS = 100_000, 2_000
MEND, REBUILD = "reconcile, 1% changed", "full rebuild"
_ROUNDS, _QUERIES = 3, 10
_MENDED, _REBUILT = "bench_mended", "bench_rebuilt"
_REST_S = 20.0

Mode = Literal["rebuild", "reconcile"]


@dataclass(frozen=True)
class Measured:
    """What it took, and what the collection then finds."""

    seconds: float
    cpu_s: float
    nearest: list[Nearest]


def run(options: Options) -> Result:
    """Measure both places; fails when a side wrote other rows than meant, or found something else than the other."""
    rows = QUICK_ROWS if options.quick else ROWS
    states = index_library.make_changed(options.data, rows), index_library.make(options.data, rows)
    result = Result("index_reconcile", f"a live collection of {rows:,} rows, 1% of the library changed, seconds")
    import_pymilvus()
    try:
        with index_place.server(options.data) as place:
            _measure(result, "server", place, states, options.rounds(_ROUNDS), 0.0 if options.quick else _REST_S)
    except NoServer as why:
        result.not_measured.append(str(why))
    with index_place.lite(options.data) as place:
        _measure(result, "Lite", place, states, options.rounds(_ROUNDS), 0.0)
    upserts, deletes = index_library.changes(rows)
    result.notes["a night's changes"] = f"{upserts:,} rows to write, {deletes:,} to delete"
    return result


def _measure(
    result: Result, case: str, place: Place, states: tuple[Library, Library], rounds: int, rest_s: float
) -> None:
    """`states`: what the first round goes to, and where it starts from."""
    with connect(place.config(_MENDED)) as milvus:
        publish(milvus, _stage(milvus, states[1], "rebuild"))
    sides = {
        MEND: partial(next, map(partial(_mend, place, rest_s), itertools.cycle(states))),
        REBUILD: partial(next, map(partial(_rebuild, place, rest_s), itertools.cycle(states))),
    }
    found: dict[str, list[Measured]] = taking_turns(sides, rounds)
    for round_ in range(rounds):
        require_same({side: measured[round_].nearest for side, measured in found.items()})
    wall = result.add(case, "s", {side: [each.seconds for each in measured] for side, measured in found.items()})
    result.add(case, "s CPU of this process", {side: [each.cpu_s for each in m] for side, m in found.items()})
    what = f"{MEND}, over a full rebuild"
    result.figures.append(times_as_much(wall[MEND], wall[REBUILD], what=what, bar=1 / 10))


def _mend(place: Place, rest_s: float, library: Library) -> Measured:
    time.sleep(rest_s)
    return _measured(place, library, _MENDED, "reconcile")


def _rebuild(place: Place, rest_s: float, library: Library) -> Measured:
    time.sleep(rest_s)
    return _measured(place, library, _REBUILT, "rebuild")


def _measured(place: Place, library: Library, alias: str, mode: Mode) -> Measured:
    witness, queries = library.witness(), library.queries(_QUERIES)
    started, used = time.perf_counter(), time.process_time()
    with connect(place.config(alias)) as milvus:
        staged = _stage(milvus, library, mode)
        collection = Collection(client_of(milvus), staged.collection)
        collection.prove(*witness)
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - used
        meant = (*index_library.changes(library.rows), library.rows)
        if mode == "rebuild":
            meant = library.rows, 0, library.rows
        done = staged.upserted, staged.deleted, collection.count()
        if done != meant:
            raise AssertionError(f"{mode} upserted, deleted and left {done} rows, {meant} were meant")
        nearest = [collection.nearest(query) for query in queries]
        if mode == "rebuild":
            milvus.drop(staged.collection)
    return Measured(seconds, cpu_s, nearest)


def _stage(milvus: Milvus, library: Library, mode: Mode) -> StagedIndex:
    return stage(milvus, drops=library.drops(), fingerprint=library.fingerprint, dim=DIM, now=NOW, mode=mode)
