"""A brief says what it means, and each mistake in it is one sentence with the file, the key and the fix."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from upath import UPath

from mmrag_pipeline.campaigns.brief import Brief
from mmrag_pipeline.campaigns.brief_folder import BriefError, load_brief, load_briefs
from mmrag_pipeline.campaigns.schedule import Occurrence
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.campaigns.conftest import BRIEF

DEMO = Path(__file__).parents[2] / "mmrag_pipeline" / "demo" / "campaigns"


def test_the_file_name_is_the_campaign_and_ratios_are_not_read_as_numbers(
    write_brief: Callable[..., Brief],
) -> None:
    brief = write_brief(("placements:", "locales: [no]\nplacements:"))
    assert brief.campaign == "golden-hour"
    assert brief.placements[0].aspect_ratio == "4:5"  # YAML 1.1 reads 245
    assert brief.locales == ["no"]  # YAML 1.1 reads False
    assert brief.variants == 2


MISTAKES = {
    "unknown key": (("title: G", "titel: G"), "unknown key 'titel': did you mean 'title'?"),
    "nested unknown key": (("name: feed,", "name: feed, pixel: 3,"), "did you mean 'pixels'?"),
    "missing key": (("objective: Sell the watch.\n", ""), "the key 'objective' is missing: add it."),
    "wrong type": (("budget_usd: 5", "budget_usd: much"), "budget_usd: input should be a valid number"),
    "infinite budget": (("budget_usd: 5", "budget_usd: 1e999"), "input should be a finite number"),
    "budget below a picture": (("budget_usd: 5", "budget_usd: 0.02"), "below the price of one picture"),
    "occurrence budget": (
        ("budget_usd: 5", "budget_usd: 5\nbudget_usd_per_occurrence: 0.01"),
        "budget_usd_per_occurrence: 0.01 USD is below the price",
    ),
    "bad cron": (("0 6 * * 1", "0 6 * * 8"), "schedule.cron: '0 6 * * 8' is not a cron expression"),
    "cron that never comes": (("0 6 * * 1", "0 6 30 2 *"), "is not a cron expression"),
    "random cron": (("0 6 * * 1", "R 6 * * 1"), "asks for a random time"),
    "cron with seconds": (("0 6 * * 1", "0 6 * * 1 30"), "has 6 fields"),
    "unquoted cron": (('"0 6 * * 1"', "* 6 * * 1"), "put a cron expression in quotes"),
    "bad timezone": (("Europe/Berlin", "Europe/Berln"), "did you mean Europe/Berlin?"),
    "unknown ratio": (("4:5", "7:3"), "makes no aspect_ratio '7:3'; write one of 1:1"),
    "unknown size": (("1K", "2k"), "makes no image_size '2k'; write one of 1K, 2K, 4K"),
    "pixels of another ratio": (("[540, 675]", "[540, 540]"), "540 x 540 is not 4:5"),
    "unknown model": (("brand:", "model: gemini-nano-bananna-2.1\nbrand:"), "did you mean gemini-nano"),
    "unknown backend": (("brand:", "backend: dalle\nbrand:"), "'preview', 'gemini' or 'vertex', but it is 'dalle'"),
    "both sku and query": (("query: a", "sku: W-1, query: a"), "write exactly one of these"),
    "score without query": (("query: a golden watch", "sku: W-1, min_score: 0.2"), "min_score only means"),
    "unknown name in a scene": (("product.name", "product.nam"), "did you mean product.name?"),
    "scene syntax": (("product.name }}", "product.name"), "the template is not valid jinja2"),
    "scene that pries": (("product.name }}", "product.__class__ }}"), "not allowed to do that"),
    "scene that calculates": (("product.name }}", "1 / 0 }}"), "the template can't be filled in"),
    "same scene twice": (("name: still", "name: suit"), "scenes: 'suit' is there twice"),
    "too many references": (("max_per_product: 2", "max_per_product: 15"), "references.max_per_product"),
    "too many pictures": (("brand:", "n: 20\nlocales: [" + ", ".join(
        f"{a}{b}" for a in "abcdefgh" for b in "abcdefgh") + "]\nbrand:"), "asks for 2560 pictures"),
    "the same key twice": (("brand:", "title: again\nbrand:"), "the key 'title' is written twice"),
    "not YAML": (("title: Golden hour", "title: [Golden"), "is not readable as YAML: line"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_one_sentence(mistake: str, write_brief: Callable[..., Brief]) -> None:
    change, expected = MISTAKES[mistake]
    with pytest.raises(BriefError) as caught:
        write_brief(change)
    assert len(caught.value.sentences) == 1, caught.value.sentences
    sentence = caught.value.sentences[0]
    assert sentence.startswith("golden-hour.yaml") and expected in sentence
    assert sentence[-1] in ".?" and "\n" not in sentence


def test_no_brief_may_be_called_as_the_folder_of_single_pictures(write_brief: Callable[..., Brief]) -> None:
    for changes, name in ((), "on-demand"), ([("title:", "campaign: on-demand\ntitle:")], "other"):
        with pytest.raises(BriefError, match="'on-demand' is the campaign of `mmrag generate`") as caught:
            write_brief(*changes, name=name)
        assert len(caught.value.sentences) == 1


def test_a_file_with_two_mistakes_tells_both(write_brief: Callable[..., Brief]) -> None:
    with pytest.raises(BriefError) as caught:
        write_brief(("0 6 * * 1", "noon"), ("budget_usd: 5", "budget_usd: -1"))
    assert len(caught.value.sentences) == 2


def test_one_bad_brief_does_not_hide_the_good_ones(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(BRIEF)
    (tmp_path / "two.yml").write_text(BRIEF.replace("title", "titel"))
    (tmp_path / "three.yaml").write_text("campaign: one\n" + BRIEF)
    (tmp_path / "notes.txt").write_text("no brief")
    (tmp_path / "empty.yaml").write_text("")
    briefs = load_briefs(UPath(tmp_path))
    assert [brief.campaign for brief in briefs.good] == ["one"]
    assert {problem.file for problem in briefs.problems} == {"two.yml", "three.yaml", "empty.yaml"}
    assert briefs.get("one").campaign == "one"
    with pytest.raises(UserError, match="did you mean 'title'"):
        briefs.get("two")
    with pytest.raises(UserError, match="there are: one"):
        briefs.get("four")


def test_a_missing_folder_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    briefs = load_briefs(UPath(tmp_path / "gone"))
    assert briefs.good == () and "set MMRAG_CAMPAIGNS" in briefs.problems[0].sentence


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BriefError, match="check the path"):
        load_brief(UPath(tmp_path / "gone.yaml"))


def test_occurrences_are_local_days_with_a_time_only_where_it_is_needed(
    write_brief: Callable[..., Brief],
) -> None:
    late = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)  # already Monday in Berlin
    assert write_brief().occurrence(late) == Occurrence("golden-hour", "2026-11-23")
    twice = write_brief(("0 6 * * 1", "0 6,18 * * *"))
    assert twice.occurrence(late).key == "golden-hour__2026-11-23T0030"
    assert Occurrence.parse("golden-hour__2026-11-23T0030").name == "2026-11-23T0030"
    with pytest.raises(UserError, match="<campaign>__<YYYY-MM-DD>"):
        Occurrence.parse("golden-hour_2026")


def test_the_demo_briefs_are_good_small_and_weekly() -> None:
    briefs = load_briefs(UPath(DEMO))
    assert briefs.problems == ()
    assert [brief.campaign for brief in briefs.good] == ["beach-lookbook", "figurine-desk", "golden-hour"]
    assert all(2 <= brief.variants <= 6 for brief in briefs.good)
    assert len({brief.schedule.cron for brief in briefs.good if brief.schedule}) == 3
