"""The JSON beside a picture, written last: a picture without a sidecar that vouches for it does not count.

Every variant that was attempted has one; `generated` and `blocked` are final, `ambiguous` (it may have been billed)
until somebody asks for it again. `picture` is the finished file, `original` the bytes that were paid for. Its fields
are facts 6.6; review and scores join them later under their own names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from upath import UPath

from mmrag_pipeline.campaigns.plan import CampaignPlan, Variant
from mmrag_pipeline.store import write_json

VERSION = 2
GENERATED, BLOCKED, AMBIGUOUS = "generated", "blocked", "ambiguous"
PREVIEW_PREFIX = "PREVIEW-"


@dataclass(frozen=True)
class Picture:
    """A picture file as the sidecar vouches for it."""

    file: str
    sha256: str
    bytes: int
    mime: str
    width: int
    height: int


def stem(plan: CampaignPlan, variant: Variant) -> str:
    """File name without extension: a preview can't be taken for a picture even in a file listing."""
    return f"{PREVIEW_PREFIX}{variant.key}" if plan.backend == "preview" else variant.key


def sidecar_path(images: UPath, plan: CampaignPlan, variant: Variant) -> UPath:
    return images / f"{stem(plan, variant)}.json"


def read_sidecar(images: UPath, plan: CampaignPlan, variant: Variant) -> dict[str, Any] | None:
    """The sidecar of a variant, or None where there is none that can be read."""
    try:
        content = json.loads(sidecar_path(images, plan, variant).read_text("utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError):
        return None
    return content if isinstance(content, dict) and content.get("key") == variant.key else None


def is_whole(images: UPath, sidecar: dict[str, Any]) -> bool:
    """Whether the picture that a sidecar vouches for is there, byte for byte."""
    picture = sidecar.get("picture") or {}
    try:
        data = (images / picture["file"]).read_bytes()
    except (KeyError, FileNotFoundError):
        return False
    return hashlib.sha256(data).hexdigest() == picture.get("sha256")


def look_of(sidecar: Mapping[str, Any]) -> str:
    """Hash of what a person sees of a picture, "" without one: a picture that is only signed again looks the same."""
    picture, finish = sidecar.get("picture") or {}, sidecar.get("finish") or {}
    return finish.get("look_sha256") or picture.get("sha256", "")


def write_sidecar(
    images: UPath,
    plan: CampaignPlan,
    variant: Variant,
    *,
    status: str,
    reason: str = "",
    picture: Picture | None = None,
    original: Picture | None = None,
    finish: dict[str, Any] | None = None,
    provenance: dict[str, Any] | None = None,
    reservation: int | None = None,
    run_id: str,
    created_at: str,
    requests: int,
    usd: float,
    estimated: bool,
    answer: dict[str, Any] | None = None,
    usage: dict[str, int] | None = None,
    images_returned: int = 0,
    warnings: list[str] | None = None,
    recovered: bool = False,
    seed_sent: int | None = None,
    batch_job: str | None = None,
    price_table: str = "",
) -> None:
    asked = asdict(variant)
    before = read_sidecar(images, plan, variant) or {}
    earlier = before.get("cost", {})
    again = reservation is not None and before.get("reservation") == reservation  # a crash made it be written twice
    content = {
        "schema_version": VERSION,
        "key": asked.pop("key"),
        "status": status,
        "reason": reason,
        "preview": plan.backend == "preview",
        "picture": asdict(picture) if picture else None,
        "original": asdict(original) if original else None,
        "finish": finish,
        "provenance": provenance,
        "campaign": plan.campaign,
        "occurrence": plan.occurrence,
        "backend": plan.backend,
        "backend_version": plan.backend_version,
        "model": plan.model,
        "variant": asked,
        "answer": answer,
        "usage": usage,
        "images_returned": images_returned,
        "cost": {
            "usd": usd,
            "estimated": estimated,
            "earlier_usd": earlier.get("earlier_usd", 0.0) + (0.0 if again else earlier.get("usd", 0.0)),
            "price_table": price_table,
        },
        "reservation": reservation,
        "requests": requests,
        "warnings": warnings or [],
        "recovered": recovered,
        "seed_sent": seed_sent,
        "batch_job": batch_job,
        "run_id": run_id,
        "created_at": created_at,
    }
    write_json(sidecar_path(images, plan, variant), content)
