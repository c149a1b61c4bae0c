"""A small media library on disk, and scans of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from mmrag_pipeline.media.decode import Limits
from mmrag_pipeline.media.library import Drop, MediaLibrary
from mmrag_pipeline.media.scan import ScanReport, scan_drop

DROP = Drop("lunar", "2026-09")
NOW = datetime(2026, 9, 1, 2, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of `DROP`, empty."""
    path = tmp_path / "library" / DROP.product_line / DROP.name
    path.mkdir(parents=True)
    return path


@pytest.fixture
def scan(folder: Path) -> Callable[..., ScanReport]:
    """Scan `DROP` as it lies now; keyword arguments as `scan_drop`."""

    def run(**options) -> ScanReport:
        library = MediaLibrary(str(folder.parents[1]))
        return scan_drop(library, DROP, **{"previous": None, "limits": Limits(), "now": NOW, **options})

    return run


def save(path: Path, colour: str = "red", size: tuple[int, int] = (64, 48), **options) -> Path:
    """A one-colour picture in the format of the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def rows(report: ScanReport) -> dict[str, dict]:
    """First row of each path."""
    found: dict[str, dict] = {}
    for row in report.table.to_pylist():
        found.setdefault(row["path"], row)
    return found


def overwrite_unseen(path: Path) -> None:
    """Replace the bytes but keep size and time: who does not read the file can't know."""
    status = path.stat()
    path.write_bytes(b"?" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
