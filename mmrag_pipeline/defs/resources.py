"""Which resource, from which setting.

Plain settings are read when the code location loads, so that the UI shows what is in force. Secrets stay references
to their environment variable and are read inside a run only: Dagster stores and shows the reference.
"""

import dagster as dg
from pydantic import SecretStr

from mmrag_pipeline.resources import (
    BriefsResource,
    ClipEncoderResource,
    GoldenResource,
    ImageBackendResource,
    MediaLibraryResource,
    MilvusResource,
    StoreResource,
)
from mmrag_pipeline.settings import load_settings, variable


def _secret(field: str, value: SecretStr | None) -> dg.EnvVar | None:
    return dg.EnvVar(variable(field)) if value is not None else None


@dg.definitions
def resources() -> dg.Definitions:
    """The resources that every asset shares."""
    settings = load_settings()
    return dg.Definitions(
        resources={
            "store": StoreResource(root=settings.store),
            "media_library": MediaLibraryResource(
                root=settings.media_root,
                max_megapixels=settings.max_megapixels,
                max_video_frames=settings.max_video_frames,
                max_file_seconds=settings.max_file_seconds,
                background=list(settings.background_rgb),
                quiet_s=settings.quiet_s,
                ready_marker=settings.ready_marker,
                vanished_grace_h=settings.vanished_grace_h,
            ),
            "clip_encoder": ClipEncoderResource(
                model_name=settings.clip_model,
                precision=settings.clip_precision,
                preprocessing=settings.clip_preprocessing,
                background=list(settings.background_rgb),
                device=settings.clip_device,
                batch_size=settings.clip_batch_size,
                workers=settings.clip_workers,
            ),
            "milvus": MilvusResource(
                uri=settings.milvus_address,
                token=_secret("milvus_token", settings.milvus_token),
                alias=settings.milvus_alias,
                timeout_s=settings.milvus_timeout_s,
                wait_s=settings.milvus_wait_s,
                index=settings.milvus_index,
                vectors=settings.milvus_vectors,
                import_folder=settings.milvus_import,
            ),
            "golden": GoldenResource(path=settings.golden_file),
            "image_backend": ImageBackendResource(
                backend=settings.image_backend,
                model=settings.gemini_model,
                api_key=_secret("gemini_api_key", settings.gemini_api_key),
                base_url=settings.gemini_base_url,
                timeout_s=settings.gemini_timeout_s,
                ledger=settings.ledger_file,
                budget_usd_per_day=settings.budget_usd_per_day,
                budget_usd_per_run=settings.budget_usd_per_run,
                prices=settings.prices,
                rpm=settings.gemini_rpm,
                threads=settings.image_threads,
                vertex_project=settings.vertex_project,
                vertex_location=settings.vertex_location,
                batch_deadline_h=settings.batch_deadline_h,
                c2pa_certificate=settings.c2pa_certificate,
                c2pa_key=settings.c2pa_key,
                judge=settings.gemini_judge,
            ),
            "briefs": BriefsResource(folder=settings.campaigns_root),
        }
    )
