"""A manifest as the engine's pictures: which contents a drop needs, and how the pixels of each are had."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from mmrag_pipeline.embedding.engine import SHARD_BYTES, EmbedReport, Progress, embed_drop
from mmrag_pipeline.embedding.model import BatchEncoder
from mmrag_pipeline.embedding.stages import StageTimes
from mmrag_pipeline.embedding.store import EmbeddingStore
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.media.decode import Pixels, decode_pixels
from mmrag_pipeline.media.pictures import frames_of, local_copy, read_file
from mmrag_pipeline.media.rules import Limits, MediaError, Reason


def embed_manifest(
    manifest: pa.Table,
    folder: UPath,
    *,
    drop: str,
    encoder: BatchEncoder,
    store: EmbeddingStore,
    limits: Limits,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress | None = None,
) -> EmbedReport:
    """Embed the ok rows of a manifest whose files lie in `folder`; see `engine.embed_drop`.

    Raises:
        UserError: a picture has gone or changed since the scan, or does not decode; what was computed before it is
            kept.
    """
    pictures = ManifestPictures(manifest, folder, drop=drop, limits=limits)
    return embed_drop(pictures, drop=drop, encoder=encoder, store=store, shard_bytes=shard_bytes, progress=progress)


class ManifestPictures:
    """The ok rows of a manifest, by content id; columns stay in Arrow, so that a large drop needs no more memory."""

    def __init__(self, manifest: pa.Table, folder: UPath, *, drop: str, limits: Limits):
        rows = manifest.filter(pc.equal(manifest["status"], "ok")).sort_by("content_id")
        self._rows = rows.select(["content_id", "path", "frame_ms"]).combine_chunks()
        self.content_ids: list[str] = self._rows["content_id"].to_pylist()
        self._folder, self._drop, self._limits = folder, drop, limits

    def pixels(
        self, positions: Sequence[int], *, short_side: int | None, times: StageTimes
    ) -> Iterator[tuple[int, Pixels]]:
        """See `engine.Pictures`.

        Raises:
            UserError: a picture has gone or changed since the scan, or does not decode.
        """
        rows = zip(positions, self._rows.take(pa.array(positions, pa.int64())).to_pylist(), strict=True)
        for path, group in itertools.groupby(rows, key=lambda row: row[1]["path"]):  # frames of one file lie together
            wanted = list(group)
            content, *_ = wanted[0][1]["content_id"].partition("#")
            try:
                if wanted[0][1]["frame_ms"] is None:
                    yield wanted[0][0], self._still(path, content, short_side, times)
                else:
                    moments = {row["frame_ms"]: position for position, row in wanted}
                    for ms, frame in self._frames(path, content, sorted(moments), times):
                        yield moments[ms], frame
            except MediaError as error:
                raise UserError(self._advice(path, error)) from error

    def _advice(self, path: str, error: MediaError) -> str:
        if error.reason in (Reason.UNREADABLE, Reason.OUTSIDE_DROP):
            return (
                f"drop {self._drop} changed since it was scanned, or can't be read ({path}: {error}): materialise "
                f"drop_manifest for it again when the library is at hand."
            )
        return (  # the very bytes that the scan decoded: a lack of memory looks so
            f"{path} of drop {self._drop} passed the scan and does not decode now ({error}): give the run more memory; "
            f"if that does not help, export the file again or take it out of the drop."
        )

    def _still(self, path: str, content: str, short_side: int | None, times: StageTimes) -> Pixels:
        with times.measure("read"):
            data = read_file(self._folder, path)
            _require_content(hashlib.sha256(data).hexdigest(), content)
        with times.measure("decode"):
            return decode_pixels(data, self._limits, short_side=short_side)

    def _frames(
        self, path: str, content: str, times_ms: Sequence[int], times: StageTimes
    ) -> Iterator[tuple[int, Pixels]]:
        with contextlib.ExitStack() as stack:
            with times.measure("read"):
                stream = stack.enter_context(local_copy(self._folder, path))
                _require_content(_sha256(stream), content)
            frames = frames_of(stream, times_ms, self._limits)
            for ms in times_ms:
                with times.measure("decode"):
                    pixels = Pixels.of(next(frames))
                yield ms, pixels


def _require_content(found: str, wanted: str) -> None:
    """A vector is reused library-wide under its content id: the pixels must be those of exactly these bytes."""
    if found != wanted:
        raise MediaError(Reason.UNREADABLE, "another content lies there now")


def _sha256(stream: BinaryIO) -> str:
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    stream.seek(0)
    return digest
