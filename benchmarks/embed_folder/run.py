"""Bars: 2.5x `clip-retrieval inference` at 1 MP and 3.0x at 4 MP, 5x the tutorial's loop, cosine at least 0.999.

Every side is a fresh process with the same weights. What is held against a bar leaves load and warm-up out: from the
first file that is touched, model loaded, to the last vector. For clip-retrieval that is `total_duration` of its own
stats (what it writes at the end is left out in its favour), for the tutorial its loop and for ours scan and embedding
to the last byte on disk. Wall time from start to end of the processes is beside it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import peers, photos, vectors
from benchmarks.drop import drop_folder
from benchmarks.embed_folder import clip_retrieval
from benchmarks.options import Options
from benchmarks.processes import Cost, run_ours
from benchmarks.report import Figure, Result, taking_turns, times_faster
from benchmarks.weights import Weights, random_vit_b32

PICTURES = {"1 MP": 256, "4 MP": 160}
BARS = {"1 MP": 2.5, "4 MP": 3.0}
OURS, OURS_EMBED, PEER, TUTORIAL = "ours, scan + embed", "ours, embed alone", "clip-retrieval", "one at a time"


def run(options: Options) -> Result:
    """Measure all sides; fails when they disagree about a vector."""
    result = Result("embed_folder", "a folder of JPEGs -> parquet, seconds a picture, ViT-B/32")
    result.notes["seconds"] = "from the first file touched, model loaded and warm, to the last vector; see run.py"
    weights = random_vit_b32(options.data)
    try:
        peers.clip_retrieval()
        beside = True
    except peers.NoPeers as error:
        result.not_measured.append(f"clip-retrieval: {error}")
        beside = False
    for case, count in PICTURES.items():
        library = photos.library_of(options.data, case, 8 if options.quick else count)
        _measure(result, case, library, weights, rounds=options.rounds(), beside=beside)
    return result


def _measure(result: Result, case: str, library: Path, weights: Weights, *, rounds: int, beside: bool) -> None:
    folder = drop_folder(library)
    count = len(list(folder.iterdir()))
    found: dict[str, dict[str, Any]] = {}
    sides: dict[str, Callable[[], dict[str, float]]] = {OURS: lambda: _ours(library, weights, found)}
    if beside:
        sides[PEER] = lambda: _peer(folder, weights, found)
    sides[TUTORIAL] = lambda: _tutorial(folder, weights, found)
    runs = taking_turns(sides, rounds)

    seconds = {OURS: [run["seconds"] / count for run in runs[OURS]]}
    seconds[OURS_EMBED] = [run["embed"] / count for run in runs[OURS]]
    seconds |= {side: [run["seconds"] / count for run in runs[side]] for side in sides if side != OURS}
    work = result.add(case, "s a picture", seconds)
    result.add(case, "s CPU, all of the process", {side: [run["cpu"] for run in runs[side]] for side in sides})
    result.add(case, "s wall, all of the process", {side: [run["wall"] for run in runs[side]] for side in sides})

    for other, bar in ((PEER, BARS[case]), (TUTORIAL, 5.0)):
        if other in work:
            result.figures.append(times_faster(work[OURS], work[other], what=f"scan + embed against {other}", bar=bar))
            result.figures.append(times_faster(work[OURS_EMBED], work[other], what=f"embed alone against {other}"))
            result.figures.append(_agreement(result, case, other, found))
    report = found[OURS]["report"]
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report["stage_seconds"].items())
    result.notes[f"{case}, ours"] = (
        f"{count} pictures, {report['precision']}, scan {report['seconds']['scan']:.1f} s, "
        f"embed {report['seconds']['embed']:.1f} s ({stages}, threads summed)"
    )


def _agreement(result: Result, case: str, other: str, found: dict[str, dict[str, Any]]) -> Figure:
    if "vectors" not in found[other]:
        raise ValueError(f"{other} left no vectors")
    agreement = vectors.compare(found[OURS]["vectors"], found[other]["vectors"])
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


def _ours(library: Path, weights: Weights, found: dict[str, dict[str, Any]]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as store:
        cost = run_ours(
            "benchmarks.job", "--library", library, "--store", store, "--model", weights.model, "--load-first"
        )
        report = cost.report
        found[OURS] = {"vectors": vectors.of_ours(Path(store), report["fingerprint"]), "report": report}
    seconds = report["seconds"]
    return {"seconds": seconds["scan"] + seconds["embed"], "embed": seconds["embed"], **_whole(cost)}


def _peer(folder: Path, weights: Weights, found: dict[str, dict[str, Any]]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as output:
        cost, seconds = clip_retrieval.inference(folder, weights.checkpoint, Path(output))
        found[PEER] = {"vectors": vectors.of_clip_retrieval(Path(output))}
    return {"seconds": seconds, **_whole(cost)}


def _tutorial(folder: Path, weights: Weights, found: dict[str, dict[str, Any]]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as root:
        output = Path(root) / "vectors.parquet"
        cost = run_ours(
            "benchmarks.embed_folder.tutorial",
            *("--folder", folder, "--checkpoint", weights.checkpoint, "--output", output),
        )
        found[TUTORIAL] = {"vectors": vectors.of_tutorial(output)}
    return {"seconds": cost.report["seconds"], **_whole(cost)}


def _whole(cost: Cost) -> dict[str, float]:
    return {"cpu": cost.cpu_s, "wall": cost.wall_s}
