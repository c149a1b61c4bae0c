"""A drop's manifest: every file a row, nothing read twice, nothing lost in silence."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Collection
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from upath import UPath

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media import manifest
from mmrag_pipeline.media.decode import Limits
from mmrag_pipeline.media.library import MediaLibrary
from mmrag_pipeline.media.manifest import MANIFEST_SCHEMA, media_id
from mmrag_pipeline.media.probe import Known, Probe, probe_file
from mmrag_pipeline.media.scan import ScanReport, scan_drop
from mmrag_pipeline.store import read_table, write_table
from mmrag_pipeline_tests.media.conftest import DROP, NOW, overwrite_unseen, rows, save

Scan = Callable[..., ScanReport]


def test_a_first_scan(folder: Path, scan: Scan) -> None:
    picture = save(folder / "a" / "watch.jpg")
    (folder / "notes.txt").write_text("not a picture at all")
    (folder / "_READY").touch()
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / ".cache").mkdir()
    save(folder / ".cache" / "thumb.png")
    progress: list[tuple[int, int]] = []
    report = scan(progress=lambda done, total: progress.append((done, total)))
    found = rows(report)
    assert {path: (row["status"], row["reason"]) for path, row in found.items()} == {
        ".DS_Store": ("ignored", "hidden"),
        ".cache/thumb.png": ("ignored", "hidden"),
        "_READY": ("ignored", "marker"),
        "a/watch.jpg": ("ok", ""),
        "notes.txt": ("quarantined", "not_an_image"),
    }
    row = found["a/watch.jpg"]
    assert row["content_id"] == hashlib.sha256(picture.read_bytes()).hexdigest()
    assert row["media_id"] == media_id(DROP.key, "a/watch.jpg", None)
    assert (row["bytes"], row["mtime_ns"]) == (picture.stat().st_size, picture.stat().st_mtime_ns)
    assert (row["format"], row["width"], row["height"], row["frames"]) == ("jpeg", 64, 48, 1)
    assert (row["frame_ms"], row["first_seen"], row["sku"], row["tags"]) == (None, NOW, "", [])
    assert report.table.schema.equals(MANIFEST_SCHEMA)
    assert report.counts == {"ok": 1, "duplicate": 0, "quarantined": 1, "ignored": 3}
    assert (report.hashed, report.changed, report.problems) == (2, True, [])
    assert progress[0] == (3, 5) and progress[-1] == (5, 5)


def test_media_ids_do_not_change() -> None:
    """They are primary keys in collections that outlive a release."""
    assert media_id("lunar__2026-09", "a.jpg", None) == "d0c29beed257ba223ffa92000a20e51d"
    assert media_id("lunar__2026-09", "v.mp4", 0) == "e9dabd4626dfd07bab8f8351523f49d3"


def test_unchanged_files_are_not_read_again(folder: Path, scan: Scan, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "broken.jpg"):
        save(folder / name)
    (folder / "broken.jpg").write_bytes((folder / "broken.jpg").read_bytes()[:300])
    first = scan()
    for path in folder.iterdir():
        overwrite_unseen(path)
    write_table(UPath(tmp_path / "m.parquet"), first.table)
    again = scan(previous=read_table(UPath(tmp_path / "m.parquet")), now=NOW + timedelta(days=1))
    assert again.table.equals(first.table)
    assert (again.hashed, again.changed) == (0, False)


def test_a_changed_file_is_read_and_keeps_its_first_seen(folder: Path, scan: Scan) -> None:
    save(folder / "a.png", "red")
    save(folder / "b.png", "blue")
    first = scan()
    save(folder / "a.png", "green", size=(90, 70))
    later = NOW + timedelta(days=1)
    save(folder / "c.png", "white")
    second = scan(previous=first.table, now=later)
    found = rows(second)
    assert (second.hashed, second.changed) == (2, True)
    assert (found["a.png"]["width"], found["a.png"]["first_seen"]) == (90, NOW)
    assert found["c.png"]["first_seen"] == later
    assert found["a.png"]["content_id"] != rows(first)["a.png"]["content_id"]
    assert found["a.png"]["media_id"] == rows(first)["a.png"]["media_id"]


def test_a_moved_file_keeps_its_content_id(folder: Path, scan: Scan) -> None:
    save(folder / "a.png", "red")
    first = scan()
    (folder / "deep").mkdir()
    (folder / "a.png").rename(folder / "deep" / "z.png")
    second = scan(previous=first.table)
    assert list(rows(second)) == ["deep/z.png"]
    assert rows(second)["deep/z.png"]["content_id"] == rows(first)["a.png"]["content_id"]


def test_the_same_drop_gives_the_same_table(folder: Path, scan: Scan) -> None:
    for number in range(12):
        save(folder / f"{number % 3}" / f"{number}.png", size=(40 + number % 5, 40))
    assert scan().table.equals(scan().table, check_metadata=True)


def test_limits_that_change_the_verdict_are_applied_to_old_files(folder: Path, scan: Scan) -> None:
    save(folder / "small.png", size=(40, 40))
    save(folder / "large.png", size=(400, 400))
    first = scan()
    strict = scan(previous=first.table, limits=Limits(min_side=100))
    assert rows(strict)["small.png"]["reason"] == "too_small"
    assert strict.changed and strict.hashed == 2
    assert rows(scan(previous=strict.table))["small.png"]["status"] == "ok"


def test_of_equal_files_the_smallest_path_stays(folder: Path, scan: Scan) -> None:
    save(folder / "b.png")
    first = scan()
    shutil.copy(folder / "b.png", folder / "c.png")
    second = scan(previous=first.table)
    assert rows(second)["c.png"]["status"] == "duplicate"
    assert rows(second)["c.png"]["detail"] == "same bytes as b.png"
    shutil.copy(folder / "b.png", folder / "a.png")
    third = scan(previous=second.table)
    assert {path: row["status"] for path, row in rows(third).items()} == {
        "a.png": "ok", "b.png": "duplicate", "c.png": "duplicate"
    }  # fmt: skip
    assert third.hashed == 1
    (folder / "a.png").unlink()
    (folder / "b.png").unlink()
    overwrite_unseen(folder / "c.png")
    last = scan(previous=third.table)
    assert rows(last)["c.png"]["status"] == "ok" and last.hashed == 0


def test_a_video_has_a_row_for_each_keyframe(folder: Path, scan: Scan, shared_data: Path) -> None:
    shutil.copyfile(shared_data / "videos" / "aba_with_black.mp4", folder / "b.mp4")
    shutil.copyfile(shared_data / "videos" / "aba_with_black.mp4", folder / "copy.mp4")
    (folder / "metadata.csv").write_text("path,sku\nb.mp4,V-1\n")
    first = scan()
    frames = [row for row in first.table.to_pylist() if row["path"] == "b.mp4"]
    assert len(frames) == 3
    digest = hashlib.sha256((folder / "b.mp4").read_bytes()).hexdigest()
    for row in frames:
        assert row["content_id"] == f"{digest}#{row['frame_ms']}"
        assert row["media_id"] == media_id(DROP.key, "b.mp4", row["frame_ms"])
        assert (row["status"], row["media_type"], row["sku"]) == ("ok", "video", "V-1")
    copies = [row for row in first.table.to_pylist() if row["path"] == "copy.mp4"]
    assert [(row["status"], row["frame_ms"], row["content_id"]) for row in copies] == [("duplicate", None, digest)]
    (folder / "b.mp4").unlink()  # the copy takes over, its frames known without decoding
    overwrite_unseen(folder / "copy.mp4")
    second = scan(previous=first.table)
    taken_over = [row for row in second.table.to_pylist() if row["path"] == "copy.mp4"]
    assert [row["frame_ms"] for row in taken_over] == [row["frame_ms"] for row in frames]
    assert second.hashed == 0


def test_rows_are_sorted(folder: Path, scan: Scan, shared_data: Path) -> None:
    shutil.copyfile(shared_data / "videos" / "promo_cuts_16x9.mp4", folder / "m.mp4")
    for name in ("z.png", "a.png", "Ä.png", "B.png"):
        save(folder / name, size=(40 + ord(name[0]) % 50, 50))
    keys = [(row["path"], row["frame_ms"] or 0) for row in scan().table.to_pylist()]
    assert keys == sorted(keys) and len(keys) > 8


def test_links_do_not_lead_out_of_the_drop(folder: Path, scan: Scan, tmp_path: Path) -> None:
    secret = save(tmp_path / "secret.png")
    save(folder / "real.png")
    (folder / "out.png").symlink_to(secret)
    (folder / "in.png").symlink_to(folder / "real.png")
    (folder / "folder").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder)
    (folder / "sub").mkdir()
    (folder / "sub" / "inside").symlink_to(folder / "sub")
    (folder / "nowhere.png").symlink_to(folder / "gone.png")
    found = {path: (row["status"], row["reason"]) for path, row in rows(scan()).items()}
    assert found == {
        "folder": ("quarantined", "outside_drop"),
        "in.png": ("ok", ""),
        "loop": ("quarantined", "outside_drop"),
        "nowhere.png": ("quarantined", "unreadable"),
        "out.png": ("quarantined", "outside_drop"),
        "real.png": ("duplicate", "duplicate"),
        "sub/inside": ("ignored", "folder_link"),
    }


def test_a_link_is_followed_anew_though_nothing_in_the_drop_has_changed(
    folder: Path, scan: Scan, tmp_path: Path
) -> None:
    (folder / "sub").mkdir()
    hop = tmp_path / "hop"
    hop.symlink_to(folder / "sub")
    (folder / "link").symlink_to(hop)
    first = scan()
    assert rows(first)["link"]["reason"] == "folder_link"
    assert not scan(previous=first.table).changed
    hop.unlink()
    hop.symlink_to(tmp_path)
    assert rows(scan(previous=first.table))["link"]["reason"] == "outside_drop"


def growing_probe(file: str, limits: Limits, known: Collection[str]) -> Probe | Known:
    """Somebody is still writing the file while it is read."""
    found = probe_file(file, limits, known)
    if "grows" in file:
        with open(file, "ab") as stream:
            stream.write(b"more")
    return found


def test_a_file_that_changes_while_it_is_read_is_read_again_next_time(folder: Path, scan: Scan) -> None:
    save(folder / "grows.png", "red")
    save(folder / "still.png", "blue")
    before = scan()
    save(folder / "grows.png", "green", size=(70, 70))
    first = scan(previous=before.table, probe=growing_probe)
    row = rows(first)["grows.png"]
    assert (row["status"], row["reason"], row["content_id"]) == ("quarantined", "unfinished", None)
    assert "read again next time" in row["detail"]
    assert rows(first)["still.png"]["status"] == "ok"
    second = scan(previous=first.table)
    assert (rows(second)["grows.png"]["status"], second.hashed) == ("ok", 1)


def test_files_that_are_being_rewritten_are_not_lost(folder: Path, scan: Scan) -> None:
    save(folder / "grows.png", "red")
    before = scan()
    save(folder / "grows.png", "green", size=(70, 70))
    assert rows(scan(previous=before.table, probe=growing_probe))["grows.png"]["reason"] == "unfinished"


def test_copies_that_only_look_alike_stay_ok_and_say_so(folder: Path, scan: Scan, shared_data: Path) -> None:
    source = shared_data / "hostile" / "duplicates"
    for name in ("a.jpg", "a_meta_only.jpg", "a_reencoded.jpg"):
        shutil.copyfile(source / name, folder / name)
    save(folder / "other.png")
    first = scan()
    alike = {path: (row["status"], row["reason"], row["detail"]) for path, row in rows(first).items() if row["reason"]}
    assert len(alike) == 2
    (keeper,) = {"a.jpg", "a_meta_only.jpg", "a_reencoded.jpg"} - alike.keys()
    assert set(alike.values()) == {("ok", "near_duplicate", f"looks like {keeper}")}
    assert all(row["look"] for path, row in rows(first).items() if path != "other.png")
    (folder / keeper).unlink()  # the next best takes over, and nothing is read for it
    second = scan(previous=first.table)
    assert second.hashed == 0
    alike = {path: row["reason"] for path, row in rows(second).items()}
    assert sorted(alike.values()) == ["", "", "near_duplicate"]


def test_other_decoders_get_another_try_at_what_failed_and_at_nothing_else(
    folder: Path, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(folder / "good.png")
    (folder / "broken.jpg").write_bytes(save(folder / "x.jpg").read_bytes()[:300])
    (folder / "x.jpg").unlink()
    (folder / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "notes.txt").write_text("not a picture at all")
    first = scan()
    assert rows(first)["broken.jpg"]["reason"] == "decode_error"
    assert scan(previous=first.table).hashed == 0

    monkeypatch.setattr(manifest, "version", lambda package: f"{package} of tomorrow")
    second = scan(previous=first.table)
    assert (second.hashed, second.changed) == (2, True)  # broken.jpg and drawing.svg; the table notes the new versions
    assert second.table.equals(first.table)
    third = scan(previous=second.table)
    assert (third.hashed, third.changed) == (0, False)

    (folder / "broken.jpg").unlink()
    (folder / "drawing.svg").unlink()
    fourth = scan(previous=third.table)
    monkeypatch.undo()
    fifth = scan(previous=fourth.table)
    assert (fifth.hashed, fifth.changed) == (0, False)  # nothing depends on them: the manifest is not written anew


def test_a_pipe_does_not_hang_the_scan(folder: Path, scan: Scan) -> None:
    os.mkfifo(folder / "pipe.jpg")
    assert rows(scan())["pipe.jpg"]["reason"] == "unreadable"


def test_a_name_that_is_not_utf8(folder: Path, scan: Scan) -> None:
    with open(os.fsencode(folder) + b"/caf\xe9.png", "wb") as file:
        file.write(b"x" * 50)
    assert rows(scan())["caf\\udce9.png"]["reason"] == "bad_name"


def probe_without_root(file: str, limits: Limits, known: Collection[str]) -> Probe | Known:
    """Root reads everything; as nobody this process can only read what everybody may."""
    if os.getuid() != 0:
        return probe_file(file, limits, known)
    Image.init()  # the decoders may lie where only root can import them from
    os.seteuid(65534)
    try:
        return probe_file(file, limits, known)
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("seen_before", [True, False])
def test_a_catalogue_that_may_not_be_read_changes_nothing(seen_before: bool) -> None:
    """Going on would take the metadata from every file, and the next night would not look again."""
    with tempfile.TemporaryDirectory() as elsewhere:
        os.chmod(elsewhere, 0o755)
        library, drop = MediaLibrary(elsewhere), Path(elsewhere) / DROP.product_line / DROP.name
        drop.mkdir(parents=True)
        catalogue = drop / "metadata.csv"
        catalogue.write_text("path,title\na.png,Cape\n")
        first = scan_drop(library, DROP, previous=None, limits=Limits(), now=NOW) if seen_before else None
        catalogue.chmod(0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            with pytest.raises(UserError, match=r"metadata\.csv can't be read .*read access"):
                scan_drop(library, DROP, previous=first and first.table, limits=Limits(), now=NOW)
        finally:
            if root:
                os.seteuid(0)


def test_a_file_that_may_not_be_read() -> None:
    with tempfile.TemporaryDirectory() as elsewhere:  # pytest's own folders are closed to everybody else
        os.chmod(elsewhere, 0o755)
        library = MediaLibrary(elsewhere)
        drop = Path(elsewhere) / DROP.product_line / DROP.name
        closed = save(drop / "closed.png", "blue")
        save(drop / "open.png")
        closed.chmod(0)

        def scan_again(previous: pa.Table | None) -> ScanReport:
            return scan_drop(library, DROP, previous=previous, limits=Limits(), now=NOW, probe=probe_without_root)

        first = scan_again(None)
        row = rows(first)["closed.png"]
        assert (row["status"], row["reason"], row["content_id"]) == ("quarantined", "unreadable", None)
        assert rows(first)["open.png"]["status"] == "ok"
        still_closed = scan_again(first.table)
        assert (still_closed.hashed, still_closed.changed) == (1, False)
        closed.chmod(0o444)  # changes neither size nor time
        second = scan_again(first.table)
        assert rows(second)["closed.png"]["status"] == "ok" and second.hashed == 1


def test_losing_most_files_stops_with_a_sentence(folder: Path, scan: Scan) -> None:
    for number in range(4):
        save(folder / f"{number}.png", size=(40 + number, 40))
    first = scan()
    (folder / "0.png").unlink()
    (folder / "1.png").unlink()
    half = scan(previous=first.table)
    assert half.counts["ok"] == 2
    (folder / "2.png").unlink()
    with pytest.raises(UserError, match=r"lunar__2026-09 has lost 3 of its 4 files .*0\.png.*allow_mass_deletion"):
        scan(previous=first.table)
    assert scan(previous=first.table, allow_mass_deletion=True).counts["ok"] == 1


def test_after_an_upgrade_the_guard_and_first_seen_still_hold(folder: Path, scan: Scan) -> None:
    for number in range(4):
        save(folder / f"{number}.png", size=(40 + number, 40))
    of_older_version = scan().table.drop_columns(["look"])
    later = scan(previous=of_older_version, now=NOW + timedelta(days=1))
    assert later.changed and {row["first_seen"] for row in rows(later).values()} == {NOW}
    for number in range(3):
        (folder / f"{number}.png").unlink()
    with pytest.raises(UserError, match="has lost 3 of its 4 files"):
        scan(previous=of_older_version)


def test_renaming_everything_is_not_a_deletion(folder: Path, scan: Scan) -> None:
    for number in range(4):
        save(folder / "old" / f"{number}.png", size=(40 + number, 40))
    first = scan()
    (folder / "old").rename(folder / "new")
    assert scan(previous=first.table).counts["ok"] == 4


def test_a_missing_folder_says_so(folder: Path, scan: Scan) -> None:
    folder.rmdir()
    with pytest.raises(UserError, match="lunar__2026-09 has no folder"):
        scan()


def test_a_manifest_of_another_make_is_made_anew(folder: Path, scan: Scan) -> None:
    save(folder / "a.png")
    old = pa.table({"path": ["a.png"], "status": ["ok"]})
    report = scan(previous=old)
    assert report.hashed == 1 and report.changed


def test_a_bucket_is_scanned_like_a_folder() -> None:
    root = UPath("memory://bucket-of-test-scan")
    picture = root / DROP.product_line / DROP.name / "a" / "x.png"
    picture.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        picture.write_bytes(save(Path(folder) / "x.png").read_bytes())
    report = scan_drop(MediaLibrary(str(root)), DROP, previous=None, limits=Limits(), now=NOW)
    assert [(row["path"], row["status"], row["width"]) for row in report.table.to_pylist()] == [("a/x.png", "ok", 64)]


def test_a_manifest_is_plain_parquet(folder: Path, scan: Scan, tmp_path: Path) -> None:
    save(folder / "a.png")
    table = scan().table
    pq.write_table(table, tmp_path / "m.parquet")
    assert pq.read_table(tmp_path / "m.parquet").equals(table, check_metadata=True)
