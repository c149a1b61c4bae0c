"""Bars: exact 2.0x, fast 3.0x (4.0x at 12 MP) open_clip's transform; fast within 1.4x of entropy decode alone;
exact at most 1/255 from open_clip's, fast at least 50 dB."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks import photos, processes
from benchmarks.options import Options
from benchmarks.report import Figure, Result, Samples, held_against, times_faster

_FAST = {"1 MP": 3.0, "4 MP": 3.0, "12 MP": 4.0}


def run(options: Options) -> Result:
    """Measure in a process of its own, pinned to one core."""
    arguments = ["--rounds", str(options.rounds()), *(["--pictures", "2"] if options.quick else [])]
    found = processes.run_ours("benchmarks.image_path.measure", *arguments).report
    result = Result("image_path", "JPEG bytes -> model input [3, 224, 224], one core, processor time a picture")
    for case, shapes in found.items():
        sides = result.add(case, "ms CPU", _mean_of_shapes(shapes))
        exact, fast, theirs, least = sides.values()
        over = [a / b for a, b in zip(fast.values, least.values, strict=True)]
        result.figures += [
            times_faster(exact, theirs, what="exact tier against open_clip's transform", bar=2.0),
            times_faster(fast, theirs, what="fast tier against open_clip's transform", bar=_FAST[case]),
            held_against(
                Samples(case, "", "x", over), what="fast tier over entropy decode alone", bar=1.4, at_most=True
            ),
            *_likeness(case, [measured["difference"] for measured in shapes.values()]),
        ]
        result.notes[case] = "; ".join(_by_shape(shape, measured) for shape, measured in shapes.items())
    result.notes["pictures"] = f"{photos.where_from()}, enlarged, grain added, quality 88, 4:2:0; half of either shape"
    return result


def _mean_of_shapes(shapes: Mapping[str, Any]) -> dict[str, list[float]]:
    """Milliseconds of each round by side, over pictures of all shapes."""
    seconds = [measured["seconds"] for measured in shapes.values()]
    return {
        side: [1000 * statistics.mean(round_) for round_ in zip(*(each[side] for each in seconds), strict=True)]
        for side in seconds[0]
    }


def _by_shape(shape: str, measured: Mapping[str, Any]) -> str:
    medians = {side: 1000 * statistics.median(values) for side, values in measured["seconds"].items()}
    exact, fast, theirs, least = medians.values()
    kilobytes = measured["bytes"] / measured["pictures"] / 1000
    return (
        f"{measured['pictures']} of {shape}, {kilobytes:,.0f} kB: exact {theirs / exact:.2f}x, fast "
        f"{theirs / fast:.2f}x, {fast / least:.2f} of entropy decode"
    )


def _likeness(case: str, differences: list[Mapping[str, Any]]) -> list[Figure]:
    levels = [float(difference["exact"]["max"]) for difference in differences]
    decibels = [value for difference in differences for value in difference["fast"]["psnr_db"]]
    return [
        held_against(
            Samples(case, "", "/255", levels),
            what="exact tier, largest difference from open_clip's",
            bar=1,
            at_most=True,
            reduce=max,
        ),
        held_against(
            Samples(case, "", "dB", decibels), what="fast tier, least PSNR against open_clip's", bar=50, reduce=min
        ),
    ]
