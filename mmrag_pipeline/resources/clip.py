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
    precision: str = Field("fp32", description="fp32 or bf16.")
    device: str = Field("auto", description="auto, cpu or cuda[:n].")
    batch_size: int = Field(32, description="Pictures a model call.")

    def encoder(self, store: Store | None) -> ClipEncoder:
        """The encoder; `store` keeps its fingerprint between processes."""
        return ClipEncoder(ModelSpec.parse(self.model_name, precision=self.precision, device=self.device), store)
