"""Concerns are found in real files, once; nothing is shut out, and what can't be read now is looked at later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageFilter
from upath import UPath

from mmrag_pipeline.media.health import Concern
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.media.scan import scan_drop
from mmrag_pipeline.quality import health
from mmrag_pipeline.quality.health import HealthStore, examine_drop, examine_library, has_rights_to_clear
from mmrag_pipeline.store import Store
from mmrag_pipeline_tests.index.library import NOW
from mmrag_pipeline_tests.media.test_phash import scene

DROP = "lunar__one"


def detailed(size: tuple[int, int] = (640, 480)) -> Image.Image:
    image = scene(1).resize(size)
    noise = np.random.default_rng(0).normal(0, 18, (size[1], size[0], 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> UPath:
    """A drop with one picture for each concern."""
    folder = tmp_path / "media" / "lunar" / "one"
    folder.mkdir(parents=True)
    good = detailed()
    good.save(folder / "good.jpg", quality=92)
    good.filter(ImageFilter.GaussianBlur(6)).save(folder / "blurred.jpg")
    good.point(lambda value: value // 5).save(folder / "dark.png")
    Image.new("RGB", (640, 480), (250, 250, 250)).save(folder / "empty.png")
    detailed((120, 90)).save(folder / "small.png")
    detailed((1600, 400)).save(folder / "banner.png")
    detailed((641, 480)).save(folder / "person.png")
    detailed((642, 480)).save(folder / "released.png")
    (folder / "metadata.csv").write_text("path,tags,release\nperson.png,Portrait,\nreleased.png,person,2026-14\n")
    return UPath(folder)


def scanned(folder: UPath) -> pa.Table:
    library = MediaLibrary(str(folder.parent.parent))
    return scan_drop(library, Drop.parse(DROP), previous=None, limits=Limits(), now=NOW).table


def concerns(table: pa.Table) -> dict[str, list[str]]:
    return {row["path"]: row["concerns"] for row in table.to_pylist() if row["concerns"]}


def test_each_concern_is_found_and_every_picture_has_a_row(folder: UPath) -> None:
    table = examine_drop(scanned(folder), folder, Limits(), before=None)
    assert concerns(table) == {
        "blurred.jpg": ["blurred"],
        "dark.png": ["dark"],
        "empty.png": ["low_information"],
        "small.png": ["small"],
        "banner.png": ["odd_aspect"],
        "person.png": ["rights_to_clear"],
    }
    assert table.num_rows == 8
    assert health.count_concerns(table) == dict.fromkeys(map(str, Concern), 1)


@pytest.mark.parametrize(
    ("tags", "extra", "to_clear"),
    [
        ((), "{}", False),
        (("people",), "{}", True),
        (("On-Model", "red"), '{"release": "no"}', True),
        (("face",), '{"model_release": "M-12"}', False),
        ((), '{"people": "2"}', True),
        ((), '{"people": 0, "release": ""}', False),
        ((), '{"people": "Ada", "rights_cleared": true}', False),
    ],
)
def test_people_without_a_release(tags: tuple[str, ...], extra: str, to_clear: bool) -> None:
    assert has_rights_to_clear(tags, extra) is to_clear


def test_a_picture_is_opened_once(folder: UPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    honest = health.read_file
    monkeypatch.setattr(health, "read_file", lambda where, path: opened.append(path) or honest(where, path))
    kept, manifest = HealthStore(Store(tmp_path / "store")), scanned(folder)

    def night(manifest: pa.Table, digest: str):
        opened.clear()
        return examine_library({DROP: (manifest, digest)}, lambda drop: folder, Limits(), kept)

    tables, anew = night(manifest, "one")
    assert anew == [DROP] and len(opened) == 8
    again, anew = night(manifest, "one")
    assert anew == [] and opened == [] and again[DROP].equals(tables[DROP])

    detailed((700, 500)).save(folder / "new.png")
    (folder / "dark.png").rename(folder / "night.png")
    tables, anew = night(scanned(folder), "two")
    assert anew == [DROP] and opened == ["new.png"]
    assert concerns(tables[DROP])["night.png"] == ["dark"]

    unread = examine_library({}, lambda drop: folder, Limits(), kept, unread=[DROP])
    assert unread == ({}, []) and kept.read(DROP) is not None  # its manifest is damaged, and made anew tomorrow
    assert examine_library({}, lambda drop: folder, Limits(), kept) == ({}, []) and kept.read(DROP) is None


def test_a_damaged_table_is_made_anew_and_stops_no_other_drop(folder: UPath, tmp_path: Path) -> None:
    kept, manifest = HealthStore(Store(tmp_path / "store")), scanned(folder)
    drops = {DROP: (manifest, "one"), "lunar__other": (manifest, "one")}
    tables, _ = examine_library(drops, lambda drop: folder, Limits(), kept)
    path = kept.folder / f"{DROP}.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    again, anew = examine_library(drops, lambda drop: folder, Limits(), kept)
    assert anew == [DROP] and again[DROP].equals(tables[DROP]) and kept.read(DROP) is not None


def test_what_can_not_be_read_now_is_looked_at_next_time(folder: UPath, tmp_path: Path) -> None:
    kept, manifest = HealthStore(Store(tmp_path / "store")), scanned(folder)
    (folder / "dark.png").rename(folder.parent / "away.png")
    tables, _ = examine_library({DROP: (manifest, "one")}, lambda drop: folder, Limits(), kept)
    assert tables[DROP].num_rows == 7
    (folder.parent / "away.png").rename(folder / "dark.png")
    tables, anew = examine_library({DROP: (manifest, "one")}, lambda drop: folder, Limits(), kept)
    assert anew == [DROP] and concerns(tables[DROP])["dark.png"] == ["dark"]
