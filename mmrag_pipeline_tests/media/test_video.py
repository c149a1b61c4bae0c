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
from mmrag_pipeline.media.pictures import frames_of
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


def made_at(
    times_ms: list[int],
    pictures: list[np.ndarray],
    *,
    format: str,
    codec: str,
    pixel: Fraction | None = None,
    **options,
) -> bytes:
    """A video with a frame at each of the times."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if pixel:
            stream.codec_context.sample_aspect_ratio = pixel
        for ms, pixels in zip(times_ms, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def blocks(seed: int, shift: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 12, 3), np.uint8)
    return np.roll(coarse.repeat(8, 0).repeat(8, 1), shift, 1)


def decoded(data: bytes) -> dict[int, np.ndarray]:
    """Every frame by its time, decoded from the first to the last."""
    import av

    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        start = stream.start_time or 0
        return {
            round((frame.pts - start) * stream.time_base * 1000): frame.to_ndarray(format="rgb24")
            for frame in container.decode(stream)
        }


EVEN = [40 * n for n in range(150)]
UNEVEN = [0, *np.random.default_rng(5).integers(15, 120, 149).cumsum().tolist()]
X265 = "log-level=none:keyint=20:open-gop=1"
MAKES = {
    "mp4, B-frames": (EVEN, dict(format="mp4", codec="libx264", bf="3", g="24")),
    "mp4, open groups": (
        EVEN,
        {"format": "mp4", "codec": "libx264", "bf": "3", "g": "24", "x264-params": "open-gop=1"},
    ),
    "mp4, intra refresh": (EVEN, {"format": "mp4", "codec": "libx264", "x264-params": "intra-refresh=1:keyint=20"}),
    "mp4, HEVC": (EVEN, {"format": "mp4", "codec": "libx265", "preset": "ultrafast", "x265-params": X265}),
    "mp4, uneven times": (UNEVEN, dict(format="mp4", codec="libx264", bf="2", g="24")),
    "mkv, uneven times": (UNEVEN, dict(format="matroska", codec="libx264", bf="2", g="24")),
    "mkv, starts late": ([ms + 5000 for ms in EVEN], dict(format="matroska", codec="libx264", bf="2", g="24")),
    "webm, VP9": (EVEN, {"format": "webm", "codec": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8", "g": "20"}),
    "mov, MPEG-4": (EVEN, dict(format="mov", codec="mpeg4", bf="2", g="12")),
}


@pytest.mark.parametrize("make", MAKES)
def test_frames_by_seeking_are_the_frames_of_decoding_all(make: str) -> None:
    times, options = MAKES[make]
    data = made_at(times, [blocks(n // 25, n // 2) for n in range(len(times))], **options)
    truth = decoded(data)
    wanted = [ms for n, ms in enumerate(sorted(truth)) if n % 11 == 0 or n % 50 == 1]
    together = list(frames_of(io.BytesIO(data), wanted, LIMITS))
    for ms, picture in zip(wanted, together, strict=True):
        assert (np.asarray(picture) == truth[ms]).all(), f"{make}: {ms} ms, one after the other"
        assert (np.asarray(frame_at(data, ms, LIMITS)) == truth[ms]).all(), f"{make}: {ms} ms, alone"
    assert set(probe_video(io.BytesIO(data), LIMITS).keyframes) <= set(truth)


def test_a_matroska_without_index_is_searched_from_the_start() -> None:
    data = made_at(EVEN, [blocks(n // 25) for n in range(len(EVEN))], format="matroska", codec="libx264", g="24")
    cues = b"\x1c\x53\xbb\x6b"
    assert cues in data
    broken = data.replace(cues, b"\xec" + cues[1:])
    truth = decoded(data)
    for ms in (40, 2480, 5960):
        assert (np.asarray(frame_at(broken, ms, LIMITS)) == truth[ms]).all()


def test_a_long_video_is_read_by_its_whole_frames_and_they_are_found_again() -> None:
    data = made_at(EVEN, [blocks(n // 25) for n in range(len(EVEN))], format="mp4", codec="libx264", g="25", bf="2")
    truth = decoded(data)
    budget = Limits(max_video_gigapixels=20 * 96 * 64 / 1e9)  # 20 of 150 frames
    clip = probe_video(io.BytesIO(data), budget)
    assert [ms // 1000 for ms in clip.keyframes] == [0, 1, 2, 3, 4, 5]
    assert clip.frames == 150
    for ms, picture in zip(clip.keyframes, frames_of(io.BytesIO(data), clip.keyframes, budget), strict=True):
        assert (np.asarray(picture) == truth[ms]).all()
    fewer = Limits(max_video_gigapixels=3 * 96 * 64 / 1e9)  # of 6 whole frames every second
    assert [ms // 1000 for ms in probe_video(io.BytesIO(data), fewer).keyframes] == [0, 2, 4]


def test_a_header_that_promises_too_little_does_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmrag_pipeline.media import video

    data = made_at(EVEN, [blocks(n // 25) for n in range(len(EVEN))], format="matroska", codec="libx264", g="25")
    monkeypatch.setattr(video, "_too_long", lambda stream, limits: False)
    clip = probe_video(io.BytesIO(data), Limits(max_video_gigapixels=20 * 96 * 64 / 1e9))
    assert [ms // 1000 for ms in clip.keyframes] == [0, 1, 2, 3, 4, 5]


def test_ten_hours_keep_a_few_thousand_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmrag_pipeline.media import video

    seen = []
    choose = video.choose_keyframes
    monkeypatch.setattr(video, "_MOST_SAMPLES", 64)
    monkeypatch.setattr(
        video, "choose_keyframes", lambda samples, most: (seen.append(len(samples)), choose(samples, most))[1]
    )
    times = [60_000 * n for n in range(600)]
    data = made_at(times, [blocks(n // 100) for n in range(600)], format="matroska", codec="mpeg4", g="50")
    clip = probe_video(io.BytesIO(data), LIMITS)
    assert 32 <= seen[0] <= 64
    assert {ms // 6_000_000 for ms in clip.keyframes} == set(range(6))


def test_a_truncated_video_is_read_up_to_there() -> None:
    data = made_at(EVEN, [blocks(n // 25) for n in range(len(EVEN))], format="matroska", codec="libx264", g="25")
    clip = probe_video(io.BytesIO(data[: len(data) * 2 // 3]), LIMITS)
    assert clip.keyframes and clip.keyframes[-1] < 4500


def test_pixels_that_are_not_square_are_stretched() -> None:
    for pixel, size in {Fraction(4, 3): (128, 64), Fraction(1, 2): (96, 128), Fraction(50): (96, 64)}.items():
        data = made_at(EVEN[:5], [blocks(1)] * 5, format="mp4", codec="libx264", pixel=pixel)
        clip = probe_video(io.BytesIO(data), LIMITS)
        assert (clip.width, clip.height) == size == frame_at(data, clip.keyframes[0], LIMITS).size


def coloured(*, matrix: str, full: bool, pix: str, transfer: int = 1) -> bytes:
    """A flat (200, 60, 30) with a black strip, tagged and converted by that matrix and range."""
    import av
    from av.video.reformatter import ColorRange, Colorspace

    pixels = np.full((64, 64, 3), (200, 60, 30), np.uint8)
    pixels[:8] = 0
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        codec = "libx265" if "10" in pix else "libx264"
        stream = container.add_stream(codec, rate=10, options={"x265-params": "log-level=none"} if "10" in pix else {})
        stream.width = stream.height = 64
        stream.pix_fmt = pix
        context = stream.codec_context
        context.colorspace = {"ITU601": 6, "ITU709": 1, "BT2020": 9}[matrix]
        context.color_range, context.color_trc = 2 if full else 1, transfer
        context.color_primaries = 9 if matrix == "BT2020" else 1
        depth = ColorRange.JPEG if full else ColorRange.MPEG
        for n in range(3):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(format=pix, dst_colorspace=Colorspace[matrix], dst_color_range=depth)
            frame.pts, frame.time_base = n, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


@pytest.mark.parametrize("pix", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", ["ITU601", "ITU709"])
def test_colours_are_those_that_were_encoded(matrix: str, full: bool, pix: str) -> None:
    seen = frame_at(coloured(matrix=matrix, full=full, pix=pix), 0, LIMITS).getpixel((40, 40))
    assert np.abs(np.subtract(seen, (200, 60, 30))).max() <= 4, seen


def test_hdr_is_brought_to_what_a_screen_shows() -> None:
    """In PQ, (200, 60, 30) is a very bright orange; shown as it lies it would be a dull one."""
    data = coloured(matrix="BT2020", full=False, pix="yuv420p10le", transfer=16)
    red, green, blue = frame_at(data, 0, LIMITS).getpixel((40, 40))
    assert red > 245 and green < red and blue < red
