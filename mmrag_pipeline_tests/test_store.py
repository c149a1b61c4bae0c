"""A file in the store is the old one or the whole new one."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.store import read_table, write_bytes, write_table
from mmrag_pipeline_tests.integration.small_disk import SmallDisk


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file_and_nothing_else(disk: SmallDisk) -> None:
    path = UPath(disk.folder) / "file"
    write_bytes(path, b"old")
    disk.fill(leave=8192)
    for target in (path, UPath(disk.folder) / "new" / "file"):
        with pytest.raises(UserError, match=f"no space is left to write {target}: make room"):
            write_bytes(target, bytes(100_000))
    assert path.read_bytes() == b"old"
    assert {child.name for child in disk.folder.rglob("*") if child.is_file()} == {"file", ".ballast"}
    disk.make_room()
    write_bytes(path, bytes(100_000))
    assert path.stat().st_size == 100_000


def test_a_write_that_fails_otherwise_keeps_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = UPath(tmp_path) / "file"
    write_bytes(path, b"old")

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [child.name for child in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("root", ["local", "memory"])
def test_a_table_comes_back_from_local_and_remote_stores(root: str, tmp_path: Path) -> None:
    folder = UPath(tmp_path) if root == "local" else UPath("memory:///store-test")
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    write_table(folder / "deep" / "table.parquet", table)
    assert read_table(folder / "deep" / "table.parquet").equals(table)


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    table = pa.table({"a": list(range(1000))})
    for name in ("one", "two"):
        write_table(UPath(tmp_path) / name, table)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2)])
def test_vectors_are_stored_as_they_are_and_the_rest_is_packed(kind: pa.DataType, tmp_path: Path) -> None:
    table = pa.table(
        {"id": ["a"] * 1000, "tags": [["x"]] * 1000, "vector": pa.array([[0.5, 0.25]] * 1000, kind), "size": [1] * 1000}
    )
    path = UPath(tmp_path) / "vectors.parquet"
    write_table(path, table)
    assert read_table(path).equals(table)
    columns = {
        column.path_in_schema: column
        for column in map(pq.ParquetFile(path).metadata.row_group(0).column, range(table.num_columns))
    }
    assert {path: (column.compression, column.has_dictionary_page) for path, column in columns.items()} == {
        "id": ("ZSTD", True),
        "tags.list.element": ("ZSTD", True),
        "vector.list.element": ("UNCOMPRESSED", False),
        "size": ("ZSTD", True),
    }
