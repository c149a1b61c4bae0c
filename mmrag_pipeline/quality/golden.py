"""Golden queries: what people ask of a library, and how right each of its pictures is as an answer.

`golden.csv` has a line for each judgement: `query, stratum, grade, field, value`. A picture has the highest grade
whose `field` (a column of the catalogue, `path` as `<product_line>/<drop>/<file>`, or `product_line`) equals `value`;
of `tags`, it must have all that `value` names, separated by semicolons. Grade 2 is what was asked for, 1 is kin to it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmrag_pipeline.errors import UserError

COLUMNS = ("query", "stratum", "grade", "field", "value")
ASKED_FOR = 2


@dataclass(frozen=True)
class Judgement:
    """Pictures whose `field` says `value` have this grade."""

    grade: int
    field: str
    value: str

    def holds_for(self, picture: Mapping[str, str]) -> bool:
        given = picture.get(self.field) or ""
        if self.field == "tags":
            return _tags(self.value) <= _tags(given)
        return given == self.value


@dataclass(frozen=True)
class GoldenQuery:
    """One query with its judgements; `stratum` groups queries that test the same ability."""

    query: str
    stratum: str
    judgements: tuple[Judgement, ...]

    def grade(self, picture: Mapping[str, str]) -> int:
        """0 for a wrong answer."""
        return max((each.grade for each in self.judgements if each.holds_for(picture)), default=0)


def golden_queries(path: Path) -> list[GoldenQuery]:
    """Read a golden.csv, queries in the order of their first lines.

    Raises:
        UserError: a column is missing or a grade is none.
    """
    found: dict[str, tuple[str, list[Judgement]]] = {}
    with path.open(newline="", encoding="utf-8-sig") as lines:
        table = csv.DictReader(lines)
        missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
        if missing:
            raise UserError(f"{path} has no column {', '.join(missing)}: a golden set needs {', '.join(COLUMNS)}.")
        for number, row in enumerate(table, 2):
            if row["grade"] not in ("1", "2"):
                raise UserError(f"{path}, line {number}: grade {row['grade']!r} is neither 1 (kin) nor 2 (asked for).")
            _, judgements = found.setdefault(row["query"], (row["stratum"], []))
            judgements.append(Judgement(int(row["grade"]), row["field"], row["value"]))
    return [GoldenQuery(query, stratum, tuple(judged)) for query, (stratum, judged) in found.items()]


def _tags(text: str) -> set[str]:
    return {tag.strip() for tag in text.split(";") if tag.strip()}
