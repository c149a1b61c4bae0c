"""RESULTS.md, written from the JSON in results/ and never by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent / "RESULTS.md"
_HEAD = """# Results

Written by `python -m benchmarks` (or `--tables` alone) from the JSON in [results/](results/); what the workloads are,
and why some bars are not met, is in [README.md](README.md).
"""


def write_page(results: Path = RESULTS, page: Path = PAGE) -> None:
    """Write the page anew from the results there are."""
    records = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    page.write_text("\n".join([_HEAD, *render(records)]) + "\n")


def render(records: Iterable[dict[str, Any]]) -> list[str]:
    """Lines of Markdown: how many bars are met, then a section for each result."""
    records = list(records)
    judged = [record for record in records if not record["quick"]]
    held = [figure for record in judged for figure in record["figures"] if figure["met"] is not None]
    missed = [figure for figure in held if not figure["met"]]
    lines = [f"{len(held) - len(missed)} of {len(held)} bars are met.", ""]
    for record in records:
        lines += [*_section(record), ""]
    return lines[:-1]


def _section(record: dict[str, Any]) -> list[str]:
    machine = record["machine"]
    lines = [f"## {record['workload']}: {record['about']}", ""]
    lines += [f"Not measured: {why}." for why in record["not_measured"]]
    if record["figures"]:
        lines += ["| case | figure | measured | rounds | bar | |", "| --- | --- | ---: | --- | --- | --- |"]
        lines += [_figure(figure) for figure in record["figures"]] + [""]
    if record["samples"]:
        lines += ["| case | side | median | least to most | n |", "| --- | --- | ---: | --- | ---: |"]
        lines += [_samples(samples) for samples in record["samples"]] + [""]
    for table in record.get("tables", ()):  # results from before there were tables have none
        lines += [f"{table['title']}:", "", _row(table["columns"]), _row(["---"] * len(table["columns"]))]
        lines += [*map(_row, table["rows"]), ""]
    lines += [f"- {key}: {value}" for key, value in record["notes"].items()]
    if record["quick"]:
        lines.append("- A quick run: too short to be held against anything.")
    lines.append(
        f"- {record['at'][:10]}, {_machine(machine)}; load {_load(record['load_before'])} before, "
        f"{_load(record['load_after'])} after"
    )
    return lines


def _figure(figure: dict[str, Any]) -> str:
    bar, verdict = "", ""
    if figure["bar"] is not None:
        bar = f"{'≤' if figure['at_most'] else '≥'} {number(figure['bar'])}"
        verdict = "met" if figure["met"] else "**not met**"
    spread = f"{number(figure['least'])} to {number(figure['most'])}"
    value = f"{number(figure['value'])} {figure['unit']}".replace(" /", "/").replace(" x", "x")
    return f"| {figure['case']} | {figure['what']} | {value} | {spread} | {bar} | {verdict} |"


def _samples(samples: dict[str, Any]) -> str:
    values = samples["values"]
    spread = f"{number(min(values))} to {number(max(values))}"
    median = f"{number(samples['median'])} {samples['unit']}"
    return f"| {samples['case']} | {samples['side']} | {median} | {spread} | {len(values)} |"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _machine(machine: dict[str, Any]) -> str:
    ours = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    theirs = ", ".join(f"{name} {version}" for name, version in machine["peer_versions"].items())
    what = f"{machine['processor']} ({', '.join(machine['instructions'])}), {machine['cores']} cores"
    what += f", {machine['gpu']}" if machine["gpu"] else ", no GPU"
    return f"{what}, Python {machine['python']}, {ours}" + (f"; peers: {theirs}" if theirs else "")


def _load(averages: list[float]) -> str:
    return f"{averages[0]:g}"


def number(value: float) -> str:
    """Three digits that count, without exponents."""
    if value and abs(value) < 0.001:
        return f"{value:.1e}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:,.{digits}f}"
