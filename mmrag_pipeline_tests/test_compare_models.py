"""`mmrag quality` on a real library with two real models: what is live stays, what was computed is reused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from mmrag_pipeline import wiring
from mmrag_pipeline.cli import app
from mmrag_pipeline.compare_models import compare_models
from mmrag_pipeline.embed import embed_drops
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.defs.test_nightly import tree
from mmrag_pipeline_tests.media.test_phash import scene
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline

LUNAR = "lunar__2026-09"


def deliver(pipeline: Pipeline) -> None:
    # each is called by another's colour, so that no model finds it
    called = dict(zip(COLOURS, [*list(COLOURS)[1:], "red"], strict=True))
    titles = "path,title,sku\n" + "".join(f"{name}.png,A {called[name]} card,{name}\n" for name in COLOURS)
    pipeline.deliver(LUNAR, {f"{name}.png": colour for name, colour in COLOURS.items()}, titles)
    pipeline.deliver("vela__one", {"tan.png": (180, 140, 90)}, "path,title\ntan.png,A tan card\n")


def test_two_models_beside_what_is_live(pipeline: Pipeline, small_clip: str) -> None:
    deliver(pipeline)
    pipeline.index()
    before = tree(pipeline.root / "store")
    compared = compare_models(pipeline.settings, [small_clip, pipeline.settings.clip_model])
    assert [each.name for each in compared.results] == ["demo", small_clip]
    assert [each.computed for each in compared.results] == [0, 5]
    assert compared.facts.weak and compared.facts.queries == 5 and "too few" in compared.recommendation
    after = tree(pipeline.root / "store")
    assert {path: after[path] for path in before} == before
    other = compared.results[1].fingerprint
    assert all(f"/embeddings/{other}/_quality/" in path or "/quality/" in path or "/models/" in path
               for path in after.keys() - before.keys())  # fmt: skip
    html = compared.page.read_text()
    assert html.count("<image id=") == 5 and "weak labels" in html and compared.results[1].label in html

    assert [each.computed for each in compare_models(pipeline.settings, [small_clip]).results] == [0, 0]
    moved = pipeline.settings.model_copy(update={"clip_model": small_clip})
    assert [each.embedded.summary.computed for each in embed_drops(moved).done] == [0, 0]


def test_a_library_that_was_never_ingested_is_measured_and_stays_so(pipeline: Pipeline) -> None:
    deliver(pipeline)
    compared = compare_models(pipeline.settings, ["local-dir:/nowhere"])
    assert compared.results[0].computed == 5 and compared.results[0].rate > 0
    assert "/nowhere does not exist" in compared.failed[0]
    assert not (pipeline.root / "store" / "manifests").exists()
    assert pipeline.status().drops == []


def test_no_model_no_titles_or_no_pictures_are_one_sentence(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.deliver(LUNAR, {"red.png": (200, 30, 30)})
    with pytest.raises(UserError, match=r"write a golden.csv and name it in MMRAG_GOLDEN"):
        compare_models(pipeline.settings)
    deliver(pipeline)
    monkeypatch.setenv("MMRAG_CLIP_MODEL", "local-dir:/nowhere")
    with pytest.raises(UserError, match="/nowhere does not exist"):
        compare_models(pipeline.settings)


def test_the_commands_print_what_scripts_can_read(pipeline: Pipeline, tmp_path: Path) -> None:
    deliver(pipeline)
    folder = pipeline.media / "lunar" / "2026-09"
    scene(1).save(folder / "scene.png")
    Image.open(folder / "scene.png").resize((640, 480)).save(folder / "scene-large.jpg")
    result = CliRunner().invoke(app, ["quality", "--json"])
    found = json.loads(result.stdout)
    assert found["models"][0]["verdict"] == "in force" and found["queries"] == 5 and found["weak_labels"]
    assert CliRunner().invoke(app, ["quality"], env={"COLUMNS": "200"}).stdout.count("demo") >= 1

    nobody = CliRunner().invoke(app, ["duplicates"])
    assert nobody.exit_code == 2 and "run the nightly_reindex job" in nobody.stderr
    pipeline.ingest()
    pipeline.run("nightly_reindex")
    shown = CliRunner().invoke(app, ["duplicates"], env={"COLUMNS": "200"}).stdout
    assert "2 pictures in 1 groups: 1 of them are spare copies" in shown
    page = (pipeline.root / "store" / "quality" / "duplicates.html").read_text()
    assert page.count("<img src=") == 2 and "scene-large.jpg" in page
    rows = json.loads(CliRunner().invoke(app, ["duplicates", "--json"]).stdout)
    assert [row["path"] for row in rows if row["keeper"]] == ["scene-large.jpg"]
    assert wiring.encoder(pipeline.settings).noted_fingerprint() is not None
