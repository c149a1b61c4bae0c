"""Groups of near-duplicates over a whole library: who is in one, who is kept, and that ids stay."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmrag_pipeline.campaigns.brief import Product, References
from mmrag_pipeline.campaigns.finder import MilvusReferenceFinder
from mmrag_pipeline.campaigns.selection import select
from mmrag_pipeline.index.copies import Copies
from mmrag_pipeline.index.rebuild import publish, stage
from mmrag_pipeline.index.search import SearchRequest, search
from mmrag_pipeline.media.likeness import look_of
from mmrag_pipeline.media.manifest import as_generated
from mmrag_pipeline.quality import near_duplicates
from mmrag_pipeline.quality.near_duplicates import NearDuplicateStore, find_near_duplicates, is_made_of
from mmrag_pipeline.store import Store
from mmrag_pipeline_tests.index.library import DIM, FINGERPRINT, NOW, FakeDrop, Item
from mmrag_pipeline_tests.media.test_phash import encoded_again, scene
from mmrag_pipeline_tests.quality.test_asking import ENCODER, staged

SHAPE, OTHER = scene(1), scene(2)
LOOKS = {"a": SHAPE, "a again": encoded_again(SHAPE), "a cut": SHAPE.crop((5, 4, 315, 236)), "b": OTHER}


def drop(key: str, **files: tuple[str, int]) -> FakeDrop:
    """Files as (words that name a look, width)."""
    return FakeDrop(key, {f"{name}.jpg": Item(words) for name, (words, _) in files.items()})


def manifest(fake: FakeDrop, widths: dict[str, int]) -> pa.Table:
    rows = fake.manifest.to_pylist()
    for row in rows:
        row |= {"look": look_of(LOOKS[fake.items[row["path"]].words]), "width": widths[row["path"]]}
    return pa.Table.from_pylist(rows, fake.manifest.schema)


def library(**drops: dict[str, tuple[str, int]]) -> dict[str, pa.Table]:
    return {
        key: manifest(drop(key, **files), {f"{name}.jpg": width for name, (_, width) in files.items()})
        for key, files in drops.items()
    }


def vectors(cut: float):
    """Unit vectors by content; the cut picture's has cosine `cut` to the first."""
    by_words = {"a": [1, 0, 0], "a again": [1, 0, 0], "a cut": [cut, (1 - cut**2) ** 0.5, 0], "b": [0, 0, 1]}
    by_content = {Item(words).content_id: vector for words, vector in by_words.items()}
    return lambda ids: np.array([by_content[content_id] for content_id in ids], dtype=np.float32)


def groups(table: pa.Table) -> list[list[str]]:
    found: dict[str, list[str]] = {}
    for row in table.to_pylist():
        found.setdefault(row["group"], []).append(f"{row['drop']}/{row['path']}")
    return sorted(found.values())


LIBRARY = library(
    lunar__one={"small": ("a", 200), "large": ("a again", 900), "other": ("b", 500)},
    vela__two={"cut": ("a cut", 400), "same-bytes": ("b", 500)},
)


def test_across_drops_with_the_largest_as_keeper() -> None:
    found = find_near_duplicates(LIBRARY, vectors(0.97))
    assert groups(found) == [
        ["lunar__one/large.jpg", "lunar__one/small.jpg", "vela__two/cut.jpg"],
        ["lunar__one/other.jpg", "vela__two/same-bytes.jpg"],
    ]
    rows = {f"{row['drop']}/{row['path']}": row for row in found.to_pylist()}
    assert rows["lunar__one/large.jpg"]["keeper"] and not rows["lunar__one/small.jpg"]["keeper"]
    assert rows["vela__two/cut.jpg"]["cosine"] == np.float32(0.97)


def test_what_only_looks_near_needs_the_models_word() -> None:
    assert ["lunar__one/large.jpg", "lunar__one/small.jpg"] in groups(find_near_duplicates(LIBRARY, vectors(0.9)))
    not_embedded = lambda ids: np.full((len(ids), 3), np.nan, dtype=np.float32)  # noqa: E731
    unsure = find_near_duplicates(LIBRARY, not_embedded, made_of="1 library model")
    assert not any("vela__two/cut.jpg" in group for group in groups(unsure))
    assert not is_made_of(unsure, "1 library model")  # looked for again when the vectors are there


def test_generated_pictures_are_in_no_group() -> None:
    made = LIBRARY | {"vela__two": as_generated(LIBRARY["vela__two"], "campaigns/x")}
    assert groups(find_near_duplicates(made, vectors(0.97))) == [["lunar__one/large.jpg", "lunar__one/small.jpg"]]


def test_a_family_of_look_alikes_takes_no_memory_for_its_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards with another number, of which every one looks like every other; half of them the model tells apart."""
    cards = FakeDrop("lunar__cards", {f"{n}.jpg": Item(f"card {n}") for n in range(600)})
    alike = {Item(f"card {n}").content_id for n in range(300)}
    monkeypatch.setattr(near_duplicates, "like_pairs", lambda looks: combinations(range(len(looks)), 2))

    def vectors(ids: Sequence[str]) -> np.ndarray:
        assert len(ids) == 600
        apart = np.eye(601, dtype=np.float32)
        return np.array([apart[600 if content_id in alike else at] for at, content_id in enumerate(ids)])

    library = {cards.key: cards.manifest}
    tracemalloc.start()
    try:
        (group,) = groups(find_near_duplicates(library, vectors))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(group) == 300 and most < 22e6  # with its 180,000 pairs it is 33 MB


def ids_by_path(table: pa.Table) -> dict[str, str]:
    return {f"{row['drop']}/{row['path']}": row["group"] for row in table.to_pylist()}


def test_a_group_keeps_its_id_while_pictures_come_and_go() -> None:
    small: dict[str, tuple[str, int]] = {"small": ("a", 200), "large": ("a again", 900)}
    first = find_near_duplicates(library(lunar__one=small), vectors(0.97))
    (group_id,) = set(ids_by_path(first).values())
    grown = find_near_duplicates(LIBRARY, vectors(0.97), before=first)
    assert ids_by_path(grown)["vela__two/cut.jpg"] == group_id
    left = library(lunar__one={"small": ("a", 200)}, vela__two={"cut": ("a cut", 400)})
    shrunk = find_near_duplicates(left, vectors(0.97), before=grown)
    assert set(ids_by_path(shrunk).values()) == {group_id}
    anew = find_near_duplicates(left, vectors(0.97))
    assert len(set(ids_by_path(anew).values())) == 1


def test_kept_in_the_store_with_what_it_was_made_of(tmp_path: Path) -> None:
    kept = NearDuplicateStore(Store(tmp_path))
    assert kept.read() is None and kept.copies() == Copies()
    found = find_near_duplicates(LIBRARY, vectors(0.97), made_of="1 library model")
    kept.write(found)
    assert kept.read().equals(found)
    assert is_made_of(kept.read(), "1 library model") and not is_made_of(kept.read(), "1 another model")
    copies = kept.copies()
    contents: Sequence[str] = [Item(words).content_id for words in ("a", "a again", "a cut")]
    assert len({copies.of(content_id) for content_id in contents}) == 1 and copies.of("x") == "x"
    assert copies.count_again([*contents, Item("b").content_id]) == 2


def test_a_damaged_table_is_none_so_that_it_is_made_anew(tmp_path: Path) -> None:
    """And a search goes on without it."""
    kept = NearDuplicateStore(Store(tmp_path))
    kept.write(find_near_duplicates(LIBRARY, vectors(0.97)))
    kept.path.write_bytes(kept.path.read_bytes()[:-100])
    assert kept.read() is None and kept.copies() == Copies()


def test_a_search_shows_one_of_each_group_and_fills_up_behind(milvus) -> None:
    words = {f"{n}.jpg": Item(f"cape {n}") for n in range(4)}
    collection = staged(milvus, FakeDrop("lunar__one", words))
    every = search(milvus, ENCODER, SearchRequest(text="cape", k=3), collection=collection)
    copies = Copies({every[0].content_id: "g", every[2].content_id: "g"}, frozenset({every[2].content_id}))
    one = search(milvus, ENCODER, SearchRequest(text="cape", k=3, copies=copies), collection=collection)
    assert [hit.path for hit in one][:2] == [hit.path for hit in every][:2]
    assert every[2].path not in {hit.path for hit in one} and len(one) == 3
    assert [hit.rank for hit in one] == [1, 2, 3]
    # references prefer the keeper, which has the most pixels
    assert [hit.path for hit in copies.best_of_each(every)] == [every[1].path, every[2].path]


def test_references_are_one_of_each_group_and_rather_the_keeper(milvus) -> None:
    views = {f"{n}.jpg": Item(f"cape {n}", sku="L-9", title="Cape") for n in range(4)}
    foreign = {"other.jpg": Item("cape cape red", sku="L-8", title="Cloak"), "none.jpg": Item("cape cape red blue")}
    drops = [FakeDrop("lunar__one", {**views, **foreign}).rows]
    publish(milvus, stage(milvus, drops=drops, fingerprint=FINGERPRINT, dim=DIM, now=NOW), now=NOW)
    first, *_, last = (views[f"{n}.jpg"].content_id for n in range(4))
    finder = MilvusReferenceFinder(milvus, ENCODER, copies=Copies({first: "g", last: "g"}, frozenset({last})))
    kept = ["1.jpg", "2.jpg", "3.jpg"]
    assert [hit.path for hit in finder.by_sku("L-9", product_line=None, limit=3)] == kept
    shown = finder.views("L-9", product_line=None, text="cape", image=None, limit=12)
    assert sorted(hit.path for hit in shown) == kept

    # A copy that is kept and is another product's, or nobody's, takes no product from the query.
    for keeper in foreign.values():
        copies = Copies({views["2.jpg"].content_id: "g", keeper.content_id: "g"}, frozenset({keeper.content_id}))
        finder = MilvusReferenceFinder(milvus, ENCODER, copies=copies)
        product = Product(name="the cape", query="cape 2", product_line="lunar")
        found = select(product, finder, policy=References(views="nearest"), wanted=3)
        assert found.candidates[0].hit.path == "2.jpg"
        assert sorted(chosen.hit.path for chosen in found.candidates) == sorted(views)
