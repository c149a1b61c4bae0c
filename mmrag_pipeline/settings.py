"""Every setting: one environment variable, one type, one default, one sentence.

`Settings` is the single place where `MMRAG_*` variables are named. Values come from the environment, then from a
`.env` file in the working directory (read into the environment, as Dagster does), then from the defaults below, which
need no key, server or hub.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from dotenv import load_dotenv
from pydantic import Field, Json, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mmrag_pipeline.errors import UserError
from mmrag_pipeline.times import check_cron, check_timezone

PREFIX = "MMRAG_"
DEMO_GOLDEN = Path(__file__).parent / "demo" / "golden.csv"


class Settings(BaseSettings):
    """What is in force. Field `x_y` is the variable `MMRAG_X_Y`; secrets are masked in every repr."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    store: str = Field(".mmrag", description="Folder or fsspec URI for everything the pipeline writes.")
    media: str | None = Field(
        None,
        description="Media library, laid out <product_line>/<drop>/**; default: the demo library in the store.",
    )
    campaigns: str | None = Field(
        None, description="Folder of campaign briefs (*.yaml); default: the demo briefs in the store."
    )
    clip_model: str = Field(
        "demo",
        description="Preset (demo, clip-b32, siglip2-b32, siglip2-b16, ecommerce, fashion), an open_clip name "
        "(ViT-B-32/laion2b_s34b_b79k), hf-hub:<org>/<repo> or local-dir:<folder>.",
    )
    clip_precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Numeric precision of the model; auto: bf16 where the processor or GPU computes in it, else fp32, "
        "which the demo model always gets. Name one where machines differ: vectors of two precisions are kept apart.",
    )
    clip_preprocessing: Literal["fast", "exact"] = Field(
        "fast",
        description="How JPEGs reach the model: fast (decoded at three times its input or more) or exact (full size).",
    )
    clip_device: str = Field("auto", description="auto (CUDA if there is one), cpu or cuda[:n].")
    clip_batch_size: int | None = Field(
        None, ge=1, le=4096, description="Pictures a model call; default: 8 on a CPU, 256 on a GPU."
    )
    clip_workers: int | None = Field(
        None, ge=1, le=256, description="Threads that decode and embed; default: one a core, two more beside a GPU."
    )
    max_megapixels: int = Field(64, ge=1, description="Pictures above this are quarantined before decoding.")
    max_video_frames: int = Field(12, ge=1, description="Keyframes kept of one video at most.")
    max_file_seconds: float = Field(
        60.0, gt=0, description="Seconds that decoding one file may take before it is quarantined."
    )
    background: str = Field("#ffffff", description="Colour that shows through transparent pixels, #rrggbb.")
    quiet_s: float = Field(
        60.0, ge=0, description="Seconds without a change before the sensor takes a drop for delivered."
    )
    ready_marker: bool = Field(
        False, description="Wait for a file _READY at the top of each drop instead of a quiet time."
    )
    sensor_interval_s: int = Field(
        30, ge=1, description="Seconds between two looks at the library for drops, and at Dagster for what to alert of."
    )
    vanished_grace_h: float = Field(
        72.0, ge=0, description="Hours that a drop whose folder is gone stays in the index before it is removed."
    )
    milvus_uri: str | None = Field(
        None,
        description="http(s)://host:port of a Milvus server, or a path ending in .db for Milvus Lite; "
        "default: milvus.db in the store.",
    )
    milvus_token: SecretStr | None = Field(None, description="Milvus token, user:password or an API key.")
    milvus_alias: str = Field("media_live", description="Alias of the live collection.")
    milvus_timeout_s: float = Field(30.0, gt=0, description="Seconds one Milvus request may take.")
    milvus_wait_s: float = Field(
        60.0, ge=0, description="Seconds to wait for a Milvus Lite file that another process holds."
    )
    milvus_index: Literal[
        "auto", "FLAT", "HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8", "IVF_RABITQ", "DISKANN", "AUTOINDEX"
    ] = Field(
        "auto",
        description="Index of the collection; auto: exact (FLAT) up to 200,000 items, HNSW above. The next reindex "
        "makes a change; not every Milvus has all of them.",
    )
    milvus_vectors: Literal["float32", "float16"] = Field(
        "float32", description="How the collection keeps vectors; float16 halves its memory and needs a server."
    )
    milvus_import: str | None = Field(
        None,
        description="Folder or fsspec URI that the Milvus server reads too (its own bucket): a rebuild is then bulk "
        "imported from there; default: rows are streamed.",
    )
    golden: str | None = Field(
        None,
        description="golden.csv: what people ask and what is right; a reindex that answers it worse is not published. "
        "Default: the packaged one beside the demo library, else none.",
    )
    image_backend: Literal["preview", "gemini", "vertex"] = Field(
        "preview", description="Who makes campaign pictures: preview (offline, free), gemini or vertex (paid)."
    )
    gemini_api_key: SecretStr | None = Field(
        None, description="Gemini Developer API key; vertex without a project takes it for an express mode key."
    )
    vertex_project: str | None = Field(
        None, description="Google Cloud project of vertex; its credentials are Google's application default ones."
    )
    vertex_location: str = Field("global", description="Google Cloud location of vertex.")
    batch_deadline_h: float = Field(
        30.0, gt=0, le=48, description="Hours after which a batch job is given up and its pictures are made online."
    )
    gemini_model: str = Field("gemini-nano-banana-2.1", description="Gemini image model.")
    gemini_base_url: str = Field(
        "https://generativelanguage.googleapis.com",
        description="Gemini endpoint; change it for a proxy or a test.",
    )
    gemini_timeout_s: float = Field(180.0, gt=0, description="Seconds one Gemini request may take.")
    gemini_judge: str | None = Field(
        None,
        description="Gemini text model that judges finished pictures against their references, for money "
        "(gemini-2.5-flash, for example); default: none.",
    )
    gemini_rpm: int | None = Field(
        None, ge=1, description="Gemini requests a minute of all processes beside one ledger; default: no limit."
    )
    image_threads: int | None = Field(
        None, ge=1, le=64, description="Pictures made at a time; default: 4 where paid, 1 with preview."
    )
    budget_usd_per_day: float = Field(
        10.0, ge=0, description="Most that all campaigns together may spend in one UTC day."
    )
    budget_usd_per_run: float | None = Field(
        None, ge=0, description="Most that one run may spend on pictures; default: no such cap."
    )
    prices: str | None = Field(
        None, description="YAML file of own token prices, which win over the bundled list; see README."
    )
    ledger: str | None = Field(
        None, description="SQLite file on a local disk that records paid calls; default: ledger.sqlite in the store."
    )
    c2pa_certificate: str | None = Field(
        None,
        description="PEM file of the certificate chain that signs campaign pictures, leaf first; default: a self-made "
        "one that nobody else trusts, in the folder c2pa beside the ledger.",
    )
    c2pa_key: str | None = Field(None, description="PEM file of the certificate's private key, without a password.")
    nightly_cron: str = Field("0 2 * * *", description="When the nightly reindex runs.")
    timezone: str = Field("UTC", description="IANA timezone of the nightly reindex.")
    alert_webhook: SecretStr | None = Field(
        None,
        description="Slack-compatible webhook that is told of failed runs, failing sensors and an old index; default: "
        "the log.",
    )
    alert_stale_h: float = Field(36.0, gt=0, description="Hours without a published index before that is an incident.")
    dagster_url: str | None = Field(None, description="Address of the Dagster UI, for the links in alerts.")
    autostart: bool = Field(
        False,
        description="Start the sensor and the schedules with the deployment instead of by hand in the UI.",
    )
    pods: Json[dict[str, dict[str, Any]]] | None = Field(
        None,
        description='What runs of a job need on Kubernetes besides, a GPU for example: JSON, {"<job>": <value of the '
        "tag dagster-k8s/config>}; see deploy/kubernetes.",
    )

    @field_validator("milvus_uri", "milvus_import", "gemini_base_url", "dagster_url")
    @classmethod
    def _holds_no_secret(cls, address: str | None) -> str | None:
        # Addresses are shown in the UI, in logs and by doctor; the message must not repeat this one.
        if address and urlsplit(address).password is not None:
            raise ValueError(
                "it holds a password: give it without, and the secret in the variable for the token or key"
            )
        return address

    @field_validator("background")
    @classmethod
    def _colour(cls, colour: str) -> str:
        if re.fullmatch(r"#[0-9a-fA-F]{6}", colour) is None:
            raise ValueError("it is no colour: write #rrggbb, for example #ffffff")
        return colour.lower()

    @field_validator("nightly_cron")
    @classmethod
    def _cron(cls, cron: str) -> str:
        check_cron(cron)
        return cron

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, timezone: str) -> str:
        check_timezone(timezone)
        return timezone

    def __reduce__(self) -> Any:
        raise TypeError("settings hold secrets and are never pickled: load them where they are used")

    @property
    def background_rgb(self) -> tuple[int, int, int]:
        red, green, blue = bytes.fromhex(self.background[1:])
        return red, green, blue

    @property
    def media_root(self) -> str:
        return self.media or f"{self.store}/demo/media"

    @property
    def golden_file(self) -> str | None:
        return self.golden or (None if self.media else str(DEMO_GOLDEN))

    @property
    def campaigns_root(self) -> str:
        return self.campaigns or f"{self.store}/demo/campaigns"

    @property
    def ledger_file(self) -> str:
        return self.ledger or f"{self.store}/ledger.sqlite"

    @property
    def milvus_address(self) -> str:
        return self.milvus_uri or f"{self.store}/milvus.db"


def load_settings() -> Settings:
    """Read the settings in force.

    Raises:
        UserError: a variable holds a value of the wrong kind; names the variable, never a secret's value.
    """
    load_dotenv(Path.cwd() / ".env")
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = variable(str(first["loc"][0]))
        raise UserError(
            f"{name} is not usable: {first['msg'].removeprefix('Value error, ')}; correct it or unset it."
        ) from None


def variable(field: str) -> str:
    """The environment variable of a field: `milvus_uri` -> `MMRAG_MILVUS_URI`."""
    return PREFIX + field.upper()


def unknown_variables() -> list[str]:
    """`MMRAG_*` variables in the environment that no setting reads: most likely typing errors."""
    known = {variable(field) for field in Settings.model_fields}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
