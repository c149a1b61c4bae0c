"""However a drop came to be what it is, its manifest is that of a scan from nothing (first_seen apart)."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmrag_pipeline.media import prober
from mmrag_pipeline.media.library import MediaLibrary
from mmrag_pipeline.media.probe import Known, Probe, probe_file
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.media.scan import scan_drop
from mmrag_pipeline.media.worker import Ask
from mmrag_pipeline_tests.media.conftest import DROP, NOW

PATHS = ["a.jpg", "b.png", "deep/a.jpg", "deep/er/Ä.gif", "x.part", ".hidden/a.jpg"]
KINDS = ["gradient", "gradient, smaller", "red", "blue", "animation", "cut short", "text"]


class InThisProcess:
    """Probes without worker processes: what is tested here is what is read and what is carried over."""

    def __init__(self, limits: Limits, **_: object):
        self._limits = limits

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def probe(self, files: Sequence[Ask]) -> list[Probe | Known]:
        return [probe_file(file, self._limits, known) for file, known in files]


@cache
def content(kind: str) -> bytes:
    gradient = Image.radial_gradient("L").resize((120, 90))
    picture = Image.merge("RGB", (gradient, gradient.rotate(180), Image.linear_gradient("L").resize((120, 90))))
    file = io.BytesIO()
    if kind == "gradient":
        picture.save(file, "PNG")
    elif kind == "gradient, smaller":
        picture.resize((80, 60)).save(file, "JPEG", quality=90)
    elif kind in ("red", "blue"):  # different pictures in as many bytes
        Image.new("RGB", (48, 48), kind).save(file, "BMP")
    elif kind == "animation":
        frames = [Image.new("RGB", (48, 48), colour) for colour in ("red", "green", "blue")]
        for frame in frames:
            frame.paste((255, 255, 255), (10, 10, 20, 30))
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=500)
    elif kind == "cut short":
        return content("gradient, smaller")[:600]
    elif kind == "text":
        return b"not a picture at all"
    elif kind == "catalogue":
        return b"path,sku\na.jpg,S-1\ndeep/a.jpg,S-2\nnowhere.jpg,S-3\n"
    return file.getvalue()


STEP = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(PATHS), st.sampled_from(KINDS)),
    st.tuples(st.just("move"), st.sampled_from(PATHS), st.sampled_from(PATHS)),
    st.tuples(st.just("copy"), st.sampled_from(PATHS), st.sampled_from(PATHS)),
    st.tuples(st.just("delete"), st.sampled_from(PATHS), st.none()),
    st.tuples(st.just("link"), st.sampled_from(PATHS), st.sampled_from(PATHS)),
    st.tuples(st.just("link out"), st.sampled_from(PATHS), st.none()),
    st.tuples(st.just("write"), st.sampled_from(["metadata.csv", "_READY"]), st.just("catalogue")),
)


class Folder:
    """A drop that things happen to; every write has a time of its own, as on a real disk."""

    def __init__(self, root: Path):
        self.path = root / DROP.product_line / DROP.name
        self.path.mkdir(parents=True)
        self._time = 1_800_000_000_000_000_000

    def apply(self, action: str, path: str, other: str | None) -> None:
        file = self.path / path
        target = self.path / (other or "")
        if action == "write":
            self._replace(file, lambda: file.write_bytes(content(other)))
        elif action == "link out":
            self._replace(file, lambda: file.symlink_to("/dev/null"))
        elif action == "delete":
            file.unlink(missing_ok=True)
        elif path != other and file.is_file():
            if action == "move":
                target.parent.mkdir(parents=True, exist_ok=True)
                file.replace(target)  # keeps its time
            elif action == "copy":
                data = file.read_bytes()  # before its target goes: the file may be a link to it
                self._replace(target, lambda: target.write_bytes(data))
            elif action == "link":
                self._replace(target, lambda: target.symlink_to(file))

    def _replace(self, file: Path, write: Callable[[], object]) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        write()
        self._time += 1_000_000_000
        os.utime(file, ns=(self._time, self._time), follow_symlinks=False)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober, "Prober", InThisProcess)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(STEP, min_size=1, max_size=6), min_size=2, max_size=5))
@example([[("write", "a.jpg", "gradient"), ("write", "b.png", "gradient, smaller")], [("delete", "a.jpg", None)]])
@example([[("write", "b.png", "red"), ("copy", "b.png", "x.part")], [("move", "x.part", "a.jpg")]])
@example([[("write", "a.jpg", "gradient")], [("link", "a.jpg", "b.png"), ("copy", "b.png", "a.jpg")]])
@example([[("write", "a.jpg", "gradient")], [("link", "a.jpg", "b.png"), ("link", "b.png", "a.jpg")]])
def test_any_history_ends_in_the_manifest_of_a_scan_from_nothing(days: list[list[tuple]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        library, folder = MediaLibrary(root), Folder(Path(root))
        options = {"limits": Limits(), "allow_mass_deletion": True}
        table = None
        for day, steps in enumerate(days):
            for step in steps:
                folder.apply(*step)
            report = scan_drop(library, DROP, previous=table, now=NOW + timedelta(days=day), **options)
            fresh = scan_drop(library, DROP, previous=None, now=NOW, **options)
            assert without_times(report.table).equals(without_times(fresh.table), check_metadata=True)
            assert sorted(report.problems) == sorted(fresh.problems)
            assert (report.counts, report.changed) == (fresh.counts, table is None or report.table != table)
            table = report.table
            again = scan_drop(library, DROP, previous=table, now=NOW + timedelta(days=99), **options)
            unread = [row for row in table.to_pylist() if row["reason"] == "unreadable"]
            assert (again.hashed, again.changed) == (len(unread), False)


def test_the_pictures_above_are_what_their_names_say(tmp_path: Path) -> None:
    """Else the test above would not test duplicates, copies that look alike, and changes that keep the size."""
    folder = Folder(tmp_path)
    for number, kind in enumerate(KINDS):
        folder.apply("write", f"{number}", kind)
    folder.apply("copy", "2", "9")
    table = scan_drop(MediaLibrary(str(tmp_path)), DROP, previous=None, limits=Limits(), now=NOW).table
    assert {(row["status"], row["reason"]) for row in table.to_pylist()} == {
        ("ok", ""), ("ok", "near_duplicate"), ("duplicate", "duplicate"),
        ("quarantined", "decode_error"), ("quarantined", "not_an_image"),
    }  # fmt: skip
    assert table.num_rows > len(KINDS) + 1  # the animation has several
    assert len(content("red")) == len(content("blue"))


def without_times(table: pa.Table) -> pa.Table:
    return table.drop_columns(["first_seen"])
