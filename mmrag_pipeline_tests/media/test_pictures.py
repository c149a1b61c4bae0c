"""One way to a row's pixels."""

from __future__ import annotations

from pathlib import Path

import pytest
from upath import UPath

from mmrag_pipeline.media.decode import Limits, MediaError, Reason
from mmrag_pipeline.media.pictures import load_picture
from mmrag_pipeline_tests.media.conftest import save

LIMITS = Limits()


def test_stills_and_frames_of_a_scanned_drop(folder: Path, scan, shared_data: Path) -> None:
    save(folder / "sub" / "ünï 🎒.png", "#102030")
    (folder / "clip.mp4").write_bytes((shared_data / "videos" / "single_shot.mp4").read_bytes())
    for row in scan().table.to_pylist():
        picture = load_picture(UPath(folder), row["path"], row["frame_ms"], LIMITS)
        assert (picture.mode, picture.size) == ("RGB", (row["width"], row["height"]))
    assert load_picture(UPath(folder), "sub/ünï 🎒.png", None, LIMITS).getpixel((0, 0)) == (16, 32, 48)


@pytest.mark.parametrize("path", ["../x.png", "/etc/passwd", "a/../../x.png", "link.png", ""])
def test_no_path_leads_out_of_the_drop(folder: Path, path: str) -> None:
    (folder / "link.png").symlink_to(save(folder.parent / "x.png"))
    with pytest.raises(MediaError) as error:
        load_picture(UPath(folder), path, None, LIMITS)
    assert error.value.reason == Reason.OUTSIDE_DROP


def test_a_file_that_went_away(folder: Path) -> None:
    with pytest.raises(MediaError, match=r"gone\.png") as error:
        load_picture(UPath(folder), "gone.png", None, LIMITS)
    assert error.value.reason == Reason.UNREADABLE
