"""Bulk import on the packaged server: the same rows as streaming, never doubled, and a failed one changes nothing."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import replace

import pytest

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index import bulk
from mmrag_pipeline.index.bulk import Importer
from mmrag_pipeline.index.changes import compare
from mmrag_pipeline.index.milvus import MilvusConfig, connect
from mmrag_pipeline.index.rows import WantedRows
from mmrag_pipeline.index.schema import BUILDING
from mmrag_pipeline.index.status import live_ids
from mmrag_pipeline_tests.index.library import BAGS, WATCHES, Item
from mmrag_pipeline_tests.index.test_layout import first_path, night

pytestmark = [pytest.mark.milvus_server, pytest.mark.slow]

EXTRA = {"Preis (€)": 12.5, "quote\"'": "x\ny", "ok": True, "deep": {"a": [1]}}
MORE = BAGS.add(
    {f"{number:03}.jpg": Item(f"thing {number}", title=f"Ding ☃ {number}", tags=("a", "ü")) for number in range(100)}
    | {"odd.jpg": Item("odd", sku='x" or 1==1', extra=EXTRA)}
)
DROPS = [WATCHES, MORE]


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.fixture
def config(milvus_server, tmp_path, monkeypatch):
    monkeypatch.setattr(bulk, "_FILE_ROWS", 40)  # three jobs
    alias = f"t_{uuid.uuid4().hex[:12]}"
    folder = tmp_path / "import"
    return MilvusConfig(milvus_server.uri, milvus_server.token, alias=alias, timeout_s=60, import_folder=str(folder))


def is_the_library(milvus):
    wanted = {drop.key: WantedRows(drop.drop, drop.manifest) for drop in DROPS}
    changes = compare(milvus, milvus.live().name, wanted)
    assert not changes and milvus.count(milvus.live().name) == sum(map(len, wanted.values()))


def drops():
    return [drop.rows for drop in DROPS]


@contextmanager
def dying(monkeypatch, owner, name, number):
    """Killed before the `number`-th call (from 0) of the owner's function."""
    call, left = getattr(owner, name), number

    def counting(*args, **options):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return call(*args, **options)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, name, counting)
        yield


def test_imported_rows_are_those_of_the_manifests(config, tmp_path):
    with connect(config) as milvus:
        staged = night(milvus, drops=drops())
        assert staged.upserted == 108 and live_ids(milvus) == WATCHES.ids | MORE.ids
        is_the_library(milvus)
        assert first_path(milvus, "golden watch") == "gold.jpg"
        assert night(milvus, drops=drops()).mode == "unchanged"
    assert list((tmp_path / "import").iterdir()) == []


@pytest.mark.parametrize(("owner", "name", "number"), [(Importer, "_start", 2), (bulk, "settle", 0)])
def test_a_killed_import_is_gone_on_with_and_nothing_is_doubled(config, tmp_path, monkeypatch, owner, name, number):
    with connect(config) as milvus:
        with dying(monkeypatch, owner, name, number):
            night(milvus, drops=drops())
        [half_built] = milvus.collections()
        assert half_built.state == BUILDING and milvus.live() is None
        staged = night(milvus, drops=drops())
        # two files of 40 rows were on their way, or all
        assert staged.collection == half_built.name and staged.upserted == (28 if name == "_start" else 0)
        is_the_library(milvus)
    assert list((tmp_path / "import").iterdir()) == []


def test_a_lost_answer_starts_no_second_job(config, monkeypatch):
    start = bulk._start_job
    starts = []

    def deaf(client, collection, file, *, timeout):
        start(client, collection, file, timeout=timeout)
        starts.append(file)
        if len(starts) == 1:
            from pymilvus import MilvusException

            raise MilvusException(code=2, message="service unavailable: the answer got lost")

    monkeypatch.setattr(bulk, "_start_job", deaf)
    with connect(config) as milvus:
        night(milvus, drops=drops())
        is_the_library(milvus)
    assert len(starts) == len(set(starts)) == 3


@pytest.mark.parametrize("mended", [True, False])
def test_a_file_that_the_server_can_not_read_is_said_and_nothing_changes(config, monkeypatch, mended):
    after = config.import_folder if mended else None
    with connect(config) as milvus:
        night(milvus, drops=[WATCHES.rows])
        before = milvus.live().name
        with monkeypatch.context() as patch:
            patch.setattr(bulk, "_server_path", lambda file: "/nowhere/" + file.name)
            with pytest.raises(UserError, match="MMRAG_MILVUS_IMPORT") as refused:
                night(milvus, drops=drops())
        assert "\n" not in str(refused.value)
        assert milvus.live().name == before and live_ids(milvus) == WATCHES.ids
    with connect(replace(config, import_folder=after)) as milvus:  # as the sentence advises
        night(milvus, drops=drops())
        is_the_library(milvus)


@pytest.mark.parametrize(
    ("uri", "path"),
    [("s3://bucket/import/c/000000.parquet", "import/c/000000.parquet"), ("/data/import/c/x.parquet",) * 2],
)
def test_the_server_is_given_the_path_within_its_bucket(uri, path):
    from upath import UPath

    assert bulk._server_path(UPath(uri)) == path


def test_a_folder_that_can_not_be_written_is_said_before_anything_is_made(config, tmp_path):
    (tmp_path / "file").touch()
    with connect(replace(config, import_folder=str(tmp_path / "file" / "folder"))) as milvus:
        with pytest.raises(UserError, match=r"MMRAG_MILVUS_IMPORT=.* can't be written"):
            night(milvus, drops=drops())
        assert milvus.collections() == []
