"""What a brief can say beyond the least: products by filter and by picture, banned words, style, seeds, approval."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner
from upath import UPath

from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.banned import banned_in
from mmrag_pipeline.campaigns.brief import UNNAMED, Brief
from mmrag_pipeline.campaigns.brief_folder import BriefError
from mmrag_pipeline.campaigns.plan import CampaignPlan
from mmrag_pipeline.campaigns.plan_table import read_plan, write_plan
from mmrag_pipeline.campaigns.planner import plan_campaign
from mmrag_pipeline.campaigns.prompts import STYLE, SYSTEM
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.scores import own_of
from mmrag_pipeline.cli import app
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.campaigns.conftest import MODEL, NOW, Desk, ListedIndex, draw, hit
from mmrag_pipeline_tests.integration.gemini_server import GeminiServer

LayOut = Callable[..., Desk]
WriteBrief = Callable[..., Brief]
PRODUCT = "{name: the golden watch, query: a golden watch, product_line: watches}"


def picture(file: Path, size: tuple[int, int] = (320, 200)) -> bytes:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.paste((200, 40, 40), (20, 20, 90, 90))
    image.save(file)
    return file.read_bytes()


def planned(brief: Brief, index: ListedIndex, folder: Path, backend: str = "preview") -> CampaignPlan:
    pictures = ReferencePictures(UPath(folder / "references"), load=draw)
    return plan_campaign(
        brief, occurrence="x", finder=index, pictures=pictures, backend_name=backend, model=MODEL, now=NOW
    )


MISTAKES = {
    "nothing to find it by": (("query: a golden watch, ", ""), "found by sku, by query or image, or by where"),
    "where and sku": (("query: a golden watch", "sku: W-1, where: {tags: [gold]}"), "write exactly one of these"),
    "where that narrows nothing": (("query: a golden watch, product_line: watches", "where: {limit: 3}"),
                                   "products[0].where: it narrows nothing down"),
    "misspelt in where": ((PRODUCT, "{where: {product_lin: watches}}"), "did you mean 'product_line'?"),
    "line beside where": ((PRODUCT, "{where: {tags: [a]}, product_line: watches}"), "write it inside"),
    "score without a search": ((PRODUCT, "{where: {tags: [a]}, min_score: 0.2}"), "min_score only means"),
    "picture outside": ((PRODUCT, "{image: ../secret.png}"), "does not lie beside the brief"),
    "absolute picture": ((PRODUCT, "{image: /etc/passwd}"), "does not lie beside the brief"),
    "no such picture": ((PRODUCT, "{image: gone.png}"), "products[0].image: gone.png can't be read"),
    "style that is no picture": (("{max_per_product: 2}", "{style: [golden-hour.yaml]}"),
                                 "references.style[0]: golden-hour.yaml is not a usable picture"),
    "seed policy": (("brand:", "seed: random\nbrand:"), "'fixed' or 'per_occurrence'"),
    "approval mode": (("brand:", "approval: maybe\nbrand:"), "'none' or 'required'"),
    "view policy": (("{max_per_product: 2}", "{views: all}"), "'spread' or 'nearest'"),
    "banned in a scene": (("brand:", "brand:\n  banned: [Suit]"), "scenes[0].prompt has 'Suit', which brand.banned"),
    "banned in the message": (("brand:", "brand:\n  banned: [well   kept]"), "message has 'well   kept'"),
    "banned in a headline": (("brand:", "overlay: {headline: 50 % off}\nbrand:\n  banned: [off]"),
                             "overlay.headline has 'off'"),
    "banned in a name": (("brand:", "brand:\n  banned: [golden watch]"), "products[0].name has 'golden watch'"),
    "too many with where": ((PRODUCT, "{where: {tags: [a], limit: 100}}\nn: 20"), "asks for 4000 pictures"),
    "too many with style": (("{max_per_product: 2}", "{max_per_product: 14, style: [s.png]}"), "15 references"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_one_sentence(mistake: str, write_brief: WriteBrief, tmp_path: Path) -> None:
    picture(tmp_path / "s.png")
    change, expected = MISTAKES[mistake]
    with pytest.raises(BriefError) as caught:
        write_brief(change)
    (sentence,) = caught.value.sentences
    assert sentence.startswith("golden-hour.yaml") and expected in sentence
    assert sentence[-1] in ".?" and "\n" not in sentence


def test_where_stands_for_one_product_a_sku_up_to_its_limit(write_brief: WriteBrief, tmp_path: Path) -> None:
    index = ListedIndex(
        [
            hit(1, sku="W-1"), hit(2, sku="W-1"), hit(3, sku="W-2"), hit(4, sku="W-3"), hit(5, sku=None),
            hit(6, sku="B-1", line="bags"), hit(7, sku="W-9", tags=("silver",)),
        ]
    )  # fmt: skip
    brief = write_brief((PRODUCT, "{where: {product_line: watches, tags: [gold], limit: 2}}"))
    assert brief.variants == 4
    plan = planned(brief, index, tmp_path)
    assert [(v.product, v.sku) for v in plan.variants] == [("w-1", "W-1")] * 2 + [("w-2", "W-2")] * 2
    assert [r.path for r in plan.variants[0].references] == ["1.jpg", "2.jpg"]
    assert {v.product_name for v in plan.variants} == {UNNAMED}
    (left_out,) = plan.left_out
    assert left_out.product == "watches-gold"
    assert left_out.reason.endswith("has 3 products, its limit is 2: without W-3")


def test_where_by_sku_says_which_are_missing_and_repeats_none(write_brief: WriteBrief, tmp_path: Path) -> None:
    index = ListedIndex([hit(1, sku="W-1"), hit(3, sku="W-2")])
    brief = write_brief((PRODUCT, "{sku: W-2}\n  - {name: a watch, where: {sku: [W-1, W-2, W-7]}}"))
    plan = planned(brief, index, tmp_path)
    assert [v.product for v in plan.variants] == ["w-2", "w-2", "w-1", "w-1"]
    assert plan.variants[2].product_name == "a watch"
    assert [(left.product, left.reason) for left in plan.left_out] == [("w-7", "no media with sku 'W-7'")]


def test_where_that_finds_nothing_says_so(write_brief: WriteBrief, tmp_path: Path) -> None:
    brief = write_brief((PRODUCT, "{where: {tags: [gold]}}"))
    (nothing,) = planned(brief, ListedIndex([hit(1, tags=())]), tmp_path).left_out
    assert nothing.reason == "tags 'gold' has nothing in the index"
    (unsold,) = planned(brief, ListedIndex([hit(1, sku=None)]), tmp_path).left_out
    assert "1 pictures without a sku" in unsold.reason
    with pytest.raises(UserError, match=r"products\[0\].where.product_line 'watch' is not in the index"):
        planned(write_brief((PRODUCT, "{where: {product_line: watch}}")), ListedIndex([hit(1)]), tmp_path)


def test_a_picture_beside_the_brief_finds_the_product(
    write_brief: WriteBrief, index: ListedIndex, tmp_path: Path
) -> None:
    (tmp_path / "looks").mkdir()
    picture(tmp_path / "looks" / "like.png")
    brief = write_brief((PRODUCT, "{image: looks/like.png}\n  - {query: a watch, image: looks/like.png}"))
    plan = planned(brief, index, tmp_path)
    assert index.asked == ["320 x 200", "320 x 200 a watch"]
    assert [v.product for v in plan.variants] == ["looks-like.png"] * 2 + ["a-watch"] * 2
    assert plan.variants[0].product_name == UNNAMED and "looks/like" not in plan.variants[0].prompt
    before = brief.shape_sha256
    picture(tmp_path / "looks" / "like.png", (300, 200))
    assert write_brief((PRODUCT, "{image: looks/like.png}\n  - {query: a watch, image: looks/like.png}")
                       ).shape_sha256 != before, "another picture is another plan"  # fmt: skip


def test_style_pictures_come_last_and_are_not_the_product(lay_out: LayOut, tmp_path: Path) -> None:
    picture(tmp_path / "evening.png")
    plain_one, styled = lay_out(), lay_out(("{max_per_product: 2}", "{max_per_product: 2, style: [evening.png]}"))
    variant = styled.plan.variants[0]
    assert [(r.role, r.order, r.path) for r in variant.references] == [
        ("product", 1, "1.jpg"),
        ("product", 2, "2.jpg"),
        ("style", 3, "evening.png"),
    ]
    assert variant.references[2].label.startswith("Image 3 of 3: style only")
    assert "images 1 to 2 show it" in variant.prompt and "Style: Image 3 shows the light" in variant.prompt
    assert variant.system_instruction == SYSTEM + STYLE and plain_one.plan.variants[0].system_instruction == SYSTEM
    assert variant.price_usd > plain_one.plan.variants[0].price_usd
    assert own_of(variant) == {r.sha256 for r in variant.references[:2]}, "a picture is not scored by its style"
    write_plan(UPath(tmp_path / "plan.parquet"), styled.plan)
    assert read_plan(UPath(tmp_path / "plan.parquet")) == styled.plan


def test_gemini_gets_the_style_picture_that_was_planned(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer, tmp_path: Path
) -> None:
    (tmp_path / "unreleased").mkdir()
    picture(tmp_path / "unreleased" / "evening.png")
    desk = lay_out(("{max_per_product: 2}", "{style: [unreleased/evening.png]}"))
    assert desk.make(gemini).counts["made"] == 2
    for request in server.requests:
        assert request.references in [tuple(r.sha256 for r in v.references) for v in desk.plan.variants]
        assert any("style only" in text for text in request.texts)
    for file in desk.images.glob("*.jpg"):
        titles = [
            one["title"] for one in json.loads(file.with_suffix(".json").read_text())["provenance"]["ingredients"]
        ]
        assert titles == ["Golden watch"] * (len(titles) - 1) + [f"Reference {len(titles)}"]
        assert b"evening" not in file.read_bytes(), "how a brand calls its files is nobody's business"


def test_copies_of_a_picture_are_sent_once(write_brief: WriteBrief, tmp_path: Path) -> None:
    """The same photo, saved again and half as large, would tell the model nothing new."""

    def load(one: object) -> Image.Image:
        if one.path != "2.jpg":
            return draw(one)
        sink = io.BytesIO()
        draw(hit(1)).resize((200, 150), Image.Resampling.LANCZOS).save(sink, "JPEG", quality=70)
        return Image.open(sink).convert("RGB")

    index, pictures = ListedIndex([hit(1), hit(2), hit(3)]), ReferencePictures(UPath(tmp_path / "r"), load=load)
    plan = plan_campaign(
        write_brief(), occurrence="x", finder=index, pictures=pictures, backend_name="preview", model=MODEL, now=NOW
    )
    assert [r.path for r in plan.variants[0].references] == ["1.jpg", "3.jpg"]
    assert len(list((tmp_path / "r").iterdir())) == 2, "what is not sent is not kept"


def test_after_the_best_hit_come_the_views_least_like_it(
    write_brief: WriteBrief, index: ListedIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.hits = [hit(1), hit(2), hit(3)]
    monkeypatch.setattr(index, "spread", lambda hits: [hits[0], *reversed(hits[1:])])
    spread, nearest = write_brief(), write_brief(("{max_per_product: 2}", "{max_per_product: 2, views: nearest}"))
    assert [r.path for r in planned(spread, index, tmp_path).variants[0].references] == ["1.jpg", "3.jpg"]
    assert [r.path for r in planned(nearest, index, tmp_path).variants[0].references] == ["1.jpg", "2.jpg"]


def test_a_least_score_for_all_products_yields_to_a_products_own(write_brief: WriteBrief, tmp_path: Path) -> None:
    index = ListedIndex([hit(1, score=0.3)])
    strict = ("{max_per_product: 2}", "{min_score: 0.4}")
    (left_out,) = planned(write_brief(strict), index, tmp_path).left_out
    assert "scores at least 0.4" in left_out.reason
    own = (PRODUCT, "{query: a golden watch, min_score: 0.2}")
    assert planned(write_brief(strict, own), index, tmp_path).left_out == ()


def test_banned_words_are_whole_words_in_any_case() -> None:
    assert banned_in("A ROLEX watch", ["rolex"]) == "rolex"
    assert banned_in("Rolexes", ["rolex"]) is None
    assert banned_in("straße", ["STRASSE"]) == "STRASSE"
    assert banned_in("best  in\nclass", ["best in class"]) == "best in class"
    assert banned_in("c++ (really)", ["c++"]) == "c++"


def test_a_sku_is_a_word_of_the_prompt_only_where_it_is_the_name(write_brief: WriteBrief) -> None:
    rule = ("brand:", "brand:\n  banned: [rolex]")
    with pytest.raises(BriefError, match=r"products\[0\].sku has 'rolex', which brand.banned rules out"):
        write_brief(rule, (PRODUCT, "{sku: ROLEX-1}"))
    assert write_brief(rule, (PRODUCT, "{sku: ROLEX-1, name: the golden watch}")).products[0].sku == "ROLEX-1"


def test_catalogue_text_with_a_banned_word_is_left_out_of_the_prompt(lay_out: LayOut, index: ListedIndex) -> None:
    index.hits = [hit(1, title="Golden watch, like a Rolex", tags=("gold", "rolex killer"))]
    rule = ("brand:", "brand:\n  banned: [rolex]\n  dont: [anything like a Rolex]")
    prompt = lay_out(rule, ("product.name", "product.title")).plan.variants[0].prompt
    line = next(line for line in prompt.splitlines() if line.startswith("Catalogue data"))
    assert "olex" not in line and 'tags: "gold"' in line and 'sku: "W-1"' in line
    assert '"the golden watch"' in prompt.splitlines()[0], "the scene falls back to the brief's name"
    assert "Leave out: anything like a Rolex" in prompt


def test_a_scene_that_says_a_banned_word_only_when_filled_in_is_refused(lay_out: LayOut) -> None:
    rule = ("brand:", "brand:\n  banned: [sell]")  # the objective may have it, a picture may not
    assert lay_out(rule).plan.variants
    with pytest.raises(UserError, match="filled in, it says 'sell'"):
        lay_out(rule, ("{{ product.name }}", "{{ campaign.objective }}"))


def test_an_audience_is_part_of_the_prompt(lay_out: LayOut) -> None:
    prompt = lay_out(("message:", "audience: people who walk to work\nmessage:")).plan.variants[0].prompt
    assert "Made for: people who walk to work." in prompt.splitlines()
    assert "Made for" not in lay_out().plan.variants[0].prompt


def test_fixed_seeds_are_the_same_at_every_occurrence_and_the_pictures_are_not(lay_out: LayOut) -> None:
    def seeds_and_keys(desk: Desk) -> tuple[list[int], list[str]]:
        return [v.seed for v in desk.plan.variants], [v.key for v in desk.plan.variants]

    fixed = ("brand:", "seed: fixed\nbrand:")
    one, two = (seeds_and_keys(lay_out(fixed, occurrence=day)) for day in ("2026-11-23", "2026-11-30"))
    assert one[0] == two[0] and set(one[1]).isdisjoint(two[1]) and len(set(one[0])) == 2
    free, later = (seeds_and_keys(lay_out(occurrence=day)) for day in ("2026-11-23", "2026-11-30"))
    assert set(free[0]).isdisjoint(later[0])


def test_approval_is_in_the_plan_and_changes_nothing_else(lay_out: LayOut, write_brief: WriteBrief) -> None:
    plan = lay_out().plan
    free = write_brief(("brand:", "approval: none\nbrand:"))
    assert plan.approval == "required" and plan.is_for(free, backend_name="gemini", model=MODEL)
    assert plan.with_budget_of(free) == replace(plan, approval="none")


def test_what_is_spelled_out_at_its_default_is_the_same_plan(write_brief: WriteBrief) -> None:
    spelled = write_brief(("brand:", "seed: per_occurrence\nlocales: [en]\nn: 1\nbrand:\n  banned: []"))
    assert spelled.shape_sha256 == write_brief().shape_sha256
    assert spelled.shape_sha256 != write_brief(("brand:", "seed: fixed\nbrand:")).shape_sha256


def test_without_approval_undecided_pictures_are_exported_and_rejected_ones_are_not(
    lay_out: LayOut, gemini: GeminiBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMRAG_STORE", str(tmp_path / "store"))
    desk = lay_out(("brand:", "approval: none\nbrand:"))
    write_plan(desk.folder / "plan.parquet", desk.plan)
    desk.make(gemini)

    def campaign(*arguments: str) -> None:
        result = CliRunner().invoke(app, ["campaign", *arguments])
        assert result.exit_code == 0, result.output

    first, second = desk.plan.variants
    campaign("reject", second.key, "--reason", "No.")
    for _ in range(2):
        campaign("export", str(tmp_path / "out"))
        folder = tmp_path / "out" / "golden-hour__2026-11-23"
        (row,) = csv.DictReader((folder / "manifest.csv").read_text().splitlines())
        assert (row["key"], row["approved_by"]) == (first.key, "")
        assert len(list((desk.folder / "reviews").iterdir())) == 2, "one rejection, one note of the export"


def test_of_products_that_answer_as_well_the_one_with_more_views_is_shown(
    write_brief: WriteBrief, tmp_path: Path
) -> None:
    last = hit(9, sku="W-9", score=0.1)
    near = [hit(1, sku="W-1", score=0.300), hit(2, sku="W-2", score=0.295), hit(3, sku="W-2", score=0.2), last]
    far = [hit(1, sku="W-1", score=0.300), hit(2, sku="W-2", score=0.270), hit(3, sku="W-2", score=0.2), last]
    nearest = ("{max_per_product: 2}", "{max_per_product: 2, views: nearest}")
    for hits, changes, expected in ((near, [], "W-2"), (far, [], "W-1"), (near, [nearest], "W-1")):
        plan = planned(write_brief(*changes), ListedIndex(hits), tmp_path)
        assert {r.sku for v in plan.variants for r in v.references} == {expected}
    enough = [hit(1, sku="W-1", score=0.300), *near[1:], hit(4, sku="W-1", score=0.15)]
    assert planned(write_brief(), ListedIndex(enough), tmp_path).variants[0].sku == "W-1"


def test_close_ups_come_after_the_pictures_that_show_the_product(
    write_brief: WriteBrief, index: ListedIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.hits = [hit(n, score=score) for n, score in ((1, 0.30), (2, 0.29), (3, 0.25), (4, 0.12), (5, 0.10))]
    monkeypatch.setattr(index, "spread", lambda hits: [hits[0], *reversed(hits[1:])])
    brief = write_brief(("{max_per_product: 2}", "{max_per_product: 5}"))
    assert [r.path[0] for r in planned(brief, index, tmp_path).variants[0].references] == ["1", "3", "2", "4", "5"]


def test_a_product_named_by_sku_shows_first_what_its_title_says(
    write_brief: WriteBrief, index: ListedIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def views(sku: str, *, text: str | None, **_: object) -> list[object]:
        asked.append((sku, text))
        return [hit(3, score=0.4), hit(1, score=0.2)]

    index.hits = [hit(1), hit(3)]
    monkeypatch.setattr(index, "views", views)
    references = planned(write_brief((PRODUCT, "{sku: W-1}")), index, tmp_path).variants[0].references
    assert [(r.path, r.score) for r in references] == [("3.jpg", None), ("1.jpg", None)]
    assert asked == [("W-1", "Golden watch")]


def test_a_sku_of_two_product_lines_shows_pictures_of_both(write_brief: WriteBrief, tmp_path: Path) -> None:
    index = ListedIndex([hit(1, sku="W-1"), hit(2, sku="W-1", line="bags")])
    both = planned(write_brief((PRODUCT, "{sku: W-1}")), index, tmp_path).variants[0].references
    assert {r.product_line for r in both} == {"watches", "bags"}
    (one,) = planned(write_brief((PRODUCT, "{sku: W-1, product_line: bags}")), index, tmp_path).variants[0].references
    assert one.product_line == "bags"
