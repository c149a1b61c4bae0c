"""The three worked briefs get references that a person would choose: on the demo library with the packaged model, and
their scenes again on real photos with the small CLIP that lies beside these.
"""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mmrag_pipeline.campaigns.plan import CampaignPlan, Reference
from mmrag_pipeline.demo.delivery import PACKAGED_BRIEFS, deliver, packaged_drops
from mmrag_pipeline.plan_brief import plan_brief
from mmrag_pipeline_tests.pipeline import Pipeline, new_pipeline

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
PICTURES_OF_A_LABEL = 8
SCENES = """
scenes: [{name: one, prompt: "A photograph with {{ product.name }}."}]
placements: [{name: square, aspect_ratio: 1:1}]
references: {max_per_product: 3}
budget_usd: 20
"""
REAL_BRIEFS = {
    "golden-hour": """
title: Golden hour
objective: The suit.
products:
  - {name: the blazer, query: a blazer, product_line: clothing}
  - {name: the shirt, query: a shirt, product_line: clothing}
""",
    "beach-lookbook": """
title: Beach lookbook
objective: Summer.
products:
  - {name: the dress, query: a dress, product_line: clothing}
  - {name: the hat, query: a baseball cap, product_line: clothing}
  - {name: the shorts, query: shorts, product_line: clothing}
  - {name: the bag, query: a duffel bag, product_line: abo-sample}
""",
    "figurine-desk": """
title: On your desk
objective: Collectors.
products:
  - {name: the pixel hero, query: a pixel art character, product_line: characters}
  - {name: the character, query: a cartoon character, product_line: characters}
""",
}


def references(plan: CampaignPlan) -> dict[str, list[Reference]]:
    """Those of each product."""
    return {variant.product: list(variant.references) for variant in plan.variants}


def planned(pipeline: Pipeline, campaign: str) -> CampaignPlan:
    plan = plan_brief(pipeline.settings, campaign, now=NOW).plan
    assert plan.left_out == ()
    return plan


@pytest.fixture(scope="module")
def demo_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as environment:
        pipeline = demo_library(root, environment)
        for drop in packaged_drops():
            if drop.product_line in ("watches", "lunar", "bags", "figurines"):
                deliver(drop, pipeline.media)
        assert pipeline.index() > 100
    yield root


def demo_library(root: Path, environment: pytest.MonkeyPatch) -> Pipeline:
    pipeline = new_pipeline(root, environment)
    environment.setenv("MMRAG_CAMPAIGNS", str(PACKAGED_BRIEFS))
    return pipeline


@pytest.fixture
def demo(demo_once: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    return demo_library(demo_once, monkeypatch)


def test_the_golden_watch_is_one_golden_watch(demo: Pipeline) -> None:
    (watch,) = references(planned(demo, "golden-hour")).values()
    assert len(watch) == 3 and len({r.sku for r in watch}) == 1
    assert "gold" in watch[0].title and "rose" not in watch[0].title
    assert all(r.product_line == "watches" for r in watch)


def test_the_beach_gets_the_red_cape_a_blue_dress_and_a_leather_bag(demo: Pipeline) -> None:
    found = references(planned(demo, "beach-lookbook"))
    for product, words, views in (
        ("the-red-cape", {"cape", "red"}, 3),
        ("the-dress", {"dress", "blue"}, 1),
        ("the-bag", {"handbag", "leather"}, 2),
    ):
        assert len({r.sku for r in found[product]}) == 1 and len(found[product]) >= views
        assert words <= set(found[product][0].title.lower().replace(",", "").split()), found[product][0].title


def test_the_figurine_is_one_character(demo: Pipeline) -> None:
    (figurine,) = references(planned(demo, "figurine-desk")).values()
    assert len(figurine) == 2 and len({r.sku for r in figurine}) == 1
    assert all(r.frame_ms is None and "figurine" in r.title for r in figurine)


@pytest.fixture(scope="module")
def real_once(shared_data: Path, small_clip: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as environment:
        pipeline = real_library(root, small_clip, environment)
        for folder in ("clothing", "characters", "abo-sample"):
            deliver_labelled(shared_data / folder, pipeline.media / folder / "2026-11")
        for name, text in REAL_BRIEFS.items():
            (root / "briefs" / f"{name}.yaml").write_text(text + SCENES)
        assert pipeline.index() > 150
    yield root


def deliver_labelled(source: Path, drop: Path) -> None:
    """A few pictures of each label as a drop with a catalogue; a label of letters and digits is a sku."""
    (drop / "images").mkdir(parents=True)
    taken: Counter[str] = Counter()
    with (source / "labels.csv").open() as labels, (drop / "metadata.csv").open("w", newline="") as catalogue:
        writer = csv.writer(catalogue)
        writer.writerow(["path", "sku", "title", "tags"])
        for row in csv.DictReader(labels):
            taken[row["label"]] += 1
            if taken[row["label"]] <= PICTURES_OF_A_LABEL:
                path = f"images/{Path(row['path']).name}"
                shutil.copy(source / row["path"], drop / path)
                sku = row["label"] if any(char.isdigit() for char in row["label"]) else ""
                writer.writerow([path, sku, row["caption"], row["label"]])


def real_library(root: Path, model: str, environment: pytest.MonkeyPatch) -> Pipeline:
    pipeline = new_pipeline(root, environment)
    environment.setenv("MMRAG_CLIP_MODEL", model)
    return pipeline


@pytest.fixture
def real(real_once: Path, small_clip: str, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    return real_library(real_once, small_clip, monkeypatch)


def labels_of(pipeline: Pipeline) -> dict[str, str]:
    """Label by path in the drop."""
    found = {}
    for catalogue in pipeline.media.glob("*/*/metadata.csv"):
        with catalogue.open() as file:
            found.update({row["path"]: row["tags"] for row in csv.DictReader(file)})
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("campaign", "product", "wanted"),
    [
        ("golden-hour", "the-blazer", {"Blazer"}),
        ("golden-hour", "the-shirt", {"Shirt"}),
        ("beach-lookbook", "the-dress", {"Dress"}),
        ("beach-lookbook", "the-hat", {"Hat"}),
        ("beach-lookbook", "the-shorts", {"Shorts"}),
        ("beach-lookbook", "the-bag", {"B0799CK52K"}),
        ("figurine-desk", "the-pixel-hero", {"pixel-art"}),
        ("figurine-desk", "the-character", {"toon-head", "big-smile", "adventurer", "personas", "open-peeps"}),
    ],
)
def test_on_real_photos_the_reference_shows_what_the_brief_asks_for(
    real: Pipeline, campaign: str, product: str, wanted: set[str]
) -> None:
    found, labels = references(planned(real, campaign))[product], labels_of(real)
    assert {labels[r.path] for r in found} <= wanted
    assert len(found) == (3 if found[0].sku else 1), "a photo without a sku has no other views"
