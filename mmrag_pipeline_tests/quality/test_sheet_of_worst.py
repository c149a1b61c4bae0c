"""The worst queries as a picture are made of a large library without holding it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from upath import UPath

from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.quality import tonight
from mmrag_pipeline.quality.figures import Figures, QueryFigures
from mmrag_pipeline.quality.golden import GoldenQuery, GoldenSet, Judgement
from mmrag_pipeline.quality.library import LibraryItem, library_items
from mmrag_pipeline.quality.measurement import Measurement
from mmrag_pipeline.quality.tonight import Library, Tonight, sheet_of_worst
from mmrag_pipeline_tests.index.library import FakeDrop, Item

CARDS = FakeDrop("lunar__cards", {f"{n}.jpg": Item(f"card {n}", title=f"Card {n}") for n in range(200)})


def test_few_items_are_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakValueDictionary[int, LibraryItem] = weakref.WeakValueDictionary()
    most = []

    def watched(*args: object, **more: object) -> Iterator[LibraryItem]:
        for item in library_items(*args, **more):
            alive[id(item)] = item
            most.append(len(alive))
            yield item

    monkeypatch.setattr(tonight, "library_items", watched)
    query = GoldenQuery("a card", "", (Judgement(2, "title", "Card 150"),))
    figures = {"a card": QueryFigures(0.1, 0.0, 0.0, 0.0, 0.0, top=(CARDS.id_of("7.jpg"),))}
    measured = Measurement("", "c", "f", "g", "", (), (), 0.0, (("a card", 0.1),), None)
    found = Tonight(measured, GoldenSet("g", "d", (query,)), Figures("c", "f", "d", "l", "", figures))
    library = Library({CARDS.key: CARDS.manifest}, lambda drop: UPath(tmp_path), Limits(), "l")
    assert sheet_of_worst(found, library) is not None  # its pictures are gone: grey tiles
    assert len(most) > 200 and max(most) < 10
