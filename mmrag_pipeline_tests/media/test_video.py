"""Key frames against the shot lists of generated promo videos."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mmrag_pipeline.media.decode import Limits, MediaError, Reason
from mmrag_pipeline.media.video import frame_at, probe_video

LIMITS = Limits()


@pytest.fixture(scope="module")
def shots(shared_data: Path) -> dict[str, list[dict[str, str]]]:
    found = defaultdict(list)
    with open(shared_data / "videos" / "shots.csv", newline="") as file:
        for row in csv.DictReader(file):
            found[row["video"]].append(row)
    return found


def keyframes(path: Path, limits: Limits = LIMITS) -> tuple[int, ...]:
    with path.open("rb") as file:
        return probe_video(file, limits).keyframes


def test_every_shot_of_half_a_second_has_one_keyframe(shared_data: Path, shots: dict) -> None:
    for video, listed in shots.items():
        times = keyframes(shared_data / "videos" / video)
        seen = set()
        for shot in listed:
            start, end = float(shot["start_s"]) * 1000, float(shot["end_s"]) * 1000
            inside = [ms for ms in times if start <= ms < end]
            if shot["image"] == "(black)":
                assert inside == [], f"{video}: black frame at {inside}"
            elif end - start >= 500:
                assert len(inside) == (0 if shot["image"] in seen else 1), f"{video}: {shot}"
            seen.add(shot["image"])


def test_never_more_frames_than_asked(shared_data: Path) -> None:
    times = keyframes(shared_data / "videos" / "fast_cuts_0p2s.mp4")
    assert len(times) == LIMITS.max_frames and list(times) == sorted(set(times))
    assert len(keyframes(shared_data / "videos" / "promo_cuts_16x9.mp4", Limits(max_frames=3))) == 3


def test_a_frame_comes_back_exactly(shared_data: Path) -> None:
    """By seeking, `frame_at` finds the very frame that decoding from the start meets at that time."""
    import av

    path = shared_data / "videos" / "promo_fades_1x1.mp4"
    data = path.read_bytes()
    wanted = keyframes(path)
    compared = 0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if round(frame.time * 1000) in wanted:
                again = frame_at(data, round(frame.time * 1000), LIMITS)
                assert (np.asarray(again) == frame.to_ndarray(format="rgb24")).all()
                compared += 1
    assert compared == len(wanted) == 6


def test_there_is_no_frame_between_frames(shared_data: Path) -> None:
    data = (shared_data / "videos" / "single_shot.mp4").read_bytes()
    with pytest.raises(MediaError, match="no frame at 41 ms"):
        frame_at(data, 41, LIMITS)


def test_rotation_is_undone(shared_data: Path) -> None:
    """The file is single_shot with a display matrix that turns it a quarter, counter-clockwise."""
    turned = (shared_data / "hostile/videos/rotated_90_metadata.mp4").read_bytes()
    clip = probe_video(io.BytesIO(turned), LIMITS)
    assert (clip.width, clip.height) == (360, 640)
    upright = np.asarray(frame_at(turned, clip.keyframes[0], LIMITS)).astype(int)
    plain = frame_at((shared_data / "videos/single_shot.mp4").read_bytes(), clip.keyframes[0], LIMITS)
    assert np.abs(upright - np.rot90(np.asarray(plain).astype(int))).mean() < 8


def made(frames: list[np.ndarray], rate: int = 10, format: str = "matroska", codec: str = "mpeg4") -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, rate)
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def test_a_blank_video_has_no_frames() -> None:
    black = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(MediaError) as error:
        probe_video(io.BytesIO(made([black] * 12)), LIMITS)
    assert error.value.reason == Reason.NO_FRAMES


def test_matroska_and_mp4_alike() -> None:
    noise = np.random.default_rng(3)
    scenes = [noise.integers(0, 255, (8, 8, 3), np.uint8).repeat(12, 0).repeat(12, 1) for _ in range(3)]
    frames = [scene for scene in scenes for _ in range(10)]
    for format in ("matroska", "mp4"):
        data = made(frames, format=format)
        clip = probe_video(io.BytesIO(data), LIMITS)
        assert [ms // 1000 for ms in clip.keyframes] == [0, 1, 2]
        for ms, scene in zip(clip.keyframes, scenes, strict=True):
            assert np.abs(np.asarray(frame_at(data, ms, LIMITS)).astype(int) - scene).mean() < 25


def test_pixel_limit_holds_for_videos(shared_data: Path) -> None:
    with pytest.raises(MediaError) as error:
        keyframes(shared_data / "videos" / "single_shot.mp4", Limits(max_pixels=100_000))
    assert error.value.reason == Reason.TOO_MANY_PIXELS


def test_a_playlist_is_not_a_video(shared_data: Path) -> None:
    """FFmpeg would follow one to any file on the disk."""
    text = f"ffconcat version 1.0\nfile '{shared_data}/videos/single_shot.mp4'\n".encode()
    with pytest.raises(MediaError) as error:
        probe_video(io.BytesIO(text), LIMITS)
    assert error.value.reason == Reason.NOT_AN_IMAGE
