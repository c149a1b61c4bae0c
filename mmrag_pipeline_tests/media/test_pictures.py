"""One way to a row's pixels."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from upath import UPath

from mmrag_pipeline.media.decode import Limits, MediaError, Reason
from mmrag_pipeline.media.pictures import frame_of, frames_of, load_picture, local_copy
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


def test_a_remote_video_is_copied_once_and_then_sought_in(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (shared_data / "videos" / "promo_cuts_16x9.mp4").read_bytes()
    remote = UPath("memory://library/lunar/2026-09")
    (remote / "sub").mkdir(parents=True, exist_ok=True)
    (remote / "sub" / "clip.mp4").write_bytes(data)
    opened = []
    open_remote = type(remote.fs).open
    monkeypatch.setattr(
        type(remote.fs), "open", lambda fs, path, *a, **k: (opened.append(path), open_remote(fs, path, *a, **k))[1]
    )
    with local_copy(remote, "sub/clip.mp4") as stream:
        frames = list(frames_of(stream, [0, 4000, 12000], LIMITS))
    assert len(opened) == 1
    for ms, frame in zip([0, 4000, 12000], frames, strict=True):
        assert frame.tobytes() == frame_of(data, ms, LIMITS).tobytes()


def test_a_remote_file_that_went_away() -> None:
    with pytest.raises(MediaError) as error, local_copy(UPath("memory://library/lunar/2026-09"), "gone.mp4"):
        pass
    assert error.value.reason == Reason.UNREADABLE


def test_a_frame_of_an_animation_is_found_by_content_not_by_name(folder: Path) -> None:
    pictures = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    pictures[0].save(folder / "moving.mp4", "GIF", save_all=True, append_images=pictures[1:], duration=400)
    assert load_picture(UPath(folder), "moving.mp4", 400, LIMITS).getpixel((5, 5)) == (0, 0, 255)
