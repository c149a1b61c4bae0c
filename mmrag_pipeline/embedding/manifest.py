"""From a manifest to the work of the engine: which contents a drop needs, and how each is opened."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from upath import UPath

from mmrag_pipeline.embedding.engine import EmbedReport, Progress, embed_drop
from mmrag_pipeline.embedding.model import BatchEncoder
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.pictures import load_picture
from mmrag_pipeline.media.rules import Limits, MediaError


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

    def loader(path: str, frame_ms: int | None) -> Callable[[], Image.Image]:
        def load() -> Image.Image:
            try:
                return load_picture(folder, path, frame_ms, limits)
            except MediaError as error:
                raise UserError(
                    f"drop {drop} changed since it was scanned ({path}: {error}): "
                    f"materialise drop_manifest for it again."
                ) from error

        return load

    rows = manifest.filter(pc.equal(manifest["status"], "ok")).select(["content_id", "path", "frame_ms"])
    loaders = {row["content_id"]: loader(row["path"], row["frame_ms"]) for row in rows.to_pylist()}
    return embed_drop(loaders, drop=drop, encoder=encoder, store=store, batch_size=batch_size, progress=progress)
