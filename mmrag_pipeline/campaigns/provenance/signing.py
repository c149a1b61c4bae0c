"""Signs a finished picture, as the last thing that is done to its bytes. No network: no time stamp is asked for."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from PIL import Image

from mmrag_pipeline.campaigns.provenance.credentials import Credentials
from mmrag_pipeline.campaigns.provenance.verify import read_provenance
from mmrag_pipeline.campaigns.provenance.xmp import SOURCE_TYPES, SourceType, encode_with_xmp
from mmrag_pipeline.errors import UserError

AGENT = "mmrag_pipeline"


@dataclass(frozen=True)
class Source:
    """A reference that went into the picture."""

    title: str
    sha256: str
    mime: str
    data: bytes = field(repr=False)


def sign(
    picture: bytes,
    *,
    mime: str,
    title: str,
    model: str,
    source: SourceType,
    references: Sequence[Source],
    credentials: Credentials,
) -> bytes:
    """The same picture with a manifest: who made it with which model, and from which references."""
    import c2pa

    signer = c2pa.Signer.from_info(
        c2pa.C2paSignerInfo(credentials.algorithm, credentials.certificate, credentials.key, None)
    )
    # Thumbnails would publish pictures of products that a campaign may not show yet.
    settings = c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}})
    created = {
        "action": "c2pa.created",
        "softwareAgent": {"name": model},
        "digitalSourceType": SOURCE_TYPES + source,
    }
    manifest = {
        "title": title,
        "claim_generator_info": [{"name": AGENT, "version": version("mmrag-pipeline")}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [created]}}],
    }
    sink = io.BytesIO()
    with c2pa.Context(settings, signer) as context, c2pa.Builder(manifest, context) as builder:
        for reference in references:
            ingredient = {
                "title": reference.title,
                "relationship": "inputTo",
                "instance_id": f"urn:sha256:{reference.sha256}",
            }
            builder.add_ingredient(ingredient, reference.mime, io.BytesIO(reference.data))
        builder.sign(mime, io.BytesIO(picture), sink)
    return sink.getvalue()


def require_usable(credentials: Credentials) -> None:
    """Sign a picture of a few pixels and read it back.

    Raises:
        UserError: C2PA does not take the certificate; says why.
    """
    import c2pa

    picture = encode_with_xmp(Image.new("RGB", (8, 8)), "png", "compositeSynthetic")
    try:
        signed = sign(
            picture,
            mime="image/png",
            title="trial",
            model=AGENT,
            source="compositeSynthetic",
            references=(),
            credentials=credentials,
        )
    except c2pa.C2paError as error:
        problems: tuple[str, ...] = (str(error),)
    else:
        report = read_provenance(signed, file="trial.png")
        problems = () if report.ok else report.problems
    if problems:
        raise UserError(
            f"the certificate of {credentials.signer} can't sign pictures ({'; '.join(problems)}): set "
            f"MMRAG_C2PA_CERTIFICATE and MMRAG_C2PA_KEY to one for C2PA (key usage digitalSignature, extended key "
            f"usage emailProtection)."
        )
