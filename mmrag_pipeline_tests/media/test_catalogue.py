"""The brand's metadata joins the manifest; what does not fit is reported."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from mmrag_pipeline.media.scan import ScanReport
from mmrag_pipeline_tests.media.conftest import overwrite_unseen, rows, save

Scan = Callable[..., ScanReport]


def test_csv_joins_by_path(folder: Path, scan: Scan) -> None:
    save(folder / "a" / "1.png")
    save(folder / "2.png", "blue")
    (folder / "metadata.csv").write_text(
        "\ufeffPath,SKU,title,tags,material,price\n"
        'a/1.png,W-1,"Watch, golden","gold; round ;;gold",steel,\n'
        './2.png,,Bag,"red, leather",,12.50\n',
        encoding="utf-8",
    )
    report = scan()
    first, second = rows(report)["a/1.png"], rows(report)["2.png"]
    assert (first["sku"], first["title"], first["tags"]) == ("W-1", "Watch, golden", ["gold", "round"])
    assert json.loads(first["extra"]) == {"material": "steel"}
    assert (second["sku"], second["tags"]) == ("", ["red", "leather"])
    assert json.loads(second["extra"]) == {"price": "12.50"}
    assert rows(report)["metadata.csv"]["reason"] == "catalogue"
    assert report.problems == []


def test_jsonl_joins_by_path(folder: Path, scan: Scan) -> None:
    save(folder / "1.png")
    lines = [{"path": "1.png", "sku": 7, "tags": ["a", "b"], "size": {"mm": 40}}, {"path": "2.png"}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n[1]\n{"path": "\\ud800"}\n')
    report = scan()
    assert (rows(report)["1.png"]["sku"], rows(report)["1.png"]["tags"]) == ("7", ["a", "b"])
    assert json.loads(rows(report)["1.png"]["extra"]) == {"size": {"mm": 40}}
    assert report.problems == [
        "metadata.jsonl line 2 names '2.png', which is not in the drop",
        "metadata.jsonl line 3 is not a JSON object",
        "metadata.jsonl line 4 is not a JSON object",
    ]


def test_problems_are_reported_and_the_first_row_counts(folder: Path, scan: Scan) -> None:
    save(folder / "1.png")
    (folder / "metadata.csv").write_text("path,sku\n1.png,A\n1.png,B\ngone.png,C\n,D\n1.png,E,surplus\n")
    report = scan()
    assert rows(report)["1.png"]["sku"] == "A"
    assert report.problems == [
        "metadata.csv line 3 names '1.png' again; metadata.csv line 2 counts",
        "metadata.csv line 4 names 'gone.png', which is not in the drop",
        "metadata.csv line 5 has no path",
        "metadata.csv line 6 has 3 cells for 2 columns; the rest is dropped",
        "metadata.csv line 6 names '1.png' again; metadata.csv line 2 counts",
    ]


def test_a_changed_catalogue_updates_rows_without_reading_pictures(folder: Path, scan: Scan) -> None:
    save(folder / "1.png")
    (folder / "metadata.csv").write_text("path,sku\n1.png,A\n")
    first = scan()
    overwrite_unseen(folder / "1.png")
    (folder / "metadata.csv").write_text("path,sku\n1.png,changed\n")
    second = scan(previous=first.table)
    assert rows(second)["1.png"]["sku"] == "changed"
    assert rows(second)["1.png"]["status"] == "ok"
    assert (second.hashed, second.changed) == (0, True)


def test_accents_match_in_either_unicode_form(folder: Path, scan: Scan) -> None:
    save(folder / unicodedata.normalize("NFD", "été.png"))
    (folder / "metadata.csv").write_text(unicodedata.normalize("NFC", "path,sku\nété.png,A\n"), encoding="utf-8")
    report = scan()
    assert rows(report)[unicodedata.normalize("NFD", "été.png")]["sku"] == "A" and report.problems == []


def test_a_spreadsheets_semicolons_and_windows_letters(folder: Path, scan: Scan) -> None:
    save(folder / "1.png")
    (folder / "metadata.csv").write_bytes("path;title;tags\n1.png;Montre dorée;or,rond\n".encode("cp1252"))
    report = scan()
    assert (rows(report)["1.png"]["title"], rows(report)["1.png"]["tags"]) == ("Montre dorée", ["or", "rond"])
    assert len(report.problems) == 1 and "not UTF-8" in report.problems[0]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"file,sku\n1.png,A\n", "no column 'path'"),
        (b'path,sku\n1.png,"' + b"x" * 200_000 + b'"\n', "can't be read"),
        (bytes(range(256)) * 20, "metadata.csv"),
    ],
)
def test_a_bad_catalogue_costs_no_picture(folder: Path, scan: Scan, content: bytes, problem: str) -> None:
    save(folder / "1.png")
    (folder / "metadata.csv").write_bytes(content)
    report = scan()
    assert report.counts["ok"] == 1
    assert any(problem in sentence for sentence in report.problems)


def test_a_catalogue_in_other_letters_is_reported(folder: Path, scan: Scan) -> None:
    save(folder / "1.png")
    (folder / "Metadata.CSV").write_text("path,sku\n1.png,A\n")
    assert scan().problems == ["Metadata.CSV is not read: write its name metadata.csv"]


def test_a_catalogue_in_a_subfolder_is_reported(folder: Path, scan: Scan) -> None:
    save(folder / "sub" / "1.png")
    (folder / "sub" / "metadata.csv").write_text("path,sku\n1.png,A\n")
    report = scan()
    assert report.problems == ["sub/metadata.csv is not read: a catalogue belongs at the top of the drop"]
    assert rows(report)["sub/metadata.csv"]["status"] == "ignored"
