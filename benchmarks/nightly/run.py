"""Bars: nothing changed at most 2 s and no torch imported; a little changed at most 1/50 of the first night.

Every night is a fresh process from its start to its end: imports, scan, and embedding with the model's load where
there is something to embed. The first night takes long, so it is measured once (`--repeats` for more). The peers have
the night with a few changes too, each in its own way (peers_night.py), and what every side has wrong then is counted.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import vectors
from benchmarks.embed_folder.sides import all_sides
from benchmarks.nightly import library as libraries
from benchmarks.nightly import peers_night
from benchmarks.nightly.peers_night import Before, Night
from benchmarks.options import Options
from benchmarks.processes import Cost, run_ours
from benchmarks.report import Figure, Result, Samples, Table, held_against, times_faster
from benchmarks.vectors import Rows
from benchmarks.weights import random_vit_b32

FILES, QUICK_FILES = 20_000, 200
FIRST, QUIET, LITTLE = "first night", "nothing changed", "1% new, 0.5% gone, 0.5% renamed"
OURS = f"ours, {LITTLE}"
_PART, _QUICK_PART = 500, 20
_ROUNDS = 3


def run(options: Options) -> Result:
    """Measure the nights; fails when one of ours did other work than its own."""
    files = QUICK_FILES if options.quick else FILES
    library = libraries.make(options.data, files)
    new = libraries.make_new(options.data, files, files // 100)
    weights = random_vit_b32(options.data)
    result = Result("nightly", f"a drop of {files:,} files, night after night, seconds from start to end of a process")
    everyone, missing = all_sides(weights, install=not options.quick)
    result.not_measured += missing
    theirs = peers_night.sides(everyone, part=_QUICK_PART if options.quick else _PART)
    runs: dict[str, list[Cost]] = {FIRST: [], QUIET: [], LITTLE: []}
    nights: dict[str, list[Night]] = {OURS: [], **{side: [] for side in theirs}}
    with tempfile.TemporaryDirectory(dir=options.data) as root:
        kept = Path(root) / "store"
        for number in range(options.repeats or 1):
            shutil.rmtree(kept, ignore_errors=True)
            runs[FIRST].append(_night(library, kept, weights.model, number, computed=files))
        rows = vectors.of_ours(kept, runs[FIRST][-1].report["fingerprint"])
        for number in range(options.rounds(_ROUNDS)):
            runs[QUIET].append(_quiet(library, kept, weights.model, number))
            tonight = Path(root) / f"library-{number}"
            changes = libraries.changed(library, new, tonight)
            little, found = _little(tonight, changes, kept, weights.model, number, files=files)
            runs[LITTLE].append(little)
            nights[OURS].append(Night(little.wall_s, little.report["computed"], found.names))
            before = Before(rows, tonight, Path(root))
            for side, night in theirs.items():
                nights[side].append(night(before))
            wrong = [[side, *peers_night.what_is_wrong(of[-1], tonight, changes)] for side, of in nights.items()]
            shutil.rmtree(tonight)
    if set(wrong[0][3:]) != {"0"}:
        raise AssertionError(f"ours has rows that it should not have, or has not: {wrong[0]}")
    _figures(result, runs, f"{files:,}")
    case = f"{files:,}"
    seconds = result.add(
        case, f"s wall, {LITTLE}", {side: [each.seconds for each in of] for side, of in nights.items()}
    )
    result.figures += [times_faster(seconds[OURS], seconds[side], what=f"{LITTLE}: against {side}") for side in theirs]
    result.tables.append(Table(f"What each side has after {LITTLE}", peers_night.COLUMNS, wrong))
    return result


def _figures(result: Result, runs: dict[str, list[Cost]], case: str) -> None:
    wall = result.add(case, "s wall", {night: [cost.wall_s for cost in costs] for night, costs in runs.items()})
    result.add(case, "s CPU", {night: [cost.cpu_s for cost in costs] for night, costs in runs.items()})
    first = wall[FIRST].median
    torch_imported = max(float(cost.report["torch_imported"]) for cost in runs[QUIET])
    part = Samples(case, "", "of the first night", [seconds / first for seconds in wall[LITTLE].values])
    result.figures += [
        held_against(wall[QUIET], what=QUIET, bar=2.0, at_most=True),
        Figure(
            case=case,
            what=f"{QUIET}: processes that imported torch",
            value=torch_imported,
            unit="",
            least=torch_imported,
            most=torch_imported,
            bar=0,
            at_most=True,
        ),
        held_against(part, what=LITTLE, bar=1 / 50, at_most=True),
    ]
    for night, costs in runs.items():
        stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in costs[-1].report["seconds"].items())
        result.notes[night] = stages
    result.notes["rounds"] = f"the first night {len(runs[FIRST])}, the others {len(runs[QUIET])}"


def _night(library: Path, store: Path, model: str, number: int, **expected: Any) -> Cost:
    cost = run_ours("benchmarks.job", "--library", library, "--store", store, "--model", model)
    found = {key: cost.report[key] for key in expected}
    if found != expected:
        raise AssertionError(f"night {number} of {library.name} did other work than meant: {found}, not {expected}")
    return cost


def _quiet(library: Path, store: Path, model: str, number: int) -> Cost:
    unchanged = {"hashed": 0, "scan_changed": False, "embeddings_changed": False}
    return _night(library, store, model, number, **unchanged)


def _little(
    tonight: Path, changes: libraries.Changes, store: Path, model: str, number: int, *, files: int
) -> tuple[Cost, Rows]:
    copy = tonight.with_name(f"store-{number}")
    shutil.copytree(store, copy)
    new, gone, renamed = len(changes.new), len(changes.gone), len(changes.renamed)
    try:
        cost = _night(tonight, copy, model, number, hashed=new + renamed, computed=new, rows=files + new - gone)
        return cost, vectors.of_ours(copy, cost.report["fingerprint"])
    finally:
        shutil.rmtree(copy)
