"""Bars: nothing changed at most 2 s and no torch imported; a little changed at most 1/50 of the first night.

Every night is a fresh process from its start to its end: imports, scan, and embedding with the model's load where
there is something to embed. The first night takes long, so it is measured once (`--repeats` for more).
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.nightly import library as libraries
from benchmarks.options import Options
from benchmarks.processes import Cost, run_ours
from benchmarks.report import Figure, Result, Samples, held_against
from benchmarks.weights import random_vit_b32

FILES, QUICK_FILES = 20_000, 400
FIRST, QUIET, LITTLE = "first night", "nothing changed", "1% new, 0.5% gone, 0.5% renamed"


def run(options: Options) -> Result:
    """Measure the nights; fails when one did other work than its own."""
    files = QUICK_FILES if options.quick else FILES
    library = libraries.make(options.data, files)
    new = libraries.make_new(options.data, files, files // 100)
    model = random_vit_b32(options.data).model
    result = Result("nightly", f"a drop of {files:,} files, night after night, seconds from start to end of a process")
    runs: dict[str, list[Cost]] = {FIRST: [], QUIET: [], LITTLE: []}
    with tempfile.TemporaryDirectory(dir=options.data) as root:
        kept = Path(root) / "store"
        for number in range(options.repeats or 1):
            shutil.rmtree(kept, ignore_errors=True)
            runs[FIRST].append(_night(library, kept, model, number, computed=files))
        for number in range(options.rounds()):
            runs[QUIET].append(_quiet(library, kept, model, number))
            runs[LITTLE].append(_little(library, new, kept, model, number, files=files, root=Path(root)))
    _figures(result, runs, f"{files:,}")
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


def _little(library: Path, new: list[Path], store: Path, model: str, number: int, *, files: int, root: Path) -> Cost:
    tonight, copy = root / f"library-{number}", root / f"store-{number}"
    gone, renamed = libraries.changed(library, new, tonight)
    shutil.copytree(store, copy)
    rows = files + len(new) - gone
    try:
        return _night(tonight, copy, model, number, hashed=len(new) + renamed, computed=len(new), rows=rows)
    finally:
        shutil.rmtree(tonight)
        shutil.rmtree(copy)
