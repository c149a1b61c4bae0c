"""Looks at every component and says, in one sentence each, what to do about what is wrong."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import SecretStr

from mmrag_pipeline import wiring
from mmrag_pipeline.campaigns.backends import closing
from mmrag_pipeline.campaigns.backends.gemini import GeminiBackend
from mmrag_pipeline.campaigns.brief_folder import load_briefs
from mmrag_pipeline.campaigns.prices import load_prices, text_ceiling
from mmrag_pipeline.campaigns.provenance import credentials_in_force, development_folder, require_usable
from mmrag_pipeline.campaigns.registry import image_model
from mmrag_pipeline.embedding.model import DEMO
from mmrag_pipeline.errors import UserError
from mmrag_pipeline.index.milvus import connect
from mmrag_pipeline.index.status import live_status
from mmrag_pipeline.quality.golden import open_golden
from mmrag_pipeline.settings import Settings, unknown_variables, variable
from mmrag_pipeline.store import Store, write_bytes

Verdict = Literal["ok", "warning", "wrong"]


@dataclass(frozen=True)
class SettingInForce:
    """One setting as it is in force; a secret's value is masked."""

    variable: str
    value: str
    is_set: bool
    description: str


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it stands, and what to do."""

    component: str
    verdict: Verdict
    sentence: str


def settings_in_force(settings: Settings) -> list[SettingInForce]:
    """Every setting with its value, secrets masked."""
    effective = {
        "media": settings.media_root,
        "campaigns": settings.campaigns_root,
        "milvus_uri": settings.milvus_address,
        "ledger": settings.ledger_file,
        "golden": settings.golden_file,
    }
    return [
        SettingInForce(
            variable=variable(name),
            value=_shown(effective.get(name, getattr(settings, name))),
            is_set=name in settings.model_fields_set,
            description=field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]


def examine(settings: Settings) -> Iterator[Finding]:
    """Check each component in turn; a component that fails doesn't keep the others from being looked at."""
    for name in unknown_variables():
        yield Finding("settings", "warning", f"{name} is set but no setting reads it: correct its name or unset it.")
    checks: list[tuple[str, Callable[[Settings], Finding]]] = [
        ("store", _store),
        ("media library", _media),
        ("clip encoder", _encoder),
        ("milvus", _milvus),
        ("golden queries", _golden),
        ("image backend", _images),
        ("campaigns", _campaigns),
        ("content credentials", _credentials),
    ]
    for component, check in checks:
        try:
            yield check(settings)
        except UserError as error:
            yield Finding(component, "wrong", str(error))


def _store(settings: Settings) -> Finding:
    probe = Store(settings.store).root / f".doctor-{uuid.uuid4().hex}"
    try:
        write_bytes(probe, b"")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"the store {settings.store} can't be written ({error.strerror or error}): "
            f"set MMRAG_STORE to a folder that the pipeline's user may write to."
        ) from error
    return Finding("store", "ok", f"{settings.store} can be written.")


def _media(settings: Settings) -> Finding:
    listing = wiring.library(settings).drops()
    if listing.unreadable:
        return Finding(
            "media library",
            "wrong",
            f"{settings.media_root}: the product lines {', '.join(listing.unreadable[:5])} can't be read: give the "
            f"pipeline's user read access.",
        )
    if listing.malformed:
        return Finding(
            "media library",
            "warning",
            f"{settings.media_root}: {len(listing.drops)} drops; ignored because their names are not lower-case "
            f"letters, digits and hyphens: {', '.join(listing.malformed[:5])}; rename them.",
        )
    return Finding("media library", "ok", f"{settings.media_root}: {len(listing.drops)} drops.")


def _encoder(settings: Settings) -> Finding:
    loaded = wiring.encoder(settings).load_for_words()
    sentence = f"{loaded.fingerprint}, {loaded.dim} dimensions, on {loaded.device}."
    if settings.clip_model == DEMO and settings.media:
        return Finding(
            "clip encoder",
            "warning",
            f"{sentence} This small demo model is in force with your own library: set MMRAG_CLIP_MODEL to real "
            f"weights (clip-b32, siglip2-b16, ecommerce, fashion) before you judge what search finds.",
        )
    return Finding("clip encoder", "ok", sentence)


def _milvus(settings: Settings) -> Finding:
    with connect(wiring.milvus(settings)) as milvus:
        live = live_status(milvus)
    if live.collection is None:
        return Finding(
            "milvus",
            "warning",
            f"{settings.milvus_address} answers, but alias {live.alias} has no collection yet: "
            f"run `mmrag demo` or materialise a drop.",
        )
    fingerprint = wiring.encoder(settings).fingerprint
    if live.fingerprint != fingerprint:
        raise UserError(
            f"the live collection {live.collection} was made with model {live.fingerprint}, the model in force is "
            f"{fingerprint}: ingest the drops with it and run the nightly_reindex job, or set MMRAG_CLIP_MODEL back."
        )
    return Finding("milvus", "ok", f"{settings.milvus_address}: {live.collection}, {live.rows} rows.")


def _golden(settings: Settings) -> Finding:
    if settings.golden_file is None:
        return Finding(
            "golden queries", "ok", "none: set MMRAG_GOLDEN to a golden.csv to have search measured every night."
        )
    golden = open_golden(settings.golden_file)
    return Finding("golden queries", "ok", f"{golden.path}: {len(golden.queries)} queries.")


def _images(settings: Settings) -> Finding:
    load_prices(settings.prices)
    if settings.image_backend == "preview":
        return Finding(
            "image backend",
            "ok",
            "preview: offline and free; set MMRAG_IMAGE_BACKEND=gemini (or vertex) for real pictures.",
        )
    model = image_model(settings.gemini_model)
    model.require_alive(datetime.now(UTC).date())
    if settings.gemini_judge:
        text_ceiling(settings.gemini_judge, input_tokens=0, output_tokens=0)  # says so where nobody knows its price
    with closing(wiring.image_backend(settings, settings.image_backend)) as backend:
        if isinstance(backend, GeminiBackend):  # or its kind on Vertex
            backend.check(model.id)
    return Finding("image backend", "ok", f"{backend.info.name} answers and knows {settings.gemini_model}.")


def _campaigns(settings: Settings) -> Finding:
    folder = settings.campaigns_root
    if not os.path.isdir(folder):
        if settings.campaigns:
            raise UserError(f"the campaigns folder {folder} does not exist: create it or correct MMRAG_CAMPAIGNS.")
        return Finding("campaigns", "warning", f"no briefs: put *.yaml into {folder}, or set MMRAG_CAMPAIGNS.")
    briefs = load_briefs(folder, model=settings.gemini_model)
    if briefs.problems:
        raise UserError(" ".join(problem.sentence for problem in briefs.problems))
    return Finding("campaigns", "ok", f"{folder}: {len(briefs.good)} briefs.")


def _credentials(settings: Settings) -> Finding:
    if settings.c2pa_certificate or settings.c2pa_key:
        own = credentials_in_force(settings.c2pa_certificate, settings.c2pa_key, ledger=settings.ledger_file)
        require_usable(own)
        return Finding(
            "content credentials", "ok", f"pictures are signed by {own.signer}, until {own.expires():%Y-%m-%d}."
        )
    return Finding(
        "content credentials",
        "warning",
        f"pictures are signed with a self-made certificate in {development_folder(settings.ledger_file)}, which nobody "
        f"else trusts: set MMRAG_C2PA_CERTIFICATE and MMRAG_C2PA_KEY before you publish any.",
    )


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return "********" if isinstance(value, SecretStr) else str(value)
