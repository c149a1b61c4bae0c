"""Figures that people read are those that were measured, and the workloads run and their sides agree."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import readme_table, tables
from benchmarks.drop import drop_folder
from benchmarks.embed_folder import broken
from benchmarks.index_proof import K
from benchmarks.index_search.references import Exact, recall
from benchmarks.nightly.library import changed, names
from benchmarks.nightly.peers_night import Night, what_is_wrong

ROOT = Path(__file__).resolve().parents[1]
_RATIO = re.compile(r"\b(\d+(?:\.\d+)?)(?:x\b| times (?:faster|slower|as fast|as slow|the speed))")
"""`2.1x`, `2.1 times faster`: what a comparison comes to."""
_QUICK = ("embed_folder", "image_path", "drop_sensor", "index_search", "orchestration", "campaigns")
"""Workloads whose quick forms need no network and no environment of peers, as many as fit into 4 minutes."""


def test_the_page_of_results_is_written_from_the_results(tmp_path: Path) -> None:
    tables.write_page(page=tmp_path / "RESULTS.md")
    assert tables.PAGE.read_text() == (tmp_path / "RESULTS.md").read_text(), "run: python -m benchmarks --tables"


def test_the_readmes_table_is_written_from_the_results(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(readme_table.README.read_text())
    readme_table.write_table(page=page)
    assert page.read_text() == readme_table.README.read_text(), "run: python -m benchmarks --tables"
    assert page.read_text().count("| the same") >= 3


def test_every_ratio_in_the_readme_and_the_docs_was_measured() -> None:
    figures = [figure for path in tables.RESULTS.glob("*.json") for figure in json.loads(path.read_text())["figures"]]
    measured = [figure["value"] for figure in figures if figure["unit"] == "x"]
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for told in _RATIO.findall(page.read_text()):
            digits = len(told.partition(".")[2])
            assert float(told) in {round(value, digits) for value in measured}, f"{page.name} has {told}x: who says so?"


def test_figures_on_growth_are_those_of_the_results() -> None:
    """docs/scaling.md has them by hand, with what follows from them."""
    page = " ".join((ROOT / "docs" / "scaling.md").read_text().split())
    night, sensor = _medians("library_night"), _medians("drop_sensor")
    load, roofline = _medians("index_load"), _medians("roofline")
    rate = roofline["1 MP", "end to end", "a second and core"]
    share = next(figure for figure in _result("roofline")["figures"] if "share" in figure["what"])
    memory = _samples("library_night")
    told = [
        *(
            f"| {each} | {night['1,000 drops', each, 's CPU']:.1f} "
            f"| {min(memory['1,000 drops', each, 's wall']):.0f} to {max(memory['1,000 drops', each, 's wall']):.0f} "
            f"| {max(memory['1,000 drops', each, 'MB']):.0f} MB |"
            for each in ("first night", "nothing changed", "1% changed")
        ),
        f"{night['1,000 drops', 'nothing changed', 's CPU']:.0f} s of processor time and "
        f"{night['1,000 drops', 'nothing changed', 'MB']:.0f} MB at 100,000 rows",
        ", ".join(f"{each} {sensor['10,000', each, 's']:.1f} s" for each in ("all new", "nothing new", "25 changed")),
        f"100,000 rows in {load['server', 'ours', 's']:.1f} s",
        f"Bulk import took {load['server', 'ours, bulk import', 's']:.1f} s",
        f"{rate:.1f} pictures a second and core end to end",
        f"of which the model is {share['value']:.0%}",
        f"{1e5 / rate / 3600:.1f} core hours",
    ]
    missing = [each for each in told if each not in page]
    assert not missing, f"docs/scaling.md does not say, or says otherwise: {missing}"


def test_no_result_names_a_folder_of_the_machine_it_was_measured_on() -> None:
    for path in sorted(tables.RESULTS.glob("*.json")):
        found = re.findall(r"(?<![\w.])/(?:tmp|root|home|work|var|Users)/\S*", path.read_text())
        assert not found, f"{path.name}: {found}"


def test_recall_counts_what_is_as_near_as_the_last_of_the_exact_ones() -> None:
    truth = [[(f"id{at}", 1 - at / 100) for at in range(K)]]
    half = truth[0][: K // 2] + [(f"far{at}", 0.1) for at in range(K // 2)]
    tied = [*truth[0][:-1], ("another", truth[0][-1][1])]
    assert [recall(truth, [each]) for each in (truth[0], half, tied, [])] == [1.0, 0.5, 1.0, 0.0]


def test_exact_search_in_memory_finds_what_sorting_everything_finds() -> None:
    import numpy as np

    vectors = np.random.default_rng(8).standard_normal((200, 16), dtype=np.float32)
    exact = Exact([str(at) for at in range(200)], np.array(["a", "b"] * 100), vectors)
    for line, rows in ((None, range(200)), ("b", range(1, 200, 2))):
        best = sorted(rows, key=lambda at: -float(vectors[at] @ vectors[7]))[:K]
        assert [media_id for media_id, _ in exact.nearest(vectors[7], line)] == [str(at) for at in best]


def test_no_broken_file_is_named_in_another_ones_name() -> None:
    """Else who names the one is believed to name the other."""
    names = sorted(broken._broken())
    assert [(a, b) for a in names for b in names if a != b and a in b] == []


def test_what_a_peer_has_wrong_after_a_night_is_counted(tmp_path: Path) -> None:
    yesterday, tonight = tmp_path / "yesterday", tmp_path / "tonight"
    for number in range(8):
        _file(drop_folder(yesterday) / "0000" / f"{number}.jpg")
    new = [_file(tmp_path / "new" / f"new-{number}.jpg") for number in range(2)]
    before = names(yesterday)
    changes = changed(yesterday, new, tonight)
    right = sorted(names(tonight))
    appended = [*before, *changes.new, *changes.renamed.values()]
    assert what_is_wrong(Night(1.0, 2, right), tonight, changes) == ["2", "9", "0", "0", "0", "0"]
    assert what_is_wrong(Night(1.0, 3, appended), tonight, changes) == ["3", "11", "1", "1", "0", "0"]
    assert what_is_wrong(Night(1.0, 0, [*right[1:], right[1]]), tonight, changes)[-2:] == ["1", "1"]


def _file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.name.encode())
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights and pictures, made once for all workloads."""
    return tmp_path_factory.mktemp("bench-data")


@pytest.mark.slow
@pytest.mark.parametrize("workload", _QUICK)
def test_a_workload_runs_and_its_sides_agree(workload: str, tmp_path: Path, data: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", workload, "--results", tmp_path / "results"]
    done = subprocess.run(command, cwd=ROOT, env=_without_peers(data), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "results" / f"{workload}.json").read_text())
    assert found["quick"] and found["samples"]
    assert all(samples["values"] for samples in found["samples"])
    if workload == "embed_folder":
        ours = found["tables"][0]["rows"][0]
        assert ours == ["ours", "all of it", "yes", "8 of 8", "0 of 8", "8 of 8"]


def _without_peers(data: Path) -> dict[str, str]:
    """As on a fresh clone: no environment of peers, no settings, pictures and weights made anew."""
    ambient = {name: value for name, value in os.environ.items() if not name.startswith("MMRAG_BENCH_")}
    return ambient | {"MMRAG_BENCH_DATA": str(data)}


def _result(workload: str) -> dict[str, Any]:
    return json.loads((tables.RESULTS / f"{workload}.json").read_text())


def _samples(workload: str) -> dict[tuple[str, str, str], list[float]]:
    return {(each["case"], each["side"], each["unit"]): each["values"] for each in _result(workload)["samples"]}


def _medians(workload: str) -> dict[tuple[str, str, str], float]:
    return {(each["case"], each["side"], each["unit"]): each["median"] for each in _result(workload)["samples"]}
