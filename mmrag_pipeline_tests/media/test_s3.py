"""A library in a bucket, through s3fs, against a real server that speaks S3."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from mmrag_pipeline.errors import Unavailable, UserError
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.listing import Entry, signature_of
from mmrag_pipeline.media.manifest_store import ManifestStore
from mmrag_pipeline.media.pictures import load_picture
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.media.scan import ScanReport, scan_drop
from mmrag_pipeline.store import Store
from mmrag_pipeline_tests.integration.s3_server import Bucket, s3_server
from mmrag_pipeline_tests.media.conftest import DROP, NOW, rows, save

pytest.importorskip("moto", reason="needs moto[server], of the dev extra")
s3fs = pytest.importorskip("s3fs", reason="needs s3fs, of the s3 extra")
S3FileSystem = s3fs.S3FileSystem
PREFIX = f"library/{DROP.product_line}/{DROP.name}"


@pytest.fixture(scope="module")
def server() -> Iterator:
    with s3_server() as client:
        yield client


@pytest.fixture
def bucket(server) -> Bucket:
    name = f"brand-{uuid4().hex[:12]}"
    server.create_bucket(Bucket=name)
    return Bucket(server, name)


@pytest.fixture
def library(bucket: Bucket) -> MediaLibrary:
    """One object for the whole test, as in a sensor that lives for weeks."""
    return MediaLibrary(f"{bucket.uri}/library")


@pytest.fixture
def scan(library: MediaLibrary) -> Callable[..., ScanReport]:
    def run(previous: ScanReport | None = None, **options) -> ScanReport:
        table = previous.table if previous else None
        return scan_drop(library, DROP, **{"previous": table, "limits": Limits(), "now": NOW, **options})

    return run


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Path]:
    """Four pictures of different sizes, on disk."""
    colours = ("red", "green", "blue", "white")
    return {name: save(tmp_path / f"{name}.png", name, (40 + 9 * i, 50)) for i, name in enumerate(colours)}


def test_new_drops_are_seen_by_a_library_that_has_listed_before(bucket: Bucket, library: MediaLibrary) -> None:
    bucket.put(f"{PREFIX}/a.png", b"x" * 20)
    bucket.put("library/Bad Line/x/a.png", b"x")
    bucket.put("library/.trash/x/a.png", b"x")
    bucket.put("library/readme.txt", b"no folder")
    listing = library.drops()
    assert (listing.drops, listing.malformed) == ([DROP], ["Bad Line/x"])
    first = signature_of(library.entries(DROP))
    assert signature_of(library.entries(DROP)) == first

    bucket.put(f"{PREFIX}/b.png", b"y")
    bucket.put("library/bags/2026-10/a.png", b"z")
    assert Drop("bags", "2026-10") in library.drops().drops
    assert [entry.path for entry in library.files(DROP)] == ["a.png", "b.png"]
    assert signature_of(library.entries(DROP)) != first

    bucket.delete(f"{PREFIX}/b.png")
    bucket.delete("library/bags/2026-10/a.png")
    assert library.drops().drops == [DROP]
    assert signature_of(library.entries(DROP)) == first


def test_a_drop_is_scanned_and_a_rescan_reads_nothing(
    bucket: Bucket, scan: Callable[..., ScanReport], pictures: dict[str, Path]
) -> None:
    bucket.put(f"{PREFIX}/", b"")  # how consoles draw folders
    bucket.put(f"{PREFIX}/deep/", b"")
    bucket.put(f"{PREFIX}/deep/red bag+1%.png", pictures["red"])
    bucket.put(f"{PREFIX}/grün 🎒.png", pictures["green"])
    bucket.put(f"{PREFIX}/empty.png", b"")
    bucket.put(f"{PREFIX}/a//b.png", pictures["blue"])
    bucket.put(f"{PREFIX}/metadata.csv", b"path,sku\ndeep/red bag+1%.png,R-1\ngone.png,G-1\n")
    first = scan()
    found = rows(first)
    assert {path: (row["status"], row["reason"]) for path, row in found.items()} == {
        "a//b.png": ("quarantined", "bad_name"),
        "deep/red bag+1%.png": ("ok", ""),
        "empty.png": ("quarantined", "empty_or_not_an_image"),
        "grün 🎒.png": ("ok", ""),
        "metadata.csv": ("ignored", "catalogue"),
    }
    row = found["deep/red bag+1%.png"]
    assert row["content_id"] == hashlib.sha256(pictures["red"].read_bytes()).hexdigest()
    assert row["mtime_ns"] == bucket.last_modified_ns(f"{PREFIX}/deep/red bag+1%.png")
    assert row["sku"] == "R-1"
    again = scan(first)
    assert (again.hashed, again.changed) == (0, False)
    assert again.problems == first.problems and "gone.png" in again.problems[0]


def test_only_what_changed_is_read(
    bucket: Bucket, scan: Callable[..., ScanReport], pictures: dict[str, Path], tmp_path: Path
) -> None:
    for name, picture in pictures.items():
        bucket.put(f"{PREFIX}/{name}.png", picture)
    first = scan()
    assert first.hashed == 4
    bucket.put(f"{PREFIX}/red.png", save(tmp_path / "other.png", "#123456", (90, 70)))
    bucket.delete(f"{PREFIX}/green.png")
    bucket.rename(f"{PREFIX}/blue.png", f"{PREFIX}/deep/navy.png")
    second = scan(first)
    assert second.hashed == 2  # the changed object and the new name
    assert list(rows(second)) == ["deep/navy.png", "red.png", "white.png"]
    assert rows(second)["red.png"]["width"] == 90
    assert rows(second)["deep/navy.png"]["content_id"] == rows(first)["blue.png"]["content_id"]
    assert scan(second).hashed == 0


def test_a_video_in_a_bucket_has_the_keyframes_that_it_has_on_disk(
    bucket: Bucket, scan: Callable[..., ScanReport], shared_data: Path, tmp_path: Path
) -> None:
    video = shared_data / "videos" / "aba_with_black.mp4"
    bucket.put(f"{PREFIX}/b.mp4", video)
    local = tmp_path / "local" / DROP.product_line / DROP.name
    local.mkdir(parents=True)
    shutil.copy(video, local)
    on_disk = scan_drop(MediaLibrary(str(tmp_path / "local")), DROP, previous=None, limits=Limits(), now=NOW)
    columns = ["content_id", "frame_ms", "width", "height", "status"]
    assert scan().table.select(columns).equals(on_disk.table.select(columns))


def test_manifests_live_in_a_bucket_and_their_pictures_open(
    bucket: Bucket, library: MediaLibrary, scan: Callable[..., ScanReport], pictures: dict[str, Path]
) -> None:
    bucket.put(f"{PREFIX}/deep/red.png", pictures["red"])
    manifests = ManifestStore(Store(f"{bucket.uri}/store"))
    assert manifests.find(DROP.key) is None and manifests.drops() == []
    first = scan()
    manifests.write(DROP.key, first.table)
    assert ManifestStore(Store(f"{bucket.uri}/store")).drops() == [DROP.key]
    stored = manifests.read(DROP.key)
    assert stored.equals(first.table, check_metadata=True)
    assert not scan(first).changed
    (row,) = stored.to_pylist()
    assert load_picture(library.folder(DROP), row["path"], None, Limits()).size == (40, 50)


def test_manifests_that_another_process_writes_are_seen(bucket: Bucket, tmp_path: Path) -> None:
    manifests = ManifestStore(Store(f"{bucket.uri}/store"))
    tables = [pa.table({"path": ["x" * 1000 * length for length in range(number)]}) for number in (2, 9)]
    for number, table in enumerate(tables):
        pq.write_table(table, tmp_path / "m.parquet", compression="none", use_dictionary=False)
        bucket.put(f"store/manifests/drop-{number}.parquet", tmp_path / "m.parquet")
        bucket.put("store/manifests/drop-0.parquet", tmp_path / "m.parquet")
        assert manifests.drops() == [f"drop-{known}" for known in range(number + 1)]
        assert manifests.read("drop-0").equals(table)


def test_an_object_that_is_replaced_while_it_is_fetched_is_read_again_next_time(
    bucket: Bucket, scan: Callable[..., ScanReport], pictures: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put(f"{PREFIX}/a.png", pictures["red"])
    bucket.put(f"{PREFIX}/b.png", pictures["blue"])
    honest = MediaLibrary.files

    def too_early(library: MediaLibrary, drop: Drop) -> list[Entry]:
        listed = honest(library, drop)
        bucket.put(f"{PREFIX}/a.png", pictures["white"].read_bytes() + b"more")
        bucket.delete(f"{PREFIX}/b.png")
        return listed

    monkeypatch.setattr(MediaLibrary, "files", too_early)
    first = scan()
    assert {path: (row["reason"], row["content_id"]) for path, row in rows(first).items()} == {
        "a.png": ("unfinished", None),
        "b.png": ("unreadable", None),
    }
    monkeypatch.setattr(MediaLibrary, "files", honest)
    second = scan(first)
    assert {path: row["status"] for path, row in rows(second).items()} == {"a.png": "ok"}


def test_nothing_fetched_is_left_behind(
    bucket: Bucket, scan: Callable[..., ScanReport], pictures: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    bucket.put(f"{PREFIX}/a.png", pictures["red"])

    def stop(done: int, total: int) -> None:
        assert os.listdir(scratch) or done == 0
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(progress=stop)
    assert os.listdir(scratch) == []


def test_missing_places_say_what_to_do(bucket: Bucket, library: MediaLibrary) -> None:
    with pytest.raises(UserError, match="set MMRAG_MEDIA"):
        MediaLibrary("s3://no-such-bucket-of-ours/library").drops()
    with pytest.raises(UserError, match="set MMRAG_MEDIA"):
        library.drops()
    bucket.put("library/readme.txt", b"x")
    with pytest.raises(UserError, match="holds no drop"):
        library.drops()
    with pytest.raises(UserError, match="has no folder"):
        library.files(DROP)


def test_a_store_that_does_not_answer_is_said_in_a_sentence(server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # discard; nothing listens there
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    S3FileSystem.clear_instance_cache()
    try:
        with pytest.raises(UserError, match="endpoint reachable"):
            MediaLibrary("s3://brand/library").drops()
    finally:
        S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("needs", ["get_file", "open"])  # for a picture, for the catalogue
def test_a_store_that_falls_silent_is_no_verdict_on_a_file(
    needs: str, bucket: Bucket, library: MediaLibrary, scan: Callable[..., ScanReport], pictures: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from botocore.exceptions import EndpointConnectionError

    def silent(*args, **options):
        raise EndpointConnectionError(endpoint_url="http://the.store")

    bucket.put(f"{PREFIX}/a.png", pictures["red"])
    bucket.put(f"{PREFIX}/metadata.csv", b"path,sku\na.png,S-1\n")
    monkeypatch.setattr(UPath(library.root).fs, needs, silent)
    with pytest.raises(Unavailable, match="is the store's endpoint reachable"):
        scan()
    monkeypatch.setattr(UPath(library.root).fs, "open", silent)
    with pytest.raises(Unavailable, match="is the store's endpoint reachable"):
        load_picture(library.folder(DROP), "a.png", None, Limits())


def test_credentials_that_expire_lose_no_drop(
    bucket: Bucket,
    library: MediaLibrary,
    scan: Callable[..., ScanReport],
    pictures: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(9):
        bucket.put(f"{PREFIX}/{number}.png", pictures["red"].read_bytes() + bytes(number))

    def refused(*args, **options):
        raise PermissionError("The provided token has expired.")

    with monkeypatch.context() as without:
        without.setattr(UPath(library.root).fs, "get_file", refused)
        with pytest.raises(Unavailable, match=r"9 of the 9 files .* token has expired"):
            scan()
        bucket.delete(f"{PREFIX}/8.png")
        bucket.delete(f"{PREFIX}/7.png")
        assert {row["reason"] for row in rows(scan()).values()} == {"unreadable"}  # few files: a row each
    assert scan().counts["quarantined"] == 0


def test_the_signature_of_a_bucket_needs_one_request(bucket: Bucket, library: MediaLibrary) -> None:
    for number in range(30):
        bucket.put(f"{PREFIX}/{number}/{number}.png", b"x")
    fs = UPath(library.root).fs
    honest, calls = fs._call_s3, []

    async def counted(method, *args, **options):
        calls.append(method)
        return await honest(method, *args, **options)

    fs._call_s3 = counted
    try:
        signature_of(library.entries(DROP))
    finally:
        del fs._call_s3
    assert len(calls) <= 1
