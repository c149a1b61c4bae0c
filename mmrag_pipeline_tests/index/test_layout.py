"""Index types, float16 and partition keys: each on what has it, and one sentence where it is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.changes import apply, everything, gather_for
from mmrag_pipeline.index.layout import EXACT_ROWS, INDEXES, Layout, choose_layout
from mmrag_pipeline.index.milvus import MilvusConfig, connect
from mmrag_pipeline.index.rebuild import check_staged, publish, stage
from mmrag_pipeline.index.rows import WantedRows
from mmrag_pipeline.index.schema import CollectionInfo
from mmrag_pipeline.index.search import SearchRequest, search
from mmrag_pipeline.index.status import live_ids
from mmrag_pipeline.index.sync import sync_drop
from mmrag_pipeline_tests.index.library import BAGS, DIM, FINGERPRINT, NOW, WATCHES, FakeEncoder, Item

ENCODER = FakeEncoder()
MORE = BAGS.add({f"{number:03}.jpg": Item(f"thing {number}", title=f"Thing {number}") for number in range(100)})
DROPS = [WATCHES.rows, MORE.rows]
ON_LITE = {"FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8", "AUTOINDEX"}
ON_2_3 = {"FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8", "DISKANN", "AUTOINDEX"}


def night(milvus, *, drops=DROPS, now=NOW, encoder=ENCODER):
    """Stage, check and publish; returns what was staged."""
    staged = stage(milvus, drops=drops, fingerprint=encoder.fingerprint, dim=encoder.dim, now=now)
    failed = [check for check in check_staged(milvus, staged, drops, encode=encoder.encode_texts) if not check.passed]
    assert not failed
    publish(milvus, staged, now=now)
    return staged


def first_path(milvus, text):
    return search(milvus, ENCODER, SearchRequest(text=text, k=1))[0].path


@pytest.mark.parametrize("index", sorted(INDEXES))
def test_every_index_type_finds_or_is_refused_in_a_sentence(milvus_config, index):
    config = replace(milvus_config, index=index)
    if index in (ON_LITE if config.is_lite else ON_2_3):
        with connect(config) as milvus:
            assert milvus.info(night(milvus).collection).index == index
            assert first_path(milvus, "golden watch") == "gold.jpg"
            return
    with pytest.raises(UserError, match="MMRAG_MILVUS_INDEX") as refused, connect(config) as milvus:
        night(milvus)
    assert index in str(refused.value) and "\n" not in str(refused.value)
    with connect(milvus_config) as milvus:
        assert milvus.collections() == [] and milvus.live() is None


def test_a_change_of_the_index_is_made_by_the_next_night(milvus_config):
    with connect(milvus_config) as milvus:
        before = night(milvus)
        assert night(milvus).mode == "unchanged"
    with connect(replace(milvus_config, index="HNSW")) as milvus:
        after = night(milvus)
        assert after.mode == "rebuild" and after.collection != before.collection
        assert milvus.live().index == "HNSW" and live_ids(milvus) == WATCHES.ids | MORE.ids
        assert night(milvus).mode == "unchanged"


@pytest.mark.slow
@pytest.mark.milvus_server
def test_float16_vectors_on_a_server(milvus_server):
    encoder = FakeEncoder(dim=64)  # below 32 dimensions Milvus 2.3.5 computes wrong cosines of float16
    drops = [drop.embedded_by(encoder).rows for drop in (WATCHES, MORE)]
    config = MilvusConfig(milvus_server.uri, milvus_server.token, alias="half", timeout_s=60, vectors="float16")
    with connect(config) as milvus:
        staged = night(milvus, drops=drops, encoder=encoder)
        assert milvus.live().layout == Layout("FLAT", "float16")
        assert night(milvus, drops=drops, encoder=encoder).mode == "unchanged"
        gold = WATCHES.id_of("gold.jpg")
        expected = encoder.encode_texts(["golden watch"])[0]
        [page] = list(milvus.rows(staged.collection, ("embedding",), f'id == "{gold}"'))
        read = milvus.get(staged.collection, [gold], ("embedding",))[gold]["embedding"]
        for vector in (page[0]["embedding"], read):
            assert vector.dtype == np.float32
            np.testing.assert_allclose(vector, expected, atol=1e-3)
        hits = search(milvus, encoder, SearchRequest(text="golden watch", k=5, diversity=0.3))
        assert hits[0].path == "gold.jpg" and hits[0].score == pytest.approx(1, abs=1e-3)
    with connect(replace(config, vectors="float32")) as milvus:
        assert night(milvus, drops=drops, encoder=encoder).mode == "rebuild" and milvus.live().vectors == "float32"


@pytest.mark.slow
@pytest.mark.milvus_server
def test_a_server_that_computes_wrong_cosines_is_found_out(milvus_server):
    config = MilvusConfig(milvus_server.uri, milvus_server.token, alias="wrong", timeout_s=60, vectors="float16")
    with connect(config) as milvus:
        staged = stage(milvus, drops=DROPS, fingerprint=FINGERPRINT, dim=DIM, now=NOW)
        checks = check_staged(milvus, staged, DROPS, encode=ENCODER.encode_texts)
        assert [check.name for check in checks if not check.passed] == ["self_search"]


def test_float16_needs_a_server(lite_config):
    with (
        pytest.raises(UserError, match="MMRAG_MILVUS_VECTORS=float16 needs a Milvus server"),
        connect(replace(lite_config, vectors="float16")),
    ):
        pass


def test_product_lines_are_kept_apart_where_upserts_keep_to_it(milvus_config):
    """Milvus 2.3.5 puts upserted rows into wrong partitions: a check sees it, and by itself it gets no such key."""
    with connect(milvus_config) as milvus:
        night(milvus)
        assert milvus.live().partition_key == ""
        milvus._version = "v3.0.2"  # as if
        staged = stage(milvus, drops=DROPS, fingerprint=FINGERPRINT, dim=DIM, now=NOW)
        assert staged.mode == "rebuild" and milvus.info(staged.collection).partition_key == "product_line"
        fields = {field["name"]: field for field in milvus._client.describe_collection(staged.collection)["fields"]}
        assert fields["product_line"]["is_partition_key"]
        wanted = {source.drop.key: WantedRows(source.drop, source.manifest) for source in DROPS}
        vectors = {
            source.drop.key: gather_for(
                wanted[source.drop.key], range(len(wanted[source.drop.key])), source.vectors(), dim=DIM,
                fingerprint=FINGERPRINT,
            )
            for source in DROPS
        }  # fmt: skip
        apply(milvus, staged.collection, everything(wanted), wanted, vectors.__getitem__)  # upserts, as a sync does
        checks = check_staged(milvus, staged, DROPS, encode=ENCODER.encode_texts)
        assert [check.name for check in checks if not check.passed] == ([] if milvus.is_lite else ["rows"])
        if milvus.is_lite:  # which has partition keys that hold
            publish(milvus, staged, now=NOW)
            assert night(milvus).mode == "unchanged"
            sync_drop(
                milvus, drop=MORE.drop, manifest=BAGS.manifest, vectors=BAGS.batches(), fingerprint=FINGERPRINT,
                dim=DIM, now=NOW,
            )  # fmt: skip
            assert live_ids(milvus) == WATCHES.ids | BAGS.ids


@pytest.mark.parametrize(
    ("version", "kept"),
    [
        ("v2.3.5-lite", False), ("2.4.1", False), ("v2.4.5", True), ("2.6.22", True), ("v3.0.0", True), (None, False),
        ("Zilliz Cloud Vector Database (Compatible with Milvus 2.5)", True), ("unknown", False),
    ],
)  # fmt: skip
def test_partition_keys_by_version(version, kept):
    layout = choose_layout(1, index="auto", vectors="float32", server=version)
    assert layout.partition_key == ("product_line" if kept else "")


def test_the_index_is_exact_while_that_is_fast():
    def index(rows):
        return choose_layout(rows, index="auto", vectors="float32", server=None).index

    assert (index(0), index(EXACT_ROWS), index(EXACT_ROWS + 1)) == ("FLAT", "FLAT", "HNSW")
    assert choose_layout(10**9, index="DISKANN", vectors="float16", server="3.0.0") == Layout(
        "DISKANN", "float16", "product_line"
    )


def test_a_collection_of_an_earlier_version_has_the_layout_of_then():
    made = CollectionInfo(
        name="c", alias="a", fingerprint="f", dim=4, schema_version=1, index="HNSW", state="published",
        created_at="", published_at="", vectors="float16", partition_key="product_line",
    )  # fmt: skip
    properties = made.to_properties()
    assert CollectionInfo.from_properties("c", properties) == made
    del properties["mmrag.vectors"], properties["mmrag.partition_key"]
    assert CollectionInfo.from_properties("c", properties).layout == Layout("HNSW")
    del properties["mmrag.index"]
    assert CollectionInfo.from_properties("c", properties) is None


def test_the_setting_knows_every_index():
    from typing import get_args

    from mmrag_pipeline.settings import Settings

    assert get_args(Settings.model_fields["milvus_index"].annotation) == ("auto", *INDEXES)


def test_another_run_that_took_over_a_half_built_collection_is_noticed(milvus_config, monkeypatch):
    """Two nights at once: the one that was believed dead publishes nothing."""
    with connect(milvus_config) as slow, connect(milvus_config) as other:
        upsert = slow.upsert

        def overtaken(name, rows, **options):
            monkeypatch.undo()
            assert night(other, drops=[WATCHES.rows]).collection == name
            return upsert(name, rows, **options)

        monkeypatch.setattr(slow, "upsert", overtaken)
        with pytest.raises(UserError, match="another run has taken over"):
            night(slow)
        assert live_ids(other) == WATCHES.ids and other.count(other.live().name) == len(WATCHES.ids)
