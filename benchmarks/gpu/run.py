"""Bars: the model alone at least 0.95 of the best bf16 and compiled run of the same tower; end to end from 1 MP JPEGs
at least 0.85 of the smaller of model alone and decode on all cores.

Where torch sees no CUDA device the result says so, and nothing else.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from benchmarks import machine, photos
from benchmarks.gpu.tower import OURS
from benchmarks.options import Options
from benchmarks.processes import run_ours
from benchmarks.report import Result, Samples, held_against, taking_turns
from benchmarks.roofline.alone import rate
from benchmarks.weights import random_vit_b32

PICTURES, QUICK_PICTURES = 20_000, 512
DECODE, WHOLE = "decode alone, a process a core", "end to end, scanned before"


def run(options: Options) -> Result:
    """Measure the tower, decoding and the whole."""
    import torch

    result = Result("gpu", "ViT-B/32 on a CUDA device, pictures a second")
    if not torch.cuda.is_available():
        result.not_measured.append("no CUDA device")
        return result
    model, seconds = random_vit_b32(options.data).model, 1.0 if options.quick else 3.0
    rounds = ["--rounds", str(options.rounds()), "--seconds", str(seconds)]
    tower = run_ours("benchmarks.gpu.tower", "--model", model, *rounds).report
    ways = result.add("model", "a second", tower["rates"])
    result.notes |= {f"did not run: {name}": why for name, why in tower["failed"].items()}
    compiled = [side for name, side in ways.items() if name.startswith("bf16")]
    best = max(compiled, key=lambda side: side.median)
    share = [ours / theirs for ours, theirs in zip(ways[OURS].values, best.values, strict=True)]
    what = f"ours over the best ({best.side})"
    result.figures.append(held_against(Samples("model", "", "", share), what=what, bar=0.95))
    _end_to_end(result, options, model, best=ways[OURS].median, seconds=3 * seconds)
    return result


def _end_to_end(result: Result, options: Options, model: str, *, best: float, seconds: float) -> None:
    count = QUICK_PICTURES if options.quick else PICTURES
    library = photos.commented_library(options.data, "1 MP", count, different=128)
    decode = partial(rate, "decode", library=library, model=model, processes=machine.cores(), seconds=seconds)
    found = taking_turns({DECODE: lambda: decode()["wall"], WHOLE: partial(_embed, library, model)}, options.rounds())
    sides = result.add("1 MP", "a second", found)
    share = [whole / min(best, alone) for whole, alone in zip(found[WHOLE], found[DECODE], strict=True)]
    bound = "model" if best < sides[DECODE].median else "decode"
    what = f"end to end over the smaller of model and decode ({bound})"
    result.figures.append(held_against(Samples("1 MP", "", "", share), what=what, bar=0.85))


def _embed(library: Path, model: str) -> float:
    with tempfile.TemporaryDirectory() as store:
        options = ["--library", library, "--store", store, "--model", model, "--load-first"]
        report = run_ours("benchmarks.job", *options).report
    return report["computed"] / report["seconds"]["embed"]
