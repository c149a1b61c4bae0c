"""Titles as queries: weak, but the same each time and fair to every product line."""

from __future__ import annotations

from mmrag_pipeline.media.manifest import as_generated
from mmrag_pipeline.quality.golden import Judgement
from mmrag_pipeline.quality.weak import weak_labels
from mmrag_pipeline_tests.index.library import BAGS, WATCHES, FakeDrop, Item

MANY = FakeDrop("vela__autumn", {f"{n}.jpg": Item(f"bag {n}", title=f"Bag number {n}") for n in range(50)})
LIBRARY = {drop.key: drop.manifest for drop in (WATCHES, MANY)}


def test_a_title_finds_its_pictures_and_those_of_the_same_product() -> None:
    queries = {each.query: each for each in weak_labels(LIBRARY).queries}
    assert queries["Golden watch"].judgements == (Judgement(2, "title", "Golden watch"), Judgement(2, "sku", "L-1"))
    assert queries["Golden watch"].stratum == "lunar"
    assert len(queries) == 54


def test_few_are_drawn_from_every_product_line_and_stay_the_same_when_the_library_grows() -> None:
    few = weak_labels(LIBRARY, most=6)
    strata = [each.stratum for each in few.queries]
    assert strata.count("lunar") == strata.count("vela") == 3
    assert weak_labels(LIBRARY, most=6) == few
    grown = {each.query for each in weak_labels(LIBRARY | {BAGS.key: BAGS.manifest}, most=6).queries}
    assert len(grown & {each.query for each in few.queries}) >= 5


def test_without_titles_and_of_generated_pictures_there_are_none() -> None:
    assert weak_labels({}) is None
    assert weak_labels({BAGS.key: as_generated(BAGS.manifest, "campaigns/x/images")}) is None
    assert weak_labels({"a__b": FakeDrop("a__b", {"x.jpg": Item("x")}).manifest}) is None
