"""Who makes campaign pictures, and the folder of briefs, as Dagster resources."""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from mmrag_pipeline.campaigns.backends import ImageBackend, open_backend
from mmrag_pipeline.campaigns.brief import Brief, load_briefs


class BriefsResource(dg.ConfigurableResource):
    """The folder that briefs lie in."""

    folder: str = Field(description="Folder or fsspec URI with one YAML file a campaign.")

    def brief(self, campaign: str, *, model: str) -> Brief:
        """One brief, checked against its own model, else `model`.

        Raises:
            UserError: there is none, or what is wrong with its file.
        """
        return load_briefs(self.folder, model=model).get(campaign)


class ImageBackendResource(dg.ConfigurableResource):
    """The backend in force, unless a brief names its own; a key that happens to be set never chooses one."""

    backend: str = Field("preview", description="preview (offline, free) or gemini (paid).")
    model: str = Field(description="Image model of the gemini backend.")
    api_key: str | None = Field(None, repr=False, description="From MMRAG_GEMINI_API_KEY only.")
    base_url: str = Field(description="Gemini endpoint.")
    timeout_s: float = Field(180.0, description="Seconds one request may take.")
    ledger: str = Field(description="SQLite file on a local disk that records paid calls.")
    budget_usd_per_day: float = Field(10.0, description="Most that all campaigns may spend in one UTC day.")

    def open(self, name: str) -> ImageBackend:
        """The backend that a plan was made for."""
        return open_backend(name, api_key=self.api_key, base_url=self.base_url, timeout_s=self.timeout_s)
