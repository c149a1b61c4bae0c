"""Videos -> a few key frames, each named by its time, and the same frames again on request.

Times are milliseconds since the stream's start, so they survive re-muxing. How much of a video is decoded depends
on its size alone, never on the clock: above `Limits.max_video_gigapixels` only the frames that the codec stored
whole are read, and of those evenly spaced ones if they are still too many. Which samples are kept is decided in
`keyframes`; animated GIF, WebP, PNG and AVIF are in `animation`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

from mmrag_pipeline.media.keyframes import SAMPLE_MS, SIDE, Sample, choose_keyframes
from mmrag_pipeline.media.rules import Limits, MediaError, Reason
from mmrag_pipeline.media.sniff import SNIFF_BYTES, VIDEOS, sniff

if TYPE_CHECKING:
    import av

_MOST_SAMPLES = 4096  # 12 MB of thumbnails, 5 minutes at full rate
_AHEAD_MS = 3000  # a wanted frame further away than this is sought, a nearer one is decoded up to
_MOST_STRETCH = 4  # a pixel said to be wider or higher than this is a mistake
_HDR = (16, 18)  # transfer functions PQ and HLG


@dataclass(frozen=True)
class Clip:
    """What a probe found: upright size as players show it, frames in the file, and times of the frames to keep."""

    width: int
    height: int
    frames: int
    keyframes: tuple[int, ...]


def probe_video(file: BinaryIO, limits: Limits) -> Clip:
    """Choose the key frames of a video, in order of time, at most `limits.max_frames`.

    A file that breaks off is read up to there.

    Raises:
        MediaError: `decode_error`, `too_many_pixels`, `too_small`, `bad_aspect`, or `no_frames` (all blank).
    """
    with _opened(file, limits) as (container, stream):
        found = None
        if not _too_long(stream, limits):
            found = _sampled(stream, _timed(container, stream), _budget(stream, limits))
        if found is None:  # too long, or the header promised less than there is
            container.seek(_start(stream), stream=stream)
            found = _sampled(stream, _whole_frames(container, stream, limits), None)
        samples, decoded, size = found
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
    return next(video_frames(file, [ms], limits))


def video_frames(file: BinaryIO, times_ms: Sequence[int], limits: Limits) -> Iterator[Image.Image]:
    """The frames at ascending `times_ms`, opening and decoding the file once: mode RGB, upright, full size.

    Raises:
        MediaError: the video does not decode, or has no frame at one of the times.
    """
    from av.video.reformatter import VideoReformatter

    converter = VideoReformatter()  # keeps its tables: those for HDR take seconds to make
    with _opened(file, limits) as (container, stream):
        long = _too_long(stream, limits)
        frames: Iterator[tuple[int, av.VideoFrame]] = iter(())
        last: int | None = None
        for ms in times_ms:
            found = None
            if last is not None and 0 < ms - last <= _AHEAD_MS:
                found = _next_at(frames, ms)
            if found is None:
                frames = _from(container, stream, ms, limits, long=long)
                found = _next_at(frames, ms)
            if found is None:  # the index is wrong: look at everything
                frames = _whole_frames(container, stream, limits) if long else _from_start(container, stream)
                found = _next_at(frames, ms)
            if found is None:
                raise MediaError(Reason.DECODE_ERROR, f"the video has no frame at {ms} ms")
            yield _picture(stream, found, converter)
            last = ms


def _next_at(frames: Iterator[tuple[int, av.VideoFrame]], ms: int) -> av.VideoFrame | None:
    for at, frame in frames:
        if at == ms:
            return frame
        if at > ms:
            return None
    return None


def _from(
    container: av.container.InputContainer, stream: av.VideoStream, ms: int, limits: Limits, *, long: bool
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames from the last whole one before `ms` on; nothing if seeking does not lead to one."""
    container.seek(_start(stream) + int(ms / 1000 / stream.time_base), stream=stream)
    if long:
        yield from _whole_frames(container, stream, limits, only_ms=ms)
        return
    whole = False
    for at, frame in _timed(container, stream):
        whole = whole or frame.key_frame
        if not whole:  # may lack the frames that it refers to
            return
        yield at, frame


def _from_start(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[tuple[int, av.VideoFrame]]:
    container.seek(_start(stream), stream=stream)
    yield from _timed(container, stream)


def _timed(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[tuple[int, av.VideoFrame]]:
    """(time in ms, frame) up to the end or to the first damage after a good frame."""
    import av

    good = False
    frames = container.decode(stream)
    while True:
        try:
            frame = next(frames)
        except StopIteration:
            return
        except av.error.FFmpegError:
            if good:
                return
            raise
        if frame.pts is not None:
            good = True
            yield _ms(stream, frame.pts), frame


def _whole_frames(
    container: av.container.InputContainer, stream: av.VideoStream, limits: Limits, *, only_ms: int | None = None
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Only the frames that the codec stored whole: evenly spaced ones, or from here on the one at `only_ms`."""
    wanted = None
    if only_ms is None:
        times = sorted(at for at, _ in _whole_packets(container, stream))
        most = max(1, min(_MOST_SAMPLES, _budget(stream, limits)))
        wanted = set(times[:: -(-len(times) // most)]) if times else set()
        container.seek(_start(stream), stream=stream)
    for at, packet in _whole_packets(container, stream):
        if only_ms is not None and at > only_ms:
            return
        if at == only_ms or (wanted is not None and at in wanted):
            stream.codec_context.flush_buffers()
            for frame in [*stream.codec_context.decode(packet), *stream.codec_context.decode(None)]:
                if frame.pts is not None:
                    yield _ms(stream, frame.pts), frame


def _whole_packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[tuple[int, av.Packet]]:
    for packet in container.demux(stream):
        if packet.is_keyframe and packet.pts is not None and packet.size:
            yield _ms(stream, packet.pts), packet


def _sampled(
    stream: av.VideoStream, frames: Iterator[tuple[int, av.VideoFrame]], budget: int | None
) -> tuple[list[Sample], int, tuple[int, int]] | None:
    """Thumbnails `SAMPLE_MS` or more apart, frames decoded, upright size; None if there are more than `budget`."""
    from av.video.reformatter import Interpolation

    # Exact, so that other processors give the same thumbnails.
    how = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    samples: list[Sample] = []
    decoded, size, apart = 0, (0, 0), SAMPLE_MS
    for ms, frame in frames:
        decoded += 1
        if budget is not None and decoded > budget:
            return None
        if samples and ms - samples[-1].ms < apart:
            continue
        if not samples:
            size = _shown(stream, frame)
        small = frame.reformat(width=SIDE, height=SIDE, format="rgb24", interpolation=how, threads=1)
        samples.append(Sample(ms, small.to_ndarray()))
        if len(samples) == _MOST_SAMPLES:
            del samples[1::2]
            apart = max(2 * apart, (samples[-1].ms - samples[0].ms) // (len(samples) - 1))
    return samples, decoded, size


def _too_long(stream: av.VideoStream, limits: Limits) -> bool:
    """Would decoding all of it be more than the limit, by what its header says?"""
    frames = stream.frames
    rate = stream.average_rate or stream.guessed_rate
    if not frames and stream.duration and rate:
        frames = int(stream.duration * stream.time_base * rate)
    elif not frames and stream.container.duration and rate:
        frames = int(stream.container.duration * rate / 1_000_000)
    return frames > _budget(stream, limits)


def _budget(stream: av.VideoStream, limits: Limits) -> int:
    """Frames of this size that may be decoded."""
    return int(limits.max_video_gigapixels * 1e9 / max(1, stream.width * stream.height))


def _start(stream: av.VideoStream) -> int:
    return stream.start_time or 0


def _ms(stream: av.VideoStream, pts: int) -> int:
    return round((pts - _start(stream)) * stream.time_base * 1000)


def _shown(stream: av.VideoStream, frame: av.VideoFrame) -> tuple[int, int]:
    """Upright size; pixels that are not square are stretched, never squeezed."""
    width, height = frame.width, frame.height
    pixel = stream.sample_aspect_ratio or 1
    if 1 < pixel <= _MOST_STRETCH:
        width = round(width * pixel)
    elif 1 / _MOST_STRETCH <= pixel < 1:
        height = round(height / pixel)
    return (height, width) if frame.rotation % 180 else (width, height)


def _picture(
    stream: av.VideoStream, frame: av.VideoFrame, converter: av.video.reformatter.VideoReformatter
) -> Image.Image:
    """RGB by the matrix and range that the file names (BT.601 if none); HDR is brought to what a screen shows."""
    from av.video.reformatter import ColorPrimaries, ColorTrc

    hdr = {"dst_color_trc": ColorTrc.IEC61966_2_1, "dst_color_primaries": ColorPrimaries.BT709}
    rgb = converter.reformat(frame, format="rgb24", **(hdr if frame.color_trc in _HDR else {}))
    picture = Image.fromarray(rgb.to_ndarray())
    if frame.rotation:
        picture = picture.rotate(frame.rotation, expand=True)
    size = _shown(stream, frame)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC)


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
