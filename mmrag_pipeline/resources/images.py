"""Who makes campaign pictures, and the folder of briefs, as Dagster resources."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg
from pydantic import Field, SecretStr

from mmrag_pipeline.campaigns.backends import ImageBackend, open_backend
from mmrag_pipeline.campaigns.brief import Brief
from mmrag_pipeline.campaigns.brief_folder import load_briefs
from mmrag_pipeline.campaigns.ledger import Caps
from mmrag_pipeline.campaigns.plan import CampaignPlan
from mmrag_pipeline.campaigns.prices import Prices, load_prices
from mmrag_pipeline.campaigns.provenance import Credentials, credentials_in_force
from mmrag_pipeline.campaigns.rate import SharedRate, rate_beside


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
    budget_usd_per_run: float | None = Field(None, description="Most that one run may spend; None: no such cap.")
    prices: str | None = Field(None, description="YAML file of own prices.")
    rpm: int | None = Field(None, description="Requests a minute of all processes beside one ledger; None: no limit.")
    threads: int | None = Field(None, description="Pictures made at a time; None: 4 where paid, else 1.")
    vertex_project: str | None = Field(None, description="Google Cloud project of vertex; None: express mode by key.")
    vertex_location: str = Field("global", description="Google Cloud location of vertex.")
    batch_deadline_h: float = Field(30.0, description="Hours after which a batch job is given up.")

    c2pa_certificate: str | None = Field(None, description="PEM file of the certificate that signs; None: self-made.")
    c2pa_key: str | None = Field(None, description="PEM file of its key.")
    judge: str | None = Field(None, description="Text model that judges finished pictures, for money; None: nobody.")

    @property
    def batch_deadline(self) -> timedelta:
        return timedelta(hours=self.batch_deadline_h)

    def credentials(self) -> Credentials:
        """Who signs the pictures.

        Raises:
            UserError: the certificate or its key is of no use.
        """
        return credentials_in_force(self.c2pa_certificate, self.c2pa_key, ledger=self.ledger)

    def rate(self) -> SharedRate | None:
        """The rate that every process beside this ledger keeps to, if there is one."""
        return rate_beside(self.ledger, requests=self.rpm)

    def open(self, name: str) -> ImageBackend:
        """The backend that a plan was made for."""
        return open_backend(
            name,
            api_key=SecretStr(self.api_key) if self.api_key else None,
            base_url=self.base_url,
            timeout_s=self.timeout_s,
            prices=self.price_list(),
            project=self.vertex_project,
            location=self.vertex_location,
        )

    def price_list(self) -> Prices:
        """The prices in force. Raises UserError where the own file has a mistake."""
        return load_prices(self.prices)

    def caps(self, plan: CampaignPlan, *, run_usd: float | None = None) -> Caps:
        """What may be spent on a plan; `run_usd` can only lower what a run may."""
        run = [cap for cap in (self.budget_usd_per_run, run_usd) if cap is not None]
        return Caps(
            campaign_usd=plan.budget_usd,
            occurrence_usd=plan.budget_usd_per_occurrence,
            day_usd=self.budget_usd_per_day,
            run_usd=min(run, default=None),
        )

    def __reduce__(self) -> Any:
        raise TypeError("an ImageBackendResource may hold a key and is never pickled: build it where it is used")
