"""One process on one core: every path over the same pictures, taking turns; writes processor seconds a picture."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import photos
from benchmarks.image_path import paths
from benchmarks.report import taking_turns

PICTURES = {"1 MP": 12, "4 MP": 6, "12 MP": 3}
"""Of each shape."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--pictures", type=int, help="of each size and shape; default: more of the small ones")
    parser.add_argument("--report", type=Path, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    import torch

    torch.set_num_threads(1)
    sides = {
        "ours, exact": paths.ours("exact"),
        "ours, fast": paths.ours("fast"),
        "open_clip's transform": paths.open_clip(),
        "entropy decode alone": paths.entropy_decode(),
    }
    cases = {}
    with torch.inference_mode():
        for case, shapes in photos.SHAPES.items():
            count = options.pictures or PICTURES[case]
            cases[case] = {
                f"{shape[0]} x {shape[1]}": _measure(sides, _pictures(shape, count), options.rounds) for shape in shapes
            }
    options.report.write_text(json.dumps(cases))


def _pictures(shape: tuple[int, int], count: int) -> list[paths.Picture]:
    return [paths.Picture.of(photos.jpeg(photos.photo(number, shape))) for number in range(count)]


def _measure(sides: dict[str, paths.Path], pictures: list[paths.Picture], rounds: int) -> dict[str, Any]:
    for path in sides.values():
        path(pictures[0])  # what is made once is made before
    seconds = taking_turns({side: partial(_seconds, path, pictures) for side, path in sides.items()}, rounds)
    reference = [paths.levels(sides["open_clip's transform"](picture)) for picture in pictures]
    difference = {}
    for tier in ("exact", "fast"):
        found = [paths.levels(sides[f"ours, {tier}"](picture)) for picture in pictures]
        difference[tier] = {
            "max": max(int((a - b).abs().max()) for a, b in zip(found, reference, strict=True)),
            "psnr_db": [_psnr(a, b) for a, b in zip(found, reference, strict=True)],
        }
    bytes_ = sum(len(picture.data) for picture in pictures)
    return {"pictures": len(pictures), "bytes": bytes_, "seconds": seconds, "difference": difference}


def _seconds(path: paths.Path, pictures: list[paths.Picture]) -> float:
    """Processor seconds a picture."""
    started = time.process_time()
    for picture in pictures:
        path(picture)
    return (time.process_time() - started) / len(pictures)


def _psnr(found: Any, reference: Any) -> float:
    error = (found - reference).double().square().mean().item()
    return 10 * math.log10(255**2 / error) if error else 99.0


if __name__ == "__main__":
    main()
