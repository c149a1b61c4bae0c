"""Bars: at most 1 GB above the loaded model with 20,000 files, and no more than with 2,000 (flat: at most 1.2 times).

The sum over the process and its children of their peak resident sizes (VmHWM, so shared pages count several times),
from the moment that the model is loaded and has seen one picture. The demo's model: what is measured is the way to it,
which does not depend on how large it is, and a ViT would take the best part of an hour without a GPU.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.nightly import library as libraries
from benchmarks.options import Options
from benchmarks.processes import run_ours
from benchmarks.report import Result, Samples, held_against

FILES, QUICK_FILES = (2_000, 20_000), (100, 400)
MODEL = "demo"
_ROUNDS = 2


def run(options: Options) -> Result:
    """Measure both sizes, taking turns."""
    result = Result("memory", "peak resident memory of scan and embedding above the loaded model, MB")
    sizes = QUICK_FILES if options.quick else FILES
    above: dict[int, list[float]] = {files: [] for files in sizes}
    loaded: list[float] = []
    for _ in range(options.rounds(_ROUNDS)):
        for files in sizes:
            over, model = _peak(libraries.make(options.data, files), files)
            above[files].append(over)
            loaded.append(model)
    small, large = sizes
    for files in sizes:
        result.add(f"{files:,}", "MB", {"above the loaded model": above[files]})
    result.add("any", "MB", {"resident, model loaded": loaded})
    growth = [b / a for a, b in zip(above[small], above[large], strict=True)]
    result.figures = [
        held_against(
            Samples(f"{large:,}", "", "MB", above[large]),
            what="peak above the loaded model",
            bar=1000,
            at_most=True,
            reduce=max,
        ),
        held_against(
            Samples(f"{large:,}", "", "x", growth), what=f"the same over that of {small:,}", bar=1.2, at_most=True
        ),
    ]
    result.notes["pictures"] = "small JPEGs, one in 100 has 4 MP and one in 1,000 has 12 MP"
    return result


def _peak(library: Path, files: int) -> tuple[float, float]:
    """(MB above the loaded model, MB with it)."""
    with tempfile.TemporaryDirectory() as store:
        cost = run_ours("benchmarks.job", "--library", library, "--store", store, "--model", MODEL, "--load-first")
    report = cost.report
    if report["computed"] != files:
        raise AssertionError(f"{files} files in {library}, {report['computed']} vectors")
    return cost.peak_mb(since=report["loaded_at"]) - report["loaded_mb"], report["loaded_mb"]
