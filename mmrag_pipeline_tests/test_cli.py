"""`mmrag` as a person types it: JSON that scripts can read, sentences instead of tracebacks, no secret shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from mmrag_pipeline.cli import app
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline, new_pipeline

DROP = "lunar__2026-09"


def mmrag(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def ingested_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with pytest.MonkeyPatch.context() as environment:
        pipeline = new_pipeline(tmp_path_factory.mktemp("ingested"), environment)
        _fill(pipeline)
        yield pipeline


@pytest.fixture
def ingested(ingested_once: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """The module's pipeline: these tests only read it."""
    return new_pipeline(ingested_once.root, monkeypatch)


def _deliver(pipeline: Pipeline) -> None:
    pipeline.deliver(
        DROP, {f"{name}.png": colour for name, colour in COLOURS.items()}, "path,title\nred.png,[bold]Red\n"
    )
    pipeline.deliver("bags__2026-09", {"tan.png": (180, 140, 90)})


def _fill(pipeline: Pipeline) -> None:
    _deliver(pipeline)
    pipeline.ingest()


def test_search_prints_what_was_asked_for_as_json(ingested: Pipeline) -> None:
    result = mmrag("search", "something red", "-k", "3", "--json")
    hits = json.loads(result.stdout)
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert {"rank", "score", "media_id", "product_line", "drop", "path", "frame_ms"} <= hits[0].keys()
    assert hits[0]["score"] >= hits[1]["score"] >= hits[2]["score"]


def test_search_by_picture_finds_that_picture_and_draws_a_sheet(ingested: Pipeline, tmp_path: Path) -> None:
    picture, sheet = ingested.media / "lunar" / "2026-09" / "blue.png", tmp_path / "sheet.png"
    result = mmrag("search", "--image", str(picture), "-k", "1", "--json", "--sheet", str(sheet))
    assert json.loads(result.stdout)[0]["path"] == "blue.png"
    assert Image.open(sheet).width > 200


def test_filters_narrow_and_an_empty_result_says_why(ingested: Pipeline) -> None:
    lines = json.loads(mmrag("search", "a thing", "--product-line", "bags", "--json").stdout)
    assert {hit["drop"] for hit in lines} == {"bags__2026-09"}
    assert json.loads(mmrag("search", "a thing", "--drop", DROP, "-k", "9", "--json").stdout)[3]["drop"] == DROP
    result = mmrag("search", "a thing", "--product-line", 'x" or 1==1 or "')
    assert result.exit_code == 0
    assert "no item has product_line" in result.stdout


@pytest.mark.parametrize("name", ["hits", "missing/hits.png", "hits.xyz"])
def test_a_sheet_that_can_not_be_written_is_one_sentence_after_the_hits(ingested: Pipeline, name: str) -> None:
    result = mmrag("search", "red", "--sheet", name)
    assert result.exit_code == 2
    assert "red.png" in result.stdout
    assert f"the sheet {name} can't be written" in result.stderr


def test_brackets_in_a_filter_are_no_markup(ingested: Pipeline) -> None:
    result = mmrag("search", "red", "--product-line", "[/x]")
    assert result.exit_code == 0
    assert "[/x]" in result.stdout


def test_titles_from_a_catalogue_are_not_terminal_markup(ingested: Pipeline) -> None:
    assert "[bold]Red" in mmrag("search", "red", "-k", "5").stdout


def test_embed_brings_every_drop_up_to_date_and_names_the_one_that_it_can_not(pipeline: Pipeline) -> None:
    _deliver(pipeline)
    first = mmrag("embed")
    assert first.exit_code == 0
    (row,) = [line for line in first.stdout.splitlines() if DROP in line]
    assert row.split("│")[2:7] == [" 4  ", " 0           ", " 4    ", " 4        ", " 0      "]
    for name in COLOURS:
        (pipeline.media / "lunar" / "2026-09" / f"{name}.png").unlink()
    again = mmrag("embed")
    assert again.exit_code == 2
    assert "bags__2026-09" in again.stdout and DROP not in again.stdout
    assert "allow_mass_deletion" in again.stderr


def test_embed_bench_says_what_bounds_it_and_keeps_nothing(pipeline: Pipeline) -> None:
    _deliver(pipeline)
    measured = mmrag("embed", DROP, "--bench")
    assert measured.exit_code == 0
    assert all(stage in measured.stdout for stage in ("read", "decode", "model", "write"))
    assert f"4 pictures of {DROP}" in measured.stdout and "bound by" in measured.stdout
    assert not (pipeline.root / "store" / "manifests").exists()
    nowhere = mmrag("embed", "lunar__nowhere", "--bench")
    assert nowhere.exit_code == 2 and "there is no drop lunar__nowhere" in nowhere.stderr


def test_status_as_json(ingested: Pipeline) -> None:
    state = json.loads(mmrag("status", "--json").stdout)
    assert [drop["drop"] for drop in state["drops"]] == ["bags__2026-09", DROP]
    assert state["files"] == {"ok": 5, "ignored": 1}
    assert state["embedded_rows"] == state["live"]["rows"] == 5
    assert state["fingerprint"].startswith("demo-")
    assert state["in_sync"] is True


def test_doctor_is_content_and_warns_of_the_demo_model(ingested: Pipeline) -> None:
    result = mmrag("doctor")
    assert result.exit_code == 0, result.stdout
    assert "small demo model is in force with your own library" in result.stdout
    assert "set MMRAG_GOLDEN to a golden.csv" in result.stdout


def test_doctor_masks_secrets_and_says_what_to_do(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMRAG_MILVUS_TOKEN", "root:hunter2")
    monkeypatch.setenv("MMRAG_MILVUS_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MMRAG_MILVUS_TIMEOUT_S", "2")
    monkeypatch.setenv("MMRAG_IMAGE_BACKEND", "gemini")
    monkeypatch.setenv("MMRAG_MEDAI", "x")
    monkeypatch.setenv("MMRAG_GOLDEN", "/nowhere/golden.csv")
    (pipeline.root / "briefs" / "spring.yaml").write_text("titel: Spring\n")
    result = mmrag("doctor")
    assert result.exit_code == 1
    assert "hunter2" not in result.output
    for said in (
        "MMRAG_MEDAI is set",
        "media library",
        "127.0.0.1:1",
        "MMRAG_GEMINI_API_KEY",
        "spring.yaml",
        "correct MMRAG_GOLDEN or unset it",
    ):
        assert said in result.output


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        (["search", "a cape"], {}, "nothing is indexed yet"),
        (["search"], {}, "nothing to look for"),
        (["search", "a cape", "--drop", "Lunar 9"], {}, "not a valid name"),
        (["search", "--image", "missing.jpg"], {}, "can't be read"),
        (["search", "a cape", "--sheet", "x.png"], {"MMRAG_STORE": "foo://bucket"}, "MMRAG_STORE=foo://bucket"),
        (["search", "a cape"], {"MMRAG_CLIP_MODEL": "no-such"}, "names no model"),
        (["search", "a cape"], {"MMRAG_CLIP_BATCH_SIZE": "x"}, "MMRAG_CLIP_BATCH_SIZE"),
        (["status"], {"MMRAG_MILVUS_URI": "http://127.0.0.1:1", "MMRAG_MILVUS_TIMEOUT_S": "2"}, "127.0.0.1:1"),
        (["status"], {"MMRAG_MILVUS_URI": "nonsense"}, "MMRAG_MILVUS_URI"),
        (["demo"], {"MMRAG_MEDIA": "x"}, "MMRAG_MEDIA"),
    ],
)
def test_what_a_user_gets_wrong_is_one_sentence_without_a_traceback(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, arguments: list[str], variables: dict[str, str], says: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = mmrag(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1
