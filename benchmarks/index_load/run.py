"""Bars: on a server 2x the tutorial and 3x FiftyOne's batches; on Lite as fast as the best plain way, and under 1.5 GB.

Every side is a fresh process and a fresh collection (on Lite a fresh file). Its clock runs from before it connects to a
strongly consistent search that finds a row it was given; what all sides find for the same queries must be the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import index_library, index_place
from benchmarks.index_library import Library
from benchmarks.index_load.job import TOKEN
from benchmarks.index_place import NoServer, Place
from benchmarks.index_proof import require_same
from benchmarks.options import Options
from benchmarks.processes import Cost, run_ours
from benchmarks.report import Result, Samples, held_against, taking_turns, times_faster

ROWS, QUICK_ROWS = 100_000, 2_000
OURS, BULK = "ours", "ours, bulk import"
TUTORIAL, FIFTYONE = "the tutorial: lists, 1,000 an insert", "FiftyOne: columns of lists, 100 an insert"
HUNDREDS = "batches like FiftyOne's with our fields: lists, 100 an insert, one flush"
INSERTS, UPSERTS = "numpy rows, 2,000 an insert, one flush", "numpy rows, 2,000 an upsert, one flush"
SERVER_SIDES = {OURS: "ours", BULK: "ours-bulk", TUTORIAL: "tutorial", FIFTYONE: "fiftyone", HUNDREDS: "hundreds"}
LITE_SIDES = {OURS: "ours", TUTORIAL: "tutorial", INSERTS: "numpy-insert", UPSERTS: "numpy-upsert"}
_ROUNDS, _QUERIES = 3, 5
_MOST_MB = 1500


def run(options: Options) -> Result:
    """Measure both places; fails when a side lost a row or found something else."""
    rows = QUICK_ROWS if options.quick else ROWS
    library = index_library.make(options.data, rows)
    result = Result("index_load", f"parquet of {rows:,} x {index_library.DIM} -> searchable, seconds")
    rounds = options.rounds(_ROUNDS)
    try:
        with index_place.server(options.data) as place:
            sides = {side: partial(_filled, library, place, name) for side, name in SERVER_SIDES.items()}
            _server(result, sides, rounds)
    except NoServer as why:
        result.not_measured.append(str(why))
    sides = {side: partial(_in_new_file, options.data, library, name) for side, name in LITE_SIDES.items()}
    _lite(result, sides, rounds)
    result.notes["fields"] = "all sides write the same fields, except FiftyOne: a key, the vector and a sample's id"
    result.notes["flush"] = "the tutorial never flushes: it may be searched as soon, but on Lite far slower until it is"
    result.notes["index"] = (
        f"{index_place.layout(rows).index} for all sides; FiftyOne's own is HNSW (M 8, efConstruction 64)"
    )
    return result


def _server(result: Result, sides: dict[str, Callable[[], Cost]], rounds: int) -> None:
    seconds = _measured(result, "server", sides, rounds)
    result.figures += [
        times_faster(seconds[OURS], seconds[TUTORIAL], what="against the tutorial", bar=2.0),
        times_faster(seconds[OURS], seconds[FIFTYONE], what="against FiftyOne's batches", bar=3.0),
        times_faster(seconds[OURS], seconds[HUNDREDS], what="against batches of 100 with the same fields"),
        times_faster(seconds[BULK], seconds[TUTORIAL], what="bulk import against the tutorial"),
    ]


def _lite(result: Result, sides: dict[str, Callable[[], Cost]], rounds: int) -> None:
    seconds = _measured(result, "Lite", sides, rounds)
    best = min((seconds[side] for side in LITE_SIDES if side != OURS), key=lambda samples: samples.median)
    peak = next(each for each in result.samples if (each.case, each.side, each.unit) == ("Lite", OURS, "MB"))
    result.figures += [
        times_faster(seconds[OURS], best, what=f"against the best plain way ({best.side})", bar=1.0),
        times_faster(seconds[OURS], seconds[TUTORIAL], what="against the tutorial"),
        held_against(peak, what="peak memory, the Lite server in it", bar=_MOST_MB, at_most=True, reduce=max),
    ]


def _measured(result: Result, case: str, sides: dict[str, Callable[[], Cost]], rounds: int) -> dict[str, Samples]:
    costs: dict[str, list[Cost]] = taking_turns(sides, rounds)
    require_same({side: runs[-1].report["nearest"] for side, runs in costs.items()})

    def of(key: str) -> dict[str, list[float]]:
        return {side: [cost.report[key] for cost in runs] for side, runs in costs.items()}

    seconds = result.add(case, "s", of("seconds"))
    result.add(case, "s CPU of its process", of("cpu_seconds"))
    result.add(case, "MB", {side: [cost.peak_mb() for cost in runs] for side, runs in costs.items()})
    return seconds


def _in_new_file(data: Path, library: Library, side: str) -> Cost:
    with index_place.lite(data) as place:
        return _filled(library, place, side)


def _filled(library: Library, place: Place, side: str) -> Cost:
    cost = run_ours(
        "benchmarks.index_load.job",
        *("--side", side, "--library", library.root, "--rows", str(library.rows)),
        *("--fingerprint", library.fingerprint, "--uri", place.uri, "--name", f"bench_{side.replace('-', '_')}"),
        *("--queries", str(_QUERIES)),
        env={TOKEN: place.token},
    )
    if cost.report["rows"] != library.rows:
        raise AssertionError(f"{side} was given {library.rows} rows, its collection holds {cost.report['rows']}")
    return cost
