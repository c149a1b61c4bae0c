"""Animated GIF, WebP, PNG and AVIF as frames: chosen like those of a video, found again by their time.

Times are milliseconds since the first frame, by the frames' own durations. The pages of a TIFF and the second
picture of an MPO are no animation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from mmrag_pipeline.media.colour import orientation, to_rgb, upright
from mmrag_pipeline.media.decode import opened
from mmrag_pipeline.media.keyframes import SAMPLE_MS, SIDE, Sample, choose_keyframes
from mmrag_pipeline.media.rules import Limits, MediaError, Reason

ANIMATED = frozenset({"gif", "webp", "png", "avif"})
"""Formats, by the names that `sniff` gives."""

_HURRIED_MS = 10  # browsers take a duration up to this for a mistake,
_USUAL_MS = 100  # and show the frame for this long


def animation_keyframes(data: bytes, limits: Limits) -> tuple[int, ...]:
    """Times of the frames worth keeping, in ms, ascending; the first frame where all of them are blank.

    Raises:
        MediaError: the first frame does not decode, or is outside the limits.
    """
    samples: list[Sample] = []
    for ms, picture in _frames(data, limits):
        if samples and ms - samples[-1].ms < SAMPLE_MS:
            continue
        small = _rgb(picture, limits).resize((SIDE, SIDE), Image.Resampling.BOX)
        samples.append(Sample(ms, np.asarray(small)))
    return choose_keyframes(samples, limits.max_frames) or (0,)


def animation_frame(data: bytes, ms: int, limits: Limits) -> Image.Image:
    """The frame at `ms`, as the scan saw it: composed, RGB, upright, full size.

    Raises:
        MediaError: it does not decode, or there is no frame at that time.
    """
    return next(animation_frames(data, [ms], limits))


def animation_frames(data: bytes, times_ms: Sequence[int], limits: Limits) -> Iterator[Image.Image]:
    """The frames at ascending `times_ms`, each as `animation_frame` gives it, in one pass.

    Raises:
        MediaError: there is no frame at one of the times.
    """
    frames = _frames(data, limits)
    for wanted in times_ms:
        found = next((picture for ms, picture in frames if ms == wanted), None)
        if found is None:
            raise MediaError(Reason.DECODE_ERROR, f"the animation has no frame at {wanted} ms")
        yield _rgb(found, limits)


def _frames(data: bytes, limits: Limits) -> Iterator[tuple[int, Image.Image]]:
    """(time in ms, picture as it stands until the next) of the frames up to the first that does not decode."""
    with opened(data, limits) as picture:
        budget = max(1, int(limits.max_video_gigapixels * 1e9 / (picture.width * picture.height)))
        ms = 0
        for number in range(min(getattr(picture, "n_frames", 1), limits.max_animation_frames, budget)):
            try:
                picture.seek(number)
                picture.load()
            except Exception:  # decoders meet hostile bytes; what came before is whole and worth keeping
                if number == 0:
                    raise
                return
            yield ms, picture
            duration = round(picture.info.get("duration") or 0)
            ms += duration if duration > _HURRIED_MS else _USUAL_MS


def _rgb(picture: Image.Image, limits: Limits) -> Image.Image:
    return to_rgb(upright(picture.copy(), orientation(picture)), limits.background)
