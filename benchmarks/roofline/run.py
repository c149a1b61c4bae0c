"""Bar: end to end at least 0.8 of 1 / (decode + model), both alone on ready inputs, in the same run, per core.

End to end is `embed_manifest` (reading, hashing, decoding, model, parquet) with the model loaded. On a GPU decode and
model don't share the cores, so the sum is no ceiling there: see `gpu`.
"""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import machine, photos
from benchmarks.options import Options
from benchmarks.processes import run_ours
from benchmarks.report import Result, Samples, held_against, taking_turns
from benchmarks.roofline.alone import rate
from benchmarks.weights import random_vit_b32

PICTURES = {"1 MP": 256, "4 MP": 160}
_LARGE_BATCH = 32
DECODE, MODEL, WHOLE = "decode alone, a process a core", "model alone, a process a core", "end to end"
MODEL_SHARED = f"model alone, all cores in each call, batch {_LARGE_BATCH}"


def run(options: Options) -> Result:
    """Measure the stages alone and the whole, taking turns."""
    result = Result("roofline", "end to end against decode and model alone, ViT-B/32, pictures a second and core")
    model = random_vit_b32(options.data).model
    for case, count in PICTURES.items():
        library = photos.library_of(options.data, case, 8 if options.quick else count)
        _measure(result, case, library, model, rounds=options.rounds(), seconds=2.0 if options.quick else 6.0)
    return result


def _measure(result: Result, case: str, library: Path, model: str, *, rounds: int, seconds: float) -> None:
    cores = machine.cores()
    alone = partial(rate, library=library, model=model, seconds=seconds)
    sides = {
        DECODE: partial(alone, "decode", processes=cores),
        MODEL: partial(alone, "model", processes=cores),
        MODEL_SHARED: partial(alone, "model", processes=1, threads=cores, batch=_LARGE_BATCH),
        WHOLE: partial(_end_to_end, library, model),
    }
    found = taking_turns(sides, rounds)
    per_core = {side: [run["wall"] / cores for run in runs] for side, runs in found.items()}
    per_cpu = {side: [run["cpu"] for run in runs] for side, runs in found.items()}
    result.add(case, "a second and core", per_core)
    result.add(case, "a second of processor time", per_cpu)
    for clock, rates in (("wall time", per_core), ("processor time", per_cpu)):
        model_alone = max((rates[MODEL], rates[MODEL_SHARED]), key=statistics.median)
        ceiling = [1 / (1 / d + 1 / m) for d, m in zip(rates[DECODE], model_alone, strict=True)]
        reached = Samples(case, "", "", [whole / most for whole, most in zip(rates[WHOLE], ceiling, strict=True)])
        share = Samples(case, "", "", [most / m for most, m in zip(ceiling, model_alone, strict=True)])
        result.figures += [
            held_against(reached, what=f"end to end over 1 / (decode + model), {clock}", bar=0.8),
            held_against(share, what=f"the model's share of decode + model, {clock}"),
        ]


def _end_to_end(library: Path, model: str) -> dict[str, float]:
    """Pictures a second, by wall and by processor time."""
    with tempfile.TemporaryDirectory() as store:
        options = ["--library", library, "--store", store, "--model", model, "--load-first"]
        report = run_ours("benchmarks.job", *options).report
    rows = report["computed"]
    return {"wall": rows / report["seconds"]["embed"], "cpu": rows / report["cpu_seconds"]["embed"]}
