"""A drop whose vectors are not all in the store: what is live of it stays, the rest is left out and counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mmrag_pipeline.errors import Unavailable
from mmrag_pipeline.index.as_live import manifest_as_live
from mmrag_pipeline.index.lacking import without_lacking
from mmrag_pipeline.index.publish import publish
from mmrag_pipeline.index.rebuild import check_staged, stage
from mmrag_pipeline.index.rows import WantedRows
from mmrag_pipeline.index.status import live_ids
from mmrag_pipeline.media.manifest import as_generated
from mmrag_pipeline_tests.index.library import BAGS, DIM, FINGERPRINT, NOW, WATCHES, FakeEncoder, Item

TOMORROW = NOW + timedelta(days=1)
ANEW = WATCHES.add(
    {
        "gold.jpg": replace(WATCHES.items["gold.jpg"], words="golden watch anew"),
        "gold-side.jpg": replace(WATCHES.items["gold-side.jpg"], words="golden watch side anew", title="Side"),
        "silver.jpg": replace(WATCHES.items["silver.jpg"], words="silver watch anew"),
        "promo.mp4": replace(WATCHES.items["promo.mp4"], words="watch film anew", frame_ms=900),
        "new.jpg": Item("new watch"),
    }
)
"""Every file exported again, the film with another keyframe, and one file that is new."""


@pytest.fixture
def staged_with(milvus, sync):
    """`staged_with(source, mode)`: WATCHES and BAGS are live; WATCHES staged as `source` says, and checked."""
    sync(WATCHES)
    sync(BAGS)

    def run(source, mode="rebuild"):
        source, left_out = without_lacking(source, milvus, milvus.live().name, dim=DIM)
        drops = [source, BAGS.rows]
        staged = stage(milvus, drops=drops, fingerprint=FINGERPRINT, dim=DIM, now=TOMORROW, mode=mode)
        results = check_staged(milvus, staged, drops, encode=FakeEncoder().encode_texts)
        assert all(result.passed for result in results), results
        return staged, left_out

    return run


@pytest.mark.parametrize("stored", [WATCHES.batches, tuple], ids=["old vectors", "no vectors"])
def test_of_a_drop_that_was_exported_again_what_is_live_stays_until_it_is_embedded(milvus, staged_with, stored) -> None:
    staged, left_out = staged_with(replace(ANEW.rows, vectors=stored))
    assert left_out == 5
    waiting = publish(milvus, staged, late=lambda: [replace(ANEW.rows, vectors=stored)], now=TOMORROW)
    assert waiting.swapped and live_ids(milvus) == WATCHES.ids | BAGS.ids
    side = milvus.get(staged.collection, [WATCHES.id_of("gold-side.jpg")], ("content_id", "title"))
    (row,) = side.values()
    assert (row["content_id"], row["title"]) == (WATCHES.items["gold-side.jpg"].content_id, "Side")

    publish(milvus, staged, late=lambda: [ANEW.rows], now=TOMORROW)
    assert live_ids(milvus) == ANEW.ids | BAGS.ids
    (row,) = milvus.get(staged.collection, [ANEW.id_of("gold.jpg")], ("content_id",)).values()
    assert row["content_id"] == ANEW.items["gold.jpg"].content_id


def test_a_lost_part_of_the_vectors_changes_nothing_that_is_live(milvus, staged_with) -> None:
    def lost():
        yield from list(WATCHES.batches())[:1]
        raise Unavailable("a part was deleted")

    source = replace(WATCHES.add({"new.jpg": Item("new watch")}).rows, vectors=lost)
    staged, left_out = staged_with(source, "auto")
    assert (staged.mode, left_out) == ("unchanged", 1)
    staged, _ = staged_with(source)
    publish(milvus, staged, now=TOMORROW)
    assert live_ids(milvus) == WATCHES.ids | BAGS.ids


@pytest.mark.parametrize("drop", [WATCHES, BAGS], ids=["with a film", "with odd titles"])
@pytest.mark.parametrize("generated", [False, True])
def test_a_manifest_made_of_live_rows_says_what_is_live(milvus, sync, drop, generated) -> None:
    """Else a night in which the drop's own can't be read would write all of its rows anew."""
    manifest = as_generated(drop.manifest, "campaigns/x") if generated else drop.manifest
    sync(drop, manifest=manifest)
    made = WantedRows(drop.drop, manifest_as_live(milvus, milvus.live().name, drop.drop))
    meant = WantedRows(drop.drop, manifest)
    assert dict(zip(made.ids, made.digests, strict=True)) == dict(zip(meant.ids, meant.digests, strict=True))
    assert {row["origin"] for row in made.take([0])} == {row["origin"] for row in meant.take([0])}
