"""Original -> finished picture: right size, logo and lines, XMP, and the signature as the last thing of all."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from PIL import Image

from mmrag_pipeline.campaigns.finishing.crop import crop_to, crop_warnings, open_original
from mmrag_pipeline.campaigns.finishing.drawn import draw_overlay
from mmrag_pipeline.campaigns.finishing.overlay import open_logo
from mmrag_pipeline.campaigns.finishing.recipe import Recipe
from mmrag_pipeline.campaigns.originals import FORMATS, Original, picture_of
from mmrag_pipeline.campaigns.plan import CampaignPlan, Reference, Variant
from mmrag_pipeline.campaigns.provenance import (
    Credentials,
    ProvenanceReport,
    Source,
    SourceType,
    encode_with_xmp,
    read_provenance,
    require_usable,
    sign,
)
from mmrag_pipeline.campaigns.references import ReferencePictures
from mmrag_pipeline.campaigns.sidecar import Picture
from mmrag_pipeline.errors import UserError

_ON_A_PREVIEW: dict[str, Any] = {"edge": "bottom", "least_shade": 0.9}
"""It says PREVIEW at the top, and below it is full of words, which must not show through others."""


@dataclass(frozen=True)
class Finished:
    """A finished picture: `data` are the bytes that `picture` vouches for, the rest is what its sidecar says."""

    picture: Picture
    data: bytes = field(repr=False)
    finish: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def warnings(self) -> list[str]:
        return self.finish["warnings"]


class Finisher:
    """Finishes the pictures of one plan; shared by the threads of a run."""

    def __init__(self, plan: CampaignPlan, *, paid: bool, references: ReferencePictures, credentials: Credentials):
        """`paid`: its backend is; one of somebody's own is in no table."""
        self._plan = plan
        self._references = references
        self._credentials = credentials
        self._logo = open_logo(plan.finishing.logo) if plan.finishing.logo else None
        self._paid = paid
        self._lock = threading.Lock()
        self._signs = False

    def require_signature(self) -> None:
        """Sign something small once: a certificate that can't sign must be known before a picture is paid for.

        Raises:
            UserError: it can't; says why.
        """
        with self._lock:
            if not self._signs:
                require_usable(self._credentials)
                self._signs = True

    def is_current(self, variant: Variant, sidecar: Mapping[str, Any]) -> bool:
        """Whether finishing this picture again would change nothing but the time of its signature."""
        recipe = (sidecar.get("finish") or {}).get("recipe_sha256")
        certificate = (sidecar.get("provenance") or {}).get("certificate_sha256")
        return recipe == self._recipe(variant).sha256 and certificate == self._credentials.sha256

    def fits(self, variant: Variant, original: Original) -> bool:
        """Whether the original is worth finishing. A preview of another size is drawn anew instead, for nothing."""
        size = (original.picture.width, original.picture.height)
        return self._paid or size == (variant.width, variant.height)

    def finish(self, variant: Variant, original: Original) -> Finished:
        """The finished picture, in the format of the original.

        Raises:
            UserError: a reference is gone, or the certificate can't sign.
        """
        self.require_signature()
        recipe = self._recipe(variant)
        came, wanted = open_original(original.data), (recipe.width, recipe.height)
        warnings = crop_warnings(came.size, wanted, aspect_ratio=variant.aspect_ratio)
        drawn = draw_overlay(
            crop_to(came, wanted),
            recipe.lines,
            self._logo if recipe.logo_sha256 else None,
            accent=_rgb(recipe.accent) if recipe.accent else None,
            **({} if self._paid else _ON_A_PREVIEW),
        )
        source: SourceType = "trainedAlgorithmicMedia" if self._paid else "compositeSynthetic"
        format_ = FORMATS[original.picture.mime]
        data = sign(
            encode_with_xmp(drawn, format_, source),
            mime=original.picture.mime,
            title=self._plan.title,
            model=self._plan.model if self._paid else f"mmrag_pipeline {self._plan.backend}",
            source=source,
            references=self._sources(variant),
            credentials=self._credentials,
        )
        picture = picture_of(original.picture.file.rpartition(".")[0], data, format_, *drawn.size)
        finish = {
            "recipe_sha256": recipe.sha256,
            "look_sha256": _look(drawn),
            "lines": recipe.lines,
            "logo_sha256": recipe.logo_sha256,
            "warnings": list(warnings),
        }
        return Finished(picture, data, finish, self._provenance(data, picture.file))

    def _recipe(self, variant: Variant) -> Recipe:
        return self._plan.finishing.recipe(
            placement=variant.placement,
            locale=variant.locale,
            width=variant.width,
            height=variant.height,
            palette=self._plan.palette,
        )

    def _sources(self, variant: Variant) -> list[Source]:
        return [Source(_public_name(r), r.sha256, r.mime, self._references.read(r.sha256)) for r in variant.references]

    def _provenance(self, data: bytes, file: str) -> dict[str, Any]:
        report: ProvenanceReport = read_provenance(data, file=file)
        if not report.ok:
            raise UserError(
                f"the picture {file} can't be signed so that others accept it ({'; '.join(report.problems)}): look at "
                f"MMRAG_C2PA_CERTIFICATE. The picture as it was paid for is kept, run again then."
            )
        return {
            "state": report.state,
            "digital_source_type": report.xmp,
            "manifest": report.manifest,
            "signer": report.signer,
            "self_made": self._credentials.self_made,
            "certificate_sha256": self._credentials.sha256,
            "ingredients": [asdict(ingredient) for ingredient in report.ingredients],
        }


def _public_name(reference: Reference) -> str:
    """Never a path: how a brand files its media is nobody's business. What lies outside the library has no other."""
    catalogued = (reference.title or reference.sku) if reference.media_id else ""
    return catalogued or f"Reference {reference.order}"


def _look(picture: Image.Image) -> str:
    """Hash of what is seen: a picture that is signed again looks the same."""
    return hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()


def _rgb(value: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(value[1:])
    return red, green, blue
