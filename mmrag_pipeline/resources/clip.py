"""The clip encoder as a Dagster resource."""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from mmrag_pipeline.embedding.clip import ClipEncoder
from mmrag_pipeline.embedding.model import ModelSpec
from mmrag_pipeline.store import Store


class ClipEncoderResource(dg.ConfigurableResource):
    """An open_clip model, loaded when the first vector is asked for and once a process."""

    model_name: str = Field(description="Preset, <architecture>/<tag>, hf-hub:<org>/<repo> or local-dir:<folder>.")
    precision: str = Field("auto", description="auto, fp32 or bf16.")
    preprocessing: str = Field("fast", description="fast or exact.")
    background: list[int] = Field([255, 255, 255], description="RGB that shows through transparent pixels.")
    device: str = Field("auto", description="auto, cpu or cuda[:n].")
    batch_size: int | None = Field(None, description="Pictures a model call.")
    workers: int | None = Field(None, description="Threads that decode and embed.")

    def encoder(self, store: Store | None) -> ClipEncoder:
        """The encoder; `store` keeps its fingerprint between processes."""
        spec = ModelSpec.parse(
            self.model_name,
            precision=self.precision,
            device=self.device,
            preprocessing=self.preprocessing,
            background=tuple(self.background),
        )
        return ClipEncoder(spec, store, batch_size=self.batch_size, workers=self.workers)
