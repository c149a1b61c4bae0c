"""Videos -> a few key frames, each named by its time, and the same frame again on request.

A video is sampled about eight times a second as 32x32 thumbnails. It is cut where neighbours differ (a hard
cut) or where the picture has drifted away from the start of the shot (a fade, a pan). Each shot gives its
stillest sample near the middle; blank ones are never candidates and a frame seen before is dropped. Times are
milliseconds since the stream's first frame, so they survive re-muxing. Animated GIF, WebP, APNG and AVIF are
not videos here: `decode` takes their first frame.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from mmrag_pipeline.media.rules import Limits, MediaError, Reason
from mmrag_pipeline.media.sniff import SNIFF_BYTES, VIDEOS, sniff

if TYPE_CHECKING:
    import av

_SAMPLE_MS = 120
_SIDE = 32  # pixels of a thumbnail's side
_LONG_S = 180  # seconds above which only the codec's own key frames are decoded
_CUT = 0.10  # mean absolute difference (of 1.0) between neighbouring samples
_DRIFT = 0.12  # the same, to the first sample of the shot
_REPEAT = 0.03  # the same, to a frame already kept
_BLANK = 0.02  # standard deviation (of 1.0) below which a sample shows nothing
_FADE_MS = 400  # a shot shorter than this between two soft cuts is a piece of a fade


@dataclass(frozen=True)
class Clip:
    """What a probe found: upright size, frames in the file, and the times of the frames worth keeping."""

    width: int
    height: int
    frames: int
    keyframes: tuple[int, ...]


@dataclass(frozen=True)
class _Sample:
    ms: int
    pixels: np.ndarray  # uint8[32,32,3]

    @property
    def blank(self) -> bool:
        return float(self.pixels.std(axis=(0, 1)).max()) < _BLANK * 255


def probe_video(file: BinaryIO, limits: Limits) -> Clip:
    """Choose the key frames of a video, in order of time, at most `limits.max_frames`.

    Raises:
        MediaError: `decode_error`, `too_many_pixels`, `too_small`, `bad_aspect`, or `no_frames` (all blank).
    """
    with _opened(file, limits) as (container, stream):
        duration = container.duration / 1_000_000 if container.duration else 0
        if duration > _LONG_S:
            stream.codec_context.skip_frame = "NONKEY"
        samples: list[_Sample] = []
        decoded, size = 0, (0, 0)
        for ms, frame in _timed(container, stream):
            decoded += 1
            if samples and ms - samples[-1].ms < _SAMPLE_MS:
                continue
            size = (frame.height, frame.width) if frame.rotation % 180 else (frame.width, frame.height)
            small = frame.reformat(width=_SIDE, height=_SIDE, format="rgb24").to_ndarray()
            samples.append(_Sample(ms, small))
        frames = max(stream.frames, decoded)
    if not samples:
        raise MediaError(Reason.DECODE_ERROR, "the video track holds no frame that decodes")
    limits.check_shape(*size)
    keyframes = choose_keyframes(samples, limits.max_frames)
    if not keyframes:
        raise MediaError(Reason.NO_FRAMES, f"all of {len(samples)} sampled frames are black or blank")
    return Clip(*size, frames, keyframes)


def frame_at(source: bytes | BinaryIO, ms: int, limits: Limits) -> Image.Image:
    """Decode the frame at `ms` again: mode RGB, upright, full size.

    Raises:
        MediaError: the video does not decode, or has no frame at that time.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with _opened(file, limits) as (container, stream):
        start = stream.start_time or 0
        container.seek(start + int(ms / 1000 / stream.time_base), stream=stream)
        first = True
        for at, frame in _timed(container, stream):
            if first and at > ms:  # a container with a bad index landed too late: from the beginning, then
                break
            first = False
            if at == ms:
                return _picture(frame)
            if at > ms:
                break
        container.seek(start, stream=stream)
        for at, frame in _timed(container, stream):
            if at == ms:
                return _picture(frame)
    raise MediaError(Reason.DECODE_ERROR, f"the video has no frame at {ms} ms")


def choose_keyframes(samples: list[_Sample], most: int) -> tuple[int, ...]:
    """One time a shot; the longest shots win where there are more than `most`."""
    chosen: list[tuple[int, _Sample]] = []  # (length of the shot in ms, its frame)
    for shot in _shots(samples):
        best = _stillest(shot)
        if all(_difference(best, other) > _REPEAT for _, other in chosen):
            chosen.append((shot[-1].ms - shot[0].ms, best))
    longest = sorted(chosen, key=lambda item: (-item[0], item[1].ms))[:most]
    return tuple(sorted(sample.ms for _, sample in longest))


def _shots(samples: list[_Sample]) -> Iterator[list[_Sample]]:
    """Runs of samples that show one thing; blank samples separate runs, pieces of fades are dropped."""
    shot: list[_Sample] = []
    opened_soft = False
    for sample in samples:
        if not shot:
            shot = [] if sample.blank else [sample]
            continue
        hard = sample.blank or _difference(shot[-1], sample) > _CUT
        if not hard and _difference(shot[0], sample) <= _DRIFT:
            shot.append(sample)
            continue
        if not (opened_soft and not hard and sample.ms - shot[0].ms < _FADE_MS):
            yield shot
        shot = [] if sample.blank else [sample]
        opened_soft = not hard
    if shot:
        yield shot


def _stillest(shot: list[_Sample]) -> _Sample:
    """Of the samples that move least, the one nearest the middle."""
    if len(shot) < 3:
        return shot[len(shot) // 2]
    steps = [_difference(a, b) for a, b in pairwise(shot)]
    motion = [max(pair) for pair in pairwise(steps)]  # of shot[1:-1]
    calm = float(np.median(motion)) + 1e-6
    middle = (shot[0].ms + shot[-1].ms) / 2
    still = [sample for sample, moves in zip(shot[1:-1], motion, strict=True) if moves <= calm]
    return min(still, key=lambda sample: (abs(sample.ms - middle), sample.ms))


def _difference(a: _Sample, b: _Sample) -> float:
    return float(np.abs(a.pixels.astype(np.int16) - b.pixels).mean()) / 255


def _timed(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[tuple[int, av.VideoFrame]]:
    start = stream.start_time or 0
    for frame in container.decode(stream):
        if frame.pts is not None:
            yield round((frame.pts - start) * stream.time_base * 1000), frame


def _picture(frame: av.VideoFrame) -> Image.Image:
    picture = frame.to_image()
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture


@contextmanager
def _opened(file: BinaryIO, limits: Limits) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open with the one demuxer that the content calls for: a playlist can't make FFmpeg read other files."""
    import av

    kind = sniff(file.read(SNIFF_BYTES))
    file.seek(0)
    if kind.media_type != "video":
        raise MediaError(Reason.NOT_AN_IMAGE, f"a still ({kind.format}), not a video")
    try:
        with av.open(file, format=VIDEOS[kind.format], metadata_errors="replace") as container:
            cover = av.stream.Disposition.attached_pic
            stream = next((s for s in container.streams.video if not s.disposition & cover), None)
            if stream is None:
                raise MediaError(Reason.DECODE_ERROR, f"{kind.format}: there is no video track in it")
            limits.check_pixels(stream.width, stream.height)
            yield container, stream
    except MediaError:
        raise
    except Exception as error:  # as in decode: whatever FFmpeg makes of hostile bytes is a row, not a crash
        raise MediaError(Reason.DECODE_ERROR, f"{kind.format}: {_words(error)}") from error


def _words(error: Exception) -> str:
    return (" ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__)[:200]
