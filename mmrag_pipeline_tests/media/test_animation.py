"""Animated pictures as frames: real files of every format, made so that each frame is known."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmrag_pipeline.media.animation import animation_frame, animation_frames, animation_keyframes
from mmrag_pipeline.media.decode import probe_picture
from mmrag_pipeline.media.rules import Limits, MediaError, Reason

LIMITS = Limits()
FORMATS = {"GIF": {}, "WEBP": {"lossless": True}, "PNG": {}, "AVIF": {"quality": 95}}


def scene(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return Image.fromarray(coarse.repeat(8, 0).repeat(8, 1))


def animated(format: str, pictures: list[Image.Image], durations: list[int], **options) -> bytes:
    buffer = io.BytesIO()
    first, *rest = pictures
    first.save(buffer, format, save_all=True, append_images=rest, duration=durations, loop=0, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_times_are_those_of_the_frames(format: str) -> None:
    pictures = [scene(n) for n in range(4)]
    data = animated(format, pictures, [500, 700, 300, 900], **FORMATS[format])
    assert animation_keyframes(data, LIMITS) == (0, 500, 1200, 1500)
    for ms, wanted, seen in zip(
        (0, 500, 1200, 1500), pictures, animation_frames(data, (0, 500, 1200, 1500), LIMITS), strict=True
    ):
        assert (seen.mode, seen.size) == ("RGB", wanted.size)
        assert np.abs(np.asarray(seen, int) - np.asarray(wanted)).mean() < 16, f"{format} at {ms} ms"
        assert seen.tobytes() == animation_frame(data, ms, LIMITS).tobytes()


def test_a_frame_without_duration_is_shown_as_long_as_browsers_do() -> None:
    data = animated("GIF", [scene(n) for n in range(3)], [0, 0, 0])
    assert len(list(animation_frames(data, (0, 100, 200), LIMITS))) == 3
    with pytest.raises(MediaError, match="no frame at 150 ms"):
        animation_frame(data, 150, LIMITS)


def test_frames_are_composed_and_stand_on_the_background() -> None:
    """The second frame of the GIF holds only what changed; what is transparent shows the background."""
    base = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    base.paste((200, 30, 30, 255), (8, 8, 32, 56))
    base.putpixel((4, 4), (0, 0, 0, 1))  # else the WebP encoder crops the transparency away, and Pillow sees none
    more = base.copy()
    more.paste((20, 60, 220, 255), (40, 8, 60, 56))
    for format in ("GIF", "WEBP", "PNG"):
        options = {"disposal": 1} if format == "GIF" else {"lossless": True} if format == "WEBP" else {}
        data = animated(format, [base, more], [1000, 1000], **options)
        second = animation_frame(data, 1000, Limits(background=(1, 250, 3)))
        for place, wanted in {(20, 30): (200, 30, 30), (50, 30): (20, 60, 220), (2, 2): (1, 250, 3)}.items():
            assert np.abs(np.subtract(second.getpixel(place), wanted)).max() <= 4, f"{format} {place}"


def test_blank_from_end_to_end_gives_the_first_frame() -> None:
    flat = [Image.new("RGB", (48, 48), (n, n, n)) for n in (250, 252, 254)]
    assert animation_keyframes(animated("WEBP", flat, [400] * 3, lossless=True), LIMITS) == (0,)


def test_what_comes_before_the_damage_is_kept() -> None:
    pictures = [scene(n) for n in range(4)]
    data = animated("GIF", pictures, [500] * 4)
    with Image.open(io.BytesIO(data)) as opened:
        starts = []
        for n in range(4):
            opened.seek(n)
            starts.append(opened.tile[0].offset if opened.tile else 0)
    broken = data[: starts[2] + 8]
    assert animation_keyframes(broken, LIMITS) == (0, 500)
    assert animation_frame(broken, 500, LIMITS).tobytes() == animation_frame(data, 500, LIMITS).tobytes()
    with pytest.raises(MediaError):
        animation_frame(broken, 1000, LIMITS)


def test_only_so_many_frames_and_pixels_are_looked_at() -> None:
    data = animated("GIF", [scene(n) for n in range(6)], [500] * 6)
    assert animation_keyframes(data, Limits(max_animation_frames=2)) == (0, 500)
    assert animation_keyframes(data, Limits(max_video_gigapixels=3 * 64 * 48 / 1e9)) == (0, 500, 1000)
    with pytest.raises(MediaError) as error:
        animation_keyframes(data, Limits(max_pixels=100))
    assert error.value.reason == Reason.TOO_MANY_PIXELS


def test_hostile_animations_have_frames(shared_data: Path) -> None:
    tried = 0
    for path in sorted((shared_data / "hostile" / "multi").iterdir()):
        data = path.read_bytes()
        if path.suffix not in (".gif", ".png", ".avif"):
            continue
        try:
            many = probe_picture(data, Limits(min_side=1, max_aspect=1000)).frames > 1
        except MediaError:
            continue
        if many:
            times = animation_keyframes(data, LIMITS)
            assert times and list(times) == sorted(set(times)), path.name
            assert len(list(animation_frames(data, times, LIMITS))) == len(times)
            tried += 1
    assert tried >= 4
