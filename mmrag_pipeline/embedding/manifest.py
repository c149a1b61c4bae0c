"""From a manifest to the work of the engine: which contents a drop needs, and how each is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from upath import UPath

from mmrag_pipeline.embedding.engine import EmbedReport, Progress, embed_drop
from mmrag_pipeline.embedding.model import BatchEncoder
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.decode import open_picture
from mmrag_pipeline.media.pictures import load_picture, read_file
from mmrag_pipeline.media.rules import Limits, MediaError, Reason


def embed_manifest(
    manifest: pa.Table,
    folder: UPath,
    *,
    drop: str,
    encoder: BatchEncoder,
    store: EmbeddingStore,
    limits: Limits,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> EmbedReport:
    """Embed the ok rows of a manifest whose files lie in `folder`.

    Raises:
        UserError: a picture has gone or changed since the scan; what was computed before it is kept.
    """

    def loader(row: dict[str, Any]) -> Callable[[], Image.Image]:
        def load() -> Image.Image:
            try:
                return _unchanged_picture(folder, row, limits)
            except MediaError as error:
                raise UserError(
                    f"drop {drop} changed since it was scanned ({row['path']}: {error}): "
                    f"materialise drop_manifest for it again."
                ) from error

        return load

    rows = manifest.filter(pc.equal(manifest["status"], "ok"))
    rows = rows.select(["content_id", "path", "frame_ms", "bytes"])
    return embed_drop(
        {row["content_id"]: loader(row) for row in rows.to_pylist()},
        drop=drop,
        encoder=encoder,
        store=store,
        batch_size=batch_size,
        progress=progress,
    )


def _unchanged_picture(folder: UPath, row: dict[str, Any], limits: Limits) -> Image.Image:
    """The picture of a manifest row, sure to be the content that its id names: a vector is reused library-wide."""
    if row["frame_ms"] is not None:  # hashing a video again for each frame would cost more than embedding it
        picture = load_picture(folder, row["path"], row["frame_ms"], limits)
        if (folder / row["path"]).stat().st_size == row["bytes"]:
            return picture
    else:
        data = read_file(folder, row["path"])
        if hashlib.sha256(data).hexdigest() == row["content_id"]:
            return open_picture(data, limits)
    raise MediaError(Reason.UNREADABLE, "another content lies there now")
