"""`mmrag campaign plan`: what a run would make, shown before anything is written or paid."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from upath import UPath

from mmrag_pipeline.campaigns.backends.preview import PreviewBackend
from mmrag_pipeline.campaigns.ledger import Caps, Ledger
from mmrag_pipeline.campaigns.making import make_pictures
from mmrag_pipeline.campaigns.plan_table import read_plan, write_plan
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.cli import app
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.plan_brief import BriefPlan, plan_brief
from mmrag_pipeline_tests.pipeline import COLOURS, Pipeline, new_pipeline

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
BRIEF = """
title: Spring
objective: Show the capes.
products:
  - {name: the red cape, query: something red, product_line: lunar}
  - {where: {tags: [cape], limit: 2}}
  - {sku: NONE-1}
scenes:
  - {name: beach, prompt: "A model wears {{ product.name }} on a beach."}
placements:
  - {name: feed, aspect_ratio: "4:5", image_size: 1K}
  - {name: story, aspect_ratio: "9:16", image_size: 1K}
schedule: {cron: "0 6 * * 1", timezone: Europe/Berlin}
approval: none
budget_usd: 5
budget_usd_per_occurrence: 0.20
"""
CATALOGUE = "path,sku,title,tags\n" + "".join(f"{name}.png,L-{name},[b]{name}[/b] one,cape\n" for name in COLOURS)


@pytest.fixture(scope="module")
def indexed_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with pytest.MonkeyPatch.context() as environment:
        pipeline = new_pipeline(tmp_path_factory.mktemp("planned"), environment)
        pipeline.deliver("lunar__2026-09", {f"{name}.png": colour for name, colour in COLOURS.items()}, CATALOGUE)
        assert pipeline.index() == 4
        yield pipeline


@pytest.fixture
def pipeline(indexed_once: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    pipeline = new_pipeline(indexed_once.root, monkeypatch)
    monkeypatch.setenv("MMRAG_MILVUS_URI", str(indexed_once.root / "store" / "milvus.db"))
    monkeypatch.setenv("MMRAG_STORE", str(tmp_path / "store"))
    (pipeline.root / "briefs" / "spring.yaml").write_text(BRIEF)
    return pipeline


def planned(pipeline: Pipeline, **options: object) -> BriefPlan:
    return plan_brief(pipeline.settings, "spring", now=NOW, **options)


def mmrag(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["campaign", "plan", *arguments], env={"COLUMNS": "220"})


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_shows_everything_and_writes_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    ledger = Path(pipeline.settings.ledger_file)
    result = mmrag("spring", "--occurrence", "2026-11-23")
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    for words in (
        "spring__2026-11-23", "the red cape", "[b]red[/b] one", "L-red", "lunar__2026-09/red.png",
        "beach", "feed", "928 x 1152", "story", "none-1", "no media with sku 'NONE-1'",
        "tags 'cape' has 4 products, its limit is 2", "6 pictures by preview, gemini-nano-banana-2.1", "cost nothing",
        "this campaign: 5.0000 of 5 USD left", "this occurrence: 0.2000 of 0.2 USD left", "approval: none",
    ):  # fmt: skip
        assert words in said, (words, said)
    assert "Scene:" not in said, "prompts only when they are asked for"
    assert re.search(r"0\.\d{3}", said), "a similarity"
    assert not ledger.exists() and not (tmp_path / "store" / "campaigns").exists()
    prompts = mmrag("spring", "--prompts").output
    assert "Scene: A model wears the red cape on a beach." in prompts and "must stay identical" in prompts


def test_the_next_occurrence_is_the_one_that_is_due_next(pipeline: Pipeline) -> None:
    assert planned(pipeline).occurrence.key == "spring__2026-11-30"  # Wednesday noon -> Monday
    with pytest.raises(UserError, match="not one of spring"):
        planned(pipeline, occurrence="autumn__2026-11-30")
    with pytest.raises(UserError, match="<campaign>__<YYYY-MM-DD>"):
        planned(pipeline, occurrence="tomorrow")


def test_a_file_is_planned_as_a_name_is(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text(BRIEF)
    assert "elsewhere__" in mmrag(str(tmp_path / "elsewhere.yaml")).output
    gone = mmrag("summer")
    assert gone.exit_code == 2 and "there are: spring" in gone.stderr
    (tmp_path / "wrong.yaml").write_text(BRIEF.replace("title", "titel"))
    wrong = mmrag(str(tmp_path / "wrong.yaml"))
    assert wrong.exit_code == 2 and "did you mean 'title'?" in wrong.stderr


def test_a_plan_without_a_picture_says_why_and_fails(pipeline: Pipeline) -> None:
    (pipeline.root / "briefs" / "bare.yaml").write_text(
        re.sub(r"products:.*?scenes:", "products: [{sku: NO-1}]\nscenes:", BRIEF, flags=re.S)
    )
    result = mmrag("bare")
    assert result.exit_code == 1 and "no media with sku 'NO-1'" in result.output and "Traceback" not in result.output


def test_written_out_it_is_what_a_run_would_write(pipeline: Pipeline, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert mmrag("spring", "--occurrence", "2026-11-23", "--out", str(out)).exit_code == 0
    plan = read_plan(UPath(out / "plan.parquet"))
    for reference in plan.variants[0].references:
        data = (out / "references" / f"{reference.sha256}.jpg").read_bytes()
        assert hashlib.sha256(data).hexdigest() == reference.sha256
    table = (out / "plan.md").read_text()
    assert "data:image/jpeg;base64," in table and "\\[b\\]red" in table and "| none\\-1 |" in table
    assert plan.variants == planned(pipeline, occurrence="2026-11-23").plan.variants


def test_caps_and_what_is_there_are_counted(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MMRAG_IMAGE_BACKEND", "gemini")
    fresh = planned(pipeline)
    price, ceiling = fresh.plan.variants[0].price_usd, fresh.plan.variants[0].ceiling_usd
    # Each is set aside at its ceiling and settled at about its price.
    assert fresh.affordable == int((0.20 - ceiling) / price) + 1 == 2 < len(fresh.plan.variants) == 6
    ledger = Ledger(pipeline.settings.ledger_file)
    ledger.reserve("k", campaign="spring", occurrence="2026-11-30", usd=0.05, caps=Caps(), now=NOW)
    later = planned(pipeline)
    assert later.affordable == 1 and [round(cap.spent_usd, 2) for cap in later.caps] == [0.05, 0.05, 0.0, 0.05]
    assert "The caps have room for 1 of the 6" in mmrag("spring", "--occurrence", "2026-11-30").output


def test_a_batch_is_told_with_its_price(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMRAG_IMAGE_BACKEND", "gemini")
    online = planned(pipeline)
    file = pipeline.root / "briefs" / "spring.yaml"
    file.write_text(file.read_text() + "\nmode: batch\n")
    in_batch = planned(pipeline)
    ceiling = in_batch.plan.variants[0].ceiling_usd / 2  # each is set aside before the first is settled
    assert in_batch.affordable == int(0.20 / ceiling) > online.affordable
    shown = mmrag("spring", "--occurrence", "2026-11-30").output
    assert f"{in_batch.plan.variants[0].price_usd / 2:.4f}" in shown and "in batches, at 50%" in shown
    assert f"about {online.plan.estimated_usd / 2:.4f} USD" in shown


def test_the_plan_of_an_earlier_run_is_shown_until_replan(pipeline: Pipeline, tmp_path: Path) -> None:
    first = planned(pipeline)
    folder = UPath(tmp_path / "store" / "campaigns" / "spring" / "2026-11-30")
    references = first.references.keep_in(folder / "references")
    write_plan(folder / "plan.parquet", first.plan)
    make_pictures(
        first.plan, backend=PreviewBackend(), ledger=Ledger(pipeline.settings.ledger_file), folder=folder,
        references=references, caps=Caps(), run_id="r",
    )  # fmt: skip
    before = files(tmp_path / "store")
    kept = planned(pipeline)
    assert kept.kept and kept.missing == () and kept.plan == first.plan
    assert isinstance(kept.references, ReferencePictures) and not planned(pipeline, replan=True).kept
    shown = mmrag("spring", "--occurrence", "2026-11-30").output
    assert "plan of an earlier run" in shown and "6 of them there already" in shown
    assert files(tmp_path / "store") == before
    out = tmp_path / "out"
    assert mmrag("spring", "--occurrence", "2026-11-30", "--out", str(out)).exit_code == 0
    sent = {f"{reference.sha256}.jpg" for variant in kept.plan.variants for reference in variant.references}
    assert {file.name for file in (out / "references").iterdir()} == sent, "a kept plan is written as a new one is"
    assert read_plan(UPath(out / "plan.parquet")) == kept.plan and files(tmp_path / "store") == before
