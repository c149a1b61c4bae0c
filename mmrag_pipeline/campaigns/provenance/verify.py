"""What a picture file says of its origin, and whether that is still true of its bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

from PIL import Image
from upath import UPath

from mmrag_pipeline.campaigns.provenance.xmp import SOURCE_TYPES
from mmrag_pipeline.errors import UserError

State = Literal["valid", "trusted", "invalid", "absent"]
_INPUT = "urn:sha256:"


@dataclass(frozen=True)
class Ingredient:
    title: str
    relationship: str
    sha256: str


@dataclass(frozen=True)
class ProvenanceReport:
    """`valid` says that nothing was changed since it was signed, `trusted` also that we know the signer."""

    file: str
    state: State
    xmp: str | None
    signer: str = ""
    model: str = ""
    manifest: str = ""
    ingredients: tuple[Ingredient, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.state in ("valid", "trusted") and self.xmp is not None

    @property
    def sentence(self) -> str:
        """For people, without the file's name."""
        if not self.ok:
            state = "invalid" if self.state in ("valid", "trusted") else self.state
            why = "; ".join(self.problems) or "its XMP names no digital source type"
            return f"{state}: {why}"
        count = len(self.ingredients)
        sources = f"{count} reference{'' if count == 1 else 's'}"
        known = "" if self.state == "trusted" else ", whom this installation does not know"
        return f"{self.state}: {self.xmp} made by {self.model} from {sources}, signed by {self.signer}{known}"


def verify(path: UPath | str, *, anchors: bytes | None = None) -> ProvenanceReport:
    """Read a PNG, JPEG or WebP; certificates in `anchors` (PEM) are trusted.

    Raises:
        UserError: the file can't be read or is no picture.
    """
    path = UPath(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"the picture {path} can't be read ({error.strerror}): check the path.") from None
    return read_provenance(data, file=str(path), anchors=anchors)


def read_provenance(data: bytes, *, file: str, anchors: bytes | None = None) -> ProvenanceReport:
    """The same for bytes; `file` is what they are called.

    Raises:
        UserError: they are no picture.
    """
    import c2pa

    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            mime, source = Image.MIME[image.format or ""], _source_type(image)
    except (OSError, SyntaxError, Image.DecompressionBombError):
        raise UserError(f"{file} is no PNG, JPEG or WebP picture: name one that is.") from None
    # The newest settings decide alone: nothing is fetched, whatever a manifest points to.
    wanted: dict = {"verify": {"ocsp_fetch": False, "remote_manifest_fetch": False}}
    if anchors:
        wanted["trust"] = {"trust_anchors": anchors.decode()}
    try:
        with (
            c2pa.Context(c2pa.Settings.from_dict(wanted)) as context,
            c2pa.Reader(mime, io.BytesIO(data), context=context) as reader,
        ):
            state = str(reader.get_validation_state() or "Invalid").lower()
            manifest = reader.get_active_manifest() or {}
            failures = ((reader.get_validation_results() or {}).get("activeManifest") or {}).get("failure") or []
    except c2pa.C2paError.ManifestNotFound:
        return ProvenanceReport(file, "absent", source, problems=("the file holds no C2PA manifest",))
    except c2pa.C2paError as error:
        return ProvenanceReport(file, "invalid", source, problems=(str(error),))
    return ProvenanceReport(
        file=file,
        state=state if state in ("valid", "trusted") else "invalid",  # type: ignore[arg-type]
        xmp=source,
        signer=(manifest.get("signature_info") or {}).get("common_name") or "",
        model=_model(manifest),
        manifest=manifest.get("label") or "",
        ingredients=tuple(
            Ingredient(
                entry.get("title") or "",
                entry.get("relationship") or "",
                (entry.get("instance_id") or "").removeprefix(_INPUT),
            )
            for entry in manifest.get("ingredients") or []
        ),
        problems=tuple(f"{found.get('code')}: {found.get('explanation', '')}" for found in failures),
    )


def _source_type(image: Image.Image) -> str | None:
    """The digital source type in a picture's XMP, without its long address."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else packet
    _, found, rest = text.partition(SOURCE_TYPES)
    return rest.partition('"')[0] if found else None


def _model(manifest: dict) -> str:
    for assertion in manifest.get("assertions") or []:
        for action in (assertion.get("data") or {}).get("actions") or []:
            if action.get("action") == "c2pa.created":
                return (action.get("softwareAgent") or {}).get("name") or ""
    return ""
