"""109 hostile files against what the people who collected them expect of each."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mmrag_pipeline.media.decode import Limits, MediaError, Reason, open_picture
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.scan import ScanReport, scan_drop

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),  # Pillow says of each hostile file what is odd
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]
OK = {("ok", "")}
# The expectations that name a policy, and what this one does. There is no quality filter: those are good pictures.
POLICY = {
    "policy": OK | {("quarantined", reason.value) for reason in Reason},
    "either": OK | {("quarantined", "decode_error"), ("quarantined", "too_small")},
    "near_duplicate": {("ok", "near_duplicate")},
    "accept_if_decoder": OK,  # pillow-heif is always installed
    "duplicate": {("duplicate", "duplicate")},
    "accept": OK,
}
# "accept" in the list means "decodes". These decode, but are as small as what the same list wants refused as
# too_small (16x16) or bad_aspect; under the default limits they are, and without limits they are ok.
SMALLER_THAN_THE_LIMITS = {
    "multi/gif_no_palette.gif": "too_small",  # 1x1
    "multi/multipage.tiff": "too_small",  # 10x10
    "corrupt/padded_idat.png": "bad_aspect",  # 256x10
    "corrupt/multiple_exif.jpg": "too_small",  # 1x1
    "privacy/gps_small.jpg": "too_small",  # 8x8
}
# The collection holds some pictures several times in other formats, which "accept" does not speak of. Looked at: all
# are one picture but landscape_*, whose thin digits in the middle tell them apart for people only.
COPIES_OF_OTHERS = {
    "colour/cmyk.tif",
    "colour/rgb_trns.png",
    "corrupt/photoshop_broken_dpi.jpg",
    "disguise/jpeg_plus_zip.jpg",
    "duplicates/a.jpg",
    "formats/alpha.avif",
    "formats/photo.jp2",
    "multi/two_pictures.mpo",
    *(f"orientation/hopper_{turn}.webp" for turn in range(2, 8)),
    *(f"orientation/landscape_{turn}.jpg" for turn in (3, 4, 6, 8)),
    "orientation/rot2mir1.avif",
    "orientation/rot3mir1.avif",
}


@pytest.fixture(scope="module")
def expected(shared_data: Path) -> dict[str, dict[str, str]]:
    with open(shared_data / "hostile" / "manifest.csv", newline="", encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def report(shared_data: Path) -> ScanReport:
    return scan(shared_data, Limits())


def scan(shared_data: Path, limits: Limits) -> ScanReport:
    library = MediaLibrary(str(shared_data.parent))
    now = datetime(2026, 9, 1, tzinfo=UTC)
    return scan_drop(library, Drop("data", "hostile"), previous=None, limits=limits, now=now)


def test_every_file_has_the_expected_outcome(report: ScanReport, expected: dict[str, dict[str, str]]) -> None:
    found = {row["path"]: row for row in report.table.to_pylist()}
    surprises = []
    for path, row in expected.items():
        got = (found[path]["status"], found[path]["reason"])
        if path in SMALLER_THAN_THE_LIMITS:
            wanted = {("quarantined", SMALLER_THAN_THE_LIMITS[path])}
        elif path in COPIES_OF_OTHERS:
            wanted = {("ok", "near_duplicate")}
        else:
            wanted = POLICY.get(row["expect"], {("quarantined", row["reason"])})
        if got not in wanted:
            surprises.append((path, got, found[path]["detail"], "wanted", wanted))
    assert len(expected) == 109
    assert surprises == []


def test_pictures_too_small_for_the_limits_are_ok_without_them(shared_data: Path) -> None:
    no_limits = Limits(min_side=1, max_aspect=1_000_000)
    for path in SMALLER_THAN_THE_LIMITS:
        open_picture((shared_data / "hostile" / path).read_bytes(), no_limits)


def test_size_and_frames_are_those_of_the_upright_picture(
    report: ScanReport, expected: dict[str, dict[str, str]]
) -> None:
    wrong = []
    for row in report.table.to_pylist():
        truth = expected.get(row["path"], {})
        if row["status"] == "ok" and truth.get("upright_w"):
            got = (row["width"], row["height"], row["frames"])
            if got != tuple(int(truth[key]) for key in ("upright_w", "upright_h", "frames")):
                wrong.append((row["path"], got))
    assert wrong == []


def test_opening_for_use_agrees_with_the_scan(report: ScanReport, shared_data: Path) -> None:
    """What the scan proved at reduced size also decodes at full size, and the reverse."""
    limits = Limits()
    for row in report.table.to_pylist():
        if row["media_type"] != "image" or row["status"] == "duplicate":
            continue
        data = (shared_data / "hostile" / row["path"]).read_bytes()
        try:
            picture = open_picture(data, limits)
        except MediaError as error:
            assert (row["status"], row["reason"]) == ("quarantined", error.reason.value), row["path"]
        else:
            assert row["status"] == "ok", row["path"]
            assert (picture.mode, picture.size) == ("RGB", (row["width"], row["height"])), row["path"]


_CHILD = """
import sys
from datetime import UTC, datetime
from mmrag_pipeline.media.decode import Limits
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.scan import scan_drop
if __name__ == "__main__":
    limits = Limits(max_seconds=10)
    report = scan_drop(MediaLibrary(sys.argv[1]), Drop("data", "hostile"), previous=None, limits=limits,
                       now=datetime(2026, 9, 1, tzinfo=UTC))
    print(*(row["path"] for row in report.table.to_pylist() if row["reason"] in ("too_slow", "crashed")))
"""


def test_the_scan_stays_small_and_no_file_takes_long(shared_data: Path) -> None:
    """Peak memory of a process and all that it starts, and no file that takes over 10 s or kills its process."""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(shared_data.parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    peak = 0
    while child.poll() is None:
        peak = max(peak, sum(map(_proportional_kb, _tree(child.pid))))
        time.sleep(0.02)
    assert child.returncode == 0
    assert child.stdout.read().split() == []
    assert 50 < peak / 1024 < 700


def _tree(pid: int) -> list[int]:
    """A process and its descendants; those that are gone by now have none."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(descendant for child in children for descendant in _tree(child))]


def _proportional_kb(pid: int) -> int:
    """Memory of a process in kB, what it shares counted in parts."""
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found.group(1)) if found else 0
