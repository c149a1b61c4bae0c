"""Golden queries: what people ask of a library, and how right each of its pictures is as an answer.

`golden.csv` has a line for each judgement: `query, stratum, grade, field, value`. A picture has the highest grade
whose `field` (a column of the catalogue, `path` as `<product_line>/<drop>/<file>`, or `product_line`) equals `value`;
of `tags`, it must have all that `value` names, separated by semicolons. Grade 2 is what was asked for, 1 is kin to it.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from upath import UPath

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import open_root

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
            return tag_set(self.value) <= tag_set(given)
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


@dataclass(frozen=True)
class GoldenSet:
    """What a golden.csv asks; `digest` is another one when any of its bytes is."""

    path: str
    digest: str
    queries: tuple[GoldenQuery, ...]


def open_golden(uri: str) -> GoldenSet:
    """`read_golden` of what MMRAG_GOLDEN names: a path, or an fsspec URI."""
    return read_golden(open_root(uri, setting="MMRAG_GOLDEN"))


def golden_queries(path: Path | UPath) -> list[GoldenQuery]:
    """The queries of `read_golden`."""
    return list(read_golden(path).queries)


def read_golden(path: Path | UPath) -> GoldenSet:
    """Read a golden.csv, queries in the order of their first lines.

    Raises:
        UserError: it can't be read, a column is missing, a cell is empty or a grade is none.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"the golden set {path} can't be read ({reason}): correct MMRAG_GOLDEN or unset it.") from None
    return GoldenSet(str(path), hashlib.sha256(data).hexdigest()[:16], tuple(_parsed(text, path)))


def _parsed(text: str, path: Path | UPath) -> list[GoldenQuery]:
    found: dict[str, tuple[str, list[Judgement]]] = {}
    table = csv.DictReader(io.StringIO(text, newline=""))
    try:
        missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
        if missing:
            raise UserError(f"{path} has no column {', '.join(missing)}: a golden set needs {', '.join(COLUMNS)}.")
        for row in table:
            where = f"{path}, line {table.line_num}"
            empty = [name for name in ("query", "field", "value") if not (row[name] or "").strip(" ;")]
            if empty:
                raise UserError(f"{where}: there is no {empty[0]}: give one, or take the line out.")
            if row["grade"] not in ("1", "2"):
                raise UserError(f"{where}: grade {row['grade']!r} is neither 1 (kin) nor 2 (asked for).")
            _, judgements = found.setdefault(row["query"], (row["stratum"], []))
            judgements.append(Judgement(int(row["grade"]), row["field"], row["value"]))
    except csv.Error as error:
        raise UserError(f"{path}, line {table.line_num}: {error}: save it as plain CSV.") from None
    if not found:
        raise UserError(f"{path} has no query: write one, or unset MMRAG_GOLDEN.")
    return [GoldenQuery(query, stratum, tuple(judged)) for query, (stratum, judged) in found.items()]


def tag_set(text: str) -> set[str]:
    """`gold; front` -> {gold, front}."""
    return {tag.strip() for tag in text.split(";") if tag.strip()}
