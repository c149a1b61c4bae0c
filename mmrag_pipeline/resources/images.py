"""Who makes campaign pictures, and the folder of briefs, as Dagster resources."""

from __future__ import annotations

import os
from datetime import timedelta

import dagster as dg
from pydantic import Field

from mmrag_pipeline.campaigns.backends import ImageBackend, open_backend
from mmrag_pipeline.campaigns.brief import Brief, load_briefs
from mmrag_pipeline.campaigns.rate import SharedRate


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

    backend: str = Field("preview", description="preview (offline, free), gemini or vertex (paid).")
    model: str = Field(description="Image model of the paid backends.")
    api_key: str | None = Field(None, repr=False, description="From MMRAG_GEMINI_API_KEY only.")
    base_url: str = Field(description="Gemini endpoint.")
    timeout_s: float = Field(180.0, description="Seconds one request may take.")
    ledger: str = Field(description="SQLite file on a local disk that records paid calls.")
    budget_usd_per_day: float = Field(10.0, description="Most that all campaigns may spend in one UTC day.")

    rpm: int | None = Field(None, description="Requests a minute of all processes beside one ledger; None: no limit.")
    threads: int | None = Field(None, description="Pictures made at a time; None: 4 where paid, else 1.")
    vertex_project: str | None = Field(None, description="Google Cloud project of vertex; None: express mode by key.")
    vertex_location: str = Field("global", description="Google Cloud location of vertex.")
    batch_deadline_h: float = Field(30.0, description="Hours after which a batch job is given up.")

    @property
    def batch_deadline(self) -> timedelta:
        return timedelta(hours=self.batch_deadline_h)

    def rate(self) -> SharedRate | None:
        """The rate that every process beside this ledger keeps to, if there is one."""
        path = os.path.join(os.path.dirname(self.ledger), "rate.sqlite")
        return SharedRate(path, requests=self.rpm) if self.rpm else None

    def open(self, name: str) -> ImageBackend:
        """The backend that a plan was made for."""
        return open_backend(
            name,
            api_key=self.api_key,
            base_url=self.base_url,
            timeout_s=self.timeout_s,
            project=self.vertex_project,
            location=self.vertex_location,
        )
