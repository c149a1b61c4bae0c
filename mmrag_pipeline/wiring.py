"""Settings -> domain objects, for the command line. Dagster's own wiring is `defs/resources.py`."""

from __future__ import annotations

from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.backends.vertex import VertexBackend
from mmrag_pipeline.embedding.clip import ClipEncoder
from mmrag_pipeline.embedding.model import ModelSpec
from mmrag_pipeline.index.milvus import MilvusConfig
from mmrag_pipeline.media.library import MediaLibrary
from mmrag_pipeline.media.rules import Limits
from mmrag_pipeline.settings import Settings
from mmrag_pipeline.store import Store


def encoder(settings: Settings, store: Store | None = None) -> ClipEncoder:
    """The encoder in force; its fingerprint is noted in `store`, by default the settings' own."""
    spec = ModelSpec.parse(
        settings.clip_model,
        precision=settings.clip_precision,
        device=settings.clip_device,
        preprocessing=settings.clip_preprocessing,
        background=settings.background_rgb,
    )
    return ClipEncoder(
        spec, store or Store(settings.store), batch_size=settings.clip_batch_size, workers=settings.clip_workers
    )


def milvus(settings: Settings) -> MilvusConfig:
    return MilvusConfig(
        uri=settings.milvus_address,
        token=settings.milvus_token.get_secret_value() if settings.milvus_token else None,
        alias=settings.milvus_alias,
        timeout_s=settings.milvus_timeout_s,
        wait_s=settings.milvus_wait_s,
        index=settings.milvus_index,
        vectors=settings.milvus_vectors,
        import_folder=settings.milvus_import,
    )


def library(settings: Settings) -> MediaLibrary:
    return MediaLibrary(settings.media_root)


def limits(settings: Settings) -> Limits:
    return Limits(
        max_pixels=settings.max_megapixels * 1_000_000,
        max_frames=settings.max_video_frames,
        max_seconds=settings.max_file_seconds,
        background=settings.background_rgb,
    )


def gemini(settings: Settings) -> GeminiBackend:
    return GeminiBackend(
        api_key=settings.gemini_api_key or "",
        base_url=settings.gemini_base_url,
        timeout_s=settings.gemini_timeout_s,
    )


def vertex(settings: Settings) -> VertexBackend:
    return VertexBackend(
        project=settings.vertex_project or "",
        location=settings.vertex_location,
        api_key=settings.gemini_api_key or "",
        timeout_s=settings.gemini_timeout_s,
    )
