"""The plan as people see it in the UI: bounded, complete in words, and no catalogue text is markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from mmrag_pipeline.campaigns.plan import CampaignPlan, LeftOut
from mmrag_pipeline.campaigns.plan_markdown import MAX_BYTES, THUMB_BYTES, plan_markdown
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline_tests.campaigns.conftest import Desk

LayOut = Callable[..., Desk]


def rows(table: str) -> list[str]:
    return [re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", "data:", line) for line in table.splitlines()]


def test_each_product_has_its_references_pictures_and_price(lay_out: LayOut) -> None:
    desk = lay_out(backend="preview")
    table = plan_markdown(replace(desk.plan, left_out=(LeftOut("a|b", "no <media> at all"),)), desk.references)
    lines = rows(table)
    assert lines[0].startswith("**2 pictures** of 1 product by preview") and "costs nothing" in lines[0]
    assert lines[2] == "| product | reference 1 | reference 2 | pictures | about |"
    assert lines[4] == (
        r"| the golden watch | ![1](data:) 0\.300 Golden watch | ![2](data:) 0\.250 Golden watch | 2\: suit, still | "
        "0.098 USD |"
    )
    assert lines[-1] == r"| a\|b | no \<media\> at all |"


def test_a_reference_that_is_gone_is_still_told(lay_out: LayOut) -> None:
    desk = lay_out()
    table = plan_markdown(desk.plan, ReferencePictures(desk.folder / "nowhere"))
    assert "![" not in table and table.count("Golden watch") == 2


def test_a_plan_of_any_size_is_bounded(lay_out: LayOut) -> None:
    desk = lay_out()
    table = plan_markdown(hundreds(desk.plan), desk.references)
    assert len(table.encode()) <= MAX_BYTES
    shown = re.search(r"and (\d+) more products", table)
    assert shown and 0 < int(shown[1]) < 2000 and re.search(r"and \d+ more", table.splitlines()[-1])
    assert 10 < table.count("data:image") < MAX_BYTES / 500 and max(map(len, table.split("|"))) < THUMB_BYTES + 200


def hundreds(plan: CampaignPlan) -> CampaignPlan:
    """2000 products with titles that are nothing but markup, and as many left out."""
    (first, *_) = plan.variants
    hostile = tuple(replace(r, title="[x](y)|*" * 50) for r in first.references)
    many = (replace(first, product=f"p{n}", product_name="`|`" * 30, references=hostile) for n in range(2000))
    return replace(plan, variants=tuple(many), left_out=tuple(LeftOut(f"q{n}", "|" * 500) for n in range(2000)))
