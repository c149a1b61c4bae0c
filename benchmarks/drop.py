"""The one drop that every library made here has."""

from __future__ import annotations

from pathlib import Path

from mmrag_pipeline.media.library import Drop

DROP = Drop("bench", "1")


def drop_folder(library: Path) -> Path:
    """Where its files lie."""
    return library / DROP.product_line / DROP.name
