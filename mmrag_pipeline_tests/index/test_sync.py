from __future__ import annotations

from datetime import timedelta

import pytest

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.rebuild import publish, rollback, stage
from mmrag_pipeline.index.schema import FIELDS, MAX_BYTES, PUBLISHED
from mmrag_pipeline.index.status import live_ids, live_status, product_lines
from mmrag_pipeline_tests.index.library import BAGS, DIM, FINGERPRINT, NOW, WATCHES, FakeEncoder, Item

LATER = NOW + timedelta(days=1)


def stored(milvus, drop=None):
    """The live rows by path, with every scalar field and the catalogue's own columns."""
    live = milvus.live()
    fields = [name for name in FIELDS if name != "embedding"]
    pages = milvus.rows(live.name, [*fields, "$meta"], f'drop == "{drop}"' if drop else "")
    return {row["path"]: row for page in pages for row in page}


def test_the_first_drop_makes_the_collection_and_the_alias(milvus, sync):
    report = sync(WATCHES)
    assert (report.upserted, report.deleted, report.unchanged, report.rows) == (4, 0, 0, 4)
    assert live_ids(milvus) == WATCHES.ids
    live = milvus.live()
    assert live.name == report.collection
    assert live.name.startswith(f"{milvus.alias}_") and live.name.endswith("_20260901T020000")
    assert (live.fingerprint, live.dim, live.state) == (FINGERPRINT, DIM, PUBLISHED)
    status = live_status(milvus)
    assert (status.collection, status.rows, status.fingerprint, status.dim) == (
        live.name,
        4,
        FINGERPRINT,
        DIM,
    )


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_an_empty_first_collection_of_a_killed_sync_is_not_rolled_back_to(milvus, sync, monkeypatch):
    with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
        killing.setattr(milvus, "claim_alias", interrupted)
        sync(WATCHES)
    left = {info.name for info in milvus.collections()}
    live = sync(WATCHES, now=LATER).collection
    assert left and live not in left
    with pytest.raises(UserError, match="no earlier collection"):
        rollback(milvus)
    stage(milvus, drops=[WATCHES.rows], fingerprint=FINGERPRINT, dim=DIM, now=LATER)
    assert [info.name for info in milvus.collections()] == [live]


def test_a_sync_killed_after_the_alias_is_completed_and_can_be_rolled_back_to(milvus, sync, monkeypatch):
    with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
        killing.setattr(milvus, "mark", interrupted)
        sync(WATCHES)
    first = milvus.live().name
    assert sync(WATCHES, now=LATER).collection == first and milvus.live().state == PUBLISHED
    rows = [WATCHES.rows, BAGS.rows]
    staged = stage(milvus, drops=rows, fingerprint=FINGERPRINT, dim=DIM, now=LATER + timedelta(days=1))
    publish(milvus, staged, now=LATER + timedelta(days=1))
    assert rollback(milvus).collection == first and live_ids(milvus) == WATCHES.ids


def test_rows_carry_the_manifest(milvus, sync):
    sync(WATCHES)
    sync(BAGS)
    gold = stored(milvus)["gold.jpg"]
    assert gold["product_line"] == "lunar" and gold["drop"] == "lunar__2026-09"
    assert gold["sku"] == "L-1" and list(gold["tags"]) == ["gold", "metal"] and gold["season"] == "fall"
    assert (gold["frame_ms"], gold["width"], gold["height"]) == (-1, 640, 480)
    assert gold["origin"] == "library" and gold["ingested_at"] == int(NOW.timestamp() * 1000)
    assert stored(milvus)["promo.mp4"]["frame_ms"] == 1500
    assert stored(milvus)["blue.jpg"]["title"] == 'Blue "bag" \\ two\nlines'
    assert product_lines(milvus) == ["lunar", "vela"]


def test_a_second_run_writes_nothing(milvus, sync, writes):
    sync(WATCHES)
    writes.calls.clear()
    report = sync(WATCHES, now=LATER, vectors=iter(()))
    assert (report.upserted, report.deleted, report.unchanged, report.rows) == (0, 0, 4, 4)
    assert writes.calls == []


def test_only_what_changed_is_written(milvus, sync, monkeypatch):
    sync(WATCHES)
    sync(BAGS)
    changed = WATCHES.without("silver.jpg").add(
        {
            "gold.jpg": Item("golden watch", sku="L-1", title="Golden watch, new title", tags=("gold", "metal")),
            "rose.jpg": Item("rose watch"),
            "gold-side.jpg": Item("golden watch other side", sku="L-1", title="Golden watch, side"),
        }
    )
    written, upsert = [], milvus.upsert
    monkeypatch.setattr(
        milvus,
        "upsert",
        lambda name, rows, **options: upsert(name, written.extend(rows := list(rows)) or rows, **options),
    )
    report = sync(changed, now=LATER)
    assert (report.upserted, report.deleted, report.unchanged) == (3, 1, 1)
    assert {row["path"] for row in written} == {"gold.jpg", "rose.jpg", "gold-side.jpg"}
    assert live_ids(milvus, changed.key) == changed.ids
    assert live_ids(milvus, BAGS.key) == BAGS.ids
    rows = stored(milvus)
    assert rows["gold.jpg"]["title"] == "Golden watch, new title"
    assert rows["gold.jpg"].get("season") is None  # Lite merges an upsert into the old row
    assert sync(changed).upserted == 0


def test_a_changed_picture_gets_its_new_vector(milvus, sync):
    sync(WATCHES)
    changed = WATCHES.add({"silver.jpg": Item("copper lamp", sku="L-2", title="Silver watch")})
    sync(changed)
    media_id = changed.id_of("silver.jpg")
    vector = milvus.get(milvus.live().name, [media_id], ["embedding"])[media_id]["embedding"]
    assert list(vector) == pytest.approx(FakeEncoder().encode_texts(["copper lamp"])[0].tolist(), abs=1e-6)


def test_a_rename_leaves_one_row(milvus, sync):
    sync(WATCHES)
    renamed = WATCHES.without("gold.jpg").add({"gold-2.jpg": WATCHES.items["gold.jpg"]})
    report = sync(renamed)
    assert (report.upserted, report.deleted, report.unchanged) == (1, 1, 3)
    assert live_ids(milvus) == renamed.ids


def test_a_drop_emptied_on_purpose_leaves_the_others(milvus, sync):
    sync(WATCHES)
    sync(BAGS)
    report = sync(BAGS.without(*BAGS.items))
    assert (report.deleted, report.rows) == (3, 0)
    assert live_ids(milvus) == WATCHES.ids


def test_an_empty_first_drop_makes_nothing(milvus, sync):
    assert sync(BAGS.without(*BAGS.items)).collection is None
    assert milvus.live() is None and milvus.collections() == []


@pytest.mark.parametrize("change", ["fingerprint", "dim"])
def test_another_model_is_refused_and_nothing_written(milvus, sync, writes, change):
    sync(WATCHES)
    writes.calls.clear()
    other = FakeEncoder(fingerprint="other-0002") if change == "fingerprint" else FakeEncoder(dim=32)
    with pytest.raises(UserError) as refused:
        sync(
            BAGS,
            vectors=BAGS.embedded_by(other).batches(),
            fingerprint=other.fingerprint,
            dim=other.dim,
        )
    message = str(refused.value)
    assert FINGERPRINT in message and other.fingerprint in message
    assert "materialise clip_embeddings for every drop and run the nightly_reindex job" in message
    assert "MMRAG_CLIP_MODEL" in message and "\n" not in message
    assert writes.calls == [] and live_ids(milvus) == WATCHES.ids


def test_a_row_without_a_vector_stops_before_anything_is_written(milvus, sync, writes):
    with pytest.raises(UserError, match="1 of its pictures have no vector"):
        sync(WATCHES, vectors=WATCHES.without("silver.jpg").batches())
    assert milvus.live() is None and writes.calls == []


@pytest.mark.parametrize("bad", [float("nan"), 0.0, 3.0])
def test_a_vector_that_is_no_unit_vector_is_refused(milvus, sync, bad):
    broken = FakeEncoder()
    broken.encode_texts = lambda texts: FakeEncoder().encode_texts(texts) * bad
    with pytest.raises(UserError, match="not a unit vector"):
        sync(WATCHES, vectors=WATCHES.embedded_by(broken).batches())
    assert milvus.live() is None


def test_long_and_odd_catalogue_values_are_kept_within_bounds_and_stay_put(milvus, sync):
    odd = Item(
        "odd",
        title="\N{SNOWMAN}" * 2000,
        tags=tuple(f"{number}-" + "é" * 300 for number in range(100)),
        extra={
            "path": "/elsewhere", "$meta": 1, "Preis (€)": 12.5, "quote\"'": "x", "none": None,
            "nested": {"a": [1]}, "huge": 10**30, "ok": True, "": "no name", "long": "y" * 100_000,
        },
    )  # fmt: skip
    drop = BAGS.add({"odd.jpg": odd})
    sync(drop)
    row = stored(milvus)["odd.jpg"]
    assert len(row["title"].encode()) <= MAX_BYTES["title"] and set(row["title"]) == {"\N{SNOWMAN}"}
    assert len(row["tags"]) == 64 and all(len(tag.encode()) <= 256 for tag in row["tags"])
    assert row["path"] == "odd.jpg" and row["catalogue_path"] == "/elsewhere" and row["catalogue_meta"] == 1
    assert row["Preis (€)"] == 12.5 and row["quote\"'"] == "x" and row["nested"] == '{"a": [1]}' and row["ok"] is True
    assert row["huge"] == str(10**30) and "none" not in row
    assert sync(drop).unchanged == 4


def test_pages_and_messages_lose_nothing(milvus, sync, monkeypatch):
    monkeypatch.setattr("mmrag_pipeline.index.stored_rows._PAGE_ROWS", 100)
    monkeypatch.setattr("mmrag_pipeline.index.columns._BATCH_ROWS", 70)
    monkeypatch.setattr("mmrag_pipeline.index.stored_rows._IDS_A_CALL", 90)
    many = WATCHES.add({f"{number:05}.jpg": Item(f"thing {number}") for number in range(500)})
    assert sync(many).upserted == 504
    assert live_ids(milvus) == many.ids
    report = sync(many.without(*(f"{number:05}.jpg" for number in range(200))))
    assert (report.deleted, report.unchanged) == (200, 304)
    assert live_status(milvus).rows == 304
