"""`mmrag demo`, played for real and twice: it finds what is asked, and a second time there is nothing to do."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mmrag_pipeline.cli import app
from mmrag_pipeline.demo.delivery import PACKAGED_LIBRARY
from mmrag_pipeline.demo.golden import GOLDEN
from mmrag_pipeline.demo.story import play
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.quality.golden import golden_queries
from mmrag_pipeline.settings import load_settings


def played() -> str:
    console = Console(file=io.StringIO(), width=300)
    play(load_settings(), console)
    return console.file.getvalue()


def titles() -> dict[tuple[str, str], str]:
    found = {}
    for catalogue in PACKAGED_LIBRARY.glob("*/*/metadata.csv"):
        line, drop = catalogue.parts[-3:-1]
        with catalogue.open() as file:
            found.update({(f"{line}__{drop}", row["path"]): row["title"].lower() for row in csv.DictReader(file)})
    return found


def test_the_story_finds_what_is_asked_and_does_nothing_twice(tmp_path: Path) -> None:
    said = played()
    assert "Done in" in said
    asked, first, ten = re.search(r"(\d+) golden queries, .* right for (\d+)%, R@10 (\d\.\d+)", said).groups()
    assert int(asked) == len(golden_queries(GOLDEN)) and int(first) >= 60 and float(ten) >= 0.95
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / ".mmrag").rglob("images/*")}
    assert len(first) == 8  # four pictures and their sidecars

    hits = json.loads(CliRunner().invoke(app, ["search", "a golden watch", "--json"]).stdout)
    known = titles()
    shown = [known[hit["drop"], hit["path"]] for hit in hits]
    assert len(shown) == 3
    assert {hit["product_line"] for hit in hits} == {"watches"}
    assert all("gold" in title and "rose gold" not in title for title in shown), shown
    status = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)
    assert status["in_sync"] and len(status["drops"]) == 12
    assert status["files"]["quarantined"] == 2 and status["files"]["duplicate"] == 1

    assert "Nothing to do: nothing embedded, nothing upserted, nothing generated" in played()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / ".mmrag").rglob("images/*")} == first


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MMRAG_MEDIA", "/srv/media"),
        ("MMRAG_MILVUS_URI", "http://milvus:19530"),
        ("MMRAG_IMAGE_BACKEND", "gemini"),
        ("DAGSTER_HOME", "/srv/dagster"),
    ],
)
def test_the_demo_keeps_off_what_is_not_its_own(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=name):
        played()
    assert list(tmp_path.iterdir()) == []
