"""Vectors of contents that left their drop, kept for a while under `embeddings/<fingerprint>/_departed/`.

A file that moves from one drop to another leaves the first before or after it arrives in the second, whichever drop
is ingested first. Kept here, its vector is found again either way and not computed twice. The files are never read
as anybody's vectors: only `reuse` looks here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from datetime import datetime, timedelta

import pyarrow as pa
from upath import UPath

from mmrag_pipeline.store import is_local, sweep_abandoned, write_table

FOLDER = "_departed"
DEPARTED = "[0-9]*.parquet"
"""The finished files: a pattern of `*` would find the temporary ones of a writer too."""
KEPT_FOR = timedelta(days=30)


def keep_departed(root: UPath, drop: str, tables: Iterable[pa.Table], *, now: datetime) -> None:
    """Set the rows of `tables` aside, and remove what has been here for longer than `KEPT_FOR`."""
    folder = root / FOLDER
    for table in tables:
        if table.num_rows:
            digest = hashlib.sha256("\n".join(table["content_id"].to_pylist()).encode()).hexdigest()[:8]
            write_table(folder / f"{now:%Y%m%d}-{drop}-{digest}.parquet", table)
    oldest = f"{now - KEPT_FOR:%Y%m%d}"
    if folder.is_dir():
        for path in folder.glob(DEPARTED):
            if path.name < oldest:
                path.unlink(missing_ok=True)
        if is_local(folder):
            sweep_abandoned(os.fspath(folder), ending=".parquet")
