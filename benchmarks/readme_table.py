"""The README's table of how we stand beside the others, written from the JSON in results/ and never by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.tables import RESULTS, number

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- written by python -m benchmarks: begin -->", "<!-- end -->"

_SHOWN = (
    ("embed_folder", "1 MP", "scan + embed against clip-retrieval", "500 photos -> parquet, against clip-retrieval"),
    (
        "embed_folder",
        "1 MP",
        "scan + embed against Daft, open_clip UDF",
        "the same, against Daft with an open_clip UDF",
    ),
    ("embed_folder", "1 MP", "scan + embed against one at a time", "the same, against a loop of one at a time"),
    ("nightly", "20,000", "nothing changed", "a night of 20,000 files, nothing changed"),
    ("nightly", "20,000", "1% new, 0.5% gone, 0.5% renamed", "the same, 2% changed, against its first night"),
    (
        "nightly",
        "20,000",
        "1% new, 0.5% gone, 0.5% renamed: against clip-retrieval, all of it again, extrapolated from 500",
        "that night, against clip-retrieval (all of it again, extrapolated)",
    ),
    (
        "nightly",
        "20,000",
        "1% new, 0.5% gone, 0.5% renamed: against Daft, anti join by path",
        "that night, against Daft (which keeps what is gone)",
    ),
    ("index_load", "server", "against the tutorial", "100,000 vectors -> Milvus, against a tutorial's inserts"),
    ("index_load", "server", "against FiftyOne's batches", "the same (18 fields), against FiftyOne's batches (of 3)"),
    (
        "index_search",
        "server, 100,000",
        "p95 over that of pymilvus' search call",
        "search in 100,000, over a bare search",
    ),
    (
        "index_reconcile",
        "server",
        "reconcile, 1% changed, over a full rebuild",
        "1% of 100,000 changed, over a rebuild",
    ),
    ("orchestration", "10 drops", "Dagster, mmrag backfill", "10 small drops by `mmrag backfill`, over bare functions"),
    (
        "orchestration",
        "10 drops",
        "Dagster, a run a drop, each a process",
        "the same, a run and a process each, as the sensor asks for them",
    ),
    (
        "campaigns",
        "undisturbed",
        "against the loop of 4 threads",
        "100 campaign pictures, against a bare loop of 4 threads",
    ),
)
"""Workload, case and name of a figure, and what the README calls it. Where we lose, that is shown too."""
_VERSIONS = {
    "python": "Python", "torch": "torch", "open_clip_torch": "open_clip", "pymilvus": "pymilvus",
    "milvus-lite": "Milvus Lite", "clip-retrieval": "clip-retrieval", "daft (Daft)": "Daft",
}  # fmt: skip


def write_table(results: Path = RESULTS, page: Path = README) -> None:
    """Write what is between the two marks of the page anew.

    Raises:
        ValueError: the page has not both marks.
    """
    before, begun, rest = page.read_text().partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise ValueError(f"{page} has no place for the table: it stands between {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{_table(results)}\n{END}{after}")


def _table(results: Path) -> str:
    lines = ["| | measured | rounds | bar |", "| --- | ---: | --- | --- |"]
    machines, versions = set[str](), set[str]()
    for workload, case, what, called in _SHOWN:
        path = results / f"{workload}.json"
        record = json.loads(path.read_text()) if path.exists() else {"figures": []}
        for figure in record["figures"]:
            if (figure["case"], figure["what"]) == (case, what):
                lines.append(_line(called, figure))
                machine = record["machine"]
                machines.add(f"{machine['processor']}, {machine['cores']} cores, {machine['gpu'] or 'no GPU'}")
                of_all = machine["versions"] | machine["peer_versions"] | {"python": machine["python"]}
                versions |= {f"{name} {of_all[key]}" for key, name in _VERSIONS.items() if of_all.get(key)}
    measured = f"Measured on: {'; '.join(sorted(machines))}. {', '.join(sorted(versions, key=str.lower))}."
    return "\n".join([*lines, "", measured])


def _line(called: str, figure: dict[str, Any]) -> str:
    unit = figure["unit"]
    value = f"{number(figure['value'])}{'x' if unit == 'x' else f' {unit}'}"
    bar = "" if figure["bar"] is None else f"{'at most' if figure['at_most'] else 'at least'} {number(figure['bar'])}"
    missed = ": **not met**" if figure["met"] is False else ""
    return f"| {called} | {value} | {number(figure['least'])} to {number(figure['most'])} | {bar}{missed} |"
