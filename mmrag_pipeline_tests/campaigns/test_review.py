"""Decisions are kept, approved pictures leave byte for byte, a rejected one gets a successor that is paid once."""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from upath import UPath

from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.backends.preview import PreviewBackend
from mmrag_pipeline.campaigns.decisions import Decision, read_decisions, record_decision, review_of
from mmrag_pipeline.campaigns.plan_table import read_plan, write_plan
from mmrag_pipeline.campaigns.replacements import MAX_REPLACEMENTS, plan_replacements, with_replacements
from mmrag_pipeline.cli import app
from mmrag_pipeline.errors import UserError
from mmrag_pipeline_tests.campaigns.conftest import Desk
from mmrag_pipeline_tests.integration.gemini_server import GeminiServer, refused

LayOut = Callable[..., Desk]
WHERE = "golden-hour__2026-11-23"
AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMRAG_STORE", str(tmp_path / "store"))


def campaign(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["campaign", *arguments], env={"COLUMNS": "200"})


def ran(*arguments: str) -> str:
    result = campaign(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused_with(*arguments: str) -> str:
    result = campaign(*arguments)
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    return " ".join(result.output.split())


def replanned(desk: Desk) -> Desk:
    """What the next run of campaign_images works on."""
    return replace(desk, plan=plan_replacements(desk.folder / "plan.parquet"))


@pytest.fixture
def made(lay_out: LayOut, gemini: GeminiBackend) -> Desk:
    desk = lay_out()
    write_plan(desk.folder / "plan.parquet", desk.plan)
    desk.make(gemini)
    return desk


def test_an_approved_picture_is_exported_byte_for_byte(made: Desk, tmp_path: Path) -> None:
    first = made.plan.variants[0]
    assert "approved" in ran("approve", first.key[:6], "--by", "Ada")
    out = tmp_path / "out"
    ran("export", str(out))
    name = f"golden-hour_{first.product}_suit_feed_{first.locale}_1.jpg"
    assert sorted(file.name for file in (out / WHERE).iterdir()) == sorted([name, "manifest.csv"])
    assert (out / WHERE / name).read_bytes() == (made.images / f"{first.key}.jpg").read_bytes()
    (row,) = csv.DictReader((out / WHERE / "manifest.csv").read_text().splitlines())
    assert (row["file"], row["key"], row["approved_by"]) == (name, first.key, "Ada")
    before = {file: file.read_bytes() for file in (out / WHERE).iterdir()}
    notes = len(list((made.folder / "reviews").iterdir()))
    ran("export", str(out))
    assert {file: file.read_bytes() for file in (out / WHERE).iterdir()} == before
    assert len(list((made.folder / "reviews").iterdir())) == notes == 2
    assert "already exported" in ran("approve", first.key)
    ran("reject", first.key, "--reason", "The dial is blurred.")
    ran("approve", made.plan.variants[1].key)
    assert "no longer approved" in ran("export", str(out)) and name not in (out / WHERE / "manifest.csv").read_text()


def test_without_an_approval_nothing_is_exported(made: Desk, tmp_path: Path) -> None:
    assert "nothing in any occurrence is approved" in refused_with("export", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_rejected_picture_gets_a_successor_that_is_paid_once(
    made: Desk, gemini: GeminiBackend, server: GeminiServer
) -> None:
    first, second = made.plan.variants
    kept = (made.images / f"{first.key}.jpg").read_bytes()
    ran("reject", first.key, "--reason", "Six fingers.", "--by", "Ada")
    again = replanned(made)
    assert [v.key for v in again.plan.variants if v.key in (first.key, second.key)] == [first.key, second.key]
    (successor,) = [v for v in again.plan.variants if v.replaces]
    assert (successor.replaces, successor.number, successor.prompt) == (first.key, 2, first.prompt)
    assert successor.seed != first.seed and again.plan.variants.index(successor) == 1
    report = again.make(gemini)
    assert (report.counts["made"], report.counts["skipped_existing"], len(server.requests)) == (1, 2, 3)
    assert (made.images / f"{first.key}.jpg").read_bytes() == kept
    assert replanned(made).plan == again.plan and replanned(made).make(gemini).requests == 0
    assert [d.reason for d in read_decisions(made.folder)[first.key]] == ["Six fingers."]
    # A plan made anew, and a rejection taken back, lead to the same successor: it is paid already.
    assert with_replacements(made.plan, made.folder) == again.plan
    ran("approve", first.key)
    assert with_replacements(made.plan, made.folder) == again.plan


def test_a_rejection_taken_back_before_the_next_run_costs_nothing(made: Desk) -> None:
    key = made.plan.variants[0].key
    ran("reject", key, "--reason", "Too dark.")
    ran("approve", key)
    assert replanned(made).plan == made.plan


def test_successors_are_bounded(made: Desk, gemini: GeminiBackend, server: GeminiServer) -> None:
    desk, key = made, made.plan.variants[0].key
    for number in range(MAX_REPLACEMENTS + 1):
        ran("reject", key, "--reason", f"No {number}.")
        desk = replanned(desk)
        desk.make(gemini)
        key = next((v.key for v in desk.plan.variants if v.replaces == key), key)
    assert len(server.requests) == 2 + MAX_REPLACEMENTS
    assert [v.number for v in desk.plan.variants if v.scene == "suit"] == [1, 2, 3, 4]
    assert read_plan(desk.folder / "plan.parquet") == desk.plan


def test_previews_are_never_approved_nor_exported(lay_out: LayOut, preview: PreviewBackend, tmp_path: Path) -> None:
    desk = lay_out(backend="preview")
    desk.make(preview)
    key = desk.plan.variants[0].key
    assert "is a preview and can't be approved" in refused_with("approve", key)
    assert "is a preview and can't be rejected" in refused_with("reject", key, "--reason", "No.")
    assert "2 previews, which are never exported" in refused_with("export", str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("key", "says"),
    [("abc", "6 hex digits"), ("zzzzzz", "6 hex digits"), ("0" * 32, "no picture in any occurrence")],
)
def test_a_key_that_names_nothing_is_one_sentence(made: Desk, key: str, says: str) -> None:
    assert says in refused_with("approve", key)


def test_a_key_that_names_several_asks_for_the_occurrence(made: Desk) -> None:
    key, other = made.plan.variants[0].key, Path(str(made.folder)).parent / "2026-11-30" / "images"
    other.mkdir(parents=True)
    (other / f"{key}.json").write_bytes((made.images / f"{key}.json").read_bytes())
    assert "2 keys begin with" in refused_with("approve", key[:8])
    assert "approved" in ran("approve", key[:8], "--occurrence", WHERE)
    assert "there is no occurrence" in refused_with("approve", key, "--occurrence", "golden-hour__2027-01-01")


def test_all_keys_or_none(made: Desk) -> None:
    refused_with("approve", made.plan.variants[0].key, "0" * 32)
    assert read_decisions(made.folder) == {}


def test_what_was_blocked_or_altered_is_not_approved(
    lay_out: LayOut, gemini: GeminiBackend, server: GeminiServer
) -> None:
    desk = lay_out()
    server.faults = [refused("IMAGE_SAFETY", "Shows a logo.")]
    desk.make(gemini)
    blocked, fine = desk.plan.variants
    assert "Shows a logo." in refused_with("approve", blocked.key)
    ran("approve", fine.key)
    (desk.images / f"{fine.key}.jpg").write_bytes(b"other")
    assert "gone or was altered" in refused_with("export", str(desk.root / "out"))
    assert not (desk.root / "out").exists()


def test_a_rejection_needs_a_reason(made: Desk) -> None:
    assert "needs a reason" in refused_with("reject", made.plan.variants[0].key, "--reason", "  ")


def test_an_approval_is_for_the_bytes_that_were_looked_at() -> None:
    approved = Decision("k", "approved", "Ada", AT.isoformat(), "", "aaa")
    assert review_of([approved], "aaa").state == "approved"
    changed = review_of([approved], "bbb")
    assert changed.state == "pending" and changed.outdated


def test_a_rejection_beats_an_export_that_was_under_way() -> None:
    at = [(AT + timedelta(seconds=n)).isoformat() for n in range(3)]
    approved = Decision("k", "approved", "Ada", at[0], "", "aaa")
    rejected = Decision("k", "rejected", "Bob", at[1], "No.", "aaa")
    exported = Decision("k", "exported", "Ada", at[2], "", "aaa")
    assert review_of([approved, exported], "aaa").state == "exported"
    assert review_of([approved, rejected, exported], "aaa").state == "rejected"


def test_decisions_made_at_once_are_all_kept_and_the_last_counts(tmp_path: Path) -> None:
    folder = UPath(tmp_path)

    def decide(who: int) -> None:
        for n in range(5):
            at = (AT + timedelta(seconds=10 * n + who)).isoformat()
            record_decision(folder, Decision("k", "approved" if who else "rejected", str(who), at, "r", "aaa"))

    threads = [threading.Thread(target=decide, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    decisions = read_decisions(folder)["k"]
    assert len(decisions) == 20 and decisions[-1].by == "3" and review_of(decisions, "aaa").state == "approved"


def test_a_damaged_record_stops_with_its_name(made: Desk) -> None:
    key = made.plan.variants[0].key
    ran("approve", key)
    (file,) = (made.folder / "reviews").iterdir()
    file.write_text("{")
    with pytest.raises(UserError, match=file.name):
        read_decisions(made.folder)
