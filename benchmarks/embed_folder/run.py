"""Bars: 2.5x `clip-retrieval inference` at 1 MP and 3.0x at 4 MP, 5x the tutorial's loop, cosine at least 0.999.

Every side is a fresh process with the same weights (sides.py). What is held against a bar leaves load and warm-up out:
from the first file that is touched, model loaded, to the last vector. Wall time from start to end of the processes and
the peak memory of each with its children are beside it. At last, a folder with broken files (broken.py).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks import photos, vectors
from benchmarks.embed_folder import broken
from benchmarks.embed_folder.sides import (
    CLIP_RETRIEVAL,
    DAFT,
    OURS,
    TUTORIAL,
    Embedded,
    Side,
    all_sides,
)
from benchmarks.options import Options
from benchmarks.report import Figure, Result, taking_turns, times_faster
from benchmarks.weights import random_vit_b32

PICTURES, QUICK_PICTURES = {"1 MP": 500, "4 MP": 500}, {"1 MP": 8}
PART = 200
"""Of these the loop gets the first ones: a picture at a time costs the same, and the hour is short."""
BARS = {
    CLIP_RETRIEVAL: {"1 MP": 2.5, "4 MP": 3.0},
    TUTORIAL: {"1 MP": 5.0, "4 MP": 5.0},
    DAFT: {"1 MP": None, "4 MP": None},
}
EMBED_ALONE = "ours, embed alone"
TOLERANT = "Daft, on_error null"
_ROUNDS, _QUICK_GOOD = 3, 8


def run(options: Options) -> Result:
    """Measure all sides; fails when they disagree about a vector."""
    result = Result("embed_folder", "a folder of JPEGs -> parquet, seconds a picture, ViT-B/32")
    result.notes["seconds"] = "from the first file touched, model loaded and warm, to the last vector; see sides.py"
    result.notes["one at a time"] = f"gets the first {PART} pictures of a size; its CPU and wall time are those of them"
    result.notes["MB"] = "largest sum over a process and its children; what they share counts several times"
    sides, missing = all_sides(random_vit_b32(options.data), install=not options.quick)
    result.not_measured += missing
    for case, count in (QUICK_PICTURES if options.quick else PICTURES).items():
        library, part = (photos.library_of(options.data, case, some) for some in (count, min(count, PART)))
        _measure(result, case, sides, library, part, rounds=options.rounds(_ROUNDS))
    if options.quick:  # a peer may hang on a broken file
        few = _unchecked({side: sides[side] for side in (OURS, TUTORIAL)})
        result.tables.append(broken.table(options.data, few, good=_QUICK_GOOD, again=False))
    else:
        result.tables.append(broken.table(options.data, _unchecked(sides)))
    result.notes["pictures"] = photos.where_from()
    return result


def _unchecked(sides: dict[str, Side]) -> dict[str, Side]:
    """The same, where a peer's failure is a finding; Daft also as its documentation has it for bad files."""
    found = dict(sides)
    for side in sides.keys() - {OURS}:
        found[side] = partial(sides[side], check=False, timeout_s=broken.TIMEOUT_S)
    if DAFT in sides:
        found[TOLERANT] = partial(found[DAFT], options=("--on-error", "null"))
    return found


def _measure(result: Result, case: str, sides: dict[str, Side], library: Path, part: Path, *, rounds: int) -> None:
    runs: dict[str, list[Embedded]] = taking_turns(
        {side: partial(embed, part if side == TUTORIAL else library) for side, embed in sides.items()}, rounds
    )
    count = len(runs[OURS][0].rows)
    seconds = {side: [each.seconds / len(each.rows) for each in embedded] for side, embedded in runs.items()}
    seconds[EMBED_ALONE] = [each.cost.report["seconds"]["embed"] / count for each in runs[OURS]]
    work = result.add(case, "s a picture", seconds)
    for unit, of in (
        ("s CPU, all of the process", lambda cost: cost.cpu_s),
        ("s wall, all of the process", lambda cost: cost.wall_s),
        ("MB, peak", lambda cost: cost.peak_mb()),
    ):
        result.add(case, unit, {side: [of(each.cost) for each in embedded] for side, embedded in runs.items()})

    for other, bars in BARS.items():
        if other not in runs:
            continue
        bar = bars[case]
        result.figures += [
            times_faster(work[OURS], work[other], what=f"scan + embed against {other}", bar=bar),
            times_faster(work[EMBED_ALONE], work[other], what=f"embed alone against {other}"),
            _agreement(result, case, other, runs[OURS][-1], runs[other][-1]),
        ]
    report = runs[OURS][-1].cost.report
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report["stage_seconds"].items())
    result.notes[f"{case}, ours"] = (
        f"{count} pictures, {report['precision']}, scan {report['seconds']['scan']:.1f} s, "
        f"embed {report['seconds']['embed']:.1f} s ({stages}, threads summed)"
    )


def _agreement(result: Result, case: str, other: str, ours: Embedded, theirs: Embedded) -> Figure:
    agreement = vectors.compare(ours.rows.only(theirs.rows.names), theirs.rows)
    result.notes[f"{case}, vectors against {other}"] = (
        f"least cosine {agreement.least:.5f}, with the mean vectors taken off {agreement.mean_removed:.5f}; "
        f"different pictures have {agreement.strangers:.3f}; nearest is the same picture for {agreement.nearest:.1%}"
    )
    if agreement.least < 0.99:
        raise ValueError(f"ours and {other} disagree: cosine {agreement.least:.4f}")
    least = agreement.least
    return Figure(
        case=case, what=f"least cosine with {other}", value=least, unit="", least=least, most=least, bar=0.999
    )
