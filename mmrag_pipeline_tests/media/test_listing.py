"""What a folder's listing says of each entry, and that it is never an old one."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from upath import UPath

from mmrag_pipeline.media import listing
from mmrag_pipeline.media.listing import is_folder, list_entries, list_folders, signature_of


def test_a_local_folder(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "b" / "deep" / "x.jpg").write_bytes(b"12345")
    (tmp_path / "a.txt").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    os.utime(tmp_path / "a.txt", ns=(5, 7))
    with open(os.fsencode(tmp_path) + b"/caf\xe9", "wb"):
        pass
    found = list_entries(UPath(tmp_path))
    assert [(entry.path, entry.size, entry.kind) for entry in found if entry.kind != "folder"] == [
        ("a.txt", 1, "file"),
        ("b/deep/x.jpg", 5, "file"),
        ("caf\udce9", 0, "file"),
        ("link", os.lstat(tmp_path / "link").st_size, "link"),
    ]
    assert [entry.path for entry in found if entry.kind == "folder"] == ["", "b", "b/deep"]
    entry = next(entry for entry in found if entry.path == "a.txt")
    assert (entry.mtime_ns, entry.changed_ns) == (7, os.stat(tmp_path / "a.txt").st_ctime_ns)
    assert list_folders(UPath(tmp_path)) == ["b", "link"]


def test_a_local_folder_that_is_missing_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        assert not is_folder(UPath(tmp_path / name))
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            list_entries(UPath(tmp_path / name))


def test_a_folder_that_goes_while_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b.jpg").touch()
    honest = os.scandir

    def scandir(path):
        if str(path).endswith("a"):
            os.rmdir(path)
        return honest(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [entry.path for entry in list_entries(UPath(tmp_path)) if entry.kind == "file"] == ["b.jpg"]


def test_a_store_of_objects() -> None:
    root = UPath("memory://bucket-of-test-listing/drop")
    for name in ("b/x.jpg", "a.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"123")
    found = list_entries(root)
    assert [(entry.path, entry.size, entry.kind) for entry in found] == [("a.jpg", 3, "file"), ("b/x.jpg", 3, "file")]
    assert all(entry.mtime_ns == entry.changed_ns > 0 for entry in found)
    assert list_folders(root) == ["b"]
    assert not is_folder(root / "nowhere")
    with pytest.raises(FileNotFoundError):
        list_entries(root / "nowhere")
    with pytest.raises(NotADirectoryError):
        list_entries(root / "a.jpg")


def test_a_store_that_fails_half_way_is_no_short_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec leaves out what it can't list: to us that would be a deletion."""
    from fsspec.implementations.memory import MemoryFileSystem
    from fsspec.spec import AbstractFileSystem

    root = UPath("memory://bucket-of-test-half-way/drop")
    for name in ("a/x.jpg", "b/x.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"123")
    honest = MemoryFileSystem.ls

    def ls(fs, path, detail=True, **options):
        if path.endswith("/b"):
            raise ConnectionResetError("gone")
        return honest(fs, path, detail=detail, **options)

    monkeypatch.setattr(MemoryFileSystem, "find", AbstractFileSystem.find)  # as in stores without a flat listing
    assert [entry.path for entry in list_entries(root)] == ["a/x.jpg", "b/x.jpg"]
    monkeypatch.setattr(MemoryFileSystem, "ls", ls)
    with pytest.raises(OSError, match="gone"):
        list_entries(root)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"LastModified": datetime(2026, 9, 1, tzinfo=UTC), "created": 5.0}, 1788220800_000_000_000),
        ({"updated": "2026-09-01T00:00:00.000001Z"}, 1788220800_000_001_000),  # Google
        ({"last_modified": datetime(2026, 9, 1, 2, tzinfo=timezone(timedelta(hours=2)))}, 1788220800_000_000_000),
        ({"mtime": 1.5}, 1_500_000_000),
        ({"mtime": datetime(1970, 1, 1, 0, 0, 1)}, 1_000_000_000),
        ({"mtime": "yesterday"}, 0),
        ({"mtime": None}, 0),
        ({}, 0),
    ],
)
def test_times_of_every_kind_of_store(info: dict, expected: int) -> None:
    assert listing._time_ns(info) == expected


def test_signature_is_of_files_only(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    before = signature_of(list_entries(UPath(tmp_path)))
    (tmp_path / "empty").mkdir()
    assert signature_of(list_entries(UPath(tmp_path))) == before
