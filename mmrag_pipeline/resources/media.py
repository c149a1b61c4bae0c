"""The media library and the store as Dagster resources."""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from mmrag_pipeline.media.library import MediaLibrary
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.store import Store


class MediaLibraryResource(dg.ConfigurableResource):
    """The folder or bucket that drops arrive in; only ever read."""

    root: str = Field(description="Folder or fsspec URI, laid out <product_line>/<drop>/**.")
    max_megapixels: int = Field(64, description="Pictures above this are quarantined before decoding.")
    max_video_frames: int = Field(12, description="Keyframes kept of one video at most.")
    max_file_seconds: float = Field(60.0, description="Seconds that decoding one file may take.")
    background: list[int] = Field([255, 255, 255], description="RGB that shows through transparent pixels.")
    quiet_s: float = Field(60.0, description="Seconds without a change before a drop counts as delivered.")
    ready_marker: bool = Field(False, description="Wait for _READY in each drop instead of a quiet time.")
    vanished_grace_h: float = Field(72.0, description="Hours that a vanished drop stays before it is removed.")

    def library(self) -> MediaLibrary:
        return MediaLibrary(self.root)

    def limits(self) -> Limits:
        return Limits(
            max_pixels=self.max_megapixels * 1_000_000,
            max_frames=self.max_video_frames,
            max_seconds=self.max_file_seconds,
            background=tuple(self.background),
        )


class StoreResource(dg.ConfigurableResource):
    """Everything that the pipeline writes."""

    root: str = Field(description="Folder or fsspec URI.")

    def open(self) -> Store:
        return Store(self.root)
