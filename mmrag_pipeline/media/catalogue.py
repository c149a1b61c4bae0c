"""The brand's own words about its files: `metadata.csv` or `metadata.jsonl` at the top of a drop.

Columns: `path` (inside the drop), `sku`, `title`, `tags` (separated by `;` or `,`); any further column is
kept as JSON. Nothing in it can stop a scan: what does not fit is reported in one sentence a problem. Only a catalogue
that can't be read does.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from upath import UPath

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import StoreError, no_answer, store_errors

NAMES = ("metadata.csv", "metadata.jsonl")
SHOWN_PROBLEMS = 20
"""How many are worth showing: a wrong prefix in the paths is a problem a row, and says the same each time."""
_MAX_BYTES = 64 * 1024 * 1024
_OWN = ("path", "sku", "title", "tags")
_BETWEEN_TAGS = re.compile(r"[;,]")
_as_json = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode


@dataclass(frozen=True)
class Entry:
    """One file's catalogue data; `extra` is a JSON object with sorted keys."""

    sku: str = ""
    title: str = ""
    tags: tuple[str, ...] = ()
    extra: str = "{}"


@dataclass(frozen=True)
class Catalogue:
    """Entries by path, and what is wrong with the catalogue, one sentence each."""

    entries: dict[str, Entry] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_catalogue(folder: UPath, paths: Collection[str]) -> Catalogue:
    """Join a drop's catalogue files to the `paths` that are in it; the first row that names a file counts."""
    catalogue = Catalogue()
    for path, row in _joined(folder, paths, catalogue.problems):
        catalogue.entries[path] = _entry(row())
    return catalogue


def catalogue_problems(folder: UPath, paths: Collection[str]) -> list[str]:
    """What `read_catalogue` would report, at a quarter of its cost."""
    problems: list[str] = []
    for _ in _joined(folder, paths, problems):
        pass
    return problems


_Row = Callable[[], dict[str, Any]]


def _joined(folder: UPath, paths: Collection[str], problems: list[str]) -> Iterator[tuple[str, _Row]]:
    """(path in the drop, its row by lower-case column name) for every file that a catalogue names."""
    present = paths if isinstance(paths, Set) else set(paths)
    by_form: dict[str, str] = {}
    seen: dict[str, str] = {}
    for name in NAMES:
        if name not in present:
            continue
        for where, named, row in _rows(folder / name, name, problems):
            path = _clean(named)
            if path and path not in present:
                # macOS writes decomposed accents, spreadsheets composed ones: compare both in one form.
                by_form = by_form or {_composed(path): path for path in sorted(present, reverse=True)}
                path = by_form.get(_composed(path))
            if path == "":
                problems.append(f"{where} has no path")
            elif path is None:
                problems.append(f"{where} names {_clean(named)!r}, which is not in the drop")
            elif path in seen:
                problems.append(f"{where} names {path!r} again; {seen[path]} counts")
            else:
                seen[path] = where
                yield path, row
    for path in sorted(path for path in present if path.lower().endswith(NAMES)):
        name = path.rpartition("/")[2].lower()
        if name in NAMES and "/" in path:
            problems.append(f"{path} is not read: a catalogue belongs at the top of the drop")
        elif name in NAMES and path != name:
            problems.append(f"{path} is not read: write its name {name}")


def _entry(row: dict[str, Any]) -> Entry:
    tags = row.get("tags")
    if not isinstance(tags, list):
        tags = _BETWEEN_TAGS.split(_text(tags))
    cleaned = dict.fromkeys(_text(tag) for tag in tags)
    extra = {key: value for key, value in row.items() if key not in _OWN and value not in ("", None)}
    return Entry(
        sku=_text(row.get("sku")),
        title=_text(row.get("title")),
        tags=tuple(tag for tag in cleaned if tag),
        extra=_as_json(extra) if extra else "{}",
    )


def _rows(file: UPath, name: str, problems: list[str]) -> Iterator[tuple[str, str, _Row]]:
    """(`metadata.csv line 3`, the path that it names, the row) for every row that can be read."""
    try:
        with store_errors(), file.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except StoreError as error:
        raise no_answer(f"the catalogue {file}", error) from error
    except OSError as error:  # going on would take the metadata from every file of the drop
        raise UserError(
            f"the catalogue {file} can't be read ({error.strerror or type(error).__name__}): give the pipeline's user "
            f"read access, or remove it, and materialise the drop again; until then the drop stays as it is."
        ) from error
    if len(data) > _MAX_BYTES:
        problems.append(f"{name} is larger than {_MAX_BYTES >> 20} MB and is not read")
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.append(f"{name} is not UTF-8; read as Windows-1252, so check its accents")
        text = data.decode("cp1252", errors="replace")
    yield from (_csv_rows if name.endswith(".csv") else _json_rows)(text, name, problems)


def _csv_rows(text: str, name: str, problems: list[str]) -> Iterator[tuple[str, str, _Row]]:
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)  # spreadsheets in half of Europe write semicolons
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns: list[str] = []
    path_column = 0
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = [cell.strip().lower() for cell in cells]
                if "path" not in columns:
                    problems.append(f"{name} has no column 'path', so none of its rows can be joined")
                    return
                path_column = len(columns) - 1 - columns[::-1].index("path")
                continue
            where = f"{name} line {reader.line_num}"
            if len(cells) > len(columns):
                problems.append(f"{where} has {len(cells)} cells for {len(columns)} columns; the rest is dropped")
            named = cells[path_column] if path_column < len(cells) else ""
            yield where, named, partial(_csv_row, columns, cells)
    except csv.Error as error:
        problems.append(f"{name} line {reader.line_num} can't be read ({error}); the rest of it is left out")


def _csv_row(columns: list[str], cells: list[str]) -> dict[str, Any]:
    return {key: cell.strip() for key, cell in zip(columns, cells, strict=False) if key}


def _json_rows(text: str, name: str, problems: list[str]) -> Iterator[tuple[str, str, _Row]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{name} line {number}"
        try:
            row = json.loads(line, parse_constant=lambda name: None)  # NaN is not JSON
            json.dumps(row, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            row = {str(key).strip().lower(): value for key, value in row.items()}
            yield where, _text(row.get("path")), partial(dict, row)
        else:
            problems.append(f"{where} is not a JSON object")


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _clean(path: str) -> str:
    path = path.strip().replace("\\", "/")
    while path.startswith("./"):
        path = path[2:]
    return path
