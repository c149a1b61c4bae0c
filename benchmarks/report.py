"""What a workload measured: every repeat of every side, and the figures that are held against a bar."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Samples:
    """All repeats of one side of one case; `values[i]` was taken in round i, beside `values[i]` of the other sides."""

    case: str
    side: str
    unit: str
    values: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number that the issue sets a bar for (or that explains such a number, then it has no bar)."""

    case: str
    what: str
    value: float
    unit: str
    least: float
    """Smallest of the rounds."""
    most: float
    """Largest of the rounds."""
    bar: float | None = None
    at_most: bool = False
    """The bar is an upper one."""

    @property
    def met(self) -> bool | None:
        if self.bar is None:
            return None
        return self.value <= self.bar if self.at_most else self.value >= self.bar


@dataclass(frozen=True)
class Table:
    """What no number says: words in rows, one a side or case."""

    title: str
    columns: list[str]
    rows: list[list[str]]


@dataclass
class Result:
    """Everything that one run of a workload found out; `not_measured` says why there is nothing."""

    workload: str
    about: str
    samples: list[Samples] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    not_measured: list[str] = field(default_factory=list)

    def add(self, case: str, unit: str, sides: Mapping[str, list[float]]) -> dict[str, Samples]:
        """Keep the repeats of the sides of a case."""
        added = {side: Samples(case, side, unit, values) for side, values in sides.items()}
        self.samples += added.values()
        return added

    def to_json(self) -> dict[str, Any]:
        return {
            "workload": self.workload,
            "about": self.about,
            "not_measured": self.not_measured,
            "figures": [asdict(figure) | {"met": figure.met} for figure in self.figures],
            "samples": [asdict(samples) | {"median": samples.median} for samples in self.samples],
            "tables": [asdict(table) for table in self.tables],
            "notes": self.notes,
        }

    def text(self) -> str:
        """The result for a terminal."""
        lines = [f"\n{self.workload}: {self.about}", *(f"  not measured: {why}" for why in self.not_measured)]
        lines += [
            f"  {s.case:<10} {s.side:<44} {s.median:10.4g} {s.unit} ({min(s.values):.4g} to {max(s.values):.4g})"
            for s in self.samples
        ]
        for figure in self.figures:
            line = f"  {figure.case:<10} {figure.what}: {figure.value:.4g} {figure.unit}"
            if figure.bar is not None:
                bound = "at most" if figure.at_most else "at least"
                line += f", bar {bound} {figure.bar:g}: {'met' if figure.met else 'NOT MET'}"
            lines.append(line)
        for table in self.tables:
            lines += [
                f"  {table.title}: {' | '.join(table.columns)}",
                *(f"    {' | '.join(row)}" for row in table.rows),
            ]
        lines += [f"  {key}: {value}" for key, value in self.notes.items()]
        return "\n".join(lines)


def times_faster(ours: Samples, theirs: Samples, *, what: str, bar: float | None = None) -> Figure:
    """Median of theirs over median of ours, where both are times; the spread is that of the rounds' own ratios."""
    rounds = [b / a for a, b in zip(ours.values, theirs.values, strict=True)]
    return Figure(
        case=ours.case,
        what=what,
        value=theirs.median / ours.median,
        unit="x",
        least=min(rounds),
        most=max(rounds),
        bar=bar,
    )


def times_as_much(ours: Samples, theirs: Samples, *, what: str, bar: float | None = None) -> Figure:
    """Median of ours over median of theirs, held against an upper bar; the spread is that of the rounds' own ratios."""
    rounds = [a / b for a, b in zip(ours.values, theirs.values, strict=True)]
    return Figure(
        case=ours.case,
        what=what,
        value=ours.median / theirs.median,
        unit="x",
        least=min(rounds),
        most=max(rounds),
        bar=bar,
        at_most=True,
    )


def held_against(
    samples: Samples,
    *,
    what: str,
    bar: float | None = None,
    at_most: bool = False,
    reduce: Callable = statistics.median,
) -> Figure:
    """A side's own median (or `reduce`) against a bar."""
    return Figure(
        case=samples.case,
        what=what,
        value=reduce(samples.values),
        unit=samples.unit,
        least=min(samples.values),
        most=max(samples.values),
        bar=bar,
        at_most=at_most,
    )


def taking_turns(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """What each side returned in each round; the order turns from round to round, so that none is always first."""
    found: dict[str, list[Any]] = {side: [] for side in sides}
    names = list(sides)
    for round_ in range(rounds):
        shift = round_ % len(names)
        for side in names[shift:] + names[:shift]:
            found[side].append(sides[side]())
    return found
