"""What every workload reports: its sides, all their repeats, and the ratio of their medians."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Result:
    """`seconds[side]` are the repeats of one side, interleaved with those of the others; the first side is ours."""

    workload: str
    unit: str
    units: int
    seconds: dict[str, list[float]]
    notes: dict[str, Any] = field(default_factory=dict)

    def ratios(self) -> dict[str, float]:
        """How many times faster our side is than each other one."""
        ours, *others = self.seconds
        median = statistics.median(self.seconds[ours])
        return {other: statistics.median(self.seconds[other]) / median for other in others}

    def table(self) -> str:
        lines = [f"\n{self.workload} ({self.units} {self.unit})"]
        ratios = self.ratios()
        for side, seconds in self.seconds.items():
            median = statistics.median(seconds)
            spread = f"{min(seconds):.2f} to {max(seconds):.2f} s"
            ratio = f"  ours is {ratios[side]:.2f}x" if side in ratios else ""
            lines.append(
                f"  {side:<32} {self.units / median:8.1f} {self.unit}/s  (median {median:.2f} s, {spread}){ratio}"
            )
        lines += [f"  {key}: {value}" for key, value in self.notes.items()]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratios": self.ratios()}


def interleaved(sides: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Run each side once a round, so that a noisy minute on the machine hits all of them."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(repeats):
        for side, measure in sides.items():
            seconds[side].append(measure())
    return seconds
