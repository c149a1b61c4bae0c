"""What a picture must be to enter the collection, and the words for why it did not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Every value of the manifest's `reason` column; '' is a row that is ok and no copy of another."""

    # quarantined: the bytes
    DECODE_ERROR = "decode_error"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_SLOW = "too_slow"
    CRASHED = "crashed"  # the process that decoded it died
    UNSUPPORTED_FORMAT = "unsupported_format"
    EMPTY_OR_NOT_AN_IMAGE = "empty_or_not_an_image"
    NOT_AN_IMAGE = "not_an_image"
    TOO_SMALL = "too_small"
    BAD_ASPECT = "bad_aspect"
    NO_FRAMES = "no_frames"
    # quarantined: the file
    UNREADABLE = "unreadable"
    OUTSIDE_DROP = "outside_drop"
    BAD_NAME = "bad_name"
    UNFINISHED = "unfinished"  # still being written
    # ok, but a copy of a better one
    NEAR_DUPLICATE = "near_duplicate"
    # duplicate
    DUPLICATE = "duplicate"
    # ignored
    HIDDEN = "hidden"
    MARKER = "marker"
    CATALOGUE = "catalogue"
    FOLDER_LINK = "folder_link"


class MediaError(Exception):
    """This file is not a usable picture; becomes a quarantined row, never stops a run."""

    def __init__(self, reason: Reason, detail: str):
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The policy that decides between `ok` and `quarantined`; part of what a manifest is made under."""

    max_pixels: int = 64_000_000
    max_bytes: int = 256 * 1024 * 1024
    """A still larger than this is not read; videos are streamed and have no limit."""
    min_side: int = 32
    max_aspect: float = 20
    max_frames: int = 12
    """Keyframes kept of one video."""
    max_seconds: float = 60
    """Wall time that one file may take in the probe."""
    max_animation_frames: int = 600
    """Frames of an animation that are looked at."""
    max_video_gigapixels: float = 12.0
    """Above this total of pixels a video is read by its key frames only."""
    background: tuple[int, int, int] = (255, 255, 255)
    """What shows through transparent pixels."""

    def check_pixels(self, width: int, height: int) -> None:
        """Raise `MediaError` before anything of that size is decoded."""
        if width * height > self.max_pixels:
            raise MediaError(
                Reason.TOO_MANY_PIXELS,
                f"{width}x{height} is {width * height / 1e6:.0f} megapixels, "
                f"more than {self.max_pixels / 1e6:g} (MMRAG_MAX_MEGAPIXELS)",
            )

    def check_shape(self, width: int, height: int) -> None:
        """Raise `MediaError` for a picture too thin or too small to recognise anything in."""
        short, long = sorted((width, height))
        if long > self.max_aspect * short:
            raise MediaError(Reason.BAD_ASPECT, f"{width}x{height} is thinner than 1:{self.max_aspect:g}")
        if short < self.min_side:
            raise MediaError(Reason.TOO_SMALL, f"{width}x{height} has a side under {self.min_side} pixels")

    def as_dict(self) -> dict[str, object]:
        return asdict(self)
