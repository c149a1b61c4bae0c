"""Delivers drops of the packaged brand library, as a supplier would copy them onto the share."""

from __future__ import annotations

import shutil
from pathlib import Path

from mmrag_pipeline.media.library import Drop, MediaLibrary

PACKAGED_LIBRARY = Path(__file__).parent / "library"
PACKAGED_BRIEFS = Path(__file__).parent / "campaigns"


def packaged_drops() -> list[Drop]:
    """Every drop of the packaged library, sorted by key."""
    return MediaLibrary(str(PACKAGED_LIBRARY)).drops().drops


def deliver(drop: Drop, media_root: Path) -> bool:
    """Copy one drop into the library unless it is there; True if it was copied.

    It arrives under a hidden name and is renamed, so that a sensor never sees half a delivery.
    """
    target = media_root / drop.product_line / drop.name
    if target.is_dir():
        return False
    arriving = target.with_name(f".{drop.name}.arriving")
    shutil.rmtree(arriving, ignore_errors=True)
    shutil.copytree(PACKAGED_LIBRARY / drop.product_line / drop.name, arriving)
    arriving.rename(target)
    return True


def deliver_briefs(folder: Path) -> None:
    """Copy the demo briefs; a brief that somebody has edited stays as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for brief in PACKAGED_BRIEFS.glob("*.yaml"):
        if not (folder / brief.name).exists():
            shutil.copy2(brief, folder / brief.name)
