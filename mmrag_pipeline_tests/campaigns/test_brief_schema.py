"""The exported JSON Schema is valid, takes every good brief and catches what an editor can catch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from mmrag_pipeline.campaigns.brief_schema import DIALECT, brief_schema
from mmrag_pipeline.campaigns.registry import load_registry
from mmrag_pipeline.campaigns.strict_yaml import read_yaml
from mmrag_pipeline.cli import app
from mmrag_pipeline_tests.campaigns.conftest import BRIEF
from mmrag_pipeline_tests.campaigns.test_brief import DEMO

WHOLE = """\
audience: people
approval: none
seed: fixed
model: gemini-3-pro-image
""" + BRIEF.replace("palette: [", "banned: [cheap]\n  palette: [plain words, ").replace(
    "{max_per_product: 2}", "{max_per_product: 2, min_score: 0.1, views: nearest, style: [a.png]}"
).replace("products:\n", "products:\n  - {where: {product_line: bags, tags: [red], limit: 3}}\n  - {image: b.png}\n")


def mistakes(text: str) -> list[str]:
    return [error.json_path for error in Draft202012Validator(brief_schema()).iter_errors(read_yaml(text))]


def test_it_is_a_valid_schema_of_its_dialect() -> None:
    schema = brief_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == DIALECT
    assert "campaign" not in schema["required"] and "scenes" in schema["required"]
    assert schema["properties"]["title"], "a key that is named like a keyword of JSON Schema"


@pytest.mark.parametrize("text", [*(path.read_text() for path in sorted(DEMO.glob("*.yaml"))), BRIEF, WHOLE])
def test_good_briefs_satisfy_it(text: str) -> None:
    assert mistakes(text) == []


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("title:", "titel:", "$"),
        ("aspect_ratio: 4:5", "aspect_ratio: 7:3", "$.placements[0].aspect_ratio"),
        ("image_size: 1K", "image_size: 2k", "$.placements[0].image_size"),
        ("budget_usd: 5", "budget_usd: -1", "$.budget_usd"),
        ("brand:", "approval: maybe\nbrand:", "$.approval"),
        ("brand:", "model: gpt\nbrand:", "$.model"),
        ("query: a golden watch", "where: {tag: [x]}", "$.products[0].where"),
        ("name: suit", "name: A Suit", "$.scenes[0].name"),
    ],
)
def test_what_an_editor_can_catch_it_catches(old: str, new: str, where: str) -> None:
    assert any(path.startswith(where) for path in mistakes(BRIEF.replace(old, new, 1)))


def test_ratios_and_models_are_those_of_the_registry() -> None:
    placement = brief_schema()["$defs"]["Placement"]["properties"]
    known: Any = load_registry().models.values()
    assert set(placement["aspect_ratio"]["enum"]) == {ratio for model in known for ratio in model.ratios}
    assert {str(size) for size in placement["image_size"]["enum"]} == {size for model in known for size in model.sizes}


def test_the_command_prints_it_or_writes_it(tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["campaign", "schema"])
    assert json.loads(printed.stdout) == brief_schema()
    file = tmp_path / "brief.schema.json"
    written = CliRunner().invoke(app, ["campaign", "schema", "--out", str(file)])
    assert written.exit_code == 0 and f"# yaml-language-server: $schema={file}" in written.stdout.replace("\n", "")
    assert json.loads(file.read_text()) == brief_schema()
    nowhere = CliRunner().invoke(app, ["campaign", "schema", "--out", str(file / "x.json")])
    assert nowhere.exit_code == 2 and "can't be written" in nowhere.stderr
