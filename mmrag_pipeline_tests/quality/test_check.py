"""The gate: a staged collection that answers worse than what is live fails; what can't be compared is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from mmrag_pipeline.index.rebuild import publish, stage
from mmrag_pipeline.index.staged import StagedIndex
from mmrag_pipeline.quality.check import check_golden
from mmrag_pipeline.quality.figures import FiguresStore
from mmrag_pipeline.quality.golden import GoldenQuery, GoldenSet, Judgement
from mmrag_pipeline.store import Store
from mmrag_pipeline_tests.index.library import DIM, NOW, FakeDrop, FakeEncoder, Item

NAMES = "amber birch cedar delta ember fjord grove heath inlet jetty knoll larch maple north oasis pearl".split()
CUPS = FakeDrop("cups__2026-09", {f"{name}.jpg": Item(f"{name} cup", sku=name.upper()) for name in NAMES})
GOLDEN = GoldenSet(
    "golden.csv", "digest", tuple(GoldenQuery(f"{n} cup", "any", (Judgement(2, "sku", n.upper()),)) for n in NAMES)
)
SENSELESS = FakeEncoder("its pictures have nothing to do with its words")
OTHER = FakeEncoder("fake-0002")


class Unloaded(FakeEncoder):
    def _vector(self, text: str):
        raise AssertionError(f"the model was asked for {text!r}")


class Gate:
    """Stages drops day by day, checks what was staged, and publishes it when it passes."""

    def __init__(self, milvus, store: Path):
        self.milvus, self.kept, self.folder = milvus, FiguresStore(Store(store)), store / "quality" / "golden"
        self.day = 0

    def night(self, drop: FakeDrop, *, encoder=None, mode="rebuild", golden=GOLDEN, library="as it was", **more):
        self.day += 1
        now, encoder = NOW + timedelta(days=self.day), encoder or FakeEncoder()
        staged = stage(self.milvus, drops=[drop.rows], fingerprint=encoder.fingerprint, dim=DIM, now=now, mode=mode)
        check = check_golden(self.milvus, encoder, self.kept, staged, golden, library=library, now=now, **more)
        if check.passed:
            publish(self.milvus, staged, keep=1, grace=timedelta(), now=now)
        return staged, check

    def kept_of(self, staged: StagedIndex):
        return self.kept.read(staged.collection, golden=GOLDEN.digest, fingerprint=staged.fingerprint)


@pytest.fixture
def gate(milvus, tmp_path: Path) -> Gate:
    return Gate(milvus, tmp_path / "store")


def test_the_first_collection_has_nothing_to_be_worse_than(gate: Gate) -> None:
    staged, check = gate.night(CUPS)
    assert check.passed and check.comparison is None and "Nothing is live yet." in check.sentence
    assert check.figures.mean("ndcg10") == pytest.approx(1)
    assert gate.kept_of(staged) == check.figures


def test_vectors_that_are_wrong_for_the_queries_fail_and_are_not_published(gate: Gate) -> None:
    good, _ = gate.night(CUPS)
    wrong, check = gate.night(CUPS.embedded_by(SENSELESS))
    assert not check.passed
    assert check.comparison.before == pytest.approx(1) and check.comparison.difference < -0.3
    assert check.comparison.interval[1] < 0
    assert "nightly_reindex job again" in check.sentence and len(check.lost_most) == 5
    assert gate.milvus.live().name == good.collection
    assert gate.kept_of(wrong) is None

    _, again = gate.night(CUPS)
    assert again.passed and again.comparison.difference == pytest.approx(0)


def test_worse_search_that_is_meant_is_published(gate: Gate) -> None:
    gate.night(CUPS)
    staged, check = gate.night(CUPS.embedded_by(SENSELESS), allow_worse=True)
    assert check.passed and "allow_worse_search was given" in check.sentence
    assert gate.milvus.live().name == staged.collection
    assert gate.kept_of(staged) == check.figures


def test_another_model_is_compared_with_what_was_kept_of_the_old_one(gate: Gate) -> None:
    first, _ = gate.night(CUPS)
    _, worse = gate.night(CUPS.embedded_by(SENSELESS), encoder=OTHER)
    assert not worse.passed and worse.comparison.before == pytest.approx(1)
    assert gate.milvus.live().name == first.collection

    staged, good = gate.night(CUPS.embedded_by(OTHER), encoder=OTHER)
    assert good.passed and good.comparison.difference == pytest.approx(0)
    assert gate.milvus.live().name == staged.collection


@pytest.mark.parametrize("golden", [None, replace(GOLDEN, digest="another")])
def test_another_model_without_kept_figures_passes_and_says_so(gate: Gate, golden: GoldenSet | None) -> None:
    gate.night(CUPS, golden=golden)
    _, check = gate.night(CUPS.embedded_by(SENSELESS), encoder=OTHER)
    assert check.passed and check.comparison is None
    assert "nothing to compare with" in check.sentence
    assert check.figures.mean("ndcg10") < 0.9


def test_without_a_golden_set_nothing_is_asked_and_the_variable_is_named(gate: Gate) -> None:
    _, check = gate.night(CUPS, encoder=Unloaded(), golden=None)
    assert check.passed and check.figures is None
    assert "no golden set" in check.sentence and "MMRAG_GOLDEN" in check.sentence
    assert not gate.folder.exists()


def test_a_quiet_night_asks_and_writes_nothing(gate: Gate) -> None:
    _, first = gate.night(CUPS)
    before = {path: path.stat().st_mtime_ns for path in gate.folder.iterdir()}
    staged, check = gate.night(CUPS, encoder=Unloaded(), mode="auto")
    assert staged.mode == "unchanged"
    assert check.passed and check.figures == first.figures
    assert {path: path.stat().st_mtime_ns for path in gate.folder.iterdir()} == before


def test_a_quiet_night_after_drops_came_is_measured_again(gate: Gate) -> None:
    gate.night(CUPS)
    staged, check = gate.night(CUPS, mode="auto", library="another drop came")
    assert staged.mode == "unchanged" and check.comparison.queries == len(NAMES)
    assert gate.kept_of(staged).library == "another drop came"


def test_what_was_mended_in_place_is_compared_with_what_it_was(gate: Gate) -> None:
    gate.night(CUPS)
    fewer = CUPS.without("amber.jpg")
    staged, check = gate.night(fewer, mode="reconcile", library="one is gone")
    assert staged.mode == "reconcile" and check.passed
    assert (check.comparison.queries, check.left_out) == (15, 1)
    assert "1 queries without a right answer in both are left out" in check.sentence


def test_what_was_mended_for_the_worse_stays_red_until_it_is_allowed(gate: Gate) -> None:
    first, _ = gate.night(CUPS)
    old, new = (
        [f"{name}.jpg" for name in NAMES[:7]],
        {f"{n}-2.jpg": Item(f"{n}  cup", sku=n.upper()) for n in NAMES[:7]},
    )
    worse = CUPS.without(*old).add(new).embedded_by(SENSELESS)
    for day in range(2):
        staged, check = gate.night(worse, mode="auto" if day else "reconcile", library="seven are new")
        assert staged.is_live and not check.passed and check.comparison.queries == 16
        assert gate.kept_of(first).library == "as it was"
    _, check = gate.night(worse, mode="auto", library="seven are new", allow_worse=True)
    assert check.passed
    _, check = gate.night(worse, mode="auto", library="seven are new", encoder=Unloaded())
    assert check.passed


def test_a_library_that_grew_is_harder_to_search_and_no_worse_index(gate: Gate) -> None:
    first, _ = gate.night(CUPS)
    later = NOW + timedelta(days=1.5)
    # each is as near to the words as the cup that is asked for, and isn't it
    rivals = {f"a-{name}-{n}.jpg": Item(f"{name} cup" + " " * n, first_seen=later) for name in NAMES for n in (1, 2)}
    staged, check = gate.night(CUPS.add(rivals), mode="reconcile", library="it grew")
    assert staged.collection == first.collection
    assert check.figures.mean("ndcg10") == pytest.approx(0.5)  # third of three
    assert check.passed and check.comparison.difference == pytest.approx(0)


def test_figures_of_collections_that_are_gone_are_forgotten(gate: Gate) -> None:
    collections = [gate.night(CUPS)[0].collection for _ in range(4)]
    assert {path.stem for path in gate.folder.iterdir()} == set(collections[-3:])
    gate.night(CUPS)
    assert collections[1] not in {path.stem for path in gate.folder.iterdir()}


def test_a_golden_set_that_asks_for_nothing_here_says_so(gate: Gate) -> None:
    gate.night(CUPS)
    strangers = tuple(replace(query, judgements=(Judgement(2, "skuu", "A"),)) for query in GOLDEN.queries)
    _, check = gate.night(CUPS, golden=GoldenSet("mine.csv", "strangers", strangers))
    assert check.passed and check.figures.queries == {} and check.left_out == 16
    assert "None of 16 golden queries has a right answer in it: look at the fields of mine.csv" in check.sentence
