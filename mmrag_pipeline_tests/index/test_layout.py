"""Index types, float16 and partition keys: each on what has it, and one sentence where it is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.layout import EXACT_ROWS, INDEXES, Layout, choose_layout
from mmrag_pipeline.index.milvus import MilvusConfig, connect
from mmrag_pipeline.index.rebuild import check_staged, publish, stage
from mmrag_pipeline.index.schema import CollectionInfo
from mmrag_pipeline.index.search import SearchRequest, search
from mmrag_pipeline.index.status import live_ids
from mmrag_pipeline_tests.index.library import BAGS, DIM, FINGERPRINT, NOW, WATCHES, FakeEncoder, Item

ENCODER = FakeEncoder()
MORE = BAGS.add({f"{number:03}.jpg": Item(f"thing {number}", title=f"Thing {number}") for number in range(100)})
DROPS = [WATCHES.rows, MORE.rows]
ON_LITE = {"FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8", "AUTOINDEX"}
ON_2_3 = {"FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8", "DISKANN", "AUTOINDEX"}


def night(milvus, *, drops=DROPS, now=NOW):
    """Stage, check and publish; returns what was staged."""
    staged = stage(milvus, drops=drops, fingerprint=FINGERPRINT, dim=DIM, now=now)
    failed = [check for check in check_staged(milvus, staged, drops, encode=ENCODER.encode_texts) if not check.passed]
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
    config = MilvusConfig(milvus_server.uri, milvus_server.token, alias="half", timeout_s=60, vectors="float16")
    with connect(config) as milvus:
        staged = night(milvus)
        assert milvus.live().layout == Layout("FLAT", "float16", "product_line")
        assert night(milvus).mode == "unchanged"
        gold = WATCHES.id_of("gold.jpg")
        expected = ENCODER.encode_texts(["golden watch"])[0]
        [page] = list(milvus.rows(staged.collection, ("embedding",), f'id == "{gold}"'))
        read = milvus.get(staged.collection, [gold], ("embedding",))[gold]["embedding"]
        for vector in (page[0]["embedding"], read):
            assert vector.dtype == np.float32
            np.testing.assert_allclose(vector, expected, atol=1e-3)
        hits = search(milvus, ENCODER, SearchRequest(text="golden watch", k=5, diversity=0.3))
        assert hits[0].path == "gold.jpg" and hits[0].score == pytest.approx(1, abs=1e-3)
    with connect(replace(config, vectors="float32")) as milvus:
        assert night(milvus).mode == "rebuild" and milvus.live().vectors == "float32"


def test_float16_needs_a_server(lite_config):
    with (
        pytest.raises(UserError, match="MMRAG_MILVUS_VECTORS=float16 needs a Milvus server"),
        connect(replace(lite_config, vectors="float16")),
    ):
        pass


def test_product_lines_are_kept_apart_on_a_server(milvus):
    night(milvus)
    fields = {field["name"]: field for field in milvus._client.describe_collection(milvus.live().name)["fields"]}
    assert bool(fields["product_line"].get("is_partition_key")) is not milvus.is_lite


def test_the_index_is_exact_while_that_is_fast():
    def index(rows):
        return choose_layout(rows, index="auto", vectors="float32", is_lite=False).index

    assert (index(0), index(EXACT_ROWS), index(EXACT_ROWS + 1)) == ("FLAT", "FLAT", "HNSW")
    assert choose_layout(10**9, index="DISKANN", vectors="float16", is_lite=False) == Layout(
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
