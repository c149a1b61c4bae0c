"""Settings -> domain objects, for the command line. Dagster's own wiring is `defs/resources.py`."""

from __future__ import annotations

from mmrag_pipeline.campaigns.backends import ImageBackend, open_backend
from mmrag_pipeline.campaigns.prices import Prices, load_prices
from mmrag_pipeline.campaigns.provenance import Credentials, credentials_in_force
from mmrag_pipeline.campaigns.rate import SharedRate, rate_beside
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


def image_backend(settings: Settings, name: str) -> ImageBackend:
    """The backend of that name; without one, callers ask for `settings.image_backend`."""
    return open_backend(
        name,
        api_key=settings.gemini_api_key,
        base_url=settings.gemini_base_url,
        timeout_s=settings.gemini_timeout_s,
        prices=prices(settings),
        project=settings.vertex_project,
        location=settings.vertex_location,
    )


def prices(settings: Settings) -> Prices:
    """The prices in force. Raises UserError where the own file has a mistake."""
    return load_prices(settings.prices)


def credentials(settings: Settings) -> Credentials:
    """Who signs the pictures. Raises UserError where the certificate or its key is of no use."""
    return credentials_in_force(settings.c2pa_certificate, settings.c2pa_key, ledger=settings.ledger_file)


def rate(settings: Settings) -> SharedRate | None:
    """The rate that every process beside the ledger keeps to, if there is one."""
    return rate_beside(settings.ledger_file, requests=settings.gemini_rpm)
